//! Takes a backup: reads rows in the order that makes them fit together.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_blob::BackupName;
use tidelog_env::Env;
use tidelog_store::{KeyRange, RowSource, ScanOptions};
use tidelog_types::{GroupNumber, SegmentName, ShardId, Tenant, TopicPartition};

use super::Backups;
use super::counting::Counting;
use super::error::TakeError;
use super::format::{End, Origin};
use super::list::BackupSummary;
use super::part_writer::PartWriter;
use super::scan::{Pages, Rest, Row};
use super::topics::Topics;
use super::trim::Trim;
use crate::keyspace::{
    CheckpointRow, ClusterRow, DyingRow, KeyKind, Keyspace, PageRow, PartitionRow, ReceiptRow,
    RestoreRow, RestoreState, RowError, TailRow,
};

/// How much a backup reads and writes at once.
#[derive(Clone, Copy, Debug)]
pub struct TakeOptions {
    /// Rows of one read.
    pub page_rows: usize,
    /// Bytes of one read, about.
    pub page_bytes: usize,
    /// Bytes of one object, about.
    pub part_bytes: usize,
}

impl Default for TakeOptions {
    fn default() -> Self {
        Self {
            page_rows: ScanOptions::LIMIT_DEFAULT,
            page_bytes: ScanOptions::BYTES_MAX_DEFAULT,
            part_bytes: 4 * 1024 * 1024,
        }
    }
}

/// How often the pages of a partition are read again that are merged meanwhile.
const READS_MAX: u32 = 16;
/// Bytes of the pages of one partition at most: those of some hundred TiB.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Pages of the partition that is being read, until all of them are known to go together.
#[derive(Debug, Default)]
struct Held {
    partition: Option<TopicPartition>,
    rows: Vec<Row>,
    bytes: usize,
}

/// What is known of a shard while it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    /// Every group up to this one is in the rows.
    checkpoint: GroupNumber,
    /// The last group that is in the backup.
    reached: GroupNumber,
}

/// A backup under way.
#[derive(Debug)]
pub(super) struct Taking<'a, R: ?Sized> {
    pub(super) pages: Pages<'a, R>,
    pub(super) keys: Keyspace,
    pub(super) writer: PartWriter<'a>,
    shards: BTreeMap<ShardId, Shard>,
    counting: Counting,
    pub(super) topics: Topics,
}

impl Backups {
    /// Takes a backup of the rows of `source`, which may change meanwhile.
    ///
    /// Everything that was durable when the call began is in it, and of each shard some prefix of what came
    /// later. A backup that fails is deleted again; until then it pins all segments.
    pub async fn take<R: RowSource + ?Sized>(
        &self,
        source: &R,
        env: &Env,
        name: &BackupName,
        options: TakeOptions,
    ) -> Result<BackupSummary, TakeError> {
        let keys = Keyspace::new(Tenant::default());
        let pages = Pages {
            source,
            env,
            options: ScanOptions {
                limit: options.page_rows.max(1),
                bytes_max: options.page_bytes,
                ..ScanOptions::default()
            },
        };
        let cluster = self.find_cluster(&pages, keys).await?;
        let origin = Origin {
            cluster: self.cluster,
            nonce: env.rng.bytes_16(),
            generation: cluster.generation,
        };
        let now = env.clock.wall();
        let writer = PartWriter::begin(self, origin, name, now, options.part_bytes).await?;
        let taking = Taking {
            pages,
            keys,
            writer,
            shards: BTreeMap::new(),
            counting: Counting::default(),
            topics: Topics::default(),
        };
        match taking.run(&cluster).await {
            Ok(end) => Ok(BackupSummary::of(&end, cluster.generation)),
            Err(error) => {
                if let Err(error) = self.delete(name).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(backup = %name, error, "failed backup was not deleted");
                }
                Err(error)
            }
        }
    }

    async fn find_cluster<R: RowSource + ?Sized>(
        &self,
        pages: &Pages<'_, R>,
        keys: Keyspace,
    ) -> Result<ClusterRow, TakeError> {
        if let Some(value) = pages.value(keys.restore()).await? {
            let restore = RestoreRow::decode(value)?;
            if restore.state == RestoreState::Running {
                return Err(TakeError::Unfinished(restore.backup));
            }
        }
        let cluster = pages.value(keys.cluster()).await?;
        let cluster = ClusterRow::decode(cluster.ok_or(TakeError::Empty)?)?;
        if cluster.id != self.cluster {
            return Err(TakeError::WrongCluster {
                found: cluster.id,
                wanted: self.cluster,
            });
        }
        Ok(cluster)
    }
}

impl<R: RowSource + ?Sized> Taking<'_, R> {
    /// The steps of `docs/format/backup.md`, which says why they are in this order.
    async fn run(mut self, cluster: &ClusterRow) -> Result<End, TakeError> {
        // And once more in the end: who had ended and which topics there were before any row was read.
        self.copy(KeyKind::Counter).await?;
        // Offsets of groups come before the log that they are about: none lies beyond its end.
        self.copy(KeyKind::Group).await?;
        self.group_offsets().await?;
        // Before the checkpoints, so that it is not beyond them.
        self.copy(KeyKind::Merged).await?;
        self.live_bytes().await?;
        self.checkpoints().await?;
        self.partitions().await?;
        self.copy(KeyKind::Producer).await?;
        self.tails().await?;
        let known = self.write_live_bytes().await?;
        self.receipts().await?;
        for kind in [
            KeyKind::Floor,
            KeyKind::EndedWriter,
            KeyKind::Orphans,
            KeyKind::Lease,
        ] {
            self.copy(kind).await?;
        }
        self.write_topics().await?;
        self.inline(&known).await?;
        for kind in [KeyKind::Transaction, KeyKind::Counter] {
            self.copy(kind).await?;
        }
        let after = self.cluster().await?;
        if after.generation != cluster.generation {
            return Err(TakeError::Restored {
                before: cluster.generation,
                after: after.generation,
            });
        }
        self.writer
            .row(&self.keys.cluster(), &after.encode())
            .await?;
        let reached = self.shards.into_iter();
        let reached = reached.map(|(shard, known)| (shard, known.reached));
        let reached = reached.collect();
        let now = self.pages.env.clock.wall();
        Ok(self.writer.finish(reached, now).await?)
    }

    async fn cluster(&self) -> Result<ClusterRow, TakeError> {
        let value = self.pages.value(self.keys.cluster()).await?;
        Ok(ClusterRow::decode(value.ok_or(TakeError::Empty)?)?)
    }

    async fn last_group(&self, shard: ShardId) -> Result<Option<GroupNumber>, TakeError> {
        let last = self.pages.last(self.keys.tail_of(shard)).await?;
        last.map(|(key, _)| group_of(&key)).transpose()
    }

    /// Copies rows as they are.
    async fn copy(&mut self, kind: KeyKind) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(kind));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                self.writer.row(&key, &value).await?;
            }
        }
        Ok(())
    }

    /// Takes note of every segment that has live bytes, or had: whatever comes of it, it was committed before.
    async fn live_bytes(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::LiveBytes));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, _) in rows {
                let segment = segment_of(&key, "live bytes")?;
                self.counting.know(segment, shard_of(&key, "live bytes")?);
            }
        }
        Ok(())
    }

    /// Writes live bytes as they were counted. Where there are none, a row says so to those who look for dead segments:
    /// it may have gone since, and another one come. Returns what was counted.
    async fn write_live_bytes(&mut self) -> Result<BTreeSet<SegmentName>, TakeError> {
        let mut known = BTreeSet::new();
        for (segment, bytes, (key, value)) in std::mem::take(&mut self.counting).rows(self.keys) {
            known.insert(segment);
            self.writer.name(segment.incarnation, segment.sequence);
            self.writer.row(&key, &value).await?;
            if bytes == 0 {
                let dying = DyingRow::default().encode();
                self.writer.row(&self.keys.dying(segment), &dying).await?;
            }
        }
        Ok(known)
    }

    async fn checkpoints(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Checkpoint));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let shard = shard_of(&key, "checkpoint")?;
                let checkpoint = CheckpointRow::decode(value.clone())?;
                self.shards.entry(shard).or_default().checkpoint = checkpoint.group;
                self.writer.row(&key, &value).await?;
            }
        }
        Ok(())
    }

    /// Partition rows, some at a time, and after each time the pages of these. What of them went before they were read
    /// the rows say that are read after them.
    async fn partitions(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Partition));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            let rows = self
                .topics
                .with_topics(&self.pages, self.keys, rows, |key| {
                    Keyspace::partition_of(key).map(|at| at.topic)
                })
                .await?;
            let mut trim = Trim::new(rows)?;
            self.counting.forget_topic();
            if let Some(range) = trim.pages(self.keys) {
                self.pages_of(range, &mut trim).await?;
            }
            if let Some(range) = trim.aborted(self.keys) {
                self.aborted_of(range, &trim).await?;
            }
            if let Some(range) = trim.range(self.keys) {
                let mut rest = Rest::of(range);
                let mut after = Vec::new();
                while let Some(rows) = self.pages.next(&mut rest).await? {
                    after.extend(rows);
                }
                trim.raise(&after)?;
            }
            for trimmed in trim.into_rows()? {
                let (key, value) = trimmed.row;
                self.writer.row(&key, &value).await?;
                let topic = trimmed.partition.topic;
                if self.counting.needs(topic) {
                    self.counting.topic(topic, self.topics.row(topic))?;
                }
                let partition = trimmed.partition;
                self.counting.pages(partition, value, &trimmed.extents)?;
            }
        }
        Ok(())
    }

    async fn aborted_of(&mut self, range: KeyRange, trim: &Trim) -> Result<(), TakeError> {
        let mut rest = Rest::of(range);
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                if trim.has_marker(&key)? {
                    self.writer.row(&key, &value).await?;
                }
            }
        }
        Ok(())
    }

    async fn pages_of(&mut self, range: KeyRange, trim: &mut Trim) -> Result<(), TakeError> {
        let mut rest = Rest::of(range);
        let mut held = Held::default();
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let partition = Keyspace::partition_of(&key).ok_or(short("page"))?;
                if held.partition.is_some_and(|before| before != partition) {
                    self.write_pages(&mut held, trim).await?;
                }
                held.partition = Some(partition);
                held.bytes += key.len() + value.len();
                held.rows.push((key, value));
                if held.bytes > HELD_BYTES_MAX {
                    return Err(TakeError::Torn { partition });
                }
            }
        }
        self.write_pages(&mut held, trim).await
    }

    /// Writes the pages of one partition. If they are of moments between which it was merged, they are read again.
    async fn write_pages(&mut self, held: &mut Held, trim: &mut Trim) -> Result<(), TakeError> {
        let Held {
            partition, rows, ..
        } = std::mem::take(held);
        let Some(partition) = partition else {
            return Ok(());
        };
        let rows = if trim.is_whole(partition, &rows, None)? {
            rows
        } else {
            self.pages_again(partition, trim).await?
        };
        for (key, value) in rows {
            if let Some(value) = trim.page(&key, value)? {
                self.writer.row(&key, &value).await?;
            }
        }
        Ok(())
    }

    async fn pages_again(
        &self,
        partition: TopicPartition,
        trim: &mut Trim,
    ) -> Result<Vec<Row>, TakeError> {
        for _ in 0..READS_MAX {
            // What comes after this row is in the tail, as for the one before.
            let row = self.pages.value(self.keys.partition(partition)).await?;
            if let Some(row) = row {
                trim.renew(partition, &row)?;
            }
            let mut rest = Rest::of(self.keys.pages_of(partition));
            let mut rows = Vec::new();
            while let Some(some) = self.pages.next(&mut rest).await? {
                rows.extend(some);
            }
            // What is off the books by now may be in no page, and means nothing.
            let row = self.pages.value(self.keys.partition(partition)).await?;
            let row = row.map(PartitionRow::decode).transpose()?;
            let reclaimed = row.map(|row| row.reclaimed).unwrap_or_default();
            let mut live = Vec::with_capacity(rows.len());
            for row in rows {
                let (_, page) = PageRow::of_row(row.clone())?;
                if page
                    .offsets()
                    .is_some_and(|offsets| offsets.next > reclaimed)
                {
                    live.push(row);
                }
            }
            if trim.is_whole(partition, &live, Some(reclaimed))? {
                return Ok(live);
            }
        }
        Err(TakeError::Torn { partition })
    }

    /// Tails up to where they end when all rows of partitions and producers have been read.
    async fn tails(&mut self) -> Result<(), TakeError> {
        for shard in (0..self.cluster().await?.shards).map(ShardId::new) {
            self.shards.entry(shard).or_default();
        }
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        for shard in shards {
            let last = self.last_group(shard).await?;
            let mut known = self.shards.get(&shard).copied().unwrap_or_default();
            known.reached = known.checkpoint.max(last.unwrap_or_default());
            self.shards.insert(shard, known);
            self.tail(shard, known).await?;
        }
        Ok(())
    }

    async fn tail(&mut self, shard: ShardId, known: Shard) -> Result<(), TakeError> {
        let end = KeyRange::successor(&self.keys.tail(shard, known.reached, u32::MAX));
        let mut rest = Rest::of(KeyRange {
            end: Some(end),
            ..self.keys.tail_of(shard)
        });
        let mut at = known.checkpoint;
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let group = group_of(&key)?;
                if group.get() > at.get().saturating_add(1) {
                    return Err(gap(shard, at, group));
                }
                at = at.max(group);
                self.writer.row(&key, &value).await?;
                let row = TailRow::decode(value)?;
                let is_new = group > known.checkpoint;
                if is_new {
                    self.aborted(&row).await?;
                }
                if let TailRow::Manifest { manifest, .. } = &row {
                    for slice in &manifest.slices {
                        let topic = slice.partition.topic;
                        if is_new && !self.counting.has_row(slice.partition) {
                            self.topics.look(&self.pages, self.keys, topic).await?;
                        }
                    }
                }
                // What came before the checkpoint has a row, unless it is gone.
                let topics = &self.topics;
                let counts = |at: TopicPartition| is_new && topics.row(at.topic).is_some();
                self.counting.tail(&row, counts);
            }
        }
        if at == known.reached {
            Ok(())
        } else {
            Err(gap(shard, at, known.reached))
        }
    }

    /// Receipts, without those of groups that are not in the tail.
    async fn receipts(&mut self) -> Result<(), TakeError> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Receipt));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let shard = self.shards.get(&shard_of(&key, "receipt")?);
                let row = ReceiptRow::decode(value.clone())?;
                if shard.is_some_and(|shard| row.group <= shard.reached) {
                    self.writer.row(&key, &value).await?;
                }
            }
        }
        Ok(())
    }
}

fn gap(shard: ShardId, after: GroupNumber, found: GroupNumber) -> TakeError {
    TakeError::Gap {
        shard,
        after,
        found,
    }
}

fn short(kind: &'static str) -> RowError {
    RowError {
        kind,
        what: "its key is too short",
    }
}

fn group_of(key: &[u8]) -> Result<GroupNumber, TakeError> {
    Ok(Keyspace::tail_group(key).ok_or(short("tail"))?)
}

pub(super) fn segment_of(key: &[u8], kind: &'static str) -> Result<SegmentName, RowError> {
    Keyspace::receipt_segment(key).ok_or(short(kind))
}

fn shard_of(key: &[u8], kind: &'static str) -> Result<ShardId, RowError> {
    Keyspace::last_shard(key).ok_or(short(kind))
}
