//! A broker that is asked the same as another: what it answers, as text that can be compared.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use tidelog_e2e_harness::{Process, Tools, free_port, until};
use tidelog_kafka_codec::messages::create_topics_request::CreatableTopic;
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    ListOffsetsRequest, MetadataRequest, ProduceResponse,
};
use tidelog_kafka_codec::{
    Budget, Caller, ErrorCode, Request, Rope, Uuid, read_response, request_frame, response_length,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::text::plain;
use crate::support::FETCH_LIMIT;

/// A broker of Apache Kafka.
pub(crate) struct Apache {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Apache {
    /// Starts it in an empty folder, and waits until it coordinates groups.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        Tools::program("java")?;
        let run = Tools::repository()?.join("e2e/kafka/apache/run");
        let (address, controller) = (free_port()?, free_port()?);
        let mut command = Command::new(run);
        command
            .arg(folder)
            .arg(address.port().to_string())
            .arg(controller.port().to_string())
            .env("TIDELOG_CACHE", Tools::cache()?);
        let process = Process::spawn("kafka", &mut command, &folder.join("log"))?;
        until("Apache Kafka coordinates groups", FETCH_LIMIT, async || {
            let mut peer = Peer::connect(address).await.ok()?;
            let request = FindCoordinatorRequest {
                coordinator_keys: vec!["g".into()],
                ..Default::default()
            };
            let found = peer.answer(&request, 4).await.ok()?;
            if found.coordinators.first()?.error_code != 0 {
                return None;
            }
            // One of each half of all groups, since each half is loaded for itself.
            let request = DescribeGroupsRequest {
                groups: vec!["a".into(), "b".into()],
                ..Default::default()
            };
            let described = peer.answer(&request, 5).await.ok()?;
            let is_loaded = described.groups.iter().all(|it| it.error_code == 0);
            is_loaded.then_some(())
        })
        .await?;
        Ok(Self {
            address,
            _process: process,
        })
    }
}

/// The longest that a broker may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The longest that it may take until reads show what was answered for.
const VISIBLE_LIMIT: Duration = Duration::from_mins(1);
/// The time between looks at what is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An error by its name.
pub(super) fn named(code: i16) -> &'static str {
    ErrorCode::from_code(code).map_or("?", ErrorCode::name)
}

/// What was asked, and the answer.
pub(super) type Notes = Vec<(String, String)>;

/// The first of what was asked for.
pub(super) fn first<T: std::fmt::Debug>(answers: &[T]) -> Result<&T> {
    answers.first().context("no answer to what was asked for")
}

/// A connection that takes notes.
pub(crate) struct Peer {
    stream: TcpStream,
    sent: i32,
    /// The id of the topic `t`.
    pub(super) topic: Uuid,
    /// The time of what is written, in milliseconds since 1970.
    pub(super) now: i64,
    /// What differs by its nature, and what stands for it.
    names: Vec<(String, &'static str)>,
    pub(super) notes: Notes,
    /// What another has answered to the same questions.
    pub(super) other: Notes,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            stream: TcpStream::connect(address).await?,
            sent: 0,
            topic: Uuid::nil(),
            now: 0,
            names: Vec::new(),
            notes: Vec::new(),
            other: Vec::new(),
        })
    }

    /// Creates a topic, which is the one that others are asked about from now on.
    pub(crate) async fn create_topic(
        &mut self,
        name: &'static str,
        num_partitions: i32,
    ) -> Result<()> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.into(),
                num_partitions,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let created = self.answer(&request, 7).await?;
        let topic = created.topics.first().context("one topic")?;
        ensure!(topic.error_code == 0, "{created:?}");
        self.topic = topic.topic_id;
        self.call_it(&topic.topic_id.to_string(), "TOPIC");
        self.has_partitions(name, num_partitions).await
    }

    /// Waits until a topic has so many partitions: a broker of Apache Kafka hears of it some time later.
    pub(super) async fn has_partitions(&mut self, name: &'static str, count: i32) -> Result<()> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        self.shows(name, &request, 12, |answer| {
            let leaders = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let led = leaders.filter(|it| it.leader_id >= 0).count();
            i32::try_from(led) == Ok(count)
        })
        .await?;
        // And it makes the logs after that.
        let partitions = (0..count).map(|partition_index| ListOffsetsPartition {
            partition_index,
            timestamp: -1,
            ..Default::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: name.into(),
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        self.shows(name, &request, 7, |answer| {
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.all(|it| it.error_code == 0)
        })
        .await
    }

    /// Waits until a key of a topic has a value.
    pub(super) async fn is_configured(
        &mut self,
        topic: &'static str,
        key: &'static str,
        value: &str,
    ) -> Result<()> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: topic.into(),
                configuration_keys: Some(vec![key.into()]),
            }],
            ..Default::default()
        };
        self.shows(key, &request, 4, |answer| {
            let configs = answer.results.iter().flat_map(|it| &it.configs);
            let mut values = configs.filter_map(|it| it.value.as_deref());
            values.next() == Some(value)
        })
        .await
    }

    /// Asks without a note until an answer shows what was done before. A broker of Apache Kafka reads from what it
    /// has stored, and does some things before they are.
    pub(super) async fn shows<R: Request>(
        &mut self,
        what: &str,
        request: &R,
        version: i16,
        is_there: impl Fn(&R::Response) -> bool,
    ) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.answer(request, version).await?;
            if is_there(&answer) {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < VISIBLE_LIMIT,
                "{what} cannot be seen: {answer:?}"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// From now on a name stands for what is different at each broker.
    pub(super) fn call_it(&mut self, text: &str, name: &'static str) {
        self.names.push((text.to_owned(), name));
    }

    /// Asks, and takes a note of the answer.
    pub(super) async fn ask<R: Request>(
        &mut self,
        what: &str,
        request: R,
        version: i16,
    ) -> Result<R::Response> {
        let answer = self.answer(&request, version).await;
        let answer = answer.with_context(|| format!("{what}: {request:?}"))?;
        self.note_answer(&format!("{what} v{version}"), &answer);
        Ok(answer)
    }

    /// Takes a note of an answer.
    pub(super) fn note_answer(&mut self, what: &str, answer: &impl fmt::Debug) {
        let mut text = format!("{answer:?}");
        for (own, name) in &self.names {
            text = text.replace(own, name);
        }
        self.note(what, plain(&text));
    }

    /// Takes a note of something.
    pub(super) fn note(&mut self, what: &str, text: String) {
        self.notes.push((what.to_owned(), text));
    }

    /// Takes a note of what is there now, as soon as it is what the other has, or cannot be expected to become that.
    pub(super) async fn note_settled(
        &mut self,
        what: &str,
        look: impl AsyncFn(&mut Self) -> Result<String>,
    ) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let found = look(self).await?;
            let other = self.other.get(self.notes.len());
            if other.is_none_or(|(_, other)| *other == found) || begun.elapsed() > VISIBLE_LIMIT {
                self.note(what, found);
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes a note of what became of batches: the errors and offsets, and nothing that only one of both tells.
    pub(super) fn note_codes(&mut self, what: &str, answer: &ProduceResponse) {
        let partitions = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let told = partitions
            .map(|it| format!("{} {} {}", it.index, named(it.error_code), it.base_offset));
        self.note(what, told.collect::<Vec<_>>().join(", "));
    }

    /// Asks without a note.
    pub(crate) async fn answer<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response> {
        self.sent += 1;
        let caller = Caller {
            correlation_id: self.sent,
            client_id: Some("both".into()),
        };
        let frame = Rope::into_bytes(request_frame(request, version, caller)?);
        self.stream.write_all(&frame).await?;
        let mut prefix = [0; 4];
        let reading = self.stream.read_exact(&mut prefix);
        let read = tokio::time::timeout(ANSWER_LIMIT, reading).await;
        read.with_context(|| format!("no answer to {request:?} v{version}"))??;
        let mut frame = BytesMut::zeroed(response_length(prefix, 1 << 24)?);
        self.stream.read_exact(&mut frame).await?;
        let budget = &mut Budget::bytes(1 << 24);
        let (number, answer) = read_response(frame.freeze(), version, budget)?;
        ensure!(number == self.sent, "the answer to another request");
        Ok(answer)
    }
}
