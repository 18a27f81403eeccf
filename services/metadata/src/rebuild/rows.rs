//! Writes what was found into the restored store.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, PartitionCount, TopicConfig};
use tidelog_types::{
    Offset, OffsetRange, SegmentName, ShardId, TopicName, TopicNumber, TopicPartition,
};

use super::chain::{Chain, Conflict, Piece, chain};
use super::found::{FoundPartition, FoundTopic};
use super::log::LogState;
use super::standing::{Standing, Sum};
use super::{Gaps, RebuildError, Rebuilding, RebuiltPartition};
use crate::audit::Unreadable;
use crate::backup::{Change, Rest, RestoreError, Steps};
use crate::keyspace::{
    ClusterRow, DyingRow, LiveBytesRow, PAGE_EXTENTS_MAX, PageRow, PartitionRow, ProducerRow,
    RestoreRow, RestoreState, RowError, TopicRow,
};

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) topics: Vec<TopicName>,
    pub(super) partitions: Vec<RebuiltPartition>,
}

/// By how many bytes the live bytes of segments change.
type Live = BTreeMap<(SegmentName, ShardId), i128>;

/// What one partition becomes.
struct Extended {
    told: RebuiltPartition,
    changes: Vec<Change>,
}

impl Rebuilding<'_> {
    /// Decides and reads everything before the first row is written.
    pub(super) async fn run(&self) -> Result<Log, RebuildError> {
        let mut log = Log::default();
        let mut changes = Vec::new();
        let mut live = Live::new();
        let cluster = self.pages.value(self.keys.cluster()).await?;
        let cluster = ClusterRow::decode(cluster.ok_or(missing("cluster"))?)?;
        for (number, topic) in &self.found.topics {
            let (row, is_new) = self.topic(*number, topic, cluster.shards).await?;
            let info = row.info();
            let partitions = self.found.partitions.iter();
            for (partition, found) in partitions.filter(|(at, _)| at.topic == *number) {
                let known = info.kept_partition(partition.partition);
                if known.is_none_or(|known| known.shard != found.shard) {
                    return Err(topic.differs("shard"));
                }
                let standing = self.standing(*partition).await?;
                let extended = self.extend(topic, *partition, found, standing, &mut live);
                if let Some(extended) = extended.await? {
                    log.partitions.push(extended.told);
                    changes.extend(extended.changes);
                }
            }
            if is_new {
                log.topics.push(topic.name.clone());
                changes.push(Change::Topic(Box::new(row)));
            } else {
                changes.push(Change::Put(self.keys.topic(*number), row.encode()));
            }
        }
        self.write(cluster, changes, live).await?;
        Ok(log)
    }

    /// The row of a topic, and whether it is a new one.
    async fn topic(
        &self,
        number: TopicNumber,
        found: &FoundTopic,
        shards: u32,
    ) -> Result<(TopicRow, bool), RebuildError> {
        let count = PartitionCount {
            count: found.partition_count,
            since: found.since,
        };
        let Some(value) = self.pages.value(self.keys.topic(number)).await? else {
            let (id, name) = (found.id, found.name.clone());
            let row = TopicRow::new(id, number, name, count, shards, &TopicConfig::default());
            return Ok((row, true));
        };
        let mut row = TopicRow::decode(value)?;
        if row.info().id != found.id {
            return Err(found.differs("id"));
        }
        if row.partition_count() < found.partition_count {
            row.grow(count, shards);
        }
        Ok((row, false))
    }

    async fn standing(&self, partition: TopicPartition) -> Result<Standing, RebuildError> {
        let row = self.pages.value(self.keys.partition(partition)).await?;
        let row = row.map(PartitionRow::decode).transpose()?;
        let mut rest = Rest::of(self.keys.pages_of(partition));
        let mut pages = Vec::new();
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for row in rows {
                pages.push(PageRow::of_row(row)?);
            }
        }
        let mut rest = Rest::of(self.keys.producers_of(partition));
        let mut producers = BTreeMap::new();
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let producer = crate::keyspace::Keyspace::producer_id(&key);
                let row = ProducerRow::decode(value)?;
                producers.extend(producer.map(|producer| (producer, row)));
            }
        }
        Ok(Standing {
            row: row.unwrap_or_default(),
            pages,
            producers,
        })
    }

    /// Lets the log of a partition go on. Nothing if there is nothing new.
    async fn extend(
        &self,
        topic: &FoundTopic,
        partition: TopicPartition,
        found: &FoundPartition,
        standing: Standing,
        live: &mut Live,
    ) -> Result<Option<Extended>, RebuildError> {
        let before = standing.row.next;
        let known = standing.known();
        let chain = self.chain(topic, partition, found, &standing.row, &known)?;
        let left: Vec<OffsetRange> = chain.beyond.clone();
        let told = |next, aborted| RebuiltPartition {
            topic: topic.name.clone(),
            partition,
            next: OffsetRange { base: before, next },
            left: left.clone(),
            aborted,
        };
        if chain.next <= before {
            let is_told = !left.is_empty();
            return Ok(is_told.then(|| Extended {
                told: told(before, 0),
                changes: Vec::new(),
            }));
        }
        let mut state = LogState::of(&standing.row, standing.producers.clone());
        let mut pieces = chain.pieces.clone();
        for piece in pieces.iter().filter(|piece| piece.is_found) {
            self.read(partition, piece, &mut state).await?;
        }
        let markers = state.abort_unknown(chain.next);
        let last = pieces
            .last()
            .map(|piece| (piece.committed_at, piece.extent.max_timestamp));
        let (committed_at, max_timestamp) = last.unwrap_or_default();
        pieces.extend(markers.iter().map(|(at, marker)| Piece {
            extent: Extent {
                offsets: OffsetRange {
                    base: *at,
                    next: at.checked_add(1).unwrap_or(*at),
                },
                location: Location::Marker(*marker),
                crc32c: None,
                max_timestamp,
            },
            committed_at,
            is_found: true,
        }));
        note_live(&known, &pieces, found.shard, live);
        let (mut changes, total) = self.pages(partition, &standing, &pieces, chain.start);
        let row = standing.extended(&pieces, chain.start, total, &state);
        changes.push(Change::Put(self.keys.partition(partition), row.encode()));
        changes.extend(self.told_by_log(partition, &state));
        let next = pieces
            .last()
            .map_or(chain.next, |piece| piece.extent.offsets.next);
        Ok(Some(Extended {
            told: told(next, markers.len() as u64),
            changes,
        }))
    }

    /// The extents that the log is made of, by what is to become of gaps.
    fn chain(
        &self,
        topic: &FoundTopic,
        partition: TopicPartition,
        found: &FoundPartition,
        row: &PartitionRow,
        known: &[Piece],
    ) -> Result<Chain, RebuildError> {
        let conflict = |conflict: Conflict| conflict.of(partition);
        let first_found = found
            .pieces
            .iter()
            .map(|piece| piece.extent.offsets.base)
            .min();
        let start = match known.first() {
            Some(first) => first.extent.offsets.base,
            // What was before is deleted, or there never was anything.
            None => row.next,
        };
        let mut pieces = known.to_vec();
        pieces.extend(found.pieces.iter().cloned());
        let mut made = chain(start, &pieces).map_err(conflict)?;
        if known.is_empty() && made.pieces.is_empty() {
            // Nothing is there that could be kept instead.
            made = chain(first_found.unwrap_or(start).max(start), &pieces).map_err(conflict)?;
        }
        while let Some(gap) = made.beyond.iter().find(|offsets| offsets.next > row.next) {
            let gap = OffsetRange {
                base: made.next,
                next: gap.base,
            };
            match self.options.gaps {
                Gaps::KeepOlder => return Ok(made),
                Gaps::KeepNewer => {
                    let after = made.beyond.iter().map(|offsets| offsets.base);
                    let after = after.filter(|base| *base > made.next).min();
                    let Some(after) = after else { return Ok(made) };
                    made = chain(after, &pieces).map_err(conflict)?;
                }
                Gaps::Refuse => {
                    let topic = topic.name.clone();
                    return Err(RebuildError::Gap {
                        topic,
                        partition,
                        gap,
                    });
                }
            }
        }
        made.beyond.clear();
        Ok(made)
    }

    /// Reads an extent that becomes part of the log, and proves it.
    async fn read(
        &self,
        partition: TopicPartition,
        piece: &Piece,
        state: &mut LogState,
    ) -> Result<(), RebuildError> {
        let Location::Segment {
            segment,
            position,
            length,
            ..
        } = piece.extent.location
        else {
            return Ok(());
        };
        let damaged = |fault| RebuildError::Damaged {
            segment,
            partition,
            offsets: piece.extent.offsets,
            fault,
        };
        let path = self.options.layout.segment(segment);
        let range = u64::from(position)..u64::from(position) + u64::from(length);
        let bytes = match self.reader.range(&path, range).await {
            Ok(bytes) => bytes,
            Err(Unreadable::Missing) => return Err(damaged("it is gone".to_owned())),
            Err(Unreadable::Short) => return Err(damaged("it is too short".to_owned())),
            Err(Unreadable::Bucket(error)) => return Err(error.into()),
        };
        let read = state.read(&bytes, piece.extent.crc32c, piece.committed_at);
        read.map_err(damaged)
    }

    /// Pages anew from the first extent on that is not in the ones that there are, and the bytes of all up to the end.
    fn pages(
        &self,
        partition: TopicPartition,
        standing: &Standing,
        pieces: &[Piece],
        start: Offset,
    ) -> (Vec<Change>, u64) {
        let row = &standing.row;
        let mut sum = Sum {
            max_timestamp: row.max_timestamp,
            bytes: row.total,
        };
        let mut changes = Vec::new();
        let delete = |base: &Offset| Change::Delete(self.keys.page(partition, *base));
        let is_new = |piece: &Piece| piece.is_found;
        let mut from = pieces.iter().position(is_new).unwrap_or(pieces.len());
        let first_new = pieces.get(from).map(|piece| piece.extent.offsets.base);
        if standing.begins_before(start) {
            // All of what there was is left behind.
            from = 0;
            changes.extend(standing.pages.iter().map(|(base, _)| delete(base)));
        } else if let Some(first_new) = first_new.filter(|first_new| *first_new < row.next) {
            // The page that has the first of them, too: what it has before stays in it.
            let at = standing
                .pages
                .iter()
                .rposition(|(base, _)| *base <= first_new);
            let gone = standing
                .pages
                .get(at.unwrap_or_default()..)
                .unwrap_or_default();
            changes.extend(gone.iter().map(|(base, _)| delete(base)));
            if let Some((base, page)) = gone.first() {
                let kept = |piece: &Piece| piece.extent.offsets.base >= *base;
                from = pieces.iter().position(kept).unwrap_or(from);
                let first = pieces.get(from).map(|piece| piece.extent.offsets.base);
                sum = Sum {
                    max_timestamp: page.max_before,
                    bytes: page.bytes_before,
                };
                // What is off the books goes from it.
                let off = page.extents.iter();
                let off =
                    off.filter(|extent| first.is_some_and(|first| extent.offsets.next <= first));
                off.for_each(|extent| sum.add(extent));
            }
        }
        let rest = pieces.get(from..).unwrap_or_default();
        for chunk in rest.chunks(PAGE_EXTENTS_MAX) {
            let times = chunk.iter().map(|piece| piece.committed_at);
            let page = PageRow {
                max_before: sum.max_timestamp,
                bytes_before: sum.bytes,
                committed_at: times.max().unwrap_or_default(),
                extents: chunk.iter().map(|piece| piece.extent.clone()).collect(),
            };
            page.extents.iter().for_each(|extent| sum.add(extent));
            if let Some(offsets) = page.offsets() {
                let key = self.keys.page(partition, offsets.base);
                changes.push(Change::Put(key, page.encode()));
            }
        }
        (changes, sum.bytes)
    }

    /// What the log says of transactions and producers.
    fn told_by_log(&self, partition: TopicPartition, state: &LogState) -> Vec<Change> {
        let aborted = state.aborted.iter().map(|(at, row)| {
            let key = self.keys.aborted(partition, *at);
            Change::Put(key, row.encode())
        });
        let producers = state.producers.iter().map(|(producer, row)| {
            let key = self.keys.producer(partition, *producer);
            Change::Put(key, row.encode())
        });
        aborted.chain(producers).collect()
    }

    /// Writes everything. Meanwhile nobody opens the store.
    async fn write(
        &self,
        cluster: ClusterRow,
        changes: Vec<Change>,
        live: Live,
    ) -> Result<(), RebuildError> {
        let pending = self.pages.value(self.keys.restore()).await?;
        let pending = RestoreRow::decode(pending.ok_or(missing("restore"))?)?;
        let running = RestoreRow {
            state: RestoreState::Running,
            nonce: self.options.env.rng.bytes_16(),
            ..pending.clone()
        };
        let first = vec![Change::Delete(self.keys.cluster())];
        let (store, env) = (self.options.store.as_ref(), self.options.env);
        let mut steps =
            Steps::begin(store, env, self.keys, running.clone(), Some(pending), first).await?;
        for change in changes {
            steps.push(change).await?;
        }
        for ((segment, shard), more) in live {
            for (key, value) in self.live(segment, shard, more).await? {
                steps.push(Change::Put(key, value)).await?;
            }
        }
        let key = self.keys.cluster();
        steps.push(Change::Put(key, cluster.encode())).await?;
        steps
            .finish(RestoreRow {
                state: RestoreState::Pending,
                ..running
            })
            .await?;
        Ok(())
    }

    /// The rows of a segment with other live bytes.
    async fn live(
        &self,
        segment: SegmentName,
        shard: ShardId,
        more: i128,
    ) -> Result<Vec<(Bytes, Bytes)>, RebuildError> {
        let key = self.keys.live_bytes(segment, shard);
        let row = self.pages.value(key.clone()).await?;
        let row = row.map(LiveBytesRow::decode).transpose()?;
        let row = row.unwrap_or(LiveBytesRow::committed(0));
        let bytes = u64::try_from(i128::from(row.bytes) + more).unwrap_or_default();
        let row = LiveBytesRow {
            bytes,
            committed: row.committed.max(bytes),
        };
        let mut rows = vec![(key, row.encode())];
        if bytes == 0 {
            rows.push((self.keys.dying(segment), DyingRow::default().encode()));
        }
        Ok(rows)
    }
}

impl FoundTopic {
    fn differs(&self, what: &'static str) -> RebuildError {
        RebuildError::Topic {
            segment: self.segment,
            topic: self.name.clone(),
            what,
        }
    }
}

impl Conflict {
    fn of(self, partition: TopicPartition) -> RebuildError {
        let name = |extent: &Extent| match extent.location {
            Location::Segment { segment, .. } => segment,
            Location::Inline { .. } | Location::Marker(_) => SegmentName::default(),
        };
        let (first, second) = *self.extents;
        RebuildError::Conflict {
            partition,
            offsets: self.offsets,
            first: name(&first),
            second: name(&second),
        }
    }
}

/// Extents that came are named, and those that went are not.
fn note_live(known: &[Piece], pieces: &[Piece], shard: ShardId, live: &mut Live) {
    let mut note = |piece: &Piece, sign: i128| {
        if let Location::Segment {
            segment, length, ..
        } = piece.extent.location
        {
            *live.entry((segment, shard)).or_default() += sign * i128::from(length);
        }
    };
    for piece in known {
        note(piece, -1);
    }
    for piece in pieces {
        note(piece, 1);
    }
    // Most have stayed.
    live.retain(|_, more| *more != 0);
}

fn missing(kind: &'static str) -> RebuildError {
    let what = "it is not there";
    RestoreError::Row(RowError { kind, what }).into()
}
