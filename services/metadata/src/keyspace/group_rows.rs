//! Rows of groups: what a group is, and the offsets that it has committed.

use bytes::Bytes;
use tidelog_metadata_api::{CommittedOffset, GroupOffset};
use tidelog_types::{Offset, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of the row of a group. On disk for ever.
const GROUP_VERSION: u8 = 2;
/// The newest version of the row of an offset. On disk for ever.
const OFFSET_VERSION: u8 = 1;

/// What a group is, without its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The generation of a classic group, the epoch of one of the consumer protocol. It goes on when a group moves
    /// from one to the other.
    pub epoch: i32,
    /// How many members there are rows of. A group with another number of them was not written to its end, and is
    /// one without members.
    pub members: u32,
    /// Whether the rows of the members are being written, in more than one transaction: until the last one there is
    /// no whole generation, so that a new owner takes the group for one without members.
    pub is_torn: bool,
    /// Whether it may have committed offsets. One that has neither members nor offsets is of no use.
    pub has_offsets: bool,
    /// Whether there may be rows of transactions of it.
    pub has_transactions: bool,
    /// When it was created, or lost its last member. Offsets expire from then on.
    pub empty_since: Timestamp,
    /// What only its protocol has.
    pub kind: GroupKindRow,
}

/// What only one of the protocols has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKindRow {
    /// The classic protocol; also a group that has only offsets.
    Classic {
        /// The type of protocol; none for a group that never had a member.
        protocol_type: Option<String>,
        /// The protocol of the generation.
        protocol: Option<String>,
        /// The member that assigns.
        leader: Option<String>,
    },
    /// The consumer protocol.
    Consumer {
        /// The epoch that the targets were made for.
        target_epoch: i32,
        /// A hash of the topics that the epoch is about.
        topics_hash: u64,
    },
}

impl GroupRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let row = RowWriter::new(GROUP_VERSION)
            .u32(self.epoch.cast_unsigned())
            .u32(self.members)
            .u8(u8::from(self.is_torn))
            .u8(u8::from(self.has_offsets))
            .u8(u8::from(self.has_transactions))
            .i64(self.empty_since.as_millis());
        match &self.kind {
            GroupKindRow::Classic {
                protocol_type,
                protocol,
                leader,
            } => row
                .u8(0)
                .option(protocol_type.as_deref())
                .option(protocol.as_deref())
                .option(leader.as_deref()),
            GroupKindRow::Consumer {
                target_epoch,
                topics_hash,
            } => row
                .u8(1)
                .u32(target_epoch.cast_unsigned())
                .u64(*topics_hash),
        }
        .finish()
    }

    /// Whether nothing is left of the group but that transactions have ended in it: for others there is none.
    pub fn is_trace(&self) -> bool {
        let had_members = match &self.kind {
            GroupKindRow::Classic { protocol_type, .. } => {
                protocol_type.is_some() || self.epoch > 0
            }
            GroupKindRow::Consumer { .. } => true,
        };
        !self.has_offsets && !had_members
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("group", value, GROUP_VERSION)?;
        let epoch = row.u32()?.cast_signed();
        let members = row.u32()?;
        let is_torn = row.flag()?;
        let has_offsets = row.flag()?;
        // Before version 2 there were no transactions.
        let has_transactions = version >= 2 && row.flag()?;
        let empty_since = Timestamp::from_millis(row.i64()?);
        let kind = match row.u8()? {
            0 => GroupKindRow::Classic {
                protocol_type: row.option()?,
                protocol: row.option()?,
                leader: row.option()?,
            },
            1 => GroupKindRow::Consumer {
                target_epoch: row.u32()?.cast_signed(),
                topics_hash: row.u64()?,
            },
            _ => return Err(row.error("its protocol is unknown")),
        };
        row.finish()?;
        Ok(Self {
            epoch,
            members,
            is_torn,
            has_offsets,
            has_transactions,
            empty_since,
            kind,
        })
    }
}

/// The offset that a group has committed in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsetRow(pub CommittedOffset);

impl GroupOffsetRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let CommittedOffset {
            offset,
            committed_at,
        } = &self.0;
        let row = RowWriter::new(OFFSET_VERSION)
            .u64(offset.offset.get())
            .i64(committed_at.as_millis());
        let row = match offset.leader_epoch {
            None => row.u8(0),
            Some(epoch) => row.u8(1).u32(epoch.cast_unsigned()),
        };
        row.bytes(offset.metadata.as_bytes()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("group offset", value, OFFSET_VERSION)?;
        let offset = Offset::new(row.u64()?);
        let committed_at = Timestamp::from_millis(row.i64()?);
        let has_epoch = row.flag()?;
        let leader_epoch = has_epoch.then(|| row.u32()).transpose()?;
        let metadata = row.text()?;
        row.finish()?;
        Ok(Self(CommittedOffset {
            offset: GroupOffset {
                offset,
                leader_epoch: leader_epoch.map(u32::cast_signed),
                metadata,
            },
            committed_at,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn groups_round_trip_and_cut_or_longer_ones_are_errors() {
        let some = |text: &str| Some(text.to_owned());
        for kind in [
            GroupKindRow::Classic {
                protocol_type: None,
                protocol: None,
                leader: None,
            },
            GroupKindRow::Classic {
                protocol_type: some("consumer"),
                protocol: some("range"),
                leader: some("m-1"),
            },
            GroupKindRow::Consumer {
                target_epoch: -3,
                topics_hash: u64::MAX,
            },
        ] {
            let row = GroupRow {
                epoch: 7,
                members: 2,
                is_torn: true,
                has_offsets: false,
                has_transactions: true,
                empty_since: Timestamp::from_millis(5),
                kind,
            };
            assert_round_trip(&row, &row.encode(), GroupRow::decode);
        }
    }

    #[test]
    fn offsets_round_trip_and_cut_or_longer_ones_are_errors() {
        for leader_epoch in [None, Some(0), Some(-1)] {
            let row = GroupOffsetRow(CommittedOffset {
                offset: GroupOffset {
                    offset: Offset::new(1 << 40),
                    leader_epoch,
                    metadata: "note".to_owned(),
                },
                committed_at: Timestamp::from_millis(5),
            });
            assert_round_trip(&row, &row.encode(), GroupOffsetRow::decode);
        }
    }
}
