//! Makes a store again from a backup, and begins a new generation of the cluster.

use std::time::Duration;

use bytes::Bytes;
use tidelog_blob::BackupName;
use tidelog_env::Env;
use tidelog_store::{KeyRange, RowSource, ScanOptions, Store};
use tidelog_types::{ClusterGeneration, Incarnation, Tenant};

use super::Backups;
use super::error::RestoreError;
use super::generation::{Counters, Fate, Jump};
use super::objects::{ObjectError, names_below, put_new};
use super::part_reader::Backup;
use super::restore_rows::{Change, Steps};
use super::scan::{Pages, Rest, Row};
use crate::keyspace::{
    ClusterRow, KeyKind, Keyspace, RestoreRow, RestoreState, RowError, TopicRow,
};

/// How often a generation that another restore takes meanwhile is left to it.
const CLAIMS_MAX: u32 = 16;

/// How to restore.
#[derive(Debug)]
pub struct RestoreOptions<'a> {
    /// Clock, randomness, tasks.
    pub env: &'a Env,
    /// Where to. It must have no rows, unless they may go.
    pub store: &'a dyn Store,
    /// What from.
    pub name: &'a BackupName,
    /// Whether the rows that are in the store may be deleted.
    pub wipe: bool,
    /// How long metadata processes on the same store are looked for, if it knows any: longer than they
    /// take from one beat to the next.
    pub watch: Duration,
}

/// What a restore has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The generation that has begun.
    pub generation: ClusterGeneration,
    /// The first incarnation that it gives out; all lower ones have ended.
    pub first_incarnation: Incarnation,
    /// Rows that were written.
    pub rows: u64,
}

/// What a store holds.
#[derive(Debug)]
struct Standing {
    is_empty: bool,
    generation: ClusterGeneration,
    restore: Option<RestoreRow>,
}

impl Standing {
    /// Refuses rows that nobody has said may go.
    fn check(&self, wipe: bool) -> Result<(), RestoreError> {
        let was_interrupted = self
            .restore
            .as_ref()
            .is_some_and(|row| row.state == RestoreState::Running);
        if self.is_empty || was_interrupted || wipe {
            Ok(())
        } else {
            Err(RestoreError::NotEmpty)
        }
    }
}

impl Backups {
    /// Looks whether [`restore`](Self::restore) would refuse: because of the backup, or of rows that are there.
    /// It only reads, so that whoever has the store keeps it. `rows` is what is in the store, if there is one, and `name`
    /// the backup, if it is to be from one.
    pub async fn check_restore<R: RowSource + ?Sized>(
        &self,
        rows: Option<&R>,
        env: &Env,
        name: Option<&BackupName>,
        wipe: bool,
    ) -> Result<(), RestoreError> {
        if let Some(name) = name {
            let of_backup = |source| RestoreError::Backup {
                name: name.clone(),
                source: Box::new(source),
            };
            let backup = Backup::open(self, name).await.map_err(of_backup)?;
            backup.verify().await.map_err(of_backup)?;
        }
        let Some(source) = rows.filter(|_| !wipe) else {
            return Ok(());
        };
        let options = ScanOptions::default();
        let pages = Pages {
            source,
            env,
            options,
        };
        standing(&pages, Keyspace::new(Tenant::default()))
            .await?
            .check(wipe)
    }

    /// Restores a backup into a store that nobody else uses.
    ///
    /// Nothing is written before the whole backup was read and found right. A store that a restore has not
    /// finished is refused by [`MetadataService::open`](crate::MetadataService::open); the restore is to be
    /// run again, from the begin and without `wipe`. What it ends with waits for
    /// [`accept_restore`](super::accept_restore).
    pub async fn restore(&self, options: &RestoreOptions<'_>) -> Result<Restored, RestoreError> {
        let (restored, _) = self.restore_as(options, RestoreState::Pending).await?;
        Ok(restored)
    }

    /// The same, and what its row says in the end. One that stays *running* is refused by whoever opens the store, until
    /// somebody who goes on with it says otherwise.
    pub(crate) async fn restore_as(
        &self,
        options: &RestoreOptions<'_>,
        state: RestoreState,
    ) -> Result<(Restored, RestoreRow), RestoreError> {
        let of_backup = |source| RestoreError::Backup {
            name: options.name.clone(),
            source: Box::new(source),
        };
        let backup = Backup::open(self, options.name).await.map_err(of_backup)?;
        backup.verify().await.map_err(of_backup)?;
        let restoring = Restoring {
            backups: self,
            options,
            keys: Keyspace::new(Tenant::default()),
            pages: Pages {
                source: options.store,
                env: options.env,
                options: ScanOptions::default(),
            },
        };
        let (restored, row) = restoring.run(&backup, state).await?;
        tracing::info!(
            backup = %options.name,
            generation = restored.generation.get(),
            rows = restored.rows,
            "restored the metadata store"
        );
        Ok((restored, row))
    }
}

/// A store that is taken over.
pub(super) struct Restoring<'a> {
    pub(super) backups: &'a Backups,
    pub(super) options: &'a RestoreOptions<'a>,
    pub(super) keys: Keyspace,
    pub(super) pages: Pages<'a, dyn Store>,
}

/// The generation that begins, and what the store had.
pub(super) struct Claimed {
    pub(super) generation: ClusterGeneration,
    standing: Standing,
}

impl Restoring<'_> {
    async fn run(
        &self,
        backup: &Backup<'_>,
        state: RestoreState,
    ) -> Result<(Restored, RestoreRow), RestoreError> {
        let numbers = async { self.numbers(backup).await };
        let claimed = self.claim(backup.origin.generation, numbers).await?;
        let (claimed, (counters, cluster)) = claimed;
        let generation = claimed.generation;
        let jump = Jump::between(backup.origin.generation, generation);
        let (counters, first_incarnation) = counters.raised(jump, self.keys)?;
        let (mut steps, row) = self.begin(claimed, first_incarnation).await?;
        self.rows(backup, &mut steps, jump).await?;
        let cluster = ClusterRow {
            generation,
            ..cluster
        };
        let last = [(self.keys.cluster(), cluster.encode())];
        for (key, value) in counters.into_iter().chain(last) {
            steps.push(Change::Put(key, value)).await?;
        }
        self.end(steps, RestoreRow { state, ..row }).await
    }

    /// Looks whether the store may be taken over, then whatever else is to be known before, then takes a generation.
    pub(super) async fn claim<T>(
        &self,
        before: ClusterGeneration,
        known: impl Future<Output = Result<T, RestoreError>>,
    ) -> Result<(Claimed, T), RestoreError> {
        let standing = standing(&self.pages, self.keys).await?;
        standing.check(self.options.wipe)?;
        self.check_unused().await?;
        let known = known.await?;
        let generation = self.take(standing.generation.max(before)).await?;
        let claimed = Claimed {
            generation,
            standing,
        };
        Ok((claimed, known))
    }

    /// From here on nobody uses the store, and it has no rows.
    pub(super) async fn begin(
        &self,
        claimed: Claimed,
        first_incarnation: Incarnation,
    ) -> Result<(Steps<'_>, RestoreRow), RestoreError> {
        let Claimed {
            generation,
            standing,
        } = claimed;
        let row = RestoreRow {
            state: RestoreState::Running,
            nonce: self.options.env.rng.bytes_16(),
            step: 0,
            generation,
            first_incarnation,
            begun_at: self.options.env.clock.wall(),
            backup: self.options.name.to_string(),
        };
        let (store, env) = (self.options.store, self.options.env);
        // Whoever had a shard finds no lease from here on, and whoever opens finds the restore.
        let first = vec![
            Change::Delete(self.keys.cluster()),
            Change::DeleteRange(self.keys.all(KeyKind::Lease)),
        ];
        let mut steps =
            Steps::begin(store, env, self.keys, row.clone(), standing.restore, first).await?;
        if !standing.is_empty {
            self.wipe(&mut steps).await?;
        }
        steps.written = 0;
        Ok((steps, row))
    }

    /// Writes what waits, and the row as it is to stay.
    pub(super) async fn end(
        &self,
        steps: Steps<'_>,
        row: RestoreRow,
    ) -> Result<(Restored, RestoreRow), RestoreError> {
        let rows = steps.finish(row.clone()).await?;
        let restored = Restored {
            generation: row.generation,
            first_incarnation: row.first_incarnation,
            rows,
        };
        Ok((restored, row))
    }

    /// Fails if the rows of members change: then their processes live.
    async fn check_unused(&self) -> Result<(), RestoreError> {
        let before = self.members().await?;
        if before.is_empty() {
            return Ok(());
        }
        self.options.env.clock.sleep(self.options.watch).await;
        if self.members().await? == before {
            Ok(())
        } else {
            Err(RestoreError::InUse)
        }
    }

    async fn members(&self) -> Result<Vec<Row>, RestoreError> {
        let mut members = Vec::new();
        let mut rest = Rest::of(self.keys.all(KeyKind::Member));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            members.extend(rows);
        }
        Ok(members)
    }

    /// Takes a generation that no other restore has had or will have.
    async fn take(&self, known: ClusterGeneration) -> Result<ClusterGeneration, RestoreError> {
        let layout = &self.backups.layout;
        let objects = self.backups.objects.as_ref();
        let taken = names_below(objects, &layout.restores_root())
            .await
            .map_err(RestoreError::Claim)?;
        let taken = taken.iter().filter_map(|path| layout.parse_restore(path));
        let highest = taken.chain([known]).max().unwrap_or_default().get();
        let text = format!("{}\n", self.options.name);
        // Bytes of our own, so that another's object is never taken for ours.
        let nonce = self.options.env.rng.bytes_16();
        let body = Bytes::from([text.as_bytes(), &nonce].concat());
        let mut last = None;
        for number in (1..=CLAIMS_MAX).map_while(|more| highest.checked_add(more)) {
            let generation = ClusterGeneration::new(number);
            match put_new(objects, &layout.restore(generation), body.clone()).await {
                Ok(()) => return Ok(generation),
                Err(error @ ObjectError::Taken(_)) => last = Some(error),
                Err(error) => return Err(RestoreError::Claim(error)),
            }
        }
        Err(last.map_or(RestoreError::Exhausted("generations"), RestoreError::Claim))
    }

    /// Deletes all rows but the one of the restore.
    async fn wipe(&self, steps: &mut Steps<'_>) -> Result<(), RestoreError> {
        let own = self.keys.restore();
        let mut rest = Rest::of(KeyRange::all());
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, _) in rows.into_iter().filter(|(key, _)| *key != own) {
                steps.push(Change::Delete(key)).await?;
            }
            steps.flush().await?;
        }
        Ok(())
    }

    async fn part(&self, backup: &Backup<'_>, number: u32) -> Result<Vec<Row>, RestoreError> {
        let part = backup.part(number).await;
        part.map_err(|source| RestoreError::Backup {
            name: self.options.name.clone(),
            source: Box::new(source),
        })
    }

    /// The counters and the cluster's row, which come last: they are needed first.
    async fn numbers(&self, backup: &Backup<'_>) -> Result<(Counters, ClusterRow), RestoreError> {
        let mut counters = Counters::default();
        let mut cluster = None;
        for number in 1..=backup.end.parts {
            for (key, value) in self.part(backup, number).await? {
                match kind_of(&key)? {
                    KeyKind::Counter => counters.note(self.keys, &key, value)?,
                    KeyKind::Cluster => cluster = Some(ClusterRow::decode(value)?),
                    _ => {}
                }
            }
        }
        let cluster = cluster.filter(|row| row.id == self.backups.cluster);
        let missing = RowError {
            kind: "cluster",
            what: "the backup has none",
        };
        Ok((counters, cluster.ok_or(missing)?))
    }

    async fn rows(
        &self,
        backup: &Backup<'_>,
        steps: &mut Steps<'_>,
        jump: Jump,
    ) -> Result<(), RestoreError> {
        for number in 1..=backup.end.parts {
            for (key, value) in self.part(backup, number).await? {
                match jump.fate(kind_of(&key)?, value)? {
                    Fate::Stays(value) => steps.push(Change::Put(key, value)).await?,
                    Fate::Topic(value) => {
                        let row = Box::new(TopicRow::decode(value)?);
                        steps.push(Change::Topic(row)).await?;
                    }
                    Fate::Later => {}
                }
            }
        }
        steps.flush().await
    }
}

async fn standing<R: RowSource + ?Sized>(
    pages: &Pages<'_, R>,
    keys: Keyspace,
) -> Result<Standing, RestoreError> {
    let any = pages.last(KeyRange::all()).await?;
    let cluster = pages.value(keys.cluster()).await?;
    // A damaged row is no hindrance: that may be why there is a restore.
    let cluster = cluster.and_then(|value| ClusterRow::decode(value).ok());
    let restore = pages.value(keys.restore()).await?;
    let restore = restore.map(RestoreRow::decode).transpose()?;
    let generation = cluster.map_or_else(ClusterGeneration::default, |row| row.generation);
    Ok(Standing {
        is_empty: any.is_none(),
        generation,
        restore,
    })
}

fn kind_of(key: &[u8]) -> Result<KeyKind, RestoreError> {
    let unknown = RowError {
        kind: "backup",
        what: "a kind of key is unknown",
    };
    Ok(Keyspace::kind_of(key).ok_or(unknown)?)
}
