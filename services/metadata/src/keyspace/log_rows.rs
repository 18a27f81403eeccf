//! Rows of shards, segments, partitions and producers.

use bytes::Bytes;
use tidelog_format::manifest::{Manifest, Receipt};
use tidelog_metadata_api::FencingToken;
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;
use tidelog_types::{
    GroupNumber, Offset, PartitionIndex, ProducerEpoch, SegmentSequence, Timestamp, TopicNumber,
    TopicPartition,
};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;
/// The newest version of checkpoints and partitions. In version 1 there were no pages.
const PAGED_VERSION: u8 = 2;

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The owner process, by a random id.
    pub owner: [u8; 16],
    /// Raised by each takeover.
    pub epoch: u64,
    /// Raised by each settling of an unknown commit (rule C3), so that the old one can only conflict.
    pub settled: u64,
}

impl LeaseRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .fixed(&self.owner)
            .u64(self.epoch)
            .u64(self.settled)
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("lease", value, VERSION)?;
        let decoded = Self {
            owner: row.array()?,
            epoch: row.u64()?,
            settled: row.u64()?,
        };
        row.finish()?;
        Ok(decoded)
    }
}

/// How far the partition and producer rows of a shard have been written: a new owner replays only what
/// is later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Every group up to this one is in the rows.
    pub group: GroupNumber,
    /// The commit time of that group.
    pub commit_time: Timestamp,
    /// Whether the extents up to the group are in pages, too. Not so in rows of version 1.
    pub is_paged: bool,
}

impl CheckpointRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let version = if self.is_paged {
            PAGED_VERSION
        } else {
            VERSION
        };
        RowWriter::new(version)
            .u64(self.group.get())
            .i64(self.commit_time.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("checkpoint", value, PAGED_VERSION)?;
        let decoded = Self {
            group: GroupNumber::new(row.u64()?),
            commit_time: Timestamp::from_millis(row.i64()?),
            is_paged: version >= PAGED_VERSION,
        };
        row.finish()?;
        Ok(decoded)
    }
}

/// A change of a partition that has no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailCommand {
    /// The fencing token that holds from here on.
    SetFencingToken(FencingToken),
    /// The log start offset that holds from here on.
    SetLogStart(Offset),
}

/// An entry of a shard's tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailRow {
    /// A manifest and its outcomes.
    Manifest {
        /// The sequencer's time; never decreases in a shard.
        commit_time: Timestamp,
        /// What the segment holds for the shard.
        manifest: Manifest,
        /// What became of each batch.
        receipt: Receipt,
    },
    /// A command.
    Command {
        /// The sequencer's time.
        commit_time: Timestamp,
        /// The partition.
        partition: TopicPartition,
        /// What changes.
        command: TailCommand,
    },
}

impl TailRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let row = RowWriter::new(VERSION);
        match self {
            Self::Manifest {
                commit_time,
                manifest,
                receipt,
            } => row
                .u8(0)
                .i64(commit_time.as_millis())
                .bytes(&manifest.encode())
                .bytes(&receipt.encode())
                .finish(),
            Self::Command {
                commit_time,
                partition,
                command,
            } => {
                let row = row
                    .u8(1)
                    .i64(commit_time.as_millis())
                    .u64(partition.topic.get())
                    .u32(partition.partition.get());
                match command {
                    TailCommand::SetFencingToken(token) => row.u8(0).bytes(token.as_bytes()),
                    TailCommand::SetLogStart(offset) => row.u8(1).u64(offset.get()),
                }
                .finish()
            }
        }
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("tail", value, VERSION)?;
        let tag = row.u8()?;
        let commit_time = Timestamp::from_millis(row.i64()?);
        let decoded = match tag {
            0 => {
                let manifest = Manifest::decode(&row.bytes()?)
                    .map_err(|_| row.error("its manifest is damaged"))?;
                let receipt = Receipt::decode(&row.bytes()?)
                    .map_err(|_| row.error("its receipt is damaged"))?;
                if receipt.outcomes.len() != manifest.batch_count() {
                    return Err(row.error("its receipt does not fit its manifest"));
                }
                Self::Manifest {
                    commit_time,
                    manifest,
                    receipt,
                }
            }
            1 => {
                let topic = TopicNumber::new(row.u64()?);
                let partition = TopicPartition::new(topic, PartitionIndex::new(row.u32()?));
                let command = match row.u8()? {
                    0 => TailCommand::SetFencingToken(token(&mut row)?),
                    1 => TailCommand::SetLogStart(Offset::new(row.u64()?)),
                    _ => return Err(row.error("its command is unknown")),
                };
                Self::Command {
                    commit_time,
                    partition,
                    command,
                }
            }
            _ => return Err(row.error("its kind is unknown")),
        };
        row.finish()?;
        Ok(decoded)
    }

    /// The sequencer's time.
    pub const fn commit_time(&self) -> Timestamp {
        match self {
            Self::Manifest { commit_time, .. } | Self::Command { commit_time, .. } => *commit_time,
        }
    }
}

fn token(row: &mut RowReader) -> Result<FencingToken, RowError> {
    FencingToken::new(row.bytes()?).map_err(|_| row.error("its fencing token is too long"))
}

/// The proof of a commit: what became of each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The group it was committed in.
    pub group: GroupNumber,
    /// The outcomes.
    pub receipt: Receipt,
}

impl ReceiptRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u64(self.group.get())
            .bytes(&self.receipt.encode())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("receipt", value, VERSION)?;
        let group = GroupNumber::new(row.u64()?);
        let receipt =
            Receipt::decode(&row.bytes()?).map_err(|_| row.error("its outcomes are damaged"))?;
        row.finish()?;
        Ok(Self { group, receipt })
    }
}

/// The floor of an incarnation: manifests of its segments below it are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloorRow {
    /// The lowest sequence that is still taken.
    pub floor: SegmentSequence,
}

impl FloorRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION).u64(self.floor.get()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("floor", value, VERSION)?;
        let floor = SegmentSequence::new(row.u64()?);
        row.finish()?;
        Ok(Self { floor })
    }
}

/// What is kept of a writer that has ended, once its receipts have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedWriterRow {
    /// The highest sequence that it had committed in any shard. Segments that it put and never
    /// committed may lie below and above it.
    pub highest: SegmentSequence,
}

impl EndedWriterRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION).u64(self.highest.get()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("ended writer", value, VERSION)?;
        let highest = SegmentSequence::new(row.u64()?);
        row.finish()?;
        Ok(Self { highest })
    }
}

/// The live bytes of a segment in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBytesRow {
    /// Bytes that extents name.
    pub bytes: u64,
}

impl LiveBytesRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION).u64(self.bytes).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("live bytes", value, VERSION)?;
        let bytes = row.u64()?;
        row.finish()?;
        Ok(Self { bytes })
    }
}

/// A partition as of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// The last group whose effects are in the row.
    pub as_of: GroupNumber,
    /// The offset of the next record.
    pub next: Offset,
    /// The log start offset.
    pub log_start: Offset,
    /// The fencing token.
    pub fencing_token: FencingToken,
    /// The largest timestamp of all its extents, also of those that are deleted.
    pub max_timestamp: Timestamp,
    /// Commit time of its first change; [`Timestamp::NONE`] before it.
    pub since: Timestamp,
}

impl Default for PartitionRow {
    /// A partition that nothing has touched: what a missing row stands for.
    fn default() -> Self {
        Self {
            as_of: GroupNumber::default(),
            next: Offset::ZERO,
            log_start: Offset::ZERO,
            fencing_token: FencingToken::default(),
            max_timestamp: Timestamp::NONE,
            since: Timestamp::NONE,
        }
    }
}

impl PartitionRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(PAGED_VERSION)
            .u64(self.as_of.get())
            .u64(self.next.get())
            .u64(self.log_start.get())
            .bytes(self.fencing_token.as_bytes())
            .i64(self.max_timestamp.as_millis())
            .i64(self.since.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("partition", value, PAGED_VERSION)?;
        let mut decoded = Self {
            as_of: GroupNumber::new(row.u64()?),
            next: Offset::new(row.u64()?),
            log_start: Offset::new(row.u64()?),
            fencing_token: token(&mut row)?,
            max_timestamp: Timestamp::NONE,
            // Version 1 did not say: it may be old.
            since: Timestamp::from_millis(0),
        };
        if version >= PAGED_VERSION {
            decoded.max_timestamp = Timestamp::from_millis(row.i64()?);
            decoded.since = Timestamp::from_millis(row.i64()?);
        }
        if decoded.log_start > decoded.next {
            return Err(row.error("its log starts after its end"));
        }
        row.finish()?;
        Ok(decoded)
    }
}

/// A batch that an idempotent producer has had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBatch {
    /// Its first sequence.
    pub first_sequence: i32,
    /// Its last sequence.
    pub last_sequence: i32,
    /// Its first offset.
    pub base_offset: Offset,
}

/// A producer in a partition as of a group (rule C7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRow {
    /// The last group whose effects are in the row.
    pub as_of: GroupNumber,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Commit time of its last batch.
    pub last_used: Timestamp,
    /// Its last batches, oldest first; at most five.
    pub batches: Vec<SentBatch>,
}

impl ProducerRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let count = u8::try_from(self.batches.len()).unwrap_or(u8::MAX);
        let mut row = RowWriter::new(VERSION)
            .u64(self.as_of.get())
            .u16(self.epoch.get().cast_unsigned())
            .i64(self.last_used.as_millis())
            .u8(count);
        for batch in &self.batches {
            row = row
                .u32(batch.first_sequence.cast_unsigned())
                .u32(batch.last_sequence.cast_unsigned())
                .u64(batch.base_offset.get());
        }
        row.finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("producer", value, VERSION)?;
        let as_of = GroupNumber::new(row.u64()?);
        let epoch = ProducerEpoch::new(row.u16()?.cast_signed());
        let last_used = Timestamp::from_millis(row.i64()?);
        let count = usize::from(row.u8()?);
        if count > PRODUCER_BATCHES_KEPT {
            return Err(row.error("it has more batches than are kept"));
        }
        let mut batches = Vec::new();
        for _ in 0..count {
            batches.push(SentBatch {
                first_sequence: row.u32()?.cast_signed(),
                last_sequence: row.u32()?.cast_signed(),
                base_offset: Offset::new(row.u64()?),
            });
        }
        row.finish()?;
        Ok(Self {
            as_of,
            epoch,
            last_used,
            batches,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn round_trip<T: PartialEq + Debug>(
        row: &T,
        value: &Bytes,
        decode: impl Fn(Bytes) -> Result<T, RowError>,
    ) {
        assert_eq!(decode(value.clone()).as_ref(), Ok(row));
        for cut in 0..value.len() {
            assert!(
                decode(value.slice(..cut)).is_err(),
                "cut at {cut} of {row:?}"
            );
        }
        let longer = [value.as_ref(), &[0]].concat();
        assert!(
            decode(Bytes::from(longer)).is_err(),
            "a byte more after {row:?}"
        );
    }

    #[test]
    fn rows_round_trip_and_cut_or_longer_ones_are_errors() {
        let lease = LeaseRow {
            owner: [3; 16],
            epoch: 7,
            settled: 2,
        };
        round_trip(&lease, &lease.encode(), LeaseRow::decode);
        let checkpoint = CheckpointRow {
            group: GroupNumber::new(9),
            commit_time: Timestamp::from_millis(-1),
            is_paged: true,
        };
        round_trip(&checkpoint, &checkpoint.encode(), CheckpointRow::decode);
        let floor = FloorRow {
            floor: SegmentSequence::new(5),
        };
        round_trip(&floor, &floor.encode(), FloorRow::decode);
        let live = LiveBytesRow { bytes: 77 };
        round_trip(&live, &live.encode(), LiveBytesRow::decode);
        let token = FencingToken::new(Bytes::from_static(b"me")).unwrap();
        let partition = PartitionRow {
            as_of: GroupNumber::new(1),
            next: Offset::new(10),
            log_start: Offset::new(4),
            fencing_token: token.clone(),
            max_timestamp: Timestamp::from_millis(70),
            since: Timestamp::from_millis(60),
        };
        round_trip(&partition, &partition.encode(), PartitionRow::decode);
        let batch = SentBatch {
            first_sequence: 3,
            last_sequence: 5,
            base_offset: Offset::new(8),
        };
        let producer = ProducerRow {
            as_of: GroupNumber::new(2),
            epoch: ProducerEpoch::new(4),
            last_used: Timestamp::from_millis(99),
            batches: vec![batch; 5],
        };
        round_trip(&producer, &producer.encode(), ProducerRow::decode);
        let command = TailRow::Command {
            commit_time: Timestamp::from_millis(5),
            partition: TopicPartition::default(),
            command: TailCommand::SetFencingToken(token),
        };
        round_trip(&command, &command.encode(), TailRow::decode);
    }

    #[test]
    fn rows_that_contradict_themselves_are_errors() {
        let backwards = PartitionRow {
            next: Offset::new(3),
            log_start: Offset::new(4),
            ..PartitionRow::default()
        };
        assert!(PartitionRow::decode(backwards.encode()).is_err());
        let batch = SentBatch {
            first_sequence: 0,
            last_sequence: 0,
            base_offset: Offset::ZERO,
        };
        let hoarder = ProducerRow {
            as_of: GroupNumber::default(),
            epoch: ProducerEpoch::default(),
            last_used: Timestamp::default(),
            batches: vec![batch; 6],
        };
        assert!(ProducerRow::decode(hoarder.encode()).is_err());
    }
}
