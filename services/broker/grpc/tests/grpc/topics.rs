//! Facts about `TopicService` and `ClusterService`.

use std::collections::BTreeMap;

use tidelog_api::v1;
use tidelog_api::v1::topic_service_client::TopicServiceClient;
use tidelog_client::ErrorCode;

use crate::world::{World, entry};

#[tokio::test]
async fn a_topic_is_created_described_changed_deleted_and_brought_back() {
    let world = World::new().await;
    let admin = world.client.admin();
    let created = admin
        .create_topic("t", 3, [("retention.ms", "5000")])
        .await
        .unwrap();
    assert_eq!(
        (created.partition_count, created.state()),
        (3, v1::TopicState::Active)
    );
    let setting = |topic: &v1::Topic, key: &str| {
        let found = topic.config.iter().find(|entry| entry.key == key).unwrap();
        (found.value.clone(), found.is_default)
    };
    assert_eq!(
        setting(&created, "retention.ms"),
        ("5000".to_owned(), false)
    );
    assert_eq!(
        setting(&created, "retention.bytes"),
        ("-1".to_owned(), true)
    );
    assert_eq!(admin.topic("t").await.unwrap(), created);

    let set = BTreeMap::from([("retention.bytes".to_owned(), "7".to_owned())]);
    let changed = admin
        .alter_topic("t", set, vec!["retention.ms".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        setting(&changed, "retention.bytes"),
        ("7".to_owned(), false)
    );
    assert!(setting(&changed, "retention.ms").1);
    assert_eq!(
        admin.add_partitions("t", 5).await.unwrap().partition_count,
        5
    );

    world.produce(entry("kept")).await.unwrap();
    let deleted = admin.delete_topic("t").await.unwrap();
    assert_eq!(deleted.state(), v1::TopicState::Deleted);
    assert!(deleted.purge_time.unwrap().seconds > deleted.delete_time.unwrap().seconds);
    assert_eq!(
        admin.topic("t").await.unwrap_err().code(),
        Some(ErrorCode::UnknownTopic)
    );
    assert_eq!(
        world.produce(entry("x")).await.unwrap_err().code(),
        v1::ErrorCode::UnknownTopic
    );
    assert_eq!(admin.topics("", true).await.unwrap().len(), 1);
    let back = admin
        .undelete_topic("t", Some(&created.topic_id))
        .await
        .unwrap();
    assert_eq!(
        (back.topic_id, back.state),
        (created.topic_id, v1::TopicState::Active.into())
    );
    assert_eq!(world.values(0).await, ["kept"]);
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused_with_the_reason() {
    let world = World::with_topic(2).await;
    let admin = world.client.admin();
    let none: [(&str, &str); 0] = [];
    let error = admin.create_topic("t", 1, none).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicExists));
    let error = admin.create_topic("a b", 1, none).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidTopicName));
    let error = admin
        .create_topic("u", 1, [("retention_ms", "1")])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidConfig));
    assert!(
        error.to_string().contains("did you mean `retention.ms`"),
        "{error}"
    );
    let error = admin.create_topic("u", 100_001, none).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    let error = admin.add_partitions("t", 2).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    let both = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
    let error = admin
        .alter_topic("t", both, vec!["retention.ms".to_owned()])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    let error = admin.delete_topic("nowhere").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
}

#[tokio::test]
async fn checking_only_changes_nothing() {
    let world = World::new().await;
    let mut topics = TopicServiceClient::new(world.channel().await);
    let request = v1::CreateTopicRequest {
        name: "t".to_owned(),
        validate_only: true,
        ..v1::CreateTopicRequest::default()
    };
    let answer = topics.create_topic(request).await.unwrap().into_inner();
    assert_eq!(answer.topic.unwrap().partition_count, 1, "the default");
    assert!(
        world
            .client
            .admin()
            .topics("", false)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn pages_put_together_are_all_topics_by_name_and_prefix() {
    let world = World::new().await;
    let mut names: Vec<String> = (0..7).map(|number| format!("a{number}")).collect();
    names.extend((0..4).map(|number| format!("b{number}")));
    for name in names.iter().rev() {
        world.topic(name, 1).await;
    }
    let mut topics = TopicServiceClient::new(world.channel().await);
    for (prefix, wanted) in [("", &names[..]), ("b", &names[7..]), ("c", &[])] {
        let mut found = Vec::new();
        let mut request = v1::ListTopicsRequest {
            page_size: 3,
            name_prefix: prefix.to_owned(),
            ..v1::ListTopicsRequest::default()
        };
        loop {
            let page = topics
                .list_topics(request.clone())
                .await
                .unwrap()
                .into_inner();
            assert!(page.topics.len() <= 3);
            found.extend(page.topics.into_iter().map(|topic| topic.name));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(found, wanted);
    }
    let foreign = v1::ListTopicsRequest {
        page_token: "zz".to_owned(),
        ..v1::ListTopicsRequest::default()
    };
    let status = topics.list_topics(foreign).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_cluster_tells_who_it_is_and_its_limits() {
    let world = World::new().await;
    let cluster = world.client.describe_cluster().await.unwrap();
    assert_eq!(cluster.cluster_id.len(), 36);
    assert_eq!(cluster.version, env!("CARGO_PKG_VERSION"));
    let limits = cluster.limits.unwrap();
    assert_eq!(limits.max_request_bytes, 16 * 1024 * 1024);
    assert_eq!(limits.max_fencing_token_bytes, 36);
    assert!(limits.default_batch_bytes <= limits.max_batch_bytes);
}
