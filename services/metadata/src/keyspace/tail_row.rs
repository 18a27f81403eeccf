//! The tail of a shard: what was committed in it, in order.

use bytes::Bytes;
use tidelog_format::manifest::{Manifest, Outcome, Receipt};
use tidelog_metadata_api::{FencingToken, TransactionNumber};
use tidelog_types::{GroupNumber, Offset, PartitionIndex, Timestamp, TopicNumber, TopicPartition};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::Keyspace;
use super::marker_row::MarkerRow;

/// The newest version of these rows. On disk for ever; in version 1 there were no transactions.
const TRANSACTIONS_VERSION: u8 = 2;

/// Bytes of a [`BegunTransaction`] at most.
pub(crate) const BEGUN_BYTES_MAX: usize = 5 + 10;

/// A change of a partition that has no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailCommand {
    /// The fencing token that holds from here on.
    SetFencingToken(FencingToken),
    /// The log start offset that holds from here on.
    SetLogStart(Offset),
}

/// A batch of a manifest that was the first one of a transaction in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunTransaction {
    /// The batch, counted from 0 over all slices.
    pub batch: u32,
    /// Which of its producer's transactions it is.
    pub number: TransactionNumber,
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
        /// The transactions that accepted batches have begun, in the order of these.
        begun: Vec<BegunTransaction>,
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
    /// Ends of transactions.
    Markers {
        /// The sequencer's time, which is also that of the markers.
        commit_time: Timestamp,
        /// At least one, in the order in which they were appended.
        markers: Vec<MarkerRow>,
    },
}

impl TailRow {
    /// Reads back a row, with the group that it is of.
    pub(crate) fn of_row((key, value): (Bytes, Bytes)) -> Result<(GroupNumber, Self), RowError> {
        let group = Keyspace::tail_group(&key).ok_or(RowError {
            kind: "tail",
            what: "its key is too short",
        })?;
        Ok((group, Self::decode(value)?))
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let row = RowWriter::new(TRANSACTIONS_VERSION);
        match self {
            Self::Manifest {
                commit_time,
                manifest,
                receipt,
                begun,
            } => {
                let mut row = row
                    .u8(0)
                    .i64(commit_time.as_millis())
                    .bytes(&manifest.encode())
                    .bytes(&receipt.encode())
                    .varint(u64::try_from(begun.len()).unwrap_or(u64::MAX));
                for begun in begun {
                    row = row.varint(u64::from(begun.batch)).varint(begun.number.0);
                }
                row.finish()
            }
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
            Self::Markers {
                commit_time,
                markers,
            } => {
                let count = u16::try_from(markers.len()).unwrap_or(u16::MAX);
                let row = row.u8(2).i64(commit_time.as_millis()).u16(count);
                let markers = markers.iter();
                markers.fold(row, |row, marker| marker.write(row)).finish()
            }
        }
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("tail", value, TRANSACTIONS_VERSION)?;
        let tag = row.u8()?;
        let commit_time = Timestamp::from_millis(row.i64()?);
        let decoded = match tag {
            0 => Self::read_manifest(&mut row, version, commit_time)?,
            1 => {
                let topic = TopicNumber::new(row.u64()?);
                let partition = TopicPartition::new(topic, PartitionIndex::new(row.u32()?));
                let command = match row.u8()? {
                    0 => TailCommand::SetFencingToken(row.fencing_token()?),
                    1 => TailCommand::SetLogStart(Offset::new(row.u64()?)),
                    _ => return Err(row.error("its command is unknown")),
                };
                Self::Command {
                    commit_time,
                    partition,
                    command,
                }
            }
            2 => Self::read_markers(&mut row, commit_time)?,
            _ => return Err(row.error("its kind is unknown")),
        };
        row.finish()?;
        Ok(decoded)
    }

    fn read_manifest(
        row: &mut RowReader,
        version: u8,
        commit_time: Timestamp,
    ) -> Result<Self, RowError> {
        let manifest =
            Manifest::decode(&row.bytes()?).map_err(|_| row.error("its manifest is damaged"))?;
        let receipt =
            Receipt::decode(&row.bytes()?).map_err(|_| row.error("its receipt is damaged"))?;
        if receipt.outcomes.len() != manifest.batch_count() {
            return Err(row.error("its receipt does not fit its manifest"));
        }
        let count = if version >= TRANSACTIONS_VERSION {
            row.varint()?
        } else {
            0
        };
        let mut begun: Vec<BegunTransaction> = Vec::new();
        for _ in 0..count {
            let batch = u32::try_from(row.varint()?).unwrap_or(u32::MAX);
            let after = begun.last().is_none_or(|last| last.batch < batch);
            let outcome = usize::try_from(batch)
                .ok()
                .and_then(|batch| receipt.outcomes.get(batch));
            if !after || !matches!(outcome, Some(Outcome::Accepted { .. })) {
                return Err(row.error("what begins its transactions is out of order or refused"));
            }
            let number = TransactionNumber(row.varint()?);
            begun.push(BegunTransaction { batch, number });
        }
        Ok(Self::Manifest {
            commit_time,
            manifest,
            receipt,
            begun,
        })
    }

    fn read_markers(row: &mut RowReader, commit_time: Timestamp) -> Result<Self, RowError> {
        let mut markers = Vec::new();
        for _ in 0..row.u16()? {
            markers.push(MarkerRow::read(row)?);
        }
        if markers.is_empty() {
            return Err(row.error("it has no marker"));
        }
        Ok(Self::Markers {
            commit_time,
            markers,
        })
    }

    /// The sequencer's time.
    pub const fn commit_time(&self) -> Timestamp {
        match self {
            Self::Manifest { commit_time, .. }
            | Self::Command { commit_time, .. }
            | Self::Markers { commit_time, .. } => *commit_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_format::manifest::{BatchEntry, SliceEntry};
    use tidelog_metadata_api::MARKERS_MAX;
    use tidelog_types::limits::STORE_VALUE_BYTES_MAX;
    use tidelog_types::{
        BucketId, Incarnation, ProducerEpoch, ProducerId, SegmentName, SegmentSequence, ShardId,
    };

    use super::super::codec::assert_round_trip;
    use super::super::marker_row::tests as marker_row;
    use super::*;

    #[test]
    fn commands_round_trip_and_cut_or_longer_ones_are_errors() {
        let token = FencingToken::new(Bytes::from_static(b"me")).unwrap();
        for command in [
            TailCommand::SetFencingToken(token),
            TailCommand::SetLogStart(Offset::new(5)),
        ] {
            let row = TailRow::Command {
                commit_time: Timestamp::from_millis(5),
                partition: TopicPartition::default(),
                command,
            };
            assert_round_trip(&row, &row.encode(), TailRow::decode);
        }
    }

    #[test]
    fn markers_round_trip_and_cut_or_longer_ones_are_errors() {
        let row = TailRow::Markers {
            commit_time: Timestamp::from_millis(5),
            markers: vec![marker_row::example(Some(3)), marker_row::example(None)],
        };
        assert_round_trip(&row, &row.encode(), TailRow::decode);
        let none = TailRow::Markers {
            commit_time: Timestamp::from_millis(5),
            markers: Vec::new(),
        };
        assert!(TailRow::decode(none.encode()).is_err());
    }

    #[test]
    fn the_most_markers_that_are_decided_at_once_fit_a_value() {
        let row = TailRow::Markers {
            commit_time: Timestamp::from_millis(5),
            markers: vec![marker_row::example(Some(3)); MARKERS_MAX],
        };
        let value = row.encode();
        assert!(value.len() <= STORE_VALUE_BYTES_MAX, "{}", value.len());
        assert_eq!(TailRow::decode(value), Ok(row));
    }

    fn manifest(begun: &[(u32, u64)]) -> TailRow {
        let batch = BatchEntry {
            length: 70,
            record_count: 1,
            producer_id: ProducerId::new(1),
            producer_epoch: ProducerEpoch::new(0),
            base_sequence: 0,
            min_timestamp: Timestamp::default(),
            max_timestamp: Timestamp::default(),
            max_timestamp_offset_delta: 0,
            transactional: true,
            control: false,
        };
        let manifest = Manifest {
            segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(1)),
            bucket: BucketId::new(0),
            shard: ShardId::new(0),
            slices: vec![SliceEntry {
                partition: TopicPartition::default(),
                position: 64,
                length: 210,
                crc32c: 0,
                batches: [batch; 3].into_iter().collect(),
            }],
        };
        let accepted = |offset| Outcome::Accepted {
            base_offset: Offset::new(offset),
        };
        let first_offset = Offset::new(0);
        let begun = begun.iter().map(|(batch, number)| BegunTransaction {
            batch: *batch,
            number: TransactionNumber(*number),
        });
        TailRow::Manifest {
            commit_time: Timestamp::from_millis(5),
            manifest,
            receipt: Receipt {
                outcomes: vec![
                    accepted(0),
                    Outcome::Duplicate { first_offset },
                    accepted(1),
                ],
            },
            begun: begun.collect(),
        }
    }

    #[test]
    fn manifests_say_which_accepted_batches_begin_transactions() {
        let row = manifest(&[(0, 5), (2, u64::MAX)]);
        assert_round_trip(&row, &row.encode(), TailRow::decode);
        for wrong in [
            &[(2, 5), (0, 6)][..],
            &[(0, 5), (0, 5)],
            &[(1, 5)],
            &[(3, 5)],
        ] {
            assert!(TailRow::decode(manifest(wrong).encode()).is_err());
        }
    }

    #[test]
    fn a_manifest_of_the_first_version_begins_none() {
        let row = manifest(&[]);
        let mut old = row.encode().to_vec();
        old[0] = 1;
        assert_eq!(old.pop(), Some(0));
        assert_eq!(TailRow::decode(old.into()), Ok(row));
    }
}
