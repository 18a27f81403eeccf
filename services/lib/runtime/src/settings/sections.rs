//! The settings section by section. Each field is an option of the same name; the table in [`super::options`]
//! says what it means.
#![expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidelog_types::Secret;

use super::units::{ByteSize, OrAuto, Span};
use super::words::{Checksum, Encryption, LogFormat, MetadataStore, Peers, Roles};

/// All settings. Each field is an option of the same name; the table in [`options`] says what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub roles: Roles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    pub s3: S3Settings,
    pub local: LocalSettings,
    pub requests: RequestSettings,
    pub listen: ListenSettings,
    pub grpc: GrpcSettings,
    pub kafka: KafkaSettings,
    pub memory: MemorySettings,
    pub produce: ProduceSettings,
    pub fetch: FetchSettings,
    #[serde(default)]
    pub cache: CacheSettings,
    pub store: StoreSettings,
    pub metadata: MetadataSettings,
    pub groups: GroupsSettings,
    pub transactions: TransactionsSettings,
    pub janitor: JanitorSettings,
    pub fdb: FdbSettings,
    pub cluster: ClusterSettings,
    #[serde(default, skip_serializing_if = "StorageSettings::is_empty")]
    pub storage: StorageSettings,
    pub drain: DrainSettings,
    pub log: LogSettings,
    pub otlp: OtlpSettings,
}

/// How to speak to a store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    pub allow_http: bool,
    pub checksum: Checksum,
    pub encryption: Encryption,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    pub sign_payload: bool,
    pub connect_timeout: Span,
    pub request_timeout: Span,
    pub pool_idle_timeout: Span,
    pub pool_idle_max: usize,
}

/// How to use a local folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSettings {
    pub stale_staged_after: Span,
}

/// How often and how patiently requests to the bucket are tried again, and when they are hedged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSettings {
    pub retries_max: u32,
    pub wait_initial: Span,
    pub wait_max: Span,
    pub attempt_timeout: Span,
    pub hedge: bool,
    pub hedge_percentile: u8,
    pub hedge_delay_min: Span,
    pub hedge_delay_max: Span,
    pub requests_per_hedge: std::num::NonZeroU32,
}

/// Where the process listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSettings {
    pub grpc: SocketAddr,
    pub kafka: SocketAddr,
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<SocketAddr>,
    pub insecure: bool,
}

/// What clients of gRPC may take of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcSettings {
    pub connections_max: OrAuto<u64>,
    pub streams_max: u32,
    pub keep_alive: Span,
    pub greeting_timeout: Span,
    pub stall_timeout: Span,
}

/// What Kafka clients may take of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    pub connections_max: usize,
    pub request_bytes_max: ByteSize,
    pub request_timeout: Span,
    pub stall_timeout: Span,
    pub idle_timeout: Span,
    pub in_flight_max: usize,
    pub auto_create_topics: bool,
    pub default_partitions: u32,
}

/// How much memory the process uses; see [`crate::memory::MemoryPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySettings {
    pub total: ByteSize,
}

/// The write path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProduceSettings {
    pub segment_bytes: ByteSize,
    pub linger: OrAuto<Span>,
    pub flush_rate: std::num::NonZeroU32,
    pub flush_burst: std::num::NonZeroU32,
    pub uploads_max: usize,
    pub unanswered_max: usize,
    pub hedge_after: Span,
}

/// Storage classes, by the names that users give them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    #[serde(default)]
    pub classes: BTreeMap<String, StorageClassSettings>,
    /// Buckets beside the main one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub buckets: BTreeMap<String, BesideSettings>,
}

impl StorageSettings {
    /// Whether there is no class and no bucket.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.buckets.is_empty()
    }
}

/// One bucket beside the main one; what it does not say is as `s3` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BesideSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

impl BesideSettings {
    /// How it is spoken to.
    pub fn s3(&self, main: &S3Settings) -> S3Settings {
        let has_key = self.access_key_id.is_some();
        let or = |own: &Option<Secret>, main: &Option<Secret>| {
            let shared = main.clone().filter(|_| !has_key);
            own.clone().or(shared)
        };
        let encryption = self.encryption.unwrap_or(main.encryption);
        S3Settings {
            endpoint: self.endpoint.clone().or_else(|| main.endpoint.clone()),
            region: self.region.clone().or_else(|| main.region.clone()),
            access_key_id: or(&self.access_key_id, &main.access_key_id),
            secret_access_key: or(&self.secret_access_key, &main.secret_access_key),
            session_token: or(&self.session_token, &main.session_token),
            path_style: self.path_style.or(main.path_style),
            allow_http: self.allow_http.unwrap_or(main.allow_http),
            encryption,
            kms_key: self.kms_key.clone().or_else(|| {
                main.kms_key
                    .clone()
                    .filter(|_| encryption == main.encryption)
            }),
            ..main.clone()
        }
    }
}

/// One storage class; what it does not say is as `produce` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageClassSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub express_bytes: Option<ByteSize>,
    /// The bucket that its segments are put into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The bucket that they are merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_bucket: Option<String>,
}

impl StorageClassSettings {
    /// The name of the bucket that segments are merged into; none is the main one.
    pub fn merged_into(&self) -> Option<&str> {
        let named = self.merged_bucket.as_ref().or(self.bucket.as_ref());
        named
            .map(String::as_str)
            .filter(|name| *name != MAIN_BUCKET)
    }

    /// The name of the bucket that segments are put into; none is the main one.
    pub fn put_into(&self) -> Option<&str> {
        let named = self.bucket.as_deref();
        named.filter(|name| *name != MAIN_BUCKET)
    }
}

/// What settings call the bucket of `data` or `bucket`.
pub const MAIN_BUCKET: &str = "main";

/// The read path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchSettings {
    pub answer_bytes_max: ByteSize,
    pub wait_max: Span,
    pub extents_max: usize,
    pub reads_in_flight: usize,
    pub reader_patience: Span,
    pub cached_extents: u64,
}

/// Pages of segments beyond memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<ByteSize>,
}

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub transaction_age_max: Span,
    pub flushes_per_table: u64,
    pub request_retries_max: u32,
    pub garbage_age_min: Span,
}

/// The metadata service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataSettings {
    pub store: MetadataStore,
    pub checkpoint_interval: Span,
    pub checkpoint_manifests: u32,
    pub producers_in_memory: usize,
    pub partitions_in_memory: usize,
    pub producer_expiry: Span,
    pub retention_interval: Span,
    pub merge: bool,
    pub merge_age: Span,
    pub merge_bytes: ByteSize,
    pub merge_growth: u64,
    pub merge_again_age: Span,
    pub rewrite_live_percent: u64,
    pub rewrite_age: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_age_max: Option<Span>,
}

/// Groups of consumers, where they are coordinated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupsSettings {
    pub offsets_retention: Span,
    pub initial_delay: Span,
    pub session_min: Span,
    pub session_max: Span,
    pub consumer_session: Span,
    pub consumer_heartbeat: Span,
    pub members_max: usize,
}

/// How transactions are coordinated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionsSettings {
    pub timeout_max: Span,
    pub id_expiry: Span,
}

/// What is done in the bucket in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JanitorSettings {
    pub grace: Span,
    pub merge_rate: ByteSize,
    pub merges_at_once: usize,
}

/// What the process is within its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub zone: String,
    pub metadata: Peers,
    pub shards: OrAuto<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_grpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_kafka: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_internal: Option<String>,
    pub beat: Span,
    pub lease: Span,
    pub member_grace: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
}

/// How to use FoundationDB, where metadata is kept in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FdbSettings {
    pub prefix: String,
    pub timeout: Span,
    pub knobs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_verify: Option<String>,
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSettings {
    pub timeout: Span,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub level: String,
    pub format: LogFormat,
}

/// Export to an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub traces: bool,
    pub metrics: bool,
    pub sample_ratio: f64,
    pub interval: Span,
    pub timeout: Span,
}
