//! The tail of a shard: what was committed in it, in order.

use bytes::Bytes;
use tidelog_format::manifest::{Manifest, Receipt};
use tidelog_metadata_api::FencingToken;
use tidelog_types::{Offset, PartitionIndex, Timestamp, TopicNumber, TopicPartition};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

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

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
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
}
