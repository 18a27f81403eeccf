//! Makes the metadata store anew: from a backup, and from the merged segments that are newer than it.
//!
//! ```text
//!   restore --> fold the tail into pages --> indexes of newer merged segments --> chain --> read what is new --> rows
//! ```
//!
//! A backup alone loses what was committed after it. A merged segment says which offsets of which partitions its bytes
//! are, so the log goes on through all of them that follow the backup without a gap, with the offsets that it had. What
//! was written and not merged yet has no offsets: it is counted and told, and left in the bucket.
//!
//! The store ends as a restore leaves it: a new generation of the cluster, which waits to be accepted, so that nothing
//! that is newer goes. While rows are written it is refused by whoever opens it, and if this is interrupted it is to be
//! run again from the begin.

mod chain;
mod error;
mod found;
mod log;
mod newer;
mod rows;
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{BackupName, ClusterLayout};
use tidelog_env::{Env, Supervisor};
use tidelog_store::{ScanOptions, Store};
use tidelog_types::{
    ClusterId, OffsetRange, SegmentName, ShardId, Tenant, TopicName, TopicPartition,
};

use crate::audit::Reader;
use crate::backup::{Backups, Pages, Rest, RestoreOptions, Restored};
use crate::keyspace::{CheckpointRow, KeyKind, Keyspace};
use crate::{
    GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics, SequencerSettings,
    TransactionSettings,
};
pub use error::RebuildError;
use found::Found;
use newer::Gathering;

/// How long the tail of a backup may take to go into pages.
const FOLD_LIMIT: Duration = Duration::from_mins(10);
/// How long a look at it waits for the next one.
const FOLD_PAUSE: Duration = Duration::from_millis(20);

/// What becomes of a log that goes on after a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// Nothing is rebuilt: somebody has to decide.
    #[default]
    Refuse,
    /// The log ends before the gap.
    KeepOlder,
    /// The log begins after the gap.
    KeepNewer,
}

/// How to rebuild.
#[derive(Debug)]
pub struct RebuildOptions<'a> {
    /// Clock, randomness, tasks.
    pub env: &'a Env,
    /// Where to.
    pub store: Arc<dyn Store>,
    /// The bucket, and where the cluster is in it.
    pub objects: Arc<dyn ObjectStore>,
    /// Where the cluster's objects are.
    pub layout: ClusterLayout,
    /// The cluster.
    pub cluster: ClusterId,
    /// The backup.
    pub name: &'a BackupName,
    /// Whether the rows that are in the store may be deleted.
    pub wipe: bool,
    /// How long metadata processes on the same store are looked for.
    pub watch: Duration,
    /// What becomes of a log that goes on after a gap.
    pub gaps: Gaps,
    /// Objects that are read at once.
    pub reads_at_once: usize,
}

/// What became of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltPartition {
    /// Its topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: TopicPartition,
    /// Where its log ended in the backup, and where it ends now.
    pub next: OffsetRange,
    /// What merged segments have and the log has not, since there is a gap.
    pub left: Vec<OffsetRange>,
    /// Transactions that had begun after the backup and not ended in what there is: they were aborted.
    pub aborted: u64,
}

/// Segments that were written and not merged, so that nobody knows the offsets of their records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmerged {
    /// Which ones, in the order in which each writer has put them.
    pub segments: Vec<SegmentName>,
    /// Their bytes.
    pub bytes: u64,
    /// Their records by partition. Some may be in merged segments, too.
    pub records: BTreeMap<TopicPartition, u64>,
}

/// What a rebuild has done.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The restore that it began with.
    pub restored: Restored,
    /// Newer merged segments that were found.
    pub merged: u64,
    /// Topics that are newer than the backup: they have the default configuration.
    pub topics: Vec<TopicName>,
    /// Partitions of which there was more than in the backup.
    pub partitions: Vec<RebuiltPartition>,
    /// What was not merged.
    pub unmerged: Unmerged,
    /// Newer segments that say nothing of themselves that can be read, and why.
    pub unreadable: Vec<(SegmentName, String)>,
}

impl Backups {
    /// Makes the store anew from a backup and the merged segments that are newer.
    ///
    /// It must be in nobody's use. What is refused because of gaps or contradictions leaves a store as
    /// [`restore`](Self::restore) does.
    pub async fn rebuild(&self, options: &RebuildOptions<'_>) -> Result<Rebuilt, RebuildError> {
        let before = self.standing_of(options.name).await?;
        let restored = self
            .restore(&RestoreOptions {
                env: options.env,
                store: options.store.as_ref(),
                name: options.name,
                wipe: options.wipe,
                watch: options.watch,
            })
            .await?;
        fold(options).await?;
        let reader = Reader::new(Arc::clone(&options.objects), options.env, None);
        let gathering = Gathering {
            options,
            reader: &reader,
            pages: pages(options),
            writers: before.oldest_live..before.later_generations(),
        };
        let found = gathering.run().await?;
        let rebuilding = Rebuilding {
            options,
            reader: &reader,
            pages: pages(options),
            keys: Keyspace::new(Tenant::default()),
            found: &found,
        };
        let log = rebuilding.run().await?;
        Ok(Rebuilt {
            restored,
            merged: found.merged,
            topics: log.topics,
            partitions: log.partitions,
            unmerged: found.unmerged,
            unreadable: found.unreadable,
        })
    }
}

/// A rebuild whose store has all of the backup in pages.
struct Rebuilding<'a> {
    options: &'a RebuildOptions<'a>,
    reader: &'a Reader,
    pages: Pages<'a, dyn Store>,
    keys: Keyspace,
    found: &'a Found,
}

fn pages<'a>(options: &'a RebuildOptions<'_>) -> Pages<'a, dyn Store> {
    Pages {
        source: options.store.as_ref(),
        env: options.env,
        options: ScanOptions::default(),
    }
}

/// Lets a service of our own take what the backup has in tails into pages and rows, as a checkpoint does.
async fn fold(options: &RebuildOptions<'_>) -> Result<(), RebuildError> {
    let env = Env {
        supervisor: Supervisor::new(),
        ..options.env.clone()
    };
    let sequencer = SequencerSettings {
        checkpoint_interval: FOLD_PAUSE,
        checkpoint_manifests: 1,
        // Nothing goes meanwhile.
        retention_interval: Duration::from_hours(24 * 365),
        ..SequencerSettings::default()
    };
    let service = MetadataService::open(OpenOptions {
        env: env.clone(),
        store: Arc::clone(&options.store),
        cluster: options.cluster,
        shards: 1,
        sequencer,
        groups: GroupSettings::default(),
        transactions: TransactionSettings::default(),
        reach: Reach::default(),
        metrics: SequencerMetrics::new(&mut Registry::default()),
    });
    let service = Box::pin(service).await?;
    let folded = until_folded(options).await;
    drop(service);
    let clock = Arc::clone(&options.env.clock);
    let ended = env
        .supervisor
        .shutdown(clock.as_ref(), Duration::from_mins(1));
    if ended.await.is_err() {
        return Err(RebuildError::Fold);
    }
    folded
}

async fn until_folded(options: &RebuildOptions<'_>) -> Result<(), RebuildError> {
    let clock = &options.env.clock;
    let deadline = clock.now() + FOLD_LIMIT;
    while !is_folded(options).await? {
        if clock.now() >= deadline {
            return Err(RebuildError::Fold);
        }
        clock.sleep(FOLD_PAUSE).await;
    }
    Ok(())
}

/// Whether no shard has an entry in its tail that is later than its checkpoint.
async fn is_folded(options: &RebuildOptions<'_>) -> Result<bool, RebuildError> {
    let (pages, keys) = (pages(options), Keyspace::new(Tenant::default()));
    let mut rest = Rest::of(keys.all(KeyKind::Lease));
    while let Some(rows) = pages.next(&mut rest).await? {
        for shard in rows
            .iter()
            .filter_map(|(key, _)| Keyspace::lease_shard(key))
        {
            let last = pages.last(keys.tail_of(shard)).await?;
            let last = last.and_then(|(key, _)| Keyspace::tail_group(&key));
            let checkpoint = checkpoint(&pages, keys, shard).await?;
            if last.is_some_and(|last| last > checkpoint.group) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn checkpoint(
    pages: &Pages<'_, dyn Store>,
    keys: Keyspace,
    shard: ShardId,
) -> Result<CheckpointRow, RebuildError> {
    let value = pages.value(keys.checkpoint(shard)).await?;
    let row = value.map(CheckpointRow::decode).transpose()?;
    Ok(row.unwrap_or_default())
}
