//! A whole broker in memory behind a real socket, and a client that knows no more than the codec.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prometheus_client::registry::Registry;
use tidelog_broker_engine::{AppendSettings, Engine};
use tidelog_broker_kafka::{KafkaMetrics, KafkaParts, KafkaSettings, LISTENER, serve};
use tidelog_broker_testing::{Coordinators, engine_with, quick_append};
pub(crate) use tidelog_broker_testing::{Gate, soon};
use tidelog_env::{CancellationToken, Env};
use tidelog_format::batch::{BatchBuilder, Compression, ProducerStamp};
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};
use tidelog_kafka_codec::messages::fetch_response::PartitionData;
use tidelog_kafka_codec::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidelog_kafka_codec::messages::produce_response::PartitionProduceResponse;
use tidelog_kafka_codec::messages::{FetchRequest, ProduceRequest};
use tidelog_kafka_codec::{
    Budget, Caller, ErrorCode, Request, Rope, read_response, request_frame, response_length,
};
use tidelog_metadata::MetadataService;
use tidelog_metadata_api::{Cluster, Groups, KafkaAddress, NewTopic, TopicInfo};
use tidelog_runtime::access::{Authorizer, Quota};
use tidelog_types::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A broker.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) registry: Registry,
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) metadata: MetadataService,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(KafkaSettings::default()).await
    }

    pub(crate) async fn with(settings: KafkaSettings) -> Self {
        Self::with_engine(settings, quick_append()).await
    }

    pub(crate) async fn with_engine(settings: KafkaSettings, append: AppendSettings) -> Self {
        Self::build(settings, append, Coordinators::of).await
    }

    pub(crate) async fn with_groups(settings: KafkaSettings, groups: Arc<dyn Groups>) -> Self {
        let coordinators = |metadata: &MetadataService| Coordinators {
            groups,
            ..Coordinators::of(metadata)
        };
        Self::build(settings, quick_append(), coordinators).await
    }

    pub(crate) async fn with_coordinators(coordinators: Coordinators) -> Self {
        let settings = KafkaSettings::default();
        Self::build(settings, quick_append(), |_| coordinators).await
    }

    async fn build(
        settings: KafkaSettings,
        append: AppendSettings,
        coordinators: impl FnOnce(&MetadataService) -> Coordinators,
    ) -> Self {
        let env = Env::seeded(7);
        let mut registry = Registry::default();
        let built = engine_with(&env, &mut registry, append, coordinators).await;
        let (engine, metadata) = built.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let parts = KafkaParts {
            env: env.clone(),
            engine: engine.clone(),
            cluster: Arc::new(metadata.clone()) as Arc<dyn Cluster>,
            authorizer: Arc::clone(&gate) as Arc<dyn Authorizer>,
            quota: Arc::clone(&gate) as Arc<dyn Quota>,
            settings,
            metrics: KafkaMetrics::new(&mut registry),
            advertised: KafkaAddress {
                listener: LISTENER.to_owned(),
                host: "here".to_owned(),
                port: 9092,
            },
            zone: "z1".to_owned(),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(parts, listener, stop.clone()));
        Self {
            env,
            registry,
            address,
            engine,
            metadata,
            gate,
            stop,
            serving,
        }
    }

    /// A world with the topic `t`, and a client.
    pub(crate) async fn with_topic(partitions: u32) -> (Self, Client) {
        let world = Self::new().await;
        world.topic("t", partitions, &[]).await;
        let client = world.client().await;
        (world, client)
    }

    pub(crate) async fn topic(
        &self,
        name: &str,
        partitions: u32,
        config: &[(&str, &str)],
    ) -> Arc<TopicInfo> {
        let config = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let topic = NewTopic {
            name: name.parse().unwrap(),
            partitions,
            config: config.collect::<BTreeMap<_, _>>(),
            validate_only: false,
        };
        self.engine.catalogue().create_topic(topic).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            name: "world".to_owned(),
            next: 0,
        }
    }
}

// ----- a client -------------------------------------------------------------------------------------

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// What it calls itself.
    pub(crate) name: String,
    next: i32,
}

impl Client {
    /// The bytes of a request, and the number of its answer.
    pub(crate) fn frame<R: Request>(&mut self, request: &R, version: i16) -> (Bytes, i32) {
        self.next += 1;
        let caller = Caller {
            correlation_id: self.next,
            client_id: Some(self.name.as_str().into()),
        };
        let rope = request_frame(request, version, caller).unwrap();
        (Rope::into_bytes(rope), self.next)
    }

    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        let (frame, id) = self.frame(request, version);
        self.stream.write_all(&frame).await.unwrap();
        id
    }

    /// The next frame, or nothing if the server has ended the connection.
    pub(crate) async fn receive_frame(&mut self) -> Option<Bytes> {
        let mut prefix = [0; 4];
        soon(self.stream.read_exact(&mut prefix)).await.ok()?;
        let length = response_length(prefix, 1 << 30).unwrap();
        let mut frame = BytesMut::zeroed(length);
        soon(self.stream.read_exact(&mut frame)).await.ok()?;
        Some(frame.freeze())
    }

    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let frame = self.receive_frame().await.unwrap();
        read_response(frame, version, &mut Budget::bytes(64 << 20)).unwrap()
    }

    pub(crate) async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version).await;
        let (id, response) = self.receive::<R>(version).await;
        assert_eq!(id, sent);
        response
    }

    /// Whether the server has ended the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        soon(self.stream.read(&mut byte))
            .await
            .is_ok_and(|read| read == 0)
    }

    /// Produces to partition 0 of `t` and waits for the answer.
    pub(crate) async fn produce(&mut self, records: impl Into<Bytes>) -> PartitionProduceResponse {
        let response = self.call(&to_t(0, records), 9).await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Reads partition 0 of `t` from an offset, without waiting.
    pub(crate) async fn fetch(&mut self, offset: i64) -> PartitionData {
        let response = self.call(&from_t(offset, Duration::ZERO), 12).await;
        assert_eq!(response.error_code, 0);
        response.responses[0].partitions[0].clone()
    }
}

// ----- words of the wire ----------------------------------------------------------------------------

/// A request to append batches to a partition of `t`.
pub(crate) fn to_t(index: i32, records: impl Into<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData {
        index,
        records: Some(records.into().into()),
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 20_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

/// A request for partition 0 of `t`.
pub(crate) fn from_t(offset: i64, wait: Duration) -> FetchRequest {
    let wanted = FetchPartition {
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap(),
        min_bytes: 1,
        max_bytes: 10 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![wanted],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A batch with one record for each value, at times 100, 101 and so on.
pub(crate) fn batch(values: &[&str], stamp: Option<ProducerStamp>) -> Bytes {
    compressed(values, stamp, Compression::None)
}

pub(crate) fn compressed(
    values: &[&str],
    stamp: Option<ProducerStamp>,
    compression: Compression,
) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 0);
    for (at, value) in (100..).zip(values) {
        let time = Timestamp::from_millis(at);
        builder
            .append(time, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    let batch = builder.finish(stamp).unwrap();
    let mut bytes = BytesMut::new();
    batch
        .chunks()
        .for_each(|part| bytes.extend_from_slice(&part));
    bytes.freeze()
}

/// Kafka's name of a code.
pub(crate) fn name(code: i16) -> &'static str {
    ErrorCode::from_code(code).unwrap().name()
}
