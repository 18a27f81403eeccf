//! Makes the metadata store anew: from a backup, and from the merged segments that are newer than it.
//!
//! ```text
//!   restore --> fold the tail into pages --> indexes of newer merged segments --> chain --> read what is new --> rows
//! ```
//!
//! A backup alone loses what was committed after it. A merged segment says which offsets of which partitions its bytes
//! are, so the log goes on through all of them that follow the backup without a gap, with the offsets that it had. What
//! was written and not merged yet has no offsets: it is counted and told, and left in the bucket; or it is appended, if
//! somebody asks for it.
//!
//! The store ends as a restore leaves it: a new generation of the cluster, which waits to be accepted, so that nothing
//! that is newer goes. From the first row on until then it is refused by whoever opens it, and if this is interrupted or
//! fails it is to be run again from the begin.

mod anew;
mod append;
mod chain;
mod cut;
mod epochs;
mod error;
mod extend;
mod found;
mod log;
mod newer;
mod pages;
mod standing;
mod topics;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{BackupName, ClusterLayout};
use tidelog_env::Env;
use tidelog_store::{ScanOptions, Store};
use tidelog_types::{
    ClusterId, OffsetRange, SegmentName, ShardId, Tenant, TopicName, TopicPartition,
};

use crate::audit::Reader;
use crate::backup::{Backups, Before, Pages, RestoreOptions, Restored};
use crate::generation::Generation;
use crate::keyspace::{ClusterRow, Keyspace, RestoreState};
use crate::sequencer::Folding;
use crate::{OpenError, SequencerSettings};
pub use append::Appended;
pub use error::RebuildError;
use found::Found;
use newer::Gathering;

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
    /// The backup. Without one there is nothing but what merged segments say.
    pub name: Option<&'a BackupName>,
    /// How many shards the cluster has, as far as its settings say; the backup knows better.
    pub shards: u32,
    /// Whether the rows that are in the store may be deleted.
    pub wipe: bool,
    /// How long metadata processes on the same store are looked for.
    pub watch: Duration,
    /// What becomes of a log that goes on after a gap.
    pub gaps: Gaps,
    /// Whether what was written and not merged is appended, at new offsets.
    pub append_newer: bool,
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
    /// Records that were written and not merged, and are behind it at new offsets.
    pub appended: u64,
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
    /// Topics of which there are segments and that do not come back: they were purged before the backup, or were to be.
    pub purged: Vec<TopicName>,
    /// Partitions of which there was more than in the backup.
    pub partitions: Vec<RebuiltPartition>,
    /// What was not merged.
    pub unmerged: Unmerged,
    /// What became of it, if it was to be appended.
    pub appended: Appended,
    /// Transactional ids whose producers have had higher epochs than the backup knows: they go on above these.
    pub raised_epochs: u64,
    /// Newer segments that say nothing of themselves that can be read, and why.
    pub unreadable: Vec<(SegmentName, String)>,
}

impl Backups {
    /// Makes the store anew from a backup and the merged segments that are newer.
    ///
    /// It must be in nobody's use, and nobody opens it before this has ended well: it is to be run again, or restored,
    /// after anything else.
    pub async fn rebuild(&self, options: &RebuildOptions<'_>) -> Result<Rebuilt, RebuildError> {
        let reader = Reader::new(Arc::clone(&options.objects), options.env, None);
        let restore = |name| RestoreOptions {
            env: options.env,
            store: options.store.as_ref(),
            name,
            wipe: options.wipe,
            watch: options.watch,
        };
        let mut gathering = Gathering {
            options,
            reader: &reader,
            pages: pages(options),
            writers: 0..u64::MAX,
            written_from: 0,
            is_alone: true,
        };
        let (before, found, (restored, row)) = if let Some(name) = options.name {
            let before = self.standing_of(name).await?;
            let restore = restore(name);
            let restored = self.restore_as(&restore, RestoreState::Running).await?;
            fold(options).await?;
            gathering.writers = before.merged_from..before.later_generations();
            gathering.written_from = before.written_from;
            gathering.is_alone = false;
            (before, gathering.run().await?, restored)
        } else {
            let found = gathering.run().await?;
            let remains = found.remains(options.shards)?;
            let name = nothing()?;
            let restored = self.begin_anew(&restore(&name), remains).await?;
            (Before::default(), found, restored)
        };
        let rebuilding = Rebuilding {
            options,
            reader: &reader,
            pages: pages(options),
            keys: Keyspace::new(Tenant::default()),
            found: &found,
            before,
        };
        let log = rebuilding.run(row).await?;
        let mut unreadable = found.unreadable;
        unreadable.extend(log.unreadable);
        Ok(Rebuilt {
            restored,
            merged: found.merged,
            topics: log.topics,
            purged: log.purged,
            partitions: log.partitions,
            unmerged: found.unmerged,
            appended: log.appended,
            raised_epochs: log.raised,
            unreadable,
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
    before: Before,
}

/// What the row of the restore names where there is no backup.
fn nothing() -> Result<BackupName, RebuildError> {
    BackupName::new("segments").map_err(|_| topics::missing("backup"))
}

fn pages<'a>(options: &'a RebuildOptions<'_>) -> Pages<'a, dyn Store> {
    Pages {
        source: options.store.as_ref(),
        env: options.env,
        options: ScanOptions::default(),
    }
}

/// Takes what the backup has in tails into pages and rows. No service is opened: nothing is purged, retained or ended.
async fn fold(options: &RebuildOptions<'_>) -> Result<(), RebuildError> {
    let keys = Keyspace::new(Tenant::default());
    let cluster = pages(options).value(keys.cluster()).await?;
    let cluster = ClusterRow::decode(cluster.ok_or_else(|| topics::missing("cluster"))?)?;
    let generation = Generation::new(keys, cluster.generation);
    let folding = Folding {
        store: options.store.as_ref(),
        env: options.env,
        generation: &generation,
        producer_expiry: SequencerSettings::default().producer_expiry,
    };
    for shard in (0..cluster.shards).map(ShardId::new) {
        let folded = folding.shard(shard).await;
        folded.map_err(OpenError::sequencer)?;
    }
    Ok(())
}
