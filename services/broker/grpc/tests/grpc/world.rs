//! A whole broker in memory behind a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tidelog_api::v1;
use tidelog_api::v1::log_service_client::LogServiceClient;
use tidelog_broker_engine::Engine;
use tidelog_broker_grpc::{GrpcMetrics, GrpcParts, GrpcSettings, ServeError, serve};
use tidelog_broker_testing::{Coordinators, GroupSettings, engine_of, quick_append};
pub(crate) use tidelog_broker_testing::{FakeGroups, Gate, soon};
use tidelog_client::{Client, ClientOptions};
use tidelog_env::{CancellationToken, Env};
use tidelog_format::batch::{BatchBuf, BatchBuilder, Compression, ProducerStamp};
use tidelog_metadata_api::{Cluster as _, Log};
use tidelog_runtime::access::{Authorizer, Quota};
use tidelog_types::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// A broker and a client of it.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    /// What the engine stands on.
    pub(crate) log: Arc<dyn Log>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) groups: Arc<FakeGroups>,
    /// The only member of the cluster.
    pub(crate) member: String,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<Result<(), ServeError>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(GrpcSettings::default()).await
    }

    pub(crate) async fn with(settings: GrpcSettings) -> Self {
        Self::build(settings, None).await
    }

    /// A world with groups that are real, and whose members are asked often whether they live.
    pub(crate) async fn with_groups() -> Self {
        let mut groups = GroupSettings::default();
        groups.consumer.heartbeat = Duration::from_millis(50);
        groups.topics_interval = Duration::from_millis(50);
        Self::build(GrpcSettings::default(), Some(groups)).await
    }

    async fn build(settings: GrpcSettings, real: Option<GroupSettings>) -> Self {
        let env = Env::seeded(7);
        let mut registry = Registry::default();
        let groups = Arc::new(FakeGroups::default());
        let fake = Arc::<FakeGroups>::clone(&groups);
        let is_real = real.is_some();
        let coordinators = |metadata: &_| {
            let all = Coordinators::of(metadata);
            if is_real {
                return all;
            }
            Coordinators {
                groups: fake,
                ..all
            }
        };
        let append = quick_append();
        let real = real.unwrap_or_default();
        let built = engine_of(&env, &mut registry, append, real, coordinators).await;
        let (engine, metadata) = built.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let parts = GrpcParts {
            env,
            engine: engine.clone(),
            cluster: Arc::new(metadata.clone()),
            authorizer: Arc::clone(&gate) as Arc<dyn Authorizer>,
            quota: Arc::clone(&gate) as Arc<dyn Quota>,
            settings,
            metrics: GrpcMetrics::new(&mut registry),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(parts, listener, stop.clone()));
        let options = ClientOptions {
            client_id: "world".to_owned(),
            ..ClientOptions::default()
        };
        let client = Client::connect(&[format!("http://{address}")], options)
            .await
            .unwrap();
        Self {
            client,
            address,
            engine,
            log: Arc::new(metadata.clone()),
            gate,
            groups,
            member: metadata.watch().borrow().members[0].id.to_string(),
            stop,
            serving,
        }
    }

    /// A world with the topic `t`.
    pub(crate) async fn with_topic(partitions: u32) -> Self {
        let world = Self::new().await;
        world.topic("t", partitions).await;
        world
    }

    pub(crate) async fn topic(&self, name: &str, partitions: u32) {
        let config: [(&str, &str); 0] = [];
        self.client
            .admin()
            .create_topic(name, partitions, config)
            .await
            .unwrap();
    }

    /// A connection without any comfort.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn raw(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// Produces one entry that has one answer.
    pub(crate) async fn produce(&self, entry: v1::ProduceEntry) -> Result<v1::Appended, v1::Error> {
        let results = self.client.log().produce(vec![entry]).await.unwrap();
        assert_eq!(results.len(), 1);
        let mut batches = results.into_iter().next().unwrap().batches;
        assert_eq!(batches.len(), 1, "{batches:?}");
        match batches.pop().unwrap().outcome.unwrap() {
            v1::batch_result::Outcome::Appended(appended) => Ok(appended),
            v1::batch_result::Outcome::Error(error) => Err(error),
        }
    }

    /// Reads one partition of `t` from an offset, without waiting.
    pub(crate) async fn fetch(
        &self,
        partition: u32,
        offset: u64,
        format: v1::RecordFormat,
    ) -> v1::PartitionData {
        let wanted = v1::FetchPartition {
            topic: "t".to_owned(),
            partition,
            offset,
            max_bytes: 0,
        };
        let request = v1::FetchRequest {
            partitions: vec![wanted],
            record_format: format.into(),
            ..v1::FetchRequest::default()
        };
        self.client
            .log()
            .fetch(request)
            .await
            .unwrap()
            .pop()
            .unwrap()
    }

    /// The values of a partition of `t` by offset.
    pub(crate) async fn values(&self, partition: u32) -> Vec<String> {
        let data = self.fetch(partition, 0, v1::RecordFormat::Records).await;
        assert_eq!(data.error, None);
        records(&data).iter().map(value).collect()
    }
}

// ----- words of the wire ----------------------------------------------------------------------------

pub(crate) fn record(key: Option<&str>, value: &str) -> v1::Record {
    v1::Record {
        key: key.map(|key| key.to_owned().into()),
        value: Some(value.to_owned().into()),
        ..v1::Record::default()
    }
}

pub(crate) fn entry_of(records: Vec<v1::Record>) -> v1::ProduceEntry {
    v1::ProduceEntry {
        topic: "t".to_owned(),
        data: Some(v1::produce_entry::Data::Records(v1::Records { records })),
        ..v1::ProduceEntry::default()
    }
}

/// An entry of one record for partition 0 of `t`.
pub(crate) fn entry(value: &str) -> v1::ProduceEntry {
    v1::ProduceEntry {
        partition: Some(0),
        ..entry_of(vec![record(None, value)])
    }
}

/// An entry of ready batches for partition 0 of `t`.
pub(crate) fn ready(batches: impl Into<bytes::Bytes>) -> v1::ProduceEntry {
    v1::ProduceEntry {
        topic: "t".to_owned(),
        partition: Some(0),
        data: Some(v1::produce_entry::Data::Batches(batches.into())),
        ..v1::ProduceEntry::default()
    }
}

/// A batch with one record for each value, at times 100, 101 and so on.
pub(crate) fn batch(values: &[&str], stamp: Option<ProducerStamp>) -> BatchBuf {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for (at, value) in (100..).zip(values) {
        builder
            .append(
                Timestamp::from_millis(at),
                None,
                Some(value.as_bytes()),
                &[],
            )
            .unwrap();
    }
    builder.finish(stamp).unwrap()
}

pub(crate) fn value(record: &v1::Record) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

pub(crate) fn records(data: &v1::PartitionData) -> Vec<v1::Record> {
    match data.data.clone() {
        Some(v1::partition_data::Data::Records(records)) => records.records,
        Some(v1::partition_data::Data::Batches(_)) => panic!("batches were not asked for"),
        None => Vec::new(),
    }
}
