//! Facts about reading.

use std::time::Duration;

use tidelog_broker_kafka::KafkaSettings;
use tidelog_kafka_codec::messages::FetchRequest;
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

use crate::world::{Client, World, batch, from_t, name, soon, to_t};

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

/// A request of a session that changes nothing.
fn goes_on(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        topics: Vec::new(),
        ..from_t(0, Duration::ZERO)
    }
}

/// Error, and the partitions with their high watermarks and whether there are records.
type Told = (&'static str, Vec<(i32, i64, bool)>);

async fn told(client: &mut Client, request: &FetchRequest) -> Told {
    let response = client.call(request, 12).await;
    let partitions = response.responses.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|it| {
            let has_records = !it.records.as_ref().unwrap().is_empty();
            (it.partition_index, it.high_watermark, has_records)
        })
    });
    (name(response.error_code), partitions.collect())
}

#[tokio::test]
async fn within_a_session_what_has_changed_is_told_both_ways() {
    let (world, mut client) = World::with_topic(3).await;
    let mut producer = world.client().await;
    let wanted = |partition, fetch_offset| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let mut first = from_t(0, Duration::ZERO);
    first.session_epoch = 0;
    first.topics[0].partitions = vec![wanted(0, 0), wanted(1, 0), wanted(2, 0)];
    let response = client.call(&first, 12).await;
    let id = response.session_id;
    assert!(id > 0);
    assert_eq!(response.responses[0].partitions.len(), 3);
    let c = &mut client;
    assert_eq!(told(c, &goes_on(id, 1)).await, ("NONE", Vec::new()));
    producer.call(&to_t(1, batch(&["a"], None)), 9).await;
    let records = ("NONE", vec![(1, 1, true)]);
    assert_eq!(told(c, &goes_on(id, 2)).await, records);
    // It is told again until the client says that it is further.
    assert_eq!(told(c, &goes_on(id, 3)).await, records);
    let mut further = goes_on(id, 4);
    further.topics = from_t(0, Duration::ZERO).topics;
    further.topics[0].partitions = vec![wanted(1, 1)];
    assert_eq!(told(c, &further).await, ("NONE", Vec::new()));
    let mut forget = goes_on(id, 5);
    forget.forgotten_topics_data = vec![ForgottenTopic {
        topic: "t".into(),
        partitions: vec![1, 2],
        ..ForgottenTopic::default()
    }];
    producer.call(&to_t(1, batch(&["b"], None)), 9).await;
    producer.call(&to_t(0, batch(&["c"], None)), 9).await;
    let records = ("NONE", vec![(0, 1, true)]);
    assert_eq!(told(c, &forget).await, records.clone());
    let wrong = told(c, &goes_on(id, 5)).await;
    assert_eq!(wrong, ("INVALID_FETCH_SESSION_EPOCH", Vec::new()));
    let other = told(c, &goes_on(id + 1, 6)).await;
    assert_eq!(other, ("FETCH_SESSION_ID_NOT_FOUND", Vec::new()));
    // It is as it was.
    assert_eq!(told(c, &goes_on(id, 6)).await, records);
}

#[tokio::test]
async fn an_error_is_told_in_each_answer_of_a_session_and_its_end_too() {
    let (world, mut client) = World::with_topic(1).await;
    let mut first = from_t(5, Duration::ZERO);
    first.session_epoch = 0;
    let response = client.call(&first, 12).await;
    let id = response.session_id;
    for epoch in [1, 2] {
        let response = client.call(&goes_on(id, epoch), 12).await;
        let code = response.responses[0].partitions[0].error_code;
        assert_eq!(name(code), "OFFSET_OUT_OF_RANGE");
    }
    let values = ["a", "b", "c", "d", "e"];
    world.client().await.produce(batch(&values, None)).await;
    let over = told(&mut client, &goes_on(id, 3)).await;
    assert_eq!(over, ("NONE", vec![(0, 5, false)]));
    let over = told(&mut client, &goes_on(id, 4)).await;
    assert_eq!(over, ("NONE", Vec::new()));
}

#[tokio::test]
async fn who_wants_no_session_gets_none_and_one_from_elsewhere_is_unknown() {
    let (_world, mut client) = World::with_topic(1).await;
    let response = client.call(&from_t(0, Duration::ZERO), 12).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let elsewhere = told(&mut client, &goes_on(5, 1)).await;
    assert_eq!(elsewhere, ("FETCH_SESSION_ID_NOT_FOUND", Vec::new()));
    // A client that closes one from elsewhere and begins another.
    let mut again = from_t(0, Duration::ZERO);
    again.session_id = 5;
    again.session_epoch = 0;
    let response = client.call(&again, 12).await;
    assert!(response.error_code == 0 && response.session_id > 0);
}

#[tokio::test]
async fn without_memory_for_sessions_clients_are_served_without() {
    let settings = KafkaSettings {
        session_bytes: 300,
        ..KafkaSettings::default()
    };
    let world = World::with(settings).await;
    world.topic("t", 1, &[]).await;
    let mut first = from_t(0, Duration::ZERO);
    first.session_epoch = 0;
    let mut one = world.client().await;
    assert!(one.call(&first, 12).await.session_id > 0);
    let mut two = world.client().await;
    let response = two.call(&first, 12).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    assert_eq!(response.responses.len(), 1);
    // A new one on the same connection takes the place of the old one.
    assert!(one.call(&first, 12).await.session_id > 0);
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
