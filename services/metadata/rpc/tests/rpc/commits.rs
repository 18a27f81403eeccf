//! Commits and questions through a socket are those of the service itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_format::manifest::Outcome;
use tidelog_metadata_api::*;
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;

use crate::fake::Fake;
use crate::proxy::Proxy;
use crate::world::*;

fn accepted(offset: u64) -> Vec<Outcome> {
    vec![Outcome::Accepted {
        base_offset: Offset::new(offset),
    }]
}

fn lookup(index: u32, offset: u64) -> LookupRequest {
    LookupRequest {
        partition: TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index)),
        offset: Offset::new(offset),
        bytes_max: 1_000,
        extents_max: 10,
    }
}

#[tokio::test]
async fn a_commit_has_one_answer_however_often_it_is_asked_for() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let writer = node.register_writer().await.unwrap().get();
    let first = committed(&node, commit(writer, 0, 0, 0)).await.unwrap();
    assert_eq!(first.outcomes, accepted(0));
    let again = committed(&node, commit(writer, 0, 0, 0)).await.unwrap();
    assert_eq!((again.outcomes, again.token), (accepted(0), first.token));
    let second = committed(&node, commit(writer, 1, 0, 0)).await.unwrap();
    assert_eq!(second.outcomes, accepted(2));
    node.reached(second.token).await.unwrap();
    assert!(node.seen().contains(&second.token));
    // A manifest for a shard that nobody has is refused for itself.
    let answers = node.commit(vec![commit(writer, 2, 99, 0), commit(writer, 2, 0, 0)]);
    let answers = answers.await;
    assert!(answers[0].is_err(), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().outcomes, accepted(4));
}

#[tokio::test]
async fn questions_are_answered_as_by_the_service_itself() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let writer = node.register_writer().await.unwrap().get();
    committed(&node, commit(writer, 0, 0, 0)).await.unwrap();
    let requests = [lookup(0, 0), lookup(0, 2), lookup(0, 9), lookup(77, 0)];
    let asked = |answers: Vec<Result<LookupAnswer, LogError>>| format!("{answers:?}");
    let far = asked(node.locate(&requests).await);
    assert_eq!(far, asked(service.locate(&requests).await));
    assert!(far.contains("OffsetOutOfRange") && far.contains("UnknownPartition"));
    let at = requests[0].partition;
    for query in [
        OffsetQuery::Earliest,
        OffsetQuery::Latest,
        OffsetQuery::LastStable,
        OffsetQuery::AtTime(Timestamp::from_millis(1)),
        OffsetQuery::MaxTimestamp,
    ] {
        assert_eq!(
            node.offset(at, query).await,
            service.offset(at, query).await
        );
    }
    let token = FencingToken::new(Bytes::from_static(b"me")).unwrap();
    let mine = Some(token.clone());
    node.set_fencing_token(at, None, token.clone())
        .await
        .unwrap();
    let wrong = node.set_fencing_token(at, Some(FencingToken::default()), token);
    assert_eq!(wrong.await, Err(LogError::FencingTokenMismatch));
    let cleared = node.set_fencing_token(at, mine, FencingToken::default());
    cleared.await.unwrap();
    let (bounds, _) = node.delete_records(at, Offset::new(1)).await.unwrap();
    assert_eq!(bounds.log_start, Offset::new(1));
    assert_eq!(node.bounds(at).await, Ok(bounds));
    let producer = node.init_producer().await.unwrap();
    assert!(producer.id.is_idempotent());
    let raised = node.raise_floor(Incarnation::new(writer), SegmentSequence::new(1));
    raised.await.unwrap();
    let below = committed(&node, commit(writer, 0, 0, 1)).await;
    assert!(below.is_ok() || matches!(below, Err(CommitError::BelowFloor { .. })));
}

#[tokio::test]
async fn the_catalogue_is_the_same_from_afar_with_its_errors() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let by_name = |name: &str| TopicSelector::Name(TopicName::new(name).unwrap());
    let made = node.create_topic(new_topic("orders", 3)).await.unwrap();
    for selector in [
        by_name("orders"),
        TopicSelector::Id(made.id),
        TopicSelector::Number(made.number),
    ] {
        assert_eq!(node.topic(&selector).await, service.topic(&selector).await);
    }
    let page = node.list_topics(&[], 1, false).await.unwrap();
    assert_eq!(page.topics.len(), 1);
    let rest = node.list_topics(&page.next, 10, false).await.unwrap();
    assert_eq!(rest.topics.as_slice(), std::slice::from_ref(&made));
    let keys = [("retention.ms", Some("5")), ("cleanup.policy", None)];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    let orders = by_name("orders");
    let altered = node.alter_topic_config(&orders, keys.into(), false);
    assert_eq!(altered.await.unwrap().config.retention_millis(), Some(5));
    let more = node.add_partitions(&by_name("orders"), 5).await.unwrap();
    assert_eq!(more.partition_count(), 5);

    let bad: BTreeMap<_, _> = [("retention.m".to_owned(), Some("5".to_owned()))].into();
    let pairs = [
        (
            node.create_topic(new_topic("orders", 3)).await,
            service.create_topic(new_topic("orders", 3)).await,
        ),
        (
            node.create_topic(new_topic("none", 0)).await,
            service.create_topic(new_topic("none", 0)).await,
        ),
        (
            node.create_topic(new_topic("many", 100_001)).await,
            service.create_topic(new_topic("many", 100_001)).await,
        ),
        (
            node.add_partitions(&orders, 2).await,
            service.add_partitions(&orders, 2).await,
        ),
        (
            node.alter_topic_config(&orders, bad.clone(), true).await,
            service.alter_topic_config(&orders, bad, true).await,
        ),
        (
            node.topic(&by_name("nobody")).await,
            service.topic(&by_name("nobody")).await,
        ),
    ];
    for (far, near) in pairs {
        assert!(near.is_err());
        assert_eq!(far, near);
    }
    node.delete_topic(&orders).await.unwrap();
    let deleted = node.list_topics(&[], 10, true).await.unwrap();
    assert_eq!(deleted.topics.len(), 1);
    let back = node.undelete_topic(&orders).await.unwrap();
    assert_eq!(back.state, TopicState::Live);
}

#[tokio::test]
async fn calls_keep_their_order_on_the_pipe() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    fake.gate.send_replace(false);
    // None of the futures is polled before all calls are made, and then the last one first.
    let calls = (0..50).map(|sequence| node.commit(vec![commit(7, sequence, 0, 0)]));
    let mut calls: Vec<_> = calls.collect();
    calls.reverse();
    fake.gate.send_replace(true);
    let answers = futures::future::join_all(calls).await;
    for (sequence, answer) in (0..50).rev().zip(answers) {
        let answer = answer.into_iter().next().unwrap().unwrap();
        assert_eq!(answer.outcomes, accepted(sequence));
    }
    assert_eq!(fake.said.lock().commits, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_broken_connection_leaves_a_commit_unknown_and_a_second_ask_finds_it() {
    let store = MemoryStore::new();
    let service = real(&store).await;
    let server = active(&service).await;
    let proxy = Proxy::to(&server.address).await;
    let node = remote(&proxy.address).await;
    let writer = node.register_writer().await.unwrap().get();
    let paused = store.pause_commits();
    let asked = node.commit(vec![commit(writer, 0, 0, 0)]);
    // What comes behind it on the same connection shows that it has arrived.
    node.topic(&TopicSelector::Number(TopicNumber::new(1)))
        .await
        .unwrap();
    proxy.cut();
    assert_eq!(
        asked.await.pop().unwrap().unwrap_err(),
        CommitError::Unknown
    );
    drop(paused);
    let mut answer = Err(CommitError::Unknown);
    for _ in 0..100 {
        answer = committed(&node, commit(writer, 0, 0, 0)).await;
        match &answer {
            Ok(_) => break,
            Err(error) => assert!(error.may_ask_again(), "{error}"),
        }
    }
    assert_eq!(answer.unwrap().outcomes, accepted(0));
    let next = committed(&node, commit(writer, 1, 0, 0)).await.unwrap();
    assert_eq!(next.outcomes, accepted(2));
}

#[tokio::test]
async fn a_call_that_is_too_large_for_one_message_goes_in_several() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let position = BatchPosition { slice: 0, batch: 0 };
    let large = |sequence| ShardCommit {
        dropped: vec![position; 100_000],
        after: Vec::new(),
        conditions: vec![(position, BatchCondition::default()); 80_000],
        ..commit(7, sequence, 0, 0)
    };
    let answers = node.commit((0..20).map(large).collect()).await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(answered, 20, "{answers:?}");
    assert_eq!(fake.said.lock().commits, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_segment_of_the_store_is_read_through_a_socket() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let name = |sequence| SegmentName::new(Incarnation::new(4), SegmentSequence::new(sequence));
    let there = Bytes::from(name(1).to_string());
    assert_eq!(Log::inline_segment(&node, name(1)).await, Ok(Some(there)));
    assert_eq!(Log::inline_segment(&node, name(2)).await, Ok(None));
}

#[tokio::test]
async fn a_commit_brings_its_segment_along() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let writer = node.register_writer().await.unwrap().get();
    let mut express = commit(writer, 1, 0, 0);
    let slice = &mut express.manifest.slices[0];
    let segment = Bytes::from(vec![7; (slice.position + slice.length) as usize]);
    slice.crc32c = tidelog_crc32c::crc32c(&segment[slice.position as usize..]);
    express.manifest.bucket = BucketId::STORE;
    express.inline = Some(segment.clone());
    let name = express.manifest.segment;
    let answer = committed(&node, express.clone()).await.unwrap();
    assert_eq!(answer.outcomes, accepted(0));
    let read = Log::inline_segment(&node, name).await;
    assert_eq!(read, Ok(Some(segment)));
    // Without it there is nothing to commit.
    express.manifest.segment.sequence = SegmentSequence::new(2);
    express.inline = None;
    let refused = committed(&node, express).await.unwrap_err();
    assert!(
        matches!(refused, CommitError::Malformed { .. }),
        "{refused}"
    );
}
