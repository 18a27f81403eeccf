//! Requests to coordinators of transactional ids, and their answers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

fn an_id() -> impl Strategy<Value = TransactionalId> {
    "[a-z]{1,20}".prop_map(|text| TransactionalId::new(&text).unwrap())
}

fn a_producer() -> impl Strategy<Value = ProducerIdentity> {
    (any::<i64>(), any::<i16>()).prop_map(|(id, epoch)| {
        ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch))
    })
}

fn participants() -> impl Strategy<Value = BTreeSet<Participant>> {
    let partition = (1_u64..9, any::<u32>()).prop_map(|(topic, index)| {
        let (topic, index) = (TopicNumber::new(topic), PartitionIndex::new(index));
        Participant::Partition(TopicPartition::new(topic, index))
    });
    let group = "[a-z]{1,9}".prop_map(|name| Participant::Group(GroupName::new(&name).unwrap()));
    vec(prop_oneof![partition, group], 0..6).prop_map(|all| all.into_iter().collect())
}

fn a_state() -> impl Strategy<Value = TransactionState> {
    prop::sample::select(TransactionState::ALL.to_vec())
}

fn a_time() -> impl Strategy<Value = Duration> {
    (0_u64..1 << 50).prop_map(Duration::from_millis)
}

fn an_error() -> impl Strategy<Value = TransactionsError> {
    let reason = || "[a-z ]{0,30}";
    prop_oneof![
        prop::sample::select(vec![
            TransactionsError::Loading,
            TransactionsError::NotCoordinator,
            TransactionsError::Unknown,
            TransactionsError::NotFound,
            TransactionError::Concurrent.into(),
            TransactionError::Fenced.into(),
            TransactionError::UnknownProducer.into(),
            TransactionError::InvalidState.into(),
            TransactionError::InvalidTimeout.into(),
            TransactionError::TooLarge.into(),
        ]),
        reason().prop_map(|reason| TransactionsError::Unavailable { reason }),
        reason().prop_map(|reason| TransactionsError::InvalidRequest { reason }),
        reason().prop_map(|reason| TransactionsError::Corrupt { reason }),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(
        id in an_id(),
        timeout in a_time(),
        producer in a_producer(),
        expected in prop::option::of(a_producer()),
        participants in participants(),
        (commits, is_second) in any::<(bool, bool)>(),
    ) {
        let init = InitTransactions { id: id.clone(), timeout, expected };
        prop_assert_eq!(init_from(&sent(&init_to(&init))), Ok(init));
        let work = TransactionWork { id: id.clone(), producer, participants };
        prop_assert_eq!(work_from(sent(&work_to(&work))), Ok(work));
        let end = EndTransaction {
            id,
            producer,
            decision: if commits { Decision::Commit } else { Decision::Abort },
            version: if is_second { TransactionVersion::Two } else { TransactionVersion::One },
        };
        prop_assert_eq!(end_from(&sent(&end_to(&end))), Ok(end));
    }

    #[test]
    fn answers_come_back(
        producer in a_producer(),
        number in any::<u64>(),
        missing in participants(),
        state in a_state(),
        timeout in a_time(),
        started_at in prop::option::of(any::<i64>()),
        error in an_error(),
    ) {
        prop_assert_eq!(producer_from(Some(sent(&producer_to(producer)))), Ok(producer));
        let number = TransactionNumber(number);
        let verified = Verified { number, missing: missing.clone() };
        prop_assert_eq!(verified_from(sent(&verified_to(&verified))), Ok(verified));
        let description = TransactionDescription {
            state,
            timeout,
            started_at: started_at.map(Timestamp::from_millis),
            producer,
            participants: missing,
        };
        let back = transaction_from(sent(&transaction_to(&description)));
        prop_assert_eq!(back, Ok(description));
        prop_assert_eq!(transaction_failure_from(sent(&transaction_failure_to(&error))), error);
    }

    #[test]
    fn lists_come_back(
        states in vec(a_state(), 0..3),
        producers in vec(any::<i64>(), 0..3),
        longer_than in prop::option::of(a_time()),
        listings in vec((an_id(), any::<i64>(), a_state()), 0..4),
        next in vec(any::<u8>(), 0..9),
    ) {
        let producers = producers.into_iter().map(ProducerId::new).collect();
        let filter = TransactionFilter { states, producers, longer_than };
        let request: v1::ListTransactions = sent(&list_transactions_to(&filter, &next, 7));
        prop_assert_eq!(transaction_filter_from(&request), Ok(filter));
        prop_assert_eq!((request.after.to_vec(), request.count), (next.clone(), 7));
        let transactions = listings.into_iter().map(|(id, producer, state)| TransactionListing {
            id,
            producer: ProducerId::new(producer),
            state,
        });
        let page = TransactionPage { transactions: transactions.collect(), next };
        let back = transaction_page_from(sent(&transaction_page_to(page.clone())));
        prop_assert_eq!(back, Ok(page));
    }
}

#[test]
fn what_is_missing_or_cannot_be_is_refused() {
    let work = v1::TransactionWork {
        transactional_id: "t".to_owned(),
        ..v1::TransactionWork::default()
    };
    assert_eq!(work_from(work.clone()), Err(WireError::Missing("producer")));
    let producer = |epoch| Some(v1::TransactionProducer { id: 1, epoch });
    let with = |id: &str, epoch| v1::TransactionWork {
        transactional_id: id.to_owned(),
        producer: producer(epoch),
        participants: None,
    };
    assert!(work_from(with("t", 0)).is_ok());
    assert!(work_from(with("", 0)).is_err());
    assert!(work_from(with("t", 1 << 20)).is_err());
    let nowhere = v1::TransactionParticipants {
        partitions: Vec::new(),
        groups: vec![String::new()],
    };
    let nowhere = v1::TransactionWork {
        participants: Some(nowhere),
        ..with("t", 0)
    };
    assert!(work_from(nowhere).is_err());
    let states = v1::ListTransactions {
        states: vec![99],
        ..v1::ListTransactions::default()
    };
    assert!(transaction_filter_from(&states).is_err());
}
