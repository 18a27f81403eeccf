//! The task that drives all groups of a shard.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tidelog_env::{CancellationToken, MonoTime};
use tidelog_metadata_api::{GroupName, GroupsError};
use tidelog_types::ShardId;
use tokio::sync::mpsc;

use super::CoordinatorParts;
use super::ask::{Ask, Asked};
use super::group::Group;
use super::machine::Machine;
use super::rows::Loaded;
use super::serve::Moment;
use super::show::ShowAsk;
use super::sweep::{Found, Swept};
use super::topics::{Patterns, Snapshot, View};
use crate::driver::{Hold, RowQueue, Sent, Sweep};
use crate::sequencer::Sequencer;

/// Requests that wait for one group to be read, at most.
const LOADING_WAITERS_MAX: usize = 10_000;
/// What waits in the mailbox comes before timers, since it may be a word of those who are waited for; but for timers
/// that are later than this.
const OVERDUE: Duration = Duration::from_millis(250);

/// A group's place in memory.
#[derive(Debug)]
pub(super) enum Slot {
    /// It is being read, under the number that it will have; these wait for it.
    Loading(u64, Vec<Asked>),
    Here(Box<Group>),
}

/// What has been waited for.
#[derive(Debug)]
pub(super) enum Done {
    Loaded(Read),
    Sent(Sent),
    Topics(Result<Arc<Snapshot>, GroupsError>),
    Found(Box<Found>),
    Swept(Swept),
}

/// A group as it was read, or why it was not.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) name: GroupName,
    /// Which time of reading it is, among all groups.
    pub(super) instance: u64,
    pub(super) loaded: Result<Option<Box<Loaded>>, GroupsError>,
    pub(super) hold: Hold,
}

pub(super) type Job = BoxFuture<'static, Done>;

/// The task's state.
pub(super) struct Actor {
    pub(super) parts: CoordinatorParts,
    pub(super) shard: ShardId,
    pub(super) sequencer: Arc<Sequencer>,
    pub(super) groups: HashMap<GroupName, Slot>,
    pub(super) sweep: Sweep<GroupName>,
    pub(super) jobs: FuturesUnordered<Job>,
    pub(super) wakes: BTreeSet<(MonoTime, GroupName)>,
    patterns: Patterns,
    /// Requests that wait for the topics to be read.
    for_topics: Vec<Asked>,
    is_reading_topics: bool,
    /// How many groups are being read.
    pub(super) loading: usize,
    pub(super) next_instance: u64,
    pub(super) writes: RowQueue<GroupName>,
    /// A write was not done: what is read before it is settled may not be what will be.
    pub(super) must_prove: bool,
    /// How many groups were said to be held.
    reported: i64,
    pub(super) was_out_of_touch: bool,
    drained: CancellationToken,
}

impl Actor {
    pub(super) fn new(parts: CoordinatorParts, shard: ShardId, sequencer: Arc<Sequencer>) -> Self {
        let drained = parts.env.supervisor.token();
        let patterns = Patterns::new(parts.memory.clone());
        Self {
            parts,
            shard,
            sequencer,
            groups: HashMap::new(),
            sweep: Sweep::default(),
            jobs: FuturesUnordered::new(),
            wakes: BTreeSet::new(),
            patterns,
            for_topics: Vec::new(),
            is_reading_topics: false,
            loading: 0,
            next_instance: 0,
            writes: RowQueue::default(),
            must_prove: false,
            reported: 0,
            was_out_of_touch: false,
            drained,
        }
    }

    /// Works until the sequencer of the shard ends, or the process.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Asked>,
        mut shows: mpsc::Receiver<ShowAsk>,
    ) {
        self.begin_sweep();
        let sequencer = Arc::clone(&self.sequencer);
        let drained = self.drained.clone();
        loop {
            let wake = self.next_wake();
            let clock = Arc::clone(&self.parts.env.clock);
            if wake.is_some_and(|wake| clock.now() - wake > OVERDUE) {
                self.woken();
                continue;
            }
            tokio::select! {
                biased;
                () = sequencer.ended() => break,
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.done(done),
                show = shows.recv() => match show {
                    Some(show) => self.show(show),
                    None => break,
                },
                ask = asks.recv() => match ask {
                    Some(asked) => self.asked(asked),
                    None => break,
                },
                () = drained.cancelled() => break,
                () = sleep(clock, wake) => self.woken(),
            }
            self.report();
        }
        self.end(asks);
    }

    fn report(&mut self) {
        let held = i64::try_from(self.groups.len()).unwrap_or(i64::MAX);
        let before = std::mem::replace(&mut self.reported, held);
        self.parts.metrics.held.inc_by(held - before);
    }

    /// Tells all who wait that another one coordinates their groups.
    fn end(mut self, mut asks: mpsc::Receiver<Asked>) {
        asks.close();
        while let Ok(asked) = asks.try_recv() {
            asked.ask.fail(GroupsError::NotCoordinator);
        }
        let waiting = std::mem::take(&mut self.for_topics);
        for asked in waiting {
            asked.ask.fail(GroupsError::NotCoordinator);
        }
        for (_, slot) in self.groups.drain() {
            match slot {
                Slot::Loading(_, waiting) => {
                    for asked in waiting {
                        asked.ask.fail(GroupsError::NotCoordinator);
                    }
                }
                Slot::Here(group) => group.fail(&GroupsError::NotCoordinator),
            }
        }
        self.report();
    }

    // ----- requests -------------------------------------------------------------------------------

    pub(super) fn asked(&mut self, asked: Asked) {
        let name = asked.ask.group().clone();
        match self.groups.get_mut(&name) {
            None => {
                self.begin_load(name, vec![asked]);
            }
            Some(Slot::Loading(_, waiting)) => {
                if waiting.len() < LOADING_WAITERS_MAX {
                    waiting.push(asked);
                } else {
                    asked.ask.fail(GroupsError::Loading);
                }
            }
            Some(Slot::Here(_)) => self.serve(asked),
        }
    }

    /// Serves a request to a group that is here, unless it has to wait for the topics.
    fn serve(&mut self, asked: Asked) {
        let snapshot = match &asked.ask {
            Ask::Beat(request, _) => {
                let joins = request.epoch == tidelog_metadata_api::EPOCH_JOIN
                    || request.topics.is_some()
                    || request.pattern.is_some();
                Some(self.topics(joins))
            }
            Ask::DeleteOffsets(..) => Some(self.topics(true)),
            // Members of the classic protocol speak of topics by name.
            Ask::Join(request, _) if self.is_consumer(&request.group) => Some(self.topics(true)),
            Ask::Sync(request, _) if self.is_consumer(&request.group) => Some(self.topics(false)),
            _ => None,
        };
        match snapshot {
            None => self.serve_with(asked, None),
            Some(Some(snapshot)) => self.serve_with(asked, Some(&snapshot)),
            Some(None) => {
                self.for_topics.push(asked);
                self.read_topics();
            }
        }
    }

    fn is_consumer(&self, name: &GroupName) -> bool {
        let group = self.groups.get(name);
        group.is_some_and(|slot| match slot {
            Slot::Here(group) => matches!(group.machine, Machine::Consumer(_)),
            Slot::Loading(..) => false,
        })
    }

    /// The topics, if they are new enough; else they are to be waited for.
    fn topics(&mut self, must_be_fresh: bool) -> Option<Arc<Snapshot>> {
        let directory = &self.parts.topics;
        let snapshot = directory.current()?;
        if directory.is_old(&snapshot) {
            let is_enough = !must_be_fresh;
            self.read_topics();
            return is_enough.then_some(snapshot);
        }
        (!must_be_fresh || directory.is_fresh(&snapshot)).then_some(snapshot)
    }

    fn read_topics(&mut self) {
        if std::mem::replace(&mut self.is_reading_topics, true) {
            return;
        }
        let directory = Arc::clone(&self.parts.topics);
        let reading = async move { Done::Topics(directory.refresh().await) };
        self.jobs.push(reading.boxed());
    }

    fn topics_read(&mut self, read: &Result<Arc<Snapshot>, GroupsError>) {
        self.is_reading_topics = false;
        for asked in std::mem::take(&mut self.for_topics) {
            match read {
                Ok(snapshot) => {
                    if matches!(self.groups.get(asked.ask.group()), Some(Slot::Here(_))) {
                        self.serve_with(asked, Some(snapshot));
                    } else {
                        self.asked(asked);
                    }
                }
                Err(error) => asked.ask.fail(error.clone()),
            }
        }
    }

    fn serve_with(&mut self, asked: Asked, snapshot: Option<&Snapshot>) {
        let Asked { ask, hold } = asked;
        let name = ask.group().clone();
        let Some(mut group) = self.take_here(&name) else {
            ask.fail(GroupsError::Loading);
            return;
        };
        let env = self.parts.env.clone();
        let at = Moment {
            settings: &self.parts.settings,
            metrics: &self.parts.metrics,
            env: &env,
            now: env.clock.now(),
            wall: env.clock.wall(),
        };
        group.last_used = at.now;
        let view = snapshot.map(|snapshot| View {
            snapshot,
            patterns: &self.patterns,
        });
        match ask {
            Ask::Join(request, reply) => group.join(request, reply, view.as_ref(), &at),
            Ask::Sync(request, reply) => group.sync(request, reply, view.as_ref(), &at),
            Ask::Heartbeat(request, reply) => group.heartbeat(&request, reply, &at),
            Ask::Leave(request, reply) => group.leave(request, reply, &at),
            Ask::Commit(request, reply) => group.commit(request, reply, &at),
            Ask::EndTransaction(request, reply) => group.end_transaction(&request, reply, &at),
            Ask::CheckFetch {
                member_id,
                epoch,
                reply,
                ..
            } => group.check_fetch(&member_id, epoch, reply),
            Ask::Describe(_, reply) => {
                let description = group.exists().then(|| group.machine.describe());
                group.answer(reply, description.ok_or(GroupsError::GroupNotFound));
            }
            Ask::Beat(request, reply) => match &view {
                Some(view) => group.beat(request, reply, view, &at),
                None => group.answer(reply, Err(GroupsError::Loading)),
            },
            Ask::DeleteOffsets(request, reply) => match &view {
                Some(view) => group.delete_offsets(&request, reply, view),
                None => group.answer(reply, Err(GroupsError::Loading)),
            },
            // What is on its way is to be deleted too.
            ask @ Ask::Delete(..) if group.is_writing() => group.defer(Asked { ask, hold: None }),
            Ask::Delete(_, reply) => self.begin_delete(&mut group, reply),
            Ask::Expire(_) => self.begin_expiry(&mut group),
        }
        // The request's own memory is the group's from here on.
        drop(hold);
        self.end_turn(group);
    }

    // ----- what was waited for --------------------------------------------------------------------

    fn done(&mut self, done: Done) {
        match done {
            Done::Loaded(read) => self.loaded(read),
            Done::Sent(sent) => self.sent(sent),
            Done::Topics(read) => self.topics_read(&read),
            Done::Found(found) => self.found(*found),
            Done::Swept(swept) => self.swept(swept),
        }
    }
}

async fn sleep(clock: Arc<dyn tidelog_env::Clock>, until: Option<MonoTime>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Nothing happened.
pub(super) fn no_memory() -> GroupsError {
    GroupsError::Unavailable {
        reason: "the memory for groups is used up".to_owned(),
    }
}
