//! Members of the consumer protocol and committed offsets, while commits fail in all ways and owners are replaced:
//! no partition is ever with two members, no acknowledged offset is lost, nothing of a transaction is seen that has not
//! committed and all of one that has, and in the end all goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    CommittingMember, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Decision, Groups, GroupsError,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::TopicPartition;

use super::transactions::{commit_in, end, stable, transaction};
use super::{commit, joins, lives};
use crate::world::{PARTITIONS, Process, World, partition};

const MEMBERS: usize = 3;
const PRODUCERS: usize = 2;
const KINDS: [KeyKind; 6] = [
    KeyKind::Group,
    KeyKind::GroupMember,
    KeyKind::GroupOffset,
    KeyKind::GroupPending,
    KeyKind::GroupProducer,
    KeyKind::Lease,
];
const FAULTS: [CommitFault; 5] = [
    CommitFault::Conflict,
    CommitFault::Unavailable,
    CommitFault::Unknown(Landing::Now),
    CommitFault::Unknown(Landing::Never),
    CommitFault::Unknown(Landing::Later { after_commits: 1 }),
];

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A member says that it lives, or joins; to the last owner or the one before.
    Beat(usize, bool),
    Leave(usize),
    /// Somebody commits an offset in one of the partitions of another group.
    Commit(u32, bool),
    /// A producer commits an offset in its transaction.
    Put(usize, u32, bool),
    /// A producer ends its transaction, or tells of the end again: whether it commits, if it has not said so.
    End(usize, bool, bool),
    /// An offset of the last transaction comes late.
    Late(usize, u32, bool),
    /// A commit of the store fails that writes such a row.
    Fail(usize, usize),
    /// Another owner takes over.
    Replace,
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..MEMBERS, any::<bool>()).prop_map(|(member, old)| Step::Beat(member, old)),
        1 => (0..MEMBERS).prop_map(Step::Leave),
        4 => (0..PARTITIONS, any::<bool>()).prop_map(|(at, old)| Step::Commit(at, old)),
        4 => (0..PRODUCERS, 0..PARTITIONS, any::<bool>())
            .prop_map(|(producer, at, old)| Step::Put(producer, at, old)),
        4 => (0..PRODUCERS, any::<bool>(), any::<bool>())
            .prop_map(|(producer, commits, old)| Step::End(producer, commits, old)),
        1 => (0..PRODUCERS, 0..PARTITIONS, any::<bool>())
            .prop_map(|(producer, at, old)| Step::Late(producer, at, old)),
        3 => (0..KINDS.len(), 0..FAULTS.len()).prop_map(|(kind, fault)| Step::Fail(kind, fault)),
        1 => Just(Step::Replace),
    ]
}

/// A member as it knows itself.
#[derive(Debug, Default)]
struct Member {
    heard: Option<ConsumerHeartbeatAnswer>,
    owned: Vec<TopicPartition>,
}

/// An offset as those know it who commit it.
#[derive(Debug, Default)]
struct Committed {
    next: u64,
    acknowledged: u64,
    /// Of transactions that were aborted.
    never: BTreeSet<u64>,
}

/// A producer of transactions, as its coordinator knows it.
#[derive(Debug, Default)]
struct Producer {
    ended: u64,
    /// What was put, and whether that was acknowledged.
    open: Vec<(u32, u64, bool)>,
    /// How the open one ends, once that is decided.
    decision: Option<Decision>,
}

struct Run {
    world: World,
    owners: Vec<Process>,
    members: [Member; MEMBERS],
    producers: [Producer; PRODUCERS],
    offsets: BTreeMap<u32, Committed>,
}

impl Run {
    async fn new() -> Self {
        let (world, first) = World::opened().await;
        Self {
            world,
            owners: vec![first],
            members: Default::default(),
            producers: Default::default(),
            offsets: BTreeMap::new(),
        }
    }

    fn owner(&self, old: bool) -> &Process {
        let back = usize::from(old && self.owners.len() > 1);
        &self.owners[self.owners.len() - 1 - back]
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Beat(member, old) => self.beat(member, old).await,
            Step::Leave(member) => self.leave(member).await,
            Step::Commit(at, old) => self.commit(at, old).await,
            Step::Put(producer, at, old) => self.put(producer, at, old).await,
            Step::End(producer, commits, old) => self.end(producer, commits, old).await,
            Step::Late(producer, at, old) => self.late(producer, at, old).await,
            Step::Fail(kind, fault) => self.world.store.fail(KINDS[kind], FAULTS[fault]),
            Step::Replace => {
                // The plan of faults is that of the first process; the next ones share it. Where the
                // takeover itself fails, the owner stays.
                let next = self.world.try_open_on(&self.world.store).await;
                self.owners.extend(next.ok());
            }
        }
        self.check();
    }

    async fn beat(&mut self, index: usize, old: bool) {
        let id = format!("m{index}");
        let request = match &self.members[index].heard {
            None => joins("g", &id),
            Some(heard) => lives("g", heard, &self.members[index].owned),
        };
        let answer = self.owner(old).consumer_heartbeat(request).await;
        let member = &mut self.members[index];
        match answer {
            Ok(heard) => {
                if let Some(assignment) = &heard.assignment {
                    member.owned.clone_from(assignment);
                }
                member.heard = Some(heard);
            }
            // It gives up what it has, and joins again.
            Err(
                GroupsError::UnknownMember | GroupsError::FencedEpoch | GroupsError::GroupNotFound,
            ) => *member = Member::default(),
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }

    async fn leave(&mut self, index: usize) {
        let Some(heard) = self.members[index].heard.take() else {
            return;
        };
        self.members[index].owned.clear();
        let leaves = ConsumerHeartbeat {
            epoch: -1,
            ..lives("g", &heard, &[])
        };
        // Whatever the answer is, it reads nothing any more.
        let _ = self.owner(false).consumer_heartbeat(leaves).await;
    }

    async fn commit(&mut self, at: u32, old: bool) {
        let known = self.offsets.entry(at).or_default();
        known.next += 1;
        let offset = known.next;
        let groups = &self.owner(old).service;
        let nobody = CommittingMember::nobody();
        match commit(groups, "offsets", nobody, partition(at), offset).await {
            Ok(()) => {
                let known = self.offsets.entry(at).or_default();
                known.acknowledged = known.acknowledged.max(offset);
            }
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }

    async fn put(&mut self, index: usize, at: u32, old: bool) {
        let producer = &self.producers[index];
        if producer.decision.is_some() {
            return;
        }
        let number = producer.ended + 1;
        let known = self.offsets.entry(at).or_default();
        known.next += 1;
        let offset = known.next;
        let done = self.put_in(index, number, at, offset, old).await;
        let open = &mut self.producers[index].open;
        open.push((at, offset, done.is_ok()));
        assert!(
            done.as_ref().err().is_none_or(GroupsError::is_retriable),
            "{done:?}"
        );
    }

    async fn put_in(
        &self,
        index: usize,
        number: u64,
        at: u32,
        offset: u64,
        old: bool,
    ) -> Result<(), GroupsError> {
        let groups = &self.owner(old).service;
        let id = i64::try_from(index).expect("small");
        let of = transaction(id, 0, number);
        let nobody = ("offsets", CommittingMember::nobody());
        commit_in(groups, nobody, of, partition(at), offset).await
    }

    async fn end(&mut self, index: usize, commits: bool, old: bool) {
        let producer = &mut self.producers[index];
        let decision = if commits {
            Decision::Commit
        } else {
            Decision::Abort
        };
        let decision = *producer.decision.get_or_insert(decision);
        let id = i64::try_from(index).expect("small");
        let of = transaction(id, 0, producer.ended + 1);
        let groups = &self.owner(old).service;
        match end(groups, "offsets", of, decision).await {
            Ok(()) => {
                let producer = &mut self.producers[index];
                producer.ended += 1;
                producer.decision = None;
                let mut last: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
                for (at, offset, is_acknowledged) in producer.open.drain(..) {
                    last.insert(at, (offset, is_acknowledged));
                    if decision == Decision::Abort {
                        self.offsets.entry(at).or_default().never.insert(offset);
                    }
                }
                if decision == Decision::Commit {
                    for (at, (offset, is_acknowledged)) in last {
                        let known = self.offsets.entry(at).or_default();
                        if is_acknowledged {
                            known.acknowledged = known.acknowledged.max(offset);
                        }
                    }
                }
            }
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }

    /// It is refused, or nobody answers.
    async fn late(&mut self, index: usize, at: u32, old: bool) {
        let number = self.producers[index].ended;
        let known = self.offsets.entry(at).or_default();
        known.next += 1;
        let offset = known.next;
        known.never.insert(offset);
        match self.put_in(index, number, at, offset, old).await {
            Err(GroupsError::TransactionEnded) => {}
            other => assert!(
                other.as_ref().is_err_and(GroupsError::is_retriable) || number == 0,
                "{other:?}"
            ),
        }
    }

    /// No partition is with two members.
    fn check(&self) {
        let mut all: Vec<_> = self.members.iter().flat_map(|one| &one.owned).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{:?}", self.members);
    }

    /// Without faults everybody has something to do soon, and what was acknowledged is there.
    async fn settle(mut self) {
        let last = self.world.open_on(&self.world.store.sibling()).await;
        self.owners.push(last);
        for _ in 0..12 {
            for member in 0..MEMBERS {
                self.beat(member, false).await;
                self.check();
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let owned: usize = self.members.iter().map(|one| one.owned.len()).sum();
        assert_eq!(owned, PARTITIONS as usize, "{:?}", self.members);
        for producer in 0..PRODUCERS {
            self.end(producer, true, false).await;
            assert_eq!(self.producers[producer].decision, None);
        }
        assert_eq!(self.world.store.rows(KeyKind::GroupPending), []);
        for (at, known) in &self.offsets {
            let groups = &self.owner(false).service;
            let found = stable(groups, "offsets", partition(*at)).await;
            let found = found.expect("the owner").unwrap_or_default();
            assert!(
                (known.acknowledged..=known.next).contains(&found) && !known.never.contains(&found),
                "{at}: {found} of {known:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_with_two_nothing_is_lost_and_all_goes_on(
        steps in proptest::collection::vec(a_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                run.step(step).await;
            }
            run.settle().await;
        });
    }
}
