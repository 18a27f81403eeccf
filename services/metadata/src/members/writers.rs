//! The ends of writers, one by one (rule C6): an incarnation whose member has left, or that no member has
//! been for long, takes no more commits. Its floor says so, which every group transaction reads; and when
//! all below some incarnation have ended, the oldest live one is raised, and their floors may go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidelog_env::{BackoffPolicy, Env, MonoTime};
use tidelog_store::{
    ReadMode, ScanOptions, Store, StoreError, TransactError, Transaction, transact,
};
use tidelog_types::Incarnation;
use tokio::sync::watch;

use super::sweep::Roster;
use crate::catalogue::RETRY;
use crate::deletion::DeletionSignal;
use crate::generation::{Generation, Refusal};
use crate::keyspace::{Counter, FloorRow, KeyKind, Keyspace, MemberRow, NumberRow, RowError};

/// Incarnations that one look takes account of, from the oldest live one on.
const WRITERS_AT_ONCE: u64 = 10_000;
/// Incarnations that one transaction ends.
const ENDS_AT_ONCE: usize = 1_000;
/// A look that comes later than this part of the time after which a writer ends has missed something.
const GAPS: u32 = 3;
/// Waits while the store does not take note of an end. After them a look finds it, later.
const PATIENCE: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(100), Duration::from_secs(5), 10);

/// Why the state of writers is not known.
#[derive(Debug, Error)]
pub(crate) enum WritersError {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Transact(#[from] TransactError<Refusal>),
}

/// Ends writers.
#[derive(Clone, Debug)]
pub(crate) struct Writers {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keyspace,
    pub(crate) generation: Generation,
    /// Told when one has ended.
    pub(crate) deletions: DeletionSignal,
}

/// Where it is known which incarnations members are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Living<'a> {
    /// Here.
    InMemory(&'a watch::Receiver<Arc<Roster>>),
    /// In the rows of the members.
    InRows,
}

/// The writers that nobody is, and since when, on the clock of this process.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    since: BTreeMap<Incarnation, MonoTime>,
    looked_at: MonoTime,
}

impl Missing {
    /// Begins a look. Who was missing for a time in which nobody looked, for the process was stopped or the
    /// store was away, may have been there meanwhile, and could not come: then all count anew.
    fn begin(&mut self, now: MonoTime, gap_max: Duration) {
        if now.saturating_since(self.looked_at) > gap_max {
            self.since.clear();
        }
    }

    /// Takes note of those that nobody is now.
    fn note(&mut self, now: MonoTime, nobodys: &BTreeSet<Incarnation>) {
        self.looked_at = now;
        self.since.retain(|writer, _| nobodys.contains(writer));
        for writer in nobodys {
            self.since.entry(*writer).or_insert(now);
        }
    }

    /// Those that nobody has been for so long.
    fn due(&self, now: MonoTime, grace: Duration) -> Vec<Incarnation> {
        let since = self.since.iter();
        let due = since.filter(|(_, since)| now.saturating_since(**since) >= grace);
        due.map(|(writer, _)| *writer).take(ENDS_AT_ONCE).collect()
    }
}

/// What is stored of writers.
struct Stored {
    oldest_live: u64,
    last: u64,
    ended: BTreeSet<u64>,
}

impl Stored {
    /// Those that may write still.
    fn open(&self) -> impl Iterator<Item = u64> {
        let all = self.oldest_live.max(1)..=self.last;
        all.filter(|number| !self.ended.contains(number))
    }

    /// The first of them when these have ended too.
    fn first_live(&self, due: &[Incarnation]) -> u64 {
        let due: BTreeSet<u64> = due.iter().map(|writer| writer.get()).collect();
        let first = self.open().find(|number| !due.contains(number));
        first.unwrap_or_else(|| self.last.saturating_add(1))
    }
}

impl Writers {
    /// Ends one writer, whose member has left for good.
    pub(crate) async fn end(&self, incarnation: Incarnation) -> Result<(), WritersError> {
        let key = self.keys.floor(incarnation);
        // It is above all other floors, so that none need be read.
        let ended = transact(self.store.as_ref(), &self.env, RETRY, |mut transaction| {
            let key = key.clone();
            async move {
                self.generation.check(transaction.as_mut()).await?;
                transaction.put(key, FloorRow::ENDED.encode());
                Ok((transaction, ()))
            }
        });
        ended.await?;
        self.deletions.tell();
        Ok(())
    }

    /// The same, again and again while the store is out of reach.
    pub(crate) async fn end_patiently(&self, incarnation: Incarnation) {
        let mut backoff = PATIENCE.start();
        loop {
            let Err(error) = self.end(incarnation).await else {
                tracing::info!(incarnation = incarnation.get(), "writer has ended");
                return;
            };
            let wait = backoff.next_wait(self.env.rng.as_ref());
            let Some(wait) = wait.filter(|_| !self.generation.has_ended()) else {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    incarnation = incarnation.get(),
                    error,
                    "end of writer not noted"
                );
                return;
            };
            self.env.clock.sleep(wait).await;
        }
    }

    /// Ends the writers that no member has been for `grace`, and raises the oldest live one. Returns
    /// whether none is left that nobody is.
    pub(crate) async fn look(
        &self,
        missing: &mut Missing,
        living: Living<'_>,
        grace: Duration,
    ) -> Result<bool, WritersError> {
        let now = self.env.clock.now();
        missing.begin(now, grace / GAPS);
        let stored = self.stored().await?;
        let alive = match living {
            Living::InMemory(roster) => roster.borrow().writers.clone(),
            Living::InRows => {
                let mut transaction = self.store.begin().await?;
                let writers = self.in_rows(transaction.as_mut(), ReadMode::Snapshot);
                writers.await?
            }
        };
        let open = stored.open().map(Incarnation::new);
        let nobodys: BTreeSet<_> = open.filter(|writer| !alive.contains(writer)).collect();
        missing.note(now, &nobodys);
        let due = missing.due(now, grace);
        let can_rise = stored.ended.contains(&stored.oldest_live.max(1));
        if !due.is_empty() || can_rise {
            let ended = self.end_all(&stored, &due, living).await?;
            for writer in &due {
                missing.since.remove(writer);
            }
            self.deletions.tell();
            for writer in &ended {
                tracing::info!(
                    incarnation = writer.get(),
                    ?grace,
                    "writer has ended, since no member has been it for so long"
                );
            }
        }
        Ok(missing.since.is_empty())
    }

    /// The incarnations that members are, by their rows.
    async fn in_rows(
        &self,
        transaction: &mut dyn Transaction,
        mode: ReadMode,
    ) -> Result<BTreeSet<Incarnation>, WritersError> {
        let mut writers = BTreeSet::new();
        let mut rest = Some(self.keys.all(KeyKind::Member));
        while let Some(range) = rest.take() {
            let options = ScanOptions {
                mode,
                ..ScanOptions::default()
            };
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let id = Keyspace::member_id(&key).ok_or(RowError {
                    kind: "member",
                    what: "its key has another length",
                })?;
                writers.extend(MemberRow::decode(id, value)?.member.writers());
            }
        }
        Ok(writers)
    }

    async fn stored(&self) -> Result<Stored, WritersError> {
        let mut transaction = self.store.begin().await?;
        let mut stored = Stored {
            oldest_live: self
                .number(
                    transaction.as_mut(),
                    Counter::OldestLiveIncarnation,
                    ReadMode::Snapshot,
                )
                .await?,
            last: self
                .number(
                    transaction.as_mut(),
                    Counter::Incarnation,
                    ReadMode::Snapshot,
                )
                .await?,
            ended: BTreeSet::new(),
        };
        let end = stored.oldest_live.saturating_add(WRITERS_AT_ONCE);
        stored.last = stored.last.min(end);
        let range = self.keys.floors_from(Incarnation::new(stored.oldest_live));
        let mut rest = Some(range);
        while let Some(range) = rest.take() {
            let options = ScanOptions::default().snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let writer = Keyspace::floor_incarnation(&key).ok_or(RowError {
                    kind: "floor",
                    what: "its key has another length",
                })?;
                if FloorRow::decode(value)?.has_ended() {
                    stored.ended.insert(writer.get());
                }
                if writer.get() > stored.last {
                    return Ok(stored);
                }
            }
        }
        Ok(stored)
    }

    /// One transaction: these end, unless a member is one of them at this moment, and the oldest live one goes
    /// up as far as it can. Returns those that have ended.
    ///
    /// Rows of members are read so that one that is written meanwhile makes the transaction conflict: whoever
    /// slept, and believes what was true before, ends nobody who lives.
    async fn end_all(
        &self,
        stored: &Stored,
        due: &[Incarnation],
        living: Living<'_>,
    ) -> Result<Vec<Incarnation>, WritersError> {
        let oldest_key = self.keys.counter(Counter::OldestLiveIncarnation);
        let done = transact(self.store.as_ref(), &self.env, RETRY, |mut transaction| {
            let oldest_key = oldest_key.clone();
            async move {
                self.generation.check(transaction.as_mut()).await?;
                let alive = match living {
                    _ if due.is_empty() => BTreeSet::new(),
                    Living::InMemory(roster) => roster.borrow().writers.clone(),
                    Living::InRows => {
                        let writers = self.in_rows(transaction.as_mut(), ReadMode::Serializable);
                        writers.await.map_err(aborted)?
                    }
                };
                let due = due.iter().filter(|writer| !alive.contains(writer));
                let due: Vec<Incarnation> = due.copied().collect();
                let first_live = stored.first_live(&due);
                // It never goes down, whoever else raises it.
                let oldest = self
                    .number(
                        transaction.as_mut(),
                        Counter::OldestLiveIncarnation,
                        ReadMode::Serializable,
                    )
                    .await
                    .map_err(aborted)?;
                if oldest < first_live {
                    transaction.put(oldest_key, NumberRow(first_live).encode());
                }
                for writer in &due {
                    transaction.put(self.keys.floor(*writer), FloorRow::ENDED.encode());
                }
                Ok((transaction, due))
            }
        });
        Ok(done.await?)
    }

    async fn number(
        &self,
        transaction: &mut dyn Transaction,
        counter: Counter,
        mode: ReadMode,
    ) -> Result<u64, WritersError> {
        let value = transaction.get(&self.keys.counter(counter), mode).await?;
        let row = value.map(NumberRow::decode).transpose()?;
        Ok(row.map_or(0, |row| row.0))
    }
}

fn aborted(error: WritersError) -> TransactError<Refusal> {
    match error {
        WritersError::Read(error) => TransactError::Read(error),
        WritersError::Row(error) => TransactError::Abort(Refusal::Row(error)),
        WritersError::Transact(error) => error,
    }
}
