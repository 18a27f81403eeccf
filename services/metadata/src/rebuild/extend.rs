//! Lets the log of a partition go on with what was found.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tidelog_format::location::Location;
use tidelog_format::marker::EndMarker;
use tidelog_metadata_api::Extent;
use tidelog_types::{BucketId, Offset, OffsetRange, SegmentName, Timestamp, TopicPartition};

use super::chain::{Chain, Conflict, Piece, chain, latest};
use super::cut::cut;
use super::found::FoundPartition;
use super::log::LogState;
use super::standing::Standing;
use super::topics::{Log, Topic};
use super::write::Rows;
use super::{Gaps, RebuildError, Rebuilding, RebuiltPartition};
use crate::audit::Unreadable;
use crate::backup::{Change, Rest};
use crate::keyspace::{InlineRow, Keyspace, PageRow, PartitionRow, ProducerRow};

/// Which extents a log is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Those of the backup, and what goes on from there.
    GoingOn,
    /// At each offset what was put last: the partition is compacted by key.
    Latest,
}

/// Why there is no log.
enum NoChain {
    Conflict(Conflict),
    Gap(OffsetRange),
}

/// The log that a partition is to have.
struct Made {
    pieces: Vec<Piece>,
    start: Offset,
    /// Where it ends; markers and what is appended come behind.
    next: Offset,
    left: Vec<OffsetRange>,
    state: LogState,
    how: How,
}

impl Rebuilding<'_> {
    /// Writes what becomes of a partition, if anything does.
    pub(super) async fn extend(
        &self,
        topic: &Topic,
        (partition, found): (TopicPartition, &FoundPartition),
        log: &mut Log,
        rows: &mut Rows<'_>,
    ) -> Result<(), RebuildError> {
        let standing = self.standing(partition).await?;
        let before = standing.row.next;
        let made = self.made(topic, partition, found, &standing).await?;
        let Made {
            mut pieces,
            start,
            next,
            left,
            mut state,
            how,
        } = made;
        let markers = state.abort_unknown(next);
        push_markers(&mut pieces, &markers);
        let appended = self
            .append(partition, found, how, &mut pieces, &mut state)
            .await?;
        log.appended.add(&appended);
        let end = pieces.last().map_or(next, |piece| piece.taken.next);
        let told = RebuiltPartition {
            topic: topic.name().clone(),
            partition,
            next: OffsetRange {
                base: before,
                next: end.max(before),
            },
            left,
            aborted: markers.len() as u64,
            appended: appended.records,
        };
        if end <= before {
            if !told.left.is_empty() {
                log.partitions.push(told);
            }
            return Ok(());
        }
        log.partitions.push(told);
        for (producer, epoch) in &state.epochs {
            let highest = log.epochs.entry(*producer).or_insert(*epoch);
            *highest = (*highest).max(*epoch);
        }
        let (changes, total) = self.pages(partition, &standing, &pieces, start);
        let row = standing.extended(&pieces, start, total, &state);
        for change in changes {
            rows.push(change).await?;
        }
        let key = self.keys.partition(partition);
        rows.push(Change::Put(key, row.encode())).await?;
        for change in self.told_by_log(partition, &state) {
            rows.push(change).await?;
        }
        let shard = topic.info.kept_partition(partition.partition);
        let shard = shard.map(|info| info.shard).unwrap_or_default();
        rows.note_live(&standing.known(), &pieces, shard).await
    }

    pub(super) async fn standing(
        &self,
        partition: TopicPartition,
    ) -> Result<Standing, RebuildError> {
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
                let producer = Keyspace::producer_id(&key);
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

    /// Decides which extents the log of a partition is made of. Of a contradiction it is looked whether compaction is
    /// behind it.
    pub(super) async fn decide(
        &self,
        topic: &Topic,
        partition: TopicPartition,
        found: &FoundPartition,
        standing: &Standing,
    ) -> Result<(Chain, How), RebuildError> {
        let mut how = How::GoingOn;
        if topic.info.config.cleanup_policy().compact {
            how = How::Latest;
        }
        let mut made = self.chain(how, found, standing);
        if let Err(NoChain::Conflict(conflict)) = &made
            && self.is_compacted(partition, conflict).await?
        {
            how = How::Latest;
            made = self.chain(how, found, standing);
        }
        let made = made.map_err(|none| none.of(topic, partition))?;
        Ok((made, how))
    }

    /// Decides, reads what is new and proves it.
    async fn made(
        &self,
        topic: &Topic,
        partition: TopicPartition,
        found: &FoundPartition,
        standing: &Standing,
    ) -> Result<Made, RebuildError> {
        let (mut chain, mut how) = self.decide(topic, partition, found, standing).await?;
        let producers = || standing.producers.clone();
        let mut state = LogState::of(&standing.row, producers());
        if chain.next > standing.row.next {
            let mut read = self.read(partition, &mut chain, &mut state).await;
            if how == How::GoingOn && state.is_compacted {
                // Tombstones may be gone whose keys the backup still has.
                how = How::Latest;
                let latest = self.chain(how, found, standing);
                chain = latest.map_err(|none| none.of(topic, partition))?;
                state = LogState::of(&standing.row, producers());
                read = self.read(partition, &mut chain, &mut state).await;
            }
            read?;
        } else {
            // Nothing is newer: all of it stays as the backup has it.
            chain.pieces = standing.known();
            chain.next = standing.row.next;
        }
        Ok(Made {
            pieces: chain.pieces,
            start: chain.start,
            next: chain.next,
            left: chain.beyond,
            state,
            how,
        })
    }

    /// The extents that the log is made of, by what is to become of gaps.
    fn chain(
        &self,
        how: How,
        found: &FoundPartition,
        standing: &Standing,
    ) -> Result<Chain, NoChain> {
        let (row, known) = (&standing.row, standing.known());
        let start = match known.first() {
            Some(first) => first.extent.offsets.base,
            // What was before is deleted, or there never was anything.
            None => row.next,
        };
        let is_empty = known.is_empty();
        let mut pieces = known;
        pieces.extend(found.pieces.iter().cloned());
        let from = |start| match how {
            How::GoingOn => chain(start, &pieces).map_err(NoChain::Conflict),
            How::Latest => Ok(latest(start, &pieces)),
        };
        let mut made = from(start)?;
        if is_empty && made.pieces.is_empty() {
            // Nothing is there that could be kept instead.
            let bases = found.pieces.iter().map(|piece| piece.extent.offsets.base);
            made = from(bases.filter(|base| *base > start).min().unwrap_or(start))?;
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
                    made = from(after)?;
                }
                Gaps::Refuse => return Err(NoChain::Gap(gap)),
            }
        }
        made.beyond.clear();
        Ok(made)
    }

    /// Whether one of two extents that contradict each other was compacted.
    async fn is_compacted(
        &self,
        partition: TopicPartition,
        conflict: &Conflict,
    ) -> Result<bool, RebuildError> {
        let (first, second) = &*conflict.extents;
        for extent in [first, second] {
            let piece = Piece::whole(extent.clone(), Timestamp::default(), None);
            let mut state = LogState::of(&PartitionRow::default(), BTreeMap::new());
            let bytes = self.bytes(partition, &piece).await?;
            let read = state.read(&bytes, extent.crc32c, extent.offsets, piece.committed_at);
            read.map_err(|fault| damaged(partition, &piece, fault))?;
            if state.is_compacted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the extents that become part of the log, proves them, and cuts those of which a part is taken.
    async fn read(
        &self,
        partition: TopicPartition,
        chain: &mut Chain,
        state: &mut LogState,
    ) -> Result<(), RebuildError> {
        let new = chain.pieces.iter().enumerate();
        let new = new.filter(|(_, piece)| piece.is_new());
        let reads = new.map(|(index, piece)| async move {
            let bytes = self.bytes(partition, piece).await;
            (index, piece, bytes)
        });
        let reads = reads.collect::<Vec<_>>();
        let mut reads = stream::iter(reads).buffered(self.options.reads_at_once.max(1));
        let mut cuts = Vec::new();
        while let Some((index, piece, bytes)) = reads.next().await {
            let bytes = bytes?;
            if piece.is_found() {
                let (crc32c, at) = (piece.extent.crc32c, piece.committed_at);
                let read = state.read(&bytes, crc32c, piece.taken, at);
                read.map_err(|fault| damaged(partition, piece, fault))?;
            }
            if piece.is_cut() {
                let extent = cut(piece, &bytes);
                let extent = extent.map_err(|fault| damaged(partition, piece, fault))?;
                cuts.push((index, extent));
            }
        }
        drop(reads);
        for (index, extent) in cuts {
            if let Some(piece) = chain.pieces.get_mut(index) {
                // The backup has no such extent.
                piece.found.get_or_insert(piece.committed_at);
                piece.extent = extent;
            }
        }
        Ok(())
    }

    /// The bytes of an extent in a segment; of another one none are needed.
    async fn bytes(&self, partition: TopicPartition, piece: &Piece) -> Result<Bytes, RebuildError> {
        let Location::Segment {
            bucket,
            segment,
            position,
            length,
        } = piece.extent.location
        else {
            return Ok(Bytes::new());
        };
        let read = if bucket.is_store() {
            self.part_in_store(segment, position, length).await?
        } else {
            self.range((bucket, segment), position, length).await?
        };
        read.map_err(|fault| damaged(partition, piece, fault))
    }

    /// Bytes of a segment that lies in the store, as the backup has it, or what is wrong with it.
    async fn part_in_store(
        &self,
        segment: SegmentName,
        position: u32,
        length: u32,
    ) -> Result<Result<Bytes, String>, RebuildError> {
        let value = self.pages.value(self.keys.inline(segment)).await?;
        let Some(value) = value else {
            return Ok(Err("it is gone".to_owned()));
        };
        let row = match InlineRow::decode(value) {
            Ok(row) => row,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let start = position as usize;
        let end = start.saturating_add(length as usize);
        if end > row.segment.len() {
            return Ok(Err("it is too short".to_owned()));
        }
        Ok(Ok(row.segment.slice(start..end)))
    }

    /// Bytes of a segment, or what is wrong with it.
    pub(super) async fn range(
        &self,
        (bucket, segment): (BucketId, SegmentName),
        position: u32,
        length: u32,
    ) -> Result<Result<Bytes, String>, RebuildError> {
        let path = self.options.layout.segment(bucket, segment);
        let range = u64::from(position)..u64::from(position) + u64::from(length);
        match self.reader.range(&path, range).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(Unreadable::Missing) => Ok(Err("it is gone".to_owned())),
            Err(Unreadable::Short) => Ok(Err("it is too short".to_owned())),
            Err(Unreadable::Bucket(error)) => Err(error.into()),
        }
    }
}

impl NoChain {
    fn of(self, topic: &Topic, partition: TopicPartition) -> RebuildError {
        match self {
            Self::Conflict(conflict) => conflict.of(partition),
            Self::Gap(gap) => RebuildError::Gap {
                topic: topic.name().clone(),
                partition,
                gap,
            },
        }
    }
}

impl Conflict {
    fn of(self, partition: TopicPartition) -> RebuildError {
        let (first, second) = *self.extents;
        RebuildError::Conflict {
            partition,
            offsets: self.offsets,
            first: segment_of(&first),
            second: segment_of(&second),
        }
    }
}

const fn segment_of(extent: &Extent) -> SegmentName {
    match extent.location {
        Location::Segment { segment, .. } => segment,
        Location::Inline { .. } | Location::Marker(_) => SegmentName::new(
            tidelog_types::Incarnation::new(0),
            tidelog_types::SegmentSequence::new(0),
        ),
    }
}

fn damaged(partition: TopicPartition, piece: &Piece, fault: String) -> RebuildError {
    RebuildError::Damaged {
        segment: segment_of(&piece.extent),
        partition,
        offsets: piece.extent.offsets,
        fault,
    }
}

/// What ends transactions that nobody knows of any more comes behind the log.
fn push_markers(pieces: &mut Vec<Piece>, markers: &[(Offset, EndMarker)]) {
    let last = pieces.last();
    let last = last.map(|piece| (piece.committed_at, piece.extent.max_timestamp));
    let (committed_at, max_timestamp) = last.unwrap_or_default();
    pieces.extend(markers.iter().map(|(at, marker)| {
        let extent = Extent {
            offsets: OffsetRange {
                base: *at,
                next: at.checked_add(1).unwrap_or(*at),
            },
            location: Location::Marker(*marker),
            crc32c: None,
            max_timestamp,
        };
        Piece::whole(extent, committed_at, Some(committed_at))
    }));
}
