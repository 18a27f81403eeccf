//! What waits, what has ended, and the rows that say so.

use tidelog_metadata_api::{GroupName, ProducerIdentity};
use tidelog_types::{Offset, PartitionIndex, ShardId, TopicNumber};

use super::*;
use crate::keyspace::Keyspace;

const NOTE: &str = "note";
/// What an offset takes here.
const ONE: usize = PENDING_BYTES + NOTE.len();

fn place() -> Place {
    Place {
        keys: Keyspace::default(),
        shard: ShardId::new(0),
        name: GroupName::new("g").unwrap(),
    }
}

fn at(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(7), PartitionIndex::new(index))
}

fn transaction(producer: i64, number: u64) -> OpenTransaction {
    OpenTransaction {
        producer: ProducerIdentity::new(ProducerId::new(producer), ProducerEpoch::new(0)),
        number: TransactionNumber(number),
    }
}

fn offset(value: u64) -> GroupOffset {
    GroupOffset {
        offset: Offset::new(value),
        leader_epoch: None,
        metadata: NOTE.to_owned(),
    }
}

fn pending(producer: i64, index: u32) -> Bytes {
    pending_key(&place(), ProducerId::new(producer), at(index))
}

/// The keys of rows that go.
fn gone(rows: &GroupRows) -> Vec<Bytes> {
    let gone = rows.iter().filter(|(_, value)| value.is_none());
    gone.map(|(key, _)| key.clone()).collect()
}

impl Transactions {
    fn waits_for(&mut self, (producer, number): (i64, u64), index: u32) -> GroupRows {
        let transaction = transaction(producer, number);
        self.put(&place(), &transaction, at(index), offset(5))
    }

    fn ends(&mut self, (producer, number): (i64, u64), decision: Decision, at: i64) -> Ended {
        let OpenTransaction { producer, number } = transaction(producer, number);
        let end = EndGroupTransaction {
            group: place().name,
            producer,
            number,
            decision,
        };
        self.end(&place(), &end, Timestamp::from_millis(at))
    }

    fn finds(&mut self, (producer, number): (i64, u64), index: u32, order: u64) {
        let row = GroupPendingRow {
            epoch: ProducerEpoch::new(0),
            number: TransactionNumber(number),
            order,
            offset: offset(5),
        };
        let of = (ProducerId::new(producer), at(index));
        self.restore_pending(&place(), of, row);
    }
}

#[test]
fn what_waits_takes_memory_until_it_waits_no_more() {
    let mut known = Transactions::default();
    for (of, index) in [((1, 1), 0), ((1, 1), 1), ((1, 1), 0), ((2, 1), 0)] {
        known.waits_for(of, index);
    }
    assert_eq!(known.memory_bytes(), 3 * ONE);
    assert!(known.waits(at(0)) && known.waits(at(1)) && !known.waits(at(2)));
    let ended = known.ends((1, 1), Decision::Commit, 0);
    assert_eq!(ended.committed, 2);
    assert_eq!(gone(&ended.rows), [pending(1, 0), pending(1, 1)]);
    assert_eq!(known.memory_bytes(), ONE + ENDED_BYTES);
    assert!(known.waits(at(0)) && !known.waits(at(1)));
    let rows = known.supersede(&place(), at(0), u64::MAX);
    assert_eq!(gone(&rows), [pending(2, 0)]);
    assert_eq!(known.memory_bytes(), ENDED_BYTES);
    assert!(!known.waits(at(0)) && !known.has_open());
}

#[test]
fn too_much_does_not_wait() {
    let mut known = Transactions::default();
    let most = PENDING_BYTES_MAX - PENDING_BYTES;
    assert!(known.check_room(1, most).is_ok());
    assert!(known.check_room(1, most + 1).is_err());
    assert!(known.check_room(usize::MAX, 1).is_err());
    known.waits_for((1, 1), 0);
    assert!(known.check_room(1, most).is_err());
    assert!(known.check_room(1, most - ONE).is_ok());
}

#[test]
fn the_next_transaction_leaves_nothing_of_the_one_before() {
    let mut known = Transactions::default();
    known.waits_for((1, 1), 0);
    let rows = known.waits_for((1, 2), 1);
    assert_eq!(gone(&rows), [pending(1, 0)]);
    assert_eq!(known.ends((1, 2), Decision::Commit, 0).committed, 1);
}

#[test]
fn of_too_many_producers_the_one_that_ended_first_is_forgotten() {
    let mut known = Transactions::default();
    let many = i64::try_from(ENDED_MAX).unwrap();
    for producer in 0..many {
        let ended = known.ends((producer, 1), Decision::Abort, producer);
        assert_eq!(gone(&ended.rows).len(), 0);
    }
    let ended = known.ends((many, 1), Decision::Abort, many);
    let first = producer_key(&place(), ProducerId::new(0));
    assert_eq!(gone(&ended.rows), [first]);
    assert_eq!(known.memory_bytes(), ENDED_MAX * ENDED_BYTES);
    assert!(known.check(&transaction(0, 1)).is_ok());
    assert!(known.check(&transaction(1, 1)).is_err());
}

#[test]
fn a_producer_is_kept_from_its_last_end_on() {
    let kept = i64::try_from(ENDED_KEPT.as_millis()).unwrap();
    let mut known = Transactions::default();
    known.ends((1, 1), Decision::Abort, 0);
    known.ends((1, 2), Decision::Abort, 5);
    let rows = known.expire(&place(), Timestamp::from_millis(kept + 4));
    assert_eq!(rows, []);
    let late = known.check(&transaction(1, 2));
    assert_eq!(late, Err(GroupsError::TransactionEnded));
    let rows = known.expire(&place(), Timestamp::from_millis(kept + 5));
    assert_eq!(gone(&rows), [producer_key(&place(), ProducerId::new(1))]);
    assert!(known.is_empty());
}

#[test]
fn a_new_owner_knows_in_which_order_offsets_came() {
    let mut known = Transactions::default();
    known.finds((1, 1), 0, 8);
    known.finds((2, 1), 0, 4);
    known.waits_for((3, 1), 0);
    let ended = known.ends((2, 1), Decision::Commit, 0);
    assert_eq!(gone(&ended.rows), [pending(2, 0)], "it came first");
    let ended = known.ends((3, 1), Decision::Commit, 0);
    assert_eq!(gone(&ended.rows), [pending(1, 0), pending(3, 0)]);
}

#[test]
fn rows_of_a_transaction_that_is_past_go_with_the_next_change() {
    for rows in [[(1, 0), (2, 1)], [(2, 1), (1, 0)]] {
        let mut known = Transactions::default();
        for (number, index) in rows {
            known.finds((1, number), index, number);
        }
        let changed = known.waits_for((2, 1), 5);
        assert_eq!(gone(&changed), [pending(1, 0)], "{rows:?}");
        let changed = known.waits_for((2, 1), 6);
        assert_eq!(gone(&changed).len(), 0, "once");
        assert_eq!(known.ends((1, 2), Decision::Commit, 0).committed, 1);
    }
}

#[test]
fn what_is_dropped_leaves_no_row() {
    let mut known = Transactions::default();
    known.waits_for((1, 1), 0);
    known.waits_for((2, 1), 1);
    let rows = known.drop_pending(&place());
    assert_eq!(gone(&rows), [pending(1, 0), pending(2, 1)]);
    assert_eq!(known.memory_bytes(), 0);
    assert!(known.is_empty());
}
