//! What may be deleted from the bucket: found here, handed out to janitors, and noted when it is done.
//!
//! ```text
//!   dying row --> no shard has live bytes, no commit can come --> dead since --> grace --> handed out --> rows go
//!   floor, end of a writer --> names that may be looked at --> grace --> handed out --> looked at up to there
//! ```
//!
//! A **pass** goes through the dying rows and then through the writers, in steps of one transaction each. It begins
//! when something has changed that may matter, or when something is due; where neither is, nothing is read. All that is
//! known beyond the rows is in memory only: another process finds it again.

mod dead;
mod noted;
mod orphans;
mod plan;
mod signal;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::Env;
use tidelog_metadata_api::{DELETIONS_MAX, Deletions, LogError};
use tidelog_store::{KeyRange, ReadMode, Store, TransactError, Transaction};
use tidelog_types::{Incarnation, Timestamp};

use crate::backup::{PendingError, pending_restore};
use crate::generation::Generation;
use crate::keyspace::{Counter, KeyKind, Keyspace, NumberRow, RowError};
use crate::metrics::Keeping;
use crate::numbers::log_error;
use crate::service::OpenOptions;
use plan::Plan;
pub(crate) use signal::DeletionSignal;

/// Steps of one call.
const STEPS: usize = 32;
/// How long nothing is looked at while a restore waits for an operator.
const RESTORE_PAUSE: Duration = Duration::from_mins(1);

/// What a transaction here fails with.
type Failed = TransactError<LogError>;

/// What it works with.
#[derive(Clone, Debug)]
struct DeletionParts {
    env: Env,
    store: Arc<dyn Store>,
    generation: Generation,
    /// How long what is dead is kept.
    grace: Duration,
    /// Whether other processes change the store too, of which this one does not hear.
    is_shared: bool,
    signal: DeletionSignal,
    metrics: Keeping,
}

/// Finds out what may be deleted.
#[derive(Debug)]
pub(crate) struct Deletion {
    parts: DeletionParts,
    plan: Mutex<Plan>,
    /// Held while rows are looked at: one step at a time.
    pass: tokio::sync::Mutex<Pass>,
}

/// Where the pass goes on.
#[derive(Clone, Debug)]
enum Pass {
    Dying(KeyRange),
    /// From this writer on.
    Orphans(Incarnation),
    Over,
}

/// What a step came to.
#[derive(Debug, Default)]
struct Step {
    found: Deletions,
    /// When the first thing that it has seen is due.
    due: Option<Timestamp>,
    /// Since when the first segment that it has seen is dead.
    oldest: Option<Timestamp>,
    /// How many dead segments it has seen that lie in the store.
    in_store: u32,
    /// Where the next one goes on in its kind of rows.
    rest: Option<Rest>,
    /// A restore waits: nothing may go.
    is_blocked: bool,
}

#[derive(Debug)]
enum Rest {
    Dying(KeyRange),
    Orphans(Incarnation),
}

impl Deletion {
    /// What a service that is opened has of it.
    pub(crate) fn of(options: &OpenOptions, generation: &Generation, is_shared: bool) -> Self {
        Self::new(DeletionParts {
            env: options.env.clone(),
            store: Arc::clone(&options.store),
            generation: generation.clone(),
            grace: options.sequencer.deletion_grace,
            is_shared,
            signal: DeletionSignal::default(),
            metrics: options.metrics.keeping.clone(),
        })
    }

    /// Where it hears that there may be more to delete.
    pub(crate) const fn signal(&self) -> &DeletionSignal {
        &self.parts.signal
    }

    fn new(parts: DeletionParts) -> Self {
        let plan = Plan::new(parts.grace, parts.is_shared);
        Self {
            parts,
            plan: Mutex::new(plan),
            pass: tokio::sync::Mutex::new(Pass::Over),
        }
    }

    const fn keys(&self) -> Keyspace {
        self.parts.generation.keys()
    }

    fn now(&self) -> Timestamp {
        self.parts.env.clock.wall()
    }

    /// Ends when there may be something to do. Cancel-safe.
    pub(crate) async fn due(&self) {
        let clock = self.parts.env.clock.as_ref();
        let mut heard = self.parts.signal.watch();
        loop {
            let count = *heard.borrow_and_update();
            let deadline = self.plan.lock().deadline(count);
            match deadline {
                Some(at) if at <= clock.now() => return,
                Some(at) => tokio::select! {
                    () = clock.sleep_until(at) => {}
                    // The sender is here.
                    _ = heard.changed() => {}
                },
                None => drop(heard.changed().await),
            }
        }
    }

    /// Hands out something to delete, if there is something.
    pub(crate) async fn deletions(&self) -> Result<Deletions, LogError> {
        let Ok(mut pass) = self.pass.try_lock() else {
            // Somebody else is being given it.
            return Ok(Deletions::default());
        };
        let clock = self.parts.env.clock.as_ref();
        let count = self.parts.signal.count();
        if !self.plan.lock().is_due(count, clock.now()) {
            return Ok(Deletions::default());
        }
        if matches!(*pass, Pass::Over) {
            self.plan.lock().begin(count, clock.now());
            *pass = Pass::Dying(self.keys().all(KeyKind::Dying));
        }
        let found = self.steps(&mut pass).await;
        let count = found
            .as_ref()
            .map_or(0, |found| found.dead.len() + found.orphans.len());
        if count > 0 {
            self.plan.lock().hand_out(count, clock.now());
        }
        found
    }

    /// Steps until something is found: of dead segments as many as may be handed out at once, since of each time the
    /// backups are asked.
    async fn steps(&self, pass: &mut Pass) -> Result<Deletions, LogError> {
        let mut found = Deletions::default();
        for _ in 0..STEPS {
            let some = match self.step(pass).await {
                Ok(step) => self.stepped(pass, step),
                Err(error) => {
                    self.parts.metrics.failures.inc();
                    if found.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            };
            found.dead.extend(some.dead);
            found.orphans.extend(some.orphans);
            let may_be_more =
                matches!(pass, Pass::Dying(_)) && found.dead.len() + dead::ROWS <= DELETIONS_MAX;
            if matches!(pass, Pass::Over) || (!found.is_empty() && !may_be_more) {
                break;
            }
        }
        Ok(found)
    }

    async fn step(&self, pass: &Pass) -> Result<Step, LogError> {
        match pass {
            Pass::Dying(range) => self.dying(range.clone()).await,
            Pass::Orphans(from) => self.orphans(*from).await,
            Pass::Over => Ok(Step::default()),
        }
    }

    /// Takes note of what a step came to.
    fn stepped(&self, pass: &mut Pass, step: Step) -> Deletions {
        let clock = self.parts.env.clock.as_ref();
        let (now, wall) = (clock.now(), clock.wall());
        let mut plan = self.plan.lock();
        plan.note(now, wall, step.due, step.oldest);
        plan.in_store += i64::from(step.in_store);
        *pass = match (step.rest, &*pass) {
            _ if step.is_blocked => Pass::Over,
            (Some(Rest::Dying(range)), _) => Pass::Dying(range),
            (Some(Rest::Orphans(writer)), _) => Pass::Orphans(writer),
            (None, Pass::Dying(_)) => Pass::Orphans(Incarnation::default()),
            (None, Pass::Orphans(_) | Pass::Over) => Pass::Over,
        };
        if step.is_blocked {
            plan.retry(now + RESTORE_PAUSE);
        }
        if matches!(*pass, Pass::Over) {
            let oldest = plan.end();
            let seconds = oldest.map_or(0, |since| since.as_millis() / 1_000);
            self.parts.metrics.dead_since.set(seconds);
            self.parts.metrics.inline_dead.set(plan.in_store);
        }
        step.found
    }

    /// What is the same for each transaction: it is of this generation, and no restore waits for an operator.
    async fn may_go(&self, transaction: &mut dyn Transaction) -> Result<bool, Failed> {
        self.parts.generation.check(transaction).await?;
        let pending = pending_restore(transaction).await;
        let pending = pending.map_err(|error| match error {
            PendingError::Read(error) => Failed::Read(error),
            PendingError::Row(error) => damaged(&error),
        })?;
        Ok(pending.is_none())
    }

    async fn number(
        &self,
        transaction: &mut dyn Transaction,
        counter: Counter,
    ) -> Result<u64, Failed> {
        let key = self.keys().counter(counter);
        let value = transaction.get(&key, ReadMode::Serializable).await?;
        let row = value.map(NumberRow::decode).transpose();
        let row = row.map_err(|error| damaged(&error))?;
        Ok(row.map_or(0, |row| row.0))
    }

    /// Whether something that became so at a time has been so for the grace period, else when.
    fn is_over(&self, since: Timestamp) -> Result<(), Timestamp> {
        let grace = i64::try_from(self.parts.grace.as_millis()).unwrap_or(i64::MAX);
        let due = Timestamp::from_millis(since.as_millis().saturating_add(grace));
        if due <= self.now() { Ok(()) } else { Err(due) }
    }
}

fn damaged(error: &RowError) -> Failed {
    Failed::Abort(LogError::Corrupt {
        reason: error.to_string(),
    })
}

fn failed(error: Failed) -> LogError {
    match error {
        Failed::Read(error) => log_error(error),
        error => crate::numbers::transact_error(error),
    }
}

fn earliest(one: Option<Timestamp>, other: Timestamp) -> Timestamp {
    one.map_or(other, |one| one.min(other))
}
