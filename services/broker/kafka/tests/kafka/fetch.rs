//! Facts about reading.

use std::time::Duration;

use tidelog_kafka_codec::messages::FetchRequest;
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};

use crate::world::{World, batch, from_t, name, soon, to_t};

#[tokio::test]
async fn a_reader_at_the_end_waits_for_news_and_no_longer_than_it_says() {
    let (world, mut client) = World::with_topic(1).await;
    let id = client.send(&from_t(0, Duration::from_secs(15)), 12).await;
    let mut producer = world.client().await;
    producer.produce(batch(&["a"], None)).await;
    let (got, response) = soon(client.receive::<FetchRequest>(12)).await;
    assert_eq!(got, id);
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.high_watermark, 1);
    assert!(!partition.records.as_ref().unwrap().is_empty());
    let response = client.call(&from_t(1, Duration::from_millis(1)), 12).await;
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
    assert!(partition.records.as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn a_reader_that_goes_while_it_waits_leaves_nothing_behind() {
    let (world, mut client) = World::with_topic(1).await;
    client
        .send(&from_t(0, Duration::from_secs(1_000)), 12)
        .await;
    drop(client);
    world.stop.cancel();
    soon(world.serving).await.unwrap();
}

#[tokio::test]
async fn errors_of_one_partition_leave_the_others_their_answers() {
    let (world, mut client) = World::with_topic(2).await;
    world.topic("gone", 1, &[]).await;
    client.produce(batch(&["a"], None)).await;
    let wanted = |partition, fetch_offset, current_leader_epoch| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = |name: &str, partitions| FetchTopic {
        topic: name.into(),
        partitions,
        ..FetchTopic::default()
    };
    let mut request = from_t(0, Duration::from_secs(15));
    request.topics = vec![
        topic(
            "t",
            vec![
                wanted(0, 0, -1),
                wanted(1, 5, 0),
                wanted(1, -1, 0),
                wanted(7, 0, 0),
                wanted(1, 0, 3),
            ],
        ),
        topic("nowhere", vec![wanted(0, 0, -1)]),
    ];
    let response = client.call(&request, 12).await;
    let answers = response.responses.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|it| (it.partition_index, name(it.error_code)))
    });
    let expected = [
        (0, "NONE"),
        (1, "OFFSET_OUT_OF_RANGE"),
        (1, "OFFSET_OUT_OF_RANGE"),
        (7, "UNKNOWN_TOPIC_OR_PARTITION"),
        (1, "UNKNOWN_LEADER_EPOCH"),
        (0, "UNKNOWN_TOPIC_OR_PARTITION"),
    ];
    assert_eq!(answers.collect::<Vec<_>>(), expected);
    let first = &response.responses[0].partitions[0];
    assert!(!first.records.as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn a_topic_is_read_by_its_id_and_a_deleted_one_is_unknown() {
    let (world, mut client) = World::with_topic(1).await;
    let topic = world.topic("u", 1, &[]).await;
    let mut request = from_t(0, Duration::ZERO);
    request.topics[0].topic = "".into();
    request.topics[0].topic_id = *topic.id.as_uuid();
    let response = client.call(&request, 16).await;
    assert_eq!(response.responses[0].topic_id, *topic.id.as_uuid());
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    let selector = tidelog_metadata_api::TopicSelector::Id(topic.id);
    world
        .engine
        .catalogue()
        .delete_topic(&selector)
        .await
        .unwrap();
    let response = client.call(&request, 16).await;
    let code = response.responses[0].partitions[0].error_code;
    assert_eq!(name(code), "UNKNOWN_TOPIC_ID");
}

#[tokio::test]
async fn no_session_is_given_out_and_one_from_elsewhere_is_unknown() {
    let (_world, mut client) = World::with_topic(1).await;
    let mut request = from_t(0, Duration::ZERO);
    request.session_epoch = 0;
    let response = client.call(&request, 12).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    request.session_id = 5;
    request.session_epoch = 1;
    let response = client.call(&request, 12).await;
    assert_eq!(name(response.error_code), "FETCH_SESSION_ID_NOT_FOUND");
    assert!(response.responses.is_empty());
}

#[tokio::test]
async fn limits_hold_but_for_the_first_batch() {
    let (_world, mut client) = World::with_topic(1).await;
    let long = "x".repeat(10_000);
    for _ in 0..3 {
        client.produce(batch(&[&long], None)).await;
    }
    let sizes = |partition_max, max| {
        let mut request = from_t(0, Duration::ZERO);
        request.topics[0].partitions[0].partition_max_bytes = partition_max;
        request.max_bytes = max;
        request
    };
    let mut read = async |partition_max, max| {
        let response = client.call(&sizes(partition_max, max), 12).await;
        let partition = &response.responses[0].partitions[0];
        partition.records.as_ref().unwrap().len() / 10_000
    };
    assert_eq!(read(1, 1 << 20).await, 1);
    assert_eq!(read(21_000, 1 << 20).await, 2);
    assert_eq!(read(1 << 20, 21_000).await, 2);
    assert_eq!(read(1 << 20, 1 << 20).await, 3);
    assert_eq!(read(-1, -1).await, 1);
}

#[tokio::test]
async fn readers_of_committed_records_get_a_list_of_aborted_transactions() {
    let (_world, mut client) = World::with_topic(1).await;
    client.call(&to_t(0, batch(&["a"], None)), 9).await;
    for (isolation_level, expected) in [(0, None), (1, Some(Vec::new()))] {
        let mut request = from_t(0, Duration::ZERO);
        request.isolation_level = isolation_level;
        let response = client.call(&request, 12).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.aborted_transactions, expected);
        assert_eq!(partition.last_stable_offset, 1);
        assert_eq!(partition.preferred_read_replica, -1);
    }
}
