//! The row of a transactional id.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata_api::{Decision, GroupName, Participant, ProducerIdentity};
use tidelog_transactions::{Cause, Ending, Phase, StoredTransaction};
use tidelog_types::{
    PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicNumber, TopicPartition,
};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of the row. On disk for ever.
const VERSION: u8 = 1;

/// What of a transactional id outlives its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRow(pub StoredTransaction);

impl TransactionRow {
    /// The row's value. What the limits of a transaction allow fits a value of the store.
    pub fn encode(&self) -> Bytes {
        encode(&self.0)
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("transaction", value, VERSION)?;
        let producer = producer_from(&mut row)?;
        let has_previous = row.flag()?;
        let previous = has_previous.then(|| producer_from(&mut row)).transpose()?;
        let timeout = Duration::from_millis(row.u64()?);
        let number = row.u64()?;
        let started_at = Timestamp::from_millis(row.i64()?);
        let changed_at = Timestamp::from_millis(row.i64()?);
        let phase = phase_from(&mut row)?;
        row.finish()?;
        Ok(Self(StoredTransaction {
            producer,
            previous,
            timeout,
            number,
            started_at,
            changed_at,
            phase,
        }))
    }
}

/// The value of the row of an id, without a copy of what it says.
pub(crate) fn encode(stored: &StoredTransaction) -> Bytes {
    let row = producer_to(RowWriter::new(VERSION), stored.producer);
    let row = match stored.previous {
        None => row.u8(0),
        Some(previous) => producer_to(row.u8(1), previous),
    };
    let timeout = u64::try_from(stored.timeout.as_millis()).unwrap_or(u64::MAX);
    let row = row
        .u64(timeout)
        .u64(stored.number)
        .i64(stored.started_at.as_millis())
        .i64(stored.changed_at.as_millis());
    match &stored.phase {
        Phase::Empty => row.u8(0),
        Phase::Ongoing { participants } => participants_to(row.u8(1), participants),
        Phase::Ending {
            ending,
            marker,
            missing,
        } => {
            let row = producer_to(ending_to(row.u8(2), *ending), *marker);
            participants_to(row, missing)
        }
        Phase::Ended { ending } => ending_to(row.u8(3), *ending),
    }
    .finish()
}

fn phase_from(row: &mut RowReader) -> Result<Phase, RowError> {
    Ok(match row.u8()? {
        0 => Phase::Empty,
        1 => Phase::Ongoing {
            participants: participants_from(row)?,
        },
        2 => Phase::Ending {
            ending: ending_from(row)?,
            marker: producer_from(row)?,
            missing: participants_from(row)?,
        },
        3 => Phase::Ended {
            ending: ending_from(row)?,
        },
        _ => return Err(row.error("its phase is unknown")),
    })
}

fn producer_to(row: RowWriter, producer: ProducerIdentity) -> RowWriter {
    row.i64(producer.id.get())
        .u16(producer.epoch.get().cast_unsigned())
}

fn producer_from(row: &mut RowReader) -> Result<ProducerIdentity, RowError> {
    let id = ProducerId::new(row.i64()?);
    let epoch = ProducerEpoch::new(row.u16()?.cast_signed());
    Ok(ProducerIdentity::new(id, epoch))
}

fn ending_to(row: RowWriter, ending: Ending) -> RowWriter {
    let decision = match ending.decision {
        Decision::Abort => 0,
        Decision::Commit => 1,
    };
    let cause = match ending.cause {
        Cause::Producer => 0,
        Cause::Init => 1,
        Cause::Timeout => 2,
    };
    row.u8(decision).u8(cause)
}

fn ending_from(row: &mut RowReader) -> Result<Ending, RowError> {
    let decision = match row.u8()? {
        0 => Decision::Abort,
        1 => Decision::Commit,
        _ => return Err(row.error("its decision is unknown")),
    };
    let cause = match row.u8()? {
        0 => Cause::Producer,
        1 => Cause::Init,
        2 => Cause::Timeout,
        _ => return Err(row.error("the cause of its end is unknown")),
    };
    Ok(Ending { decision, cause })
}

/// Partitions come before groups, as in the set.
fn participants_to(row: RowWriter, participants: &BTreeSet<Participant>) -> RowWriter {
    let partitions = participants.iter().filter_map(|participant| {
        if let Participant::Partition(partition) = participant {
            Some(*partition)
        } else {
            None
        }
    });
    let groups = participants.iter().filter_map(|participant| {
        if let Participant::Group(group) = participant {
            Some(group)
        } else {
            None
        }
    });
    let mut row = row.u32(count(partitions.clone()));
    for partition in partitions {
        row = row
            .u64(partition.topic.get())
            .u32(partition.partition.get());
    }
    row = row.u32(count(groups.clone()));
    for group in groups {
        row = row.bytes(group.as_str().as_bytes());
    }
    row
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn participants_from(row: &mut RowReader) -> Result<BTreeSet<Participant>, RowError> {
    let mut participants = BTreeSet::new();
    for _ in 0..row.u32()? {
        let topic = TopicNumber::new(row.u64()?);
        let partition = TopicPartition::new(topic, PartitionIndex::new(row.u32()?));
        push(row, &mut participants, Participant::Partition(partition))?;
    }
    for _ in 0..row.u32()? {
        let name = row.text()?;
        let group = GroupName::new(&name).map_err(|_| row.error("a group has no good name"))?;
        push(row, &mut participants, Participant::Group(group))?;
    }
    Ok(participants)
}

/// Each comes after the one before, so that a row has one form.
fn push(
    row: &RowReader,
    participants: &mut BTreeSet<Participant>,
    next: Participant,
) -> Result<(), RowError> {
    if participants.last().is_some_and(|last| *last >= next) {
        return Err(row.error("its participants are not in order"));
    }
    participants.insert(next);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelog_transactions::Limits;
    use tidelog_types::limits::STORE_VALUE_BYTES_MAX;

    use super::super::codec::assert_round_trip;
    use super::*;

    fn producer(id: i64, epoch: i16) -> ProducerIdentity {
        ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch))
    }

    fn partition(topic: u64, index: u32) -> Participant {
        let (topic, index) = (TopicNumber::new(topic), PartitionIndex::new(index));
        Participant::Partition(TopicPartition::new(topic, index))
    }

    fn group(name: &str) -> Participant {
        Participant::Group(GroupName::new(name).expect("a good name"))
    }

    fn row(phase: Phase) -> TransactionRow {
        TransactionRow(StoredTransaction {
            producer: producer(7, i16::MAX),
            previous: None,
            timeout: Duration::from_mins(1),
            number: 1 << 40,
            started_at: Timestamp::NONE,
            changed_at: Timestamp::from_millis(5),
            phase,
        })
    }

    #[test]
    fn ids_round_trip_in_each_phase_and_cut_or_longer_ones_are_errors() {
        let participants = BTreeSet::from([partition(1, 2), partition(3, 0), group("g")]);
        let ending = |decision, cause| Ending { decision, cause };
        let phases = [
            Phase::Empty,
            Phase::Ongoing {
                participants: participants.clone(),
            },
            Phase::Ending {
                ending: ending(Decision::Commit, Cause::Producer),
                marker: producer(7, 3),
                missing: participants,
            },
            Phase::Ended {
                ending: ending(Decision::Abort, Cause::Init),
            },
            Phase::Ended {
                ending: ending(Decision::Abort, Cause::Timeout),
            },
        ];
        for phase in phases {
            let mut row = row(phase);
            assert_round_trip(&row, &row.encode(), TransactionRow::decode);
            row.0.previous = Some(producer(6, -1));
            assert_round_trip(&row, &row.encode(), TransactionRow::decode);
        }
    }

    #[test]
    fn participants_that_come_twice_or_out_of_order_are_damage() {
        let with = |participants: &[Participant]| {
            let participants = participants.iter().cloned().collect();
            row(Phase::Ongoing { participants }).encode().to_vec()
        };
        let mut twice = with(&[partition(1, 2), partition(1, 3)]);
        // The last byte before the count of groups is the index of the last partition.
        let at = twice.len() - 5;
        for index in [2, 1] {
            twice[at] = index;
            let damaged = TransactionRow::decode(Bytes::from(twice.clone()));
            assert!(damaged.is_err(), "{index}");
        }
    }

    #[test]
    fn the_largest_transaction_fits_a_value_of_the_store() {
        let limits = Limits::default();
        let partitions = (0..limits.partitions_max).map(|index| {
            let index = u32::try_from(index).expect("small");
            partition(u64::MAX, index)
        });
        let groups = (0..limits.groups_max)
            .map(|index| group(&format!("{index:0>255}")))
            .collect::<Vec<_>>();
        let row = row(Phase::Ending {
            ending: Ending {
                decision: Decision::Commit,
                cause: Cause::Producer,
            },
            marker: producer(i64::MAX, i16::MAX),
            missing: partitions.chain(groups).collect(),
        });
        assert!(row.encode().len() <= STORE_VALUE_BYTES_MAX);
    }
}
