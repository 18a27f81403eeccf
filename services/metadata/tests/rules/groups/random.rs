//! Members of the consumer protocol and committed offsets, while commits fail in all ways and owners are replaced:
//! no partition is ever with two members, no acknowledged offset is lost, and in the end all goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    CommittingMember, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Groups, GroupsError,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::TopicPartition;

use super::{commit, fetch, joins, lives};
use crate::world::{PARTITIONS, Process, World, partition};

const MEMBERS: usize = 3;
const KINDS: [KeyKind; 4] = [
    KeyKind::Group,
    KeyKind::GroupMember,
    KeyKind::GroupOffset,
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
}

struct Run {
    world: World,
    owners: Vec<Process>,
    members: [Member; MEMBERS],
    offsets: BTreeMap<u32, Committed>,
}

impl Run {
    async fn new() -> Self {
        let (world, first) = World::opened().await;
        Self {
            world,
            owners: vec![first],
            members: Default::default(),
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
        for (at, known) in &self.offsets {
            let groups = &self.owner(false).service;
            let found = fetch(groups, "offsets", partition(*at)).await;
            let found = found.expect("the owner").unwrap_or_default();
            assert!(
                (known.acknowledged..=known.next).contains(&found),
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
