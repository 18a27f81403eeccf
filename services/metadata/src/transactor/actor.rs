//! The task that drives all transactional ids of a shard.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tidelog_env::{CancellationToken, Clock, MonoTime};
use tidelog_metadata_api::{
    CommitError, ProducerIdentity, TransactionNumber, TransactionalId, TransactionsError, Verified,
};
use tidelog_transactions::{Effects, Now, Outcome};
use tidelog_types::ShardId;
use tokio::sync::mpsc;

use super::TransactorParts;
use super::ask::{Ask, Asked, Given, Mail, Reply};
use super::errors::of_write;
use super::keeper::Keeper;
use super::loads::Read;
use super::sweep::Swept;
use super::telling::Told;
use crate::driver::{Owner, RowQueue, Sent, Sweep};
use crate::sequencer::Sequencer;

/// Requests that wait for one id to be read, at most.
const LOADING_WAITERS_MAX: usize = 1_000;
/// What waits in the mailbox comes before timers, since it may be the end of a transaction whose time is up; but for
/// timers that are later than this.
const OVERDUE: Duration = Duration::from_millis(250);

/// An id's place in memory.
#[derive(Debug)]
pub(super) enum Slot {
    /// It is being read, under the number that it will have; these wait for it.
    Loading(u64, Vec<Asked>),
    Here(Box<Keeper>),
}

/// What has been waited for.
#[derive(Debug)]
pub(super) enum Done {
    Loaded(Box<Read>),
    Sent(Sent),
    Told(Told),
    Swept(Swept),
}

pub(super) type Job = BoxFuture<'static, Done>;

/// The task's state.
pub(super) struct Actor {
    pub(super) parts: TransactorParts,
    pub(super) shard: ShardId,
    pub(super) sequencer: Arc<Sequencer>,
    pub(super) ids: HashMap<TransactionalId, Slot>,
    pub(super) sweep: Sweep<TransactionalId>,
    pub(super) jobs: FuturesUnordered<Job>,
    pub(super) wakes: BTreeSet<(MonoTime, TransactionalId)>,
    /// How many ids are being read.
    pub(super) loading: usize,
    pub(super) next_instance: u64,
    pub(super) writes: RowQueue<TransactionalId>,
    /// A write was not done: what is read before it is settled may not be what will be.
    pub(super) must_prove: bool,
    /// How many ids were said to be held.
    reported: i64,
    drained: CancellationToken,
}

impl Actor {
    pub(super) fn new(parts: TransactorParts, shard: ShardId, sequencer: Arc<Sequencer>) -> Self {
        let drained = parts.env.supervisor.token();
        Self {
            parts,
            shard,
            sequencer,
            ids: HashMap::new(),
            sweep: Sweep::default(),
            jobs: FuturesUnordered::new(),
            wakes: BTreeSet::new(),
            loading: 0,
            next_instance: 0,
            writes: RowQueue::default(),
            must_prove: false,
            reported: 0,
            drained,
        }
    }

    /// Works until the sequencer of the shard ends, or the process.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Mail>) {
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
                mail = asks.recv() => match mail {
                    Some(Mail::Asked(asked)) => self.asked(asked),
                    Some(Mail::MakeRoom(done)) => {
                        self.evict_idle();
                        // Who does not wait any more does not matter.
                        let _ = done.send(());
                    }
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
        let held = i64::try_from(self.ids.len()).unwrap_or(i64::MAX);
        let before = std::mem::replace(&mut self.reported, held);
        self.parts.metrics.held.inc_by(held - before);
    }

    /// Tells all who wait that another one coordinates their ids.
    fn end(mut self, mut asks: mpsc::Receiver<Mail>) {
        asks.close();
        while let Ok(mail) = asks.try_recv() {
            if let Mail::Asked(asked) = mail {
                asked.ask.fail(TransactionsError::NotCoordinator);
            }
        }
        for (_, slot) in self.ids.drain() {
            match slot {
                Slot::Loading(_, waiting) => {
                    for asked in waiting {
                        asked.ask.fail(TransactionsError::NotCoordinator);
                    }
                }
                Slot::Here(keeper) => keeper.fail(&TransactionsError::NotCoordinator),
            }
        }
        self.report();
    }

    pub(super) fn now(&self) -> Now {
        Now {
            mono: self.parts.env.clock.now(),
            wall: self.parts.env.clock.wall(),
        }
    }

    // ----- requests -------------------------------------------------------------------------------

    pub(super) fn asked(&mut self, asked: Asked) {
        let id = asked.ask.id().clone();
        match self.ids.get_mut(&id) {
            None => {
                self.begin_load(id, vec![asked]);
            }
            Some(Slot::Loading(_, waiting)) => {
                if waiting.len() < LOADING_WAITERS_MAX {
                    waiting.push(asked);
                } else {
                    asked.ask.fail(TransactionsError::Loading);
                }
            }
            Some(Slot::Here(_)) => self.serve(asked),
        }
    }

    fn serve(&mut self, asked: Asked) {
        let Asked { ask, hold } = asked;
        let id = ask.id().clone();
        let Some(mut keeper) = self.take_here(&id) else {
            ask.fail(TransactionsError::Loading);
            return;
        };
        let now = self.now();
        keeper.last_used = now.mono;
        match ask {
            Ask::Init(request, spare, reply) => {
                let outcome = keeper.machine.init(&request, spare, now);
                keeper.given(reply, outcome);
            }
            Ask::End(request, spare, reply) => {
                let outcome = keeper.machine.end(&request, spare, now);
                keeper.given(reply, outcome);
            }
            Ask::Add(work, reply) => {
                let outcome = keeper.machine.add(work.producer, &work.participants, now);
                keeper.take(outcome.effects);
                let number = keeper.number();
                let answer = outcome.answer.map(|()| number).map_err(Into::into);
                keeper.answers.answer(reply, answer);
            }
            Ask::Verify(work, reply) => {
                let missing = keeper.machine.verify(work.producer, &work.participants);
                let number = keeper.number();
                let verified = missing.map(|missing| Verified { number, missing });
                let answer = verified.map_err(Into::into);
                keeper.answers.answer(reply, answer);
            }
            Ask::Describe(_, reply) => {
                let description = keeper.describe().ok_or(TransactionsError::NotFound);
                keeper.answers.answer(reply, description);
            }
        }
        // The request's own memory is the id's from here on.
        drop(hold);
        self.end_turn(keeper);
    }

    // ----- time -----------------------------------------------------------------------------------

    fn next_wake(&self) -> Option<MonoTime> {
        let id = self.wakes.first().map(|(wake, _)| *wake);
        id.into_iter().chain(self.sweep.next()).min()
    }

    /// Time has come for some ids, or for the next sweep.
    fn woken(&mut self) {
        let now = self.now();
        if self.sweep.next().is_some_and(|next| next <= now.mono) {
            self.begin_sweep();
        }
        while let Some((due, id)) = self.wakes.first().cloned() {
            if due > now.mono {
                return;
            }
            self.wakes.pop_first();
            let Some(mut keeper) = self.take_here(&id) else {
                continue;
            };
            keeper.wake = None;
            let effects = keeper.machine.tick(now);
            let idle = keeper.last_used + self.parts.settings.idle;
            if effects == Effects::default() && keeper.is_idle() && idle <= now.mono {
                continue;
            }
            keeper.take(effects);
            self.end_turn(keeper);
        }
    }

    // ----- what was waited for --------------------------------------------------------------------

    fn done(&mut self, done: Done) {
        match done {
            Done::Loaded(read) => self.loaded(*read),
            Done::Sent(sent) => self.sent(sent),
            Done::Told(told) => self.told(&told),
            Done::Swept(swept) => self.swept(swept),
        }
    }

    fn sent(&mut self, sent: Sent) {
        match sent {
            Sent::Paused => self.writes.paused(),
            Sent::Written {
                up_to,
                result: Ok(()),
            } => {
                for owner in self.writes.written(up_to) {
                    self.written_of(&owner);
                }
            }
            Sent::Written {
                result: Err(error), ..
            } => self.not_written(&error),
        }
        self.pump();
    }

    /// Everything of an id up to a write is durable.
    fn written_of(&mut self, owner: &Owner<TransactionalId>) {
        let Some(mut keeper) = self.take_instance(&owner.name, owner.instance) else {
            return;
        };
        if let Some(markers) = keeper.end_write(owner.write) {
            self.begin_telling(&mut keeper, markers);
        }
        self.put_back(keeper);
    }

    /// What was on its way may not come: all ids of which there is something are read again, also if nobody asks for
    /// them, since a transaction may be open or its end be decided.
    fn not_written(&mut self, error: &CommitError) {
        let owners = self.writes.failed();
        tracing::warn!(
            shard = self.shard.get(),
            ids = owners.len(),
            error = error as &dyn std::error::Error,
            "transactional ids were not stored and are read again"
        );
        self.must_prove = true;
        for owner in owners {
            if let Some(keeper) = self.take_instance(&owner.name, owner.instance) {
                self.parts.metrics.not_stored.inc();
                self.forget(&keeper);
                keeper.fail(&of_write(error.clone()));
                if !self.begin_load(owner.name, Vec::new()) {
                    self.note_retry();
                }
            }
        }
    }
}

impl Keeper {
    /// Takes what follows from a request whose answer is who a producer is.
    fn given(&mut self, reply: Reply<Given>, outcome: Outcome<ProducerIdentity>) {
        let is_stored = outcome.effects.store;
        self.take(outcome.effects);
        let answer = outcome.answer.map(|producer| Given {
            producer,
            is_stored,
        });
        self.answers.answer(reply, answer.map_err(Into::into));
    }

    /// The number of the last transaction.
    fn number(&self) -> TransactionNumber {
        let stored = self.machine.stored();
        TransactionNumber(stored.map_or(0, |stored| stored.number))
    }
}

async fn sleep(clock: Arc<dyn Clock>, until: Option<MonoTime>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}
