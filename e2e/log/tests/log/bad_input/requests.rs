//! Requests that name what is not there, or ask for what cannot be.

use anyhow::{Context, Result, ensure};
use tidelog_client::v1::produce_entry::Data;
use tidelog_client::v1::{self, ErrorCode};
use tidelog_client::{Client, ClientError, ErrorCode as Code};
use tidelog_e2e_harness::{Server, ServerOptions};

use crate::support::{World, base, fetch, records, refusal};

const TOPIC: &str = "requests";

struct Scenario {
    client: Client,
    // The server goes before the folder that it writes to.
    _server: Server,
    _world: World,
}

impl Scenario {
    /// A topic of two partitions, of which partition 0 has the offsets 0 to 2.
    async fn start() -> Result<Self> {
        let world = World::folder()?;
        let server = Server::start(ServerOptions::at(&world.place)).await?;
        let client = server.client()?;
        client
            .admin()
            .create_topic(TOPIC, 2, [] as [(&str, &str); 0])
            .await?;
        client
            .log()
            .produce(vec![records(TOPIC, 0, ["a", "b", "c"])])
            .await?;
        Ok(Self {
            client,
            _server: server,
            _world: world,
        })
    }

    /// The error of one entry.
    async fn produce(&self, entry: v1::ProduceEntry) -> Result<v1::Error> {
        refusal(&self.client.log().produce(vec![entry]).await?)
    }

    /// The error of one fetched partition.
    async fn fetch(&self, topic: &str, partition: u32, offset: u64) -> Result<v1::Error> {
        let data = self
            .client
            .log()
            .fetch(fetch(topic, partition, offset))
            .await?;
        data[0].error.clone().context("an error")
    }
}

fn has(error: &v1::Error, code: ErrorCode, facts: &[(&str, &str)], words: &[&str]) -> Result<()> {
    ensure!(error.code() == code, "{code:?} expected: {error:?}");
    ensure!(
        !error.retriable,
        "nothing changes by trying again: {error:?}"
    );
    for (name, value) in facts {
        ensure!(
            error.metadata.get(*name).is_some_and(|v| v == value),
            "{name}={value}: {error:?}"
        );
    }
    for word in words {
        ensure!(error.message.contains(word), "`{word}` expected: {error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_named_in_writes_and_reads() -> Result<()> {
    let scenario = Scenario::start().await?;
    let topic = ["`nowhere`", "does not exist", "topic list"];
    let error = scenario.produce(records("nowhere", 0, ["x"])).await?;
    has(&error, ErrorCode::UnknownTopic, &[], &topic)?;
    let error = scenario.fetch("nowhere", 0, 0).await?;
    has(&error, ErrorCode::UnknownTopic, &[], &topic)?;

    let partition = ["no partition `2`", TOPIC];
    let facts = [("partition_count", "2")];
    let error = scenario.produce(records(TOPIC, 2, ["x"])).await?;
    has(&error, ErrorCode::UnknownPartition, &facts, &partition)?;
    let error = scenario.fetch(TOPIC, 2, 0).await?;
    has(&error, ErrorCode::UnknownPartition, &facts, &partition)
}

#[tokio::test]
async fn an_offset_out_of_range_is_refused_with_the_range() -> Result<()> {
    let scenario = Scenario::start().await?;
    let facts = [("log_start_offset", "0"), ("high_watermark", "3")];
    let error = scenario.fetch(TOPIC, 0, 4).await?;
    has(
        &error,
        ErrorCode::OffsetOutOfRange,
        &facts,
        &["`4`", "[0, 3)"],
    )?;

    let delete = v1::DeleteRecordsPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        before_offset: Some(2),
    };
    scenario.client.log().delete_records(vec![delete]).await?;
    let facts = [("log_start_offset", "2"), ("high_watermark", "3")];
    let error = scenario.fetch(TOPIC, 0, 1).await?;
    has(
        &error,
        ErrorCode::OffsetOutOfRange,
        &facts,
        &["`1`", "[2, 3)"],
    )?;
    // The end itself is in range: it is where the next record will be.
    let data = scenario.client.log().fetch(fetch(TOPIC, 0, 3)).await?;
    assert!(data[0].error.is_none());
    Ok(())
}

#[tokio::test]
async fn conditions_that_do_not_hold_are_refused_with_what_holds() -> Result<()> {
    let scenario = Scenario::start().await?;
    let entry = v1::ProduceEntry {
        expected_next_offset: Some(2),
        ..records(TOPIC, 0, ["x"])
    };
    let error = scenario.produce(entry).await?;
    has(
        &error,
        ErrorCode::OffsetMismatch,
        &[("next_offset", "3")],
        &["next offset"],
    )?;

    let set = v1::ProduceEntry {
        set_fencing_token: Some("mine".to_owned()),
        ..records(TOPIC, 0, ["x"])
    };
    assert_eq!(base(&scenario.client.log().produce(vec![set]).await?)?, 3);
    let stale = v1::ProduceEntry {
        fencing_token: Some("yours".to_owned()),
        ..records(TOPIC, 0, ["x"])
    };
    let error = scenario.produce(stale).await?;
    has(
        &error,
        ErrorCode::FencingTokenMismatch,
        &[("fencing_token", "mine")],
        &["token"],
    )
}

#[tokio::test]
async fn sequences_out_of_order_are_refused_with_the_next_one() -> Result<()> {
    let scenario = Scenario::start().await?;
    let (id, epoch) = scenario.client.log().init_producer().await?;
    let entry = |base_sequence| v1::ProduceEntry {
        producer: Some(v1::ProducerSequence {
            producer_id: id.get(),
            producer_epoch: epoch.get().into(),
            base_sequence,
        }),
        ..records(TOPIC, 1, ["x"])
    };
    let error = scenario.produce(entry(5)).await?;
    has(&error, ErrorCode::UnknownProducer, &[], &["start at 0"])?;
    assert_eq!(
        base(&scenario.client.log().produce(vec![entry(0)]).await?)?,
        0
    );
    let error = scenario.produce(entry(5)).await?;
    has(
        &error,
        ErrorCode::OutOfOrderSequence,
        &[("next_sequence", "1")],
        &["sequence"],
    )
}

#[tokio::test]
async fn entries_that_break_the_rules_say_which() -> Result<()> {
    let scenario = Scenario::start().await?;
    let good = records(TOPIC, 0, ["x"]);
    let cases = [
        (
            v1::ProduceEntry {
                data: None,
                ..good.clone()
            },
            "records, batches or a fencing token",
        ),
        (records::<&str>(TOPIC, 0, []), "at least one record"),
        (
            v1::ProduceEntry {
                compression: 99,
                ..good.clone()
            },
            "`99`",
        ),
        (
            v1::ProduceEntry {
                partition: None,
                expected_next_offset: Some(0),
                ..good.clone()
            },
            "`partition` is required",
        ),
        (
            v1::ProduceEntry {
                data: Some(Data::Batches(vec![].into())),
                ..good.clone()
            },
            "at least one record batch",
        ),
        (
            v1::ProduceEntry {
                fencing_token: Some("x".repeat(37)),
                ..good.clone()
            },
            "36 bytes",
        ),
    ];
    for (entry, words) in cases {
        has(
            &scenario.produce(entry).await?,
            ErrorCode::InvalidArgument,
            &[],
            &[words],
        )?;
    }
    let error = scenario.client.log().produce(vec![]).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidArgument));
    Ok(())
}

#[tokio::test]
async fn names_counts_and_settings_that_are_not_allowed_are_refused() -> Result<()> {
    let scenario = Scenario::start().await?;
    let admin = scenario.client.admin();
    let none = [] as [(&str, &str); 0];
    for name in ["", ".", "..", "a b", "a/b", "\u{e4}", &"x".repeat(250)] {
        let error = admin.create_topic(name, 1, none).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(Code::InvalidTopicName),
            "`{name}`: {error}"
        );
        assert!(error.to_string().contains("topic"), "`{name}`: {error}");
    }
    let error = admin.create_topic("many", 100_001, none).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidArgument), "{error}");
    assert!(error.to_string().contains("100001"), "{error}");
    for (key, value, words) in [
        ("retention.sm", "1", "`retention.ms`"),
        ("retention.ms", "soon", "`soon`"),
        ("cleanup.policy", "burn", "`burn`"),
    ] {
        let error = admin
            .create_topic("set", 1, [(key, value)])
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidConfig), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = admin.create_topic(TOPIC, 1, none).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TopicExists), "{error}");
    let error = admin.add_partitions(TOPIC, 1).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidArgument), "{error}");
    assert_eq!(
        admin.topics("", false).await?.len(),
        1,
        "nothing of this was created"
    );
    Ok(())
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_call_and_not_the_server() -> Result<()> {
    let scenario = Scenario::start().await?;
    let limits = scenario
        .client
        .describe_cluster()
        .await?
        .limits
        .context("limits")?;
    let value = vec![0; usize::try_from(limits.max_request_bytes)?];
    let large = scenario
        .client
        .log()
        .produce(vec![records(TOPIC, 0, [value])])
        .await;
    let error: ClientError = large.unwrap_err();
    assert_eq!(error.code(), Some(Code::RequestTooLarge), "{error}");
    assert_eq!(
        base(
            &scenario
                .client
                .log()
                .produce(vec![records(TOPIC, 0, ["x"])])
                .await?
        )?,
        3
    );
    Ok(())
}
