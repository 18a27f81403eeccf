//! Kafka's own tools of administration: each does its work, or says why there is nothing for it to do.

use anyhow::{Context as _, Result, ensure};
use tidelog_e2e_harness::{Cli, Tools};
use tidelog_kafka_codec::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use tidelog_kafka_codec::messages::{
    AddPartitionsToTxnRequest, DescribeClusterRequest, InitProducerIdRequest,
};

use crate::conformance::peer::Peer;
use crate::java::{PRODUCER, run, tool};
use crate::support::{FETCH_LIMIT, World};

/// The only tool that comes with the broker.
const CONFIGS: &str = "ConfigCommand";
/// The only tool that has its command in front of the address.
const CLUSTER: &str = "ClusterTool";

/// Of leaders, brokers and folders: lines, the codes they end with, and what they say.
const STAYS: &[(&str, i32, &str)] = &[
    (
        "LeaderElectionCommand --election-type preferred --all-topic-partitions",
        0,
        "",
    ),
    (
        "LeaderElectionCommand --election-type preferred --topic t --partition 0",
        0,
        "already elected for partitions t-0",
    ),
    ("LogDirsCommand --describe", 0, "\"t-0\""),
    ("ClusterTool cluster-id", 0, "Cluster ID: "),
    ("ClusterTool list-endpoints", 0, "unfenced"),
    (
        "ClusterTool unregister --id 77",
        1,
        "there is no broker `77`",
    ),
    ("BrokerApiVersionsCommand", 0, "Produce(0): 0 to 13"),
    (
        "MetadataQuorumCommand describe --status",
        1,
        "does not support DESCRIBE_QUORUM",
    ),
];

/// Runs a line, `TOOL WORDS`: it must end with a code and say something.
async fn says(world: &World, line: &str, code: i32, words: &str) -> Result<String> {
    let mut line = line.split_whitespace();
    let tool_name = line.next().context("a tool")?;
    let (program, class) = if tool_name == CONFIGS {
        let program = Tools::repository()?.join("e2e/kafka/apache/tool");
        (program, format!("kafka.admin.{tool_name}"))
    } else {
        (tool()?, format!("org.apache.kafka.tools.{tool_name}"))
    };
    let command = if tool_name == CLUSTER {
        line.next()
    } else {
        None
    };
    let address = world.address();
    let mut all = vec![class.as_str()];
    all.extend(command);
    all.extend(["--bootstrap-server", &address]);
    all.extend(line);
    let finished = Cli::program(&program, &all, &[], FETCH_LIMIT).await?;
    let text = finished.text() + &finished.stderr;
    ensure!(
        finished.code == code && text.contains(words),
        "{all:?} must end with {code} and say `{words}`: {} {text}",
        finished.code
    );
    Ok(text)
}

/// The number of the only broker.
async fn broker(world: &World) -> Result<i32> {
    let mut peer = Peer::connect(world.server.kafka()).await?;
    let request = DescribeClusterRequest::default();
    let answer = peer.answer(&request, 1).await?;
    let broker = answer.brokers.first().context("one broker")?;
    Ok(broker.broker_id)
}

#[tokio::test]
async fn topics_are_configured_and_it_is_said_what_else_cannot_be() -> Result<()> {
    let world = World::new(1).await?;
    let own = broker(&world).await?;
    let topic = "--entity-type topics --entity-name t";
    let user = "--entity-type users --entity-name u";
    let group = "--entity-type groups --entity-name g";
    let set = "--add-config retention.ms=7200000,cleanup.policy=compact";
    let done = "Completed updating config for topic t";
    for (words, code, said) in [
        (format!("--alter {topic} {set}"), 0, done),
        (
            format!("--alter {topic} --delete-config cleanup.policy,odd"),
            0,
            done,
        ),
        (format!("--describe {topic}"), 0, "retention.ms=7200000"),
        (
            format!("--alter {topic} --add-config odd=1"),
            1,
            "unknown topic configuration key `odd`",
        ),
        (
            format!("--describe --entity-type brokers --entity-name {own} --all"),
            0,
            "num.partitions=1",
        ),
        (format!("--describe {user}"), 0, ""),
        (
            format!("--alter {user} --add-config producer_byte_rate=1"),
            1,
            "no quotas of their own",
        ),
        (
            format!("--alter {user} --add-config SCRAM-SHA-256=[password=x]"),
            1,
            "do not say who they are",
        ),
        (
            format!("--alter {group} --add-config consumer.session.timeout.ms=50000"),
            1,
            "groups have no configuration",
        ),
    ] {
        says(&world, &format!("{CONFIGS} {words}"), code, said).await?;
    }
    let described = says(&world, &format!("{CONFIGS} --describe {topic}"), 0, "").await?;
    ensure!(!described.contains("cleanup.policy"), "{described}");
    for (line, code, said) in [
        ("ClientMetricsCommand --list", 0, ""),
        (
            "ClientMetricsCommand --alter --name m --interval 10000",
            1,
            "subscriptions to metrics of clients have no",
        ),
        ("FeatureCommand describe", 0, "transaction.version"),
        (
            "FeatureCommand upgrade --feature transaction.version=1",
            1,
            "is at level `2`, which cannot be changed",
        ),
        ("AclCommand --list", 1, "there are no access control lists"),
    ] {
        says(&world, line, code, said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn replicas_and_leaders_stay_where_they_are() -> Result<()> {
    let world = World::new(1).await?;
    let own = broker(&world).await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, format!(r#"{{"version": 1, {text}}}"#))?;
        Ok(path.display().to_string())
    };
    let to = |broker: i32| {
        format!(r#""partitions": [{{"topic": "t", "partition": 0, "replicas": [{broker}]}}]"#)
    };
    let here = file("here", &to(own))?;
    let there = file("there", &to(own + 1))?;
    let topics = file("topics", r#""topics": [{"topic": "t"}]"#)?;
    for (words, code, said) in [
        (
            format!("--topics-to-move-json-file {topics} --broker-list {own} --generate"),
            0,
            "/bucket",
        ),
        (
            format!("--reassignment-json-file {here} --execute"),
            0,
            "Successfully started",
        ),
        (
            format!("--reassignment-json-file {here} --verify"),
            0,
            "of partition t-0 is completed",
        ),
        (
            format!("--reassignment-json-file {here} --cancel"),
            0,
            "None of the specified",
        ),
        (
            format!("--reassignment-json-file {there} --execute"),
            1,
            "Unknown broker id",
        ),
        ("--list".to_owned(), 0, "No partition reassignments found"),
    ] {
        let line = format!("reassign.ReassignPartitionsCommand {words}");
        says(&world, &line, code, said).await?;
    }
    for (line, code, said) in STAYS {
        says(&world, line, *code, said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn offsets_and_groups_are_seen_and_transactions_ended() -> Result<()> {
    let world = World::new(2).await?;
    run(&world, PRODUCER, &["--topic", "t"], b"a\n").await?;
    open(&world).await?;
    for (line, code, said) in [
        ("TransactionsCommand list", 0, "Ongoing"),
        (
            "TransactionsCommand describe --transactional-id x",
            0,
            "t-0",
        ),
        (
            "TransactionsCommand describe --transactional-id y",
            1,
            "the ID could not be found",
        ),
        (
            "TransactionsCommand describe-producers --topic t --partition 0",
            0,
            "ProducerId",
        ),
        (
            "TransactionsCommand find-hanging --topic t",
            0,
            "ProducerId",
        ),
        (
            "TransactionsCommand forceTerminateTransaction --transactionalId x",
            0,
            "",
        ),
        ("TransactionsCommand list", 0, "Empty"),
        ("GetOffsetShell --topic t --time latest", 0, "t:1:"),
        ("GetOffsetShell --topic t --time earliest-local", 0, "t:0:0"),
        ("GetOffsetShell --topic t --time latest-tiered", 0, ""),
        ("GetOffsetShell --topic nowhere", 1, "Could not match any"),
        ("GroupsCommand --list", 0, "GROUP"),
        ("consumer.group.ShareGroupCommand --list", 0, ""),
        ("streams.StreamsGroupCommand --list", 0, ""),
    ] {
        says(&world, line, code, said).await?;
    }
    Ok(())
}

/// Leaves a transaction open.
async fn open(world: &World) -> Result<()> {
    let mut peer = Peer::connect(world.server.kafka()).await?;
    let request = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 600_000,
        ..Default::default()
    };
    let producer = peer.answer(&request, 5).await?;
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: vec![0],
        }],
        ..Default::default()
    };
    let added = peer.answer(&request, 3).await?;
    let partitions = added.results_by_topic_v3_and_below.iter();
    let mut partitions = partitions.flat_map(|topic| &topic.results_by_partition);
    ensure!(
        partitions.all(|it| it.partition_error_code == 0),
        "{added:?}"
    );
    Ok(())
}
