//! Members of groups. What a member brings along may be larger than a value of the store, so it is written in
//! pieces.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidelog_groups::assign::{Assignor, Partitions};
use tidelog_groups::{classic, consumer};
use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;
const KIND: &str = "group member";
/// Bytes of a member in one piece. With version and number of pieces they fit a value of the store.
const PIECE_BYTES_MAX: usize = 90_000;
/// Partitions of a member, far above what one could read; a damaged row shall not fill the memory.
const PARTITIONS_MAX: u64 = 1_000_000;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupMemberRow {
    /// Of the classic protocol.
    Classic(classic::StoredMember),
    /// Of the consumer protocol.
    Consumer(consumer::StoredMember),
}

impl GroupMemberRow {
    /// The member's id, which is in the key.
    pub fn member_id(&self) -> &str {
        match self {
            Self::Classic(member) => &member.member_id,
            Self::Consumer(member) => &member.member_id,
        }
    }

    /// The values of the member's pieces, by their numbers from 0.
    pub fn encode(&self) -> Vec<Bytes> {
        let row = RowWriter::new(VERSION);
        let whole = match self {
            Self::Classic(member) => classic_body(row.u8(0), member),
            Self::Consumer(member) => consumer_body(row.u8(1), member),
        }
        .finish();
        let pieces: Vec<&[u8]> = whole.chunks(PIECE_BYTES_MAX).collect();
        let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        let piece = |piece: &[u8]| {
            let row = RowWriter::new(VERSION).fixed(&count.to_be_bytes());
            row.fixed(piece).finish()
        };
        pieces.into_iter().map(piece).collect()
    }

    /// Reads a member back from its pieces, in the order of their numbers.
    pub fn decode(member_id: &str, pieces: &[Bytes]) -> Result<Self, RowError> {
        let mut whole = BytesMut::new();
        for piece in pieces {
            let (mut row, _) = RowReader::new(KIND, piece.clone(), VERSION)?;
            if usize::from(row.u16()?) != pieces.len() {
                return Err(row.error("a piece is missing"));
            }
            whole.extend_from_slice(&row.rest());
        }
        let (mut row, _) = RowReader::new(KIND, whole.freeze(), VERSION)?;
        let member = match row.u8()? {
            0 => Self::Classic(read_classic(&mut row, member_id)?),
            1 => Self::Consumer(read_consumer(&mut row, member_id)?),
            _ => return Err(row.error("its protocol is unknown")),
        };
        row.finish()?;
        Ok(member)
    }
}

fn classic_body(row: RowWriter, member: &classic::StoredMember) -> RowWriter {
    let row = row
        .option(member.instance.as_deref())
        .bytes(member.client_id.as_bytes())
        .bytes(member.client_host.as_bytes())
        .u64(millis(member.session))
        .u64(millis(member.rebalance));
    protocols(row, &member.protocols).bytes(&member.assignment)
}

fn protocols(row: RowWriter, protocols: &[classic::Protocol]) -> RowWriter {
    let row = row.varint(count(protocols.len()));
    protocols.iter().fold(row, |row, protocol| {
        row.bytes(protocol.name.as_bytes())
            .bytes(&protocol.metadata)
    })
}

fn read_protocols(row: &mut RowReader) -> Result<Vec<classic::Protocol>, RowError> {
    let mut protocols = Vec::new();
    for _ in 0..row.varint()? {
        protocols.push(classic::Protocol {
            name: row.text()?,
            metadata: row.bytes()?,
        });
    }
    Ok(protocols)
}

fn read_classic(row: &mut RowReader, member_id: &str) -> Result<classic::StoredMember, RowError> {
    let instance = row.option()?;
    let client_id = row.text()?;
    let client_host = row.text()?;
    let session = Duration::from_millis(row.u64()?);
    let rebalance = Duration::from_millis(row.u64()?);
    let protocols = read_protocols(row)?;
    Ok(classic::StoredMember {
        member_id: member_id.to_owned(),
        instance,
        client_id,
        client_host,
        session,
        rebalance,
        protocols,
        assignment: row.bytes()?,
    })
}

fn consumer_body(row: RowWriter, member: &consumer::StoredMember) -> RowWriter {
    let mut row = row
        .option(member.instance.as_deref())
        .option(member.rack.as_deref())
        .bytes(member.client_id.as_bytes())
        .bytes(member.client_host.as_bytes())
        .u64(millis(member.rebalance))
        .varint(count(member.topics.len()));
    for topic in &member.topics {
        row = row.bytes(topic.as_bytes());
    }
    let assignor = match member.assignor {
        None => 0,
        Some(Assignor::Uniform) => 1,
        Some(Assignor::Range) => 2,
    };
    let state = match member.state {
        consumer::MemberState::Stable => 0,
        consumer::MemberState::Unrevoked => 1,
        consumer::MemberState::Unreleased => 2,
    };
    let row = row
        .option(member.pattern.as_deref())
        .u8(assignor)
        .u32(member.epoch.cast_unsigned())
        .u32(member.previous_epoch.cast_unsigned())
        .u8(state)
        .u8(u8::from(member.is_away));
    let row = partitions(row, &member.assigned);
    let row = partitions(row, &member.revoking);
    let row = partitions(row, &member.target);
    match &member.classic {
        None => row.u8(0),
        Some(part) => protocols(row.u8(1).u64(millis(part.session)), &part.protocols),
    }
}

fn read_consumer(row: &mut RowReader, member_id: &str) -> Result<consumer::StoredMember, RowError> {
    let instance = row.option()?;
    let rack = row.option()?;
    let client_id = row.text()?;
    let client_host = row.text()?;
    let rebalance = Duration::from_millis(row.u64()?);
    let mut topics = BTreeSet::new();
    for _ in 0..row.varint()? {
        topics.insert(row.text()?);
    }
    let pattern = row.option()?;
    let assignor = match row.u8()? {
        0 => None,
        1 => Some(Assignor::Uniform),
        2 => Some(Assignor::Range),
        _ => return Err(row.error("its assignor is unknown")),
    };
    let epoch = row.u32()?.cast_signed();
    let previous_epoch = row.u32()?.cast_signed();
    let state = match row.u8()? {
        0 => consumer::MemberState::Stable,
        1 => consumer::MemberState::Unrevoked,
        2 => consumer::MemberState::Unreleased,
        _ => return Err(row.error("its state is unknown")),
    };
    let is_away = row.flag()?;
    Ok(consumer::StoredMember {
        member_id: member_id.to_owned(),
        instance,
        rack,
        client_id,
        client_host,
        rebalance,
        topics,
        pattern,
        assignor,
        epoch,
        previous_epoch,
        state,
        assigned: read_partitions(row)?,
        revoking: read_partitions(row)?,
        target: read_partitions(row)?,
        is_away,
        classic: read_part(row)?,
    })
}

fn read_part(row: &mut RowReader) -> Result<Option<consumer::ClassicPart>, RowError> {
    if !row.flag()? {
        return Ok(None);
    }
    Ok(Some(consumer::ClassicPart {
        session: Duration::from_millis(row.u64()?),
        protocols: read_protocols(row)?,
    }))
}

/// Writes partitions: runs of indexes, as the topic's number, the first index and how many.
fn partitions(row: RowWriter, partitions: &Partitions) -> RowWriter {
    let mut runs: Vec<(TopicPartition, u64)> = Vec::new();
    for &one in partitions {
        match runs.last_mut() {
            Some((first, length))
                if first.topic == one.topic
                    && u64::from(first.partition.get()) + *length
                        == u64::from(one.partition.get()) =>
            {
                *length += 1;
            }
            _ => runs.push((one, 1)),
        }
    }
    let row = row.varint(count(runs.len()));
    runs.into_iter().fold(row, |row, (first, length)| {
        row.varint(first.topic.get())
            .varint(u64::from(first.partition.get()))
            .varint(length)
    })
}

fn read_partitions(row: &mut RowReader) -> Result<Partitions, RowError> {
    let mut partitions = Partitions::new();
    let mut all = 0_u64;
    for _ in 0..row.varint()? {
        let topic = TopicNumber::new(row.varint()?);
        let (first, length) = (row.varint()?, row.varint()?);
        let end = first.checked_add(length);
        let end = end.filter(|end| *end <= u64::from(tidelog_types::limits::TOPIC_PARTITIONS_MAX));
        let end = end.ok_or_else(|| row.error("a partition is out of range"))?;
        all = all.saturating_add(length);
        if all > PARTITIONS_MAX {
            return Err(row.error("it has too many partitions"));
        }
        let indexes = (first..end).filter_map(|index| u32::try_from(index).ok());
        partitions
            .extend(indexes.map(|index| TopicPartition::new(topic, PartitionIndex::new(index))));
    }
    Ok(partitions)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: u64, index: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(index))
    }

    fn classic(metadata: usize) -> GroupMemberRow {
        GroupMemberRow::Classic(classic::StoredMember {
            member_id: "m".to_owned(),
            instance: Some("i".to_owned()),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session: Duration::from_secs(10),
            rebalance: Duration::from_mins(5),
            protocols: vec![classic::Protocol {
                name: "range".to_owned(),
                metadata: vec![7; metadata].into(),
            }],
            assignment: Bytes::from_static(b"all"),
        })
    }

    fn consumer() -> GroupMemberRow {
        GroupMemberRow::Consumer(consumer::StoredMember {
            member_id: "m".to_owned(),
            instance: None,
            rack: Some("a".to_owned()),
            client_id: String::new(),
            client_host: "/::1".to_owned(),
            rebalance: Duration::from_mins(5),
            topics: ["t".to_owned()].into(),
            pattern: Some("x.*".to_owned()),
            assignor: Some(Assignor::Range),
            epoch: 5,
            previous_epoch: 4,
            state: consumer::MemberState::Unreleased,
            assigned: [at(1, 0), at(1, 1), at(1, 3), at(2, 0)].into(),
            revoking: Partitions::new(),
            target: [at(1, 99_999)].into(),
            is_away: true,
            classic: Some(consumer::ClassicPart {
                session: Duration::from_secs(9),
                protocols: vec![classic::Protocol {
                    name: "range".to_owned(),
                    metadata: Bytes::from_static(b"m"),
                }],
            }),
        })
    }

    #[test]
    fn members_round_trip_in_as_many_pieces_as_it_takes() {
        for (row, pieces) in [
            (classic(0), 1),
            (consumer(), 1),
            (classic(PIECE_BYTES_MAX), 2),
            (classic(5 * PIECE_BYTES_MAX), 6),
        ] {
            let values = row.encode();
            assert_eq!(values.len(), pieces);
            assert!(values.iter().all(|value| value.len() <= 100_000));
            assert_eq!(GroupMemberRow::decode("m", &values).as_ref(), Ok(&row));
            let missing = GroupMemberRow::decode("m", &values[1..]);
            assert!(missing.is_err(), "{pieces}");
        }
    }

    #[test]
    fn cut_or_longer_members_are_errors() {
        for row in [classic(3), consumer()] {
            let value = row.encode().remove(0);
            for cut in 0..value.len() {
                let cut_off = GroupMemberRow::decode("m", &[value.slice(..cut)]);
                assert!(cut_off.is_err(), "cut at {cut} of {row:?}");
            }
            let longer = Bytes::from([value.as_ref(), &[0]].concat());
            assert!(GroupMemberRow::decode("m", &[longer]).is_err());
        }
    }

    #[test]
    fn a_run_of_partitions_that_no_topic_has_is_an_error_and_takes_no_memory() {
        let row = RowWriter::new(VERSION).varint(1).varint(1).varint(0);
        let value = row.varint(u64::MAX).finish();
        let (mut row, _) = RowReader::new(KIND, value, VERSION).expect("a version");
        assert!(read_partitions(&mut row).is_err());
    }
}
