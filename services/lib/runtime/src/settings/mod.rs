//! Settings: plain data, read once at start from a file, the environment and flags.
//!
//! ```text
//!   table of options: defaults      lowest
//!   TOML file
//!   environment: TIDELOG_...
//!   flags: --set KEY=VALUE          highest
//! ```
//!
//! An unknown key is refused with the nearest known one. Nothing below this crate reads the environment.

mod check;
mod load;
mod nearest;
pub mod options;
mod reference;
#[cfg(test)]
mod tests;
mod units;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use load::{Loaded, Origin, SettingsError, SettingsErrors, Sources, load};
pub use nearest::nearest;
pub use reference::reference;
use tidelog_types::Role;
pub use tidelog_types::Secret;
pub use units::{ByteSize, OrAuto, Span, UnitError};
pub use words::{MetadataStore, Peers, Roles};

/// The folder that is the bucket if none is named.
pub const DATA_DEFAULT: &str = "./tidelog-data";

/// All settings. Each field is an option of the same name; the table in [`options`] says what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
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
    pub memory: MemorySettings,
    pub produce: ProduceSettings,
    pub fetch: FetchSettings,
    pub store: StoreSettings,
    pub metadata: MetadataSettings,
    pub fdb: FdbSettings,
    pub cluster: ClusterSettings,
    pub drain: DrainSettings,
    pub log: LogSettings,
    pub otlp: OtlpSettings,
}

/// How to speak to a store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
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
    pub sign_payload: bool,
    pub connect_timeout: Span,
    pub request_timeout: Span,
    pub pool_idle_timeout: Span,
    pub pool_idle_max: usize,
}

/// The checksum that goes with each PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME.
    Crc64nvme,
    /// SHA-256.
    Sha256,
    /// None.
    None,
}

/// How to use a local folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct LocalSettings {
    pub stale_staged_after: Span,
}

/// How often and how patiently requests to the bucket are tried again, and when they are hedged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
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
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct ListenSettings {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<SocketAddr>,
    pub insecure: bool,
}

/// What clients of gRPC may take of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct GrpcSettings {
    pub connections_max: OrAuto<u64>,
    pub streams_max: u32,
    pub keep_alive: Span,
    pub greeting_timeout: Span,
    pub stall_timeout: Span,
}

/// How much memory the process uses; see [`crate::memory::MemoryPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct MemorySettings {
    pub total: ByteSize,
}

/// The write path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct ProduceSettings {
    pub segment_bytes: ByteSize,
    pub linger: OrAuto<Span>,
    pub flush_rate: std::num::NonZeroU32,
    pub flush_burst: std::num::NonZeroU32,
    pub uploads_max: usize,
    pub unanswered_max: usize,
    pub hedge_after: Span,
}

/// The read path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct FetchSettings {
    pub answer_bytes_max: ByteSize,
    pub wait_max: Span,
    pub extents_max: usize,
    pub reads_in_flight: usize,
    pub cached_extents: u64,
}

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct StoreSettings {
    pub transaction_age_max: Span,
    pub flushes_per_table: u64,
    pub garbage_age_min: Span,
}

/// The metadata service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct MetadataSettings {
    pub store: MetadataStore,
    pub checkpoint_interval: Span,
    pub checkpoint_manifests: u32,
    pub producers_in_memory: usize,
    pub partitions_in_memory: usize,
    pub producer_expiry: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_age_max: Option<Span>,
}

/// What the process is within its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct ClusterSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub zone: String,
    pub metadata: Peers,
    pub shards: OrAuto<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_grpc: Option<String>,
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
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
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
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct DrainSettings {
    pub timeout: Span,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct LogSettings {
    pub level: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Export to an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the table of options documents each field for users and for us"
)]
pub struct OtlpSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub traces: bool,
    pub metrics: bool,
    pub sample_ratio: f64,
    pub interval: Span,
    pub timeout: Span,
}

/// Where members of a cluster reach each other unless it is said.
const INTERNAL_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7071);

impl Settings {
    /// Whether this process is, or may become, one of several.
    pub fn is_clustered(&self) -> bool {
        !self.roles.has(Role::Metadata)
            || !self.roles.has(Role::Broker)
            || !self.cluster.metadata.is_empty()
            || self.metadata.store != MetadataStore::Embedded
            || self.listen.internal.is_some()
    }

    /// Where the process serves other members, if it does.
    pub fn internal_address(&self) -> Option<SocketAddr> {
        let serves = self.roles.has(Role::Metadata) && self.is_clustered();
        serves.then(|| self.listen.internal.unwrap_or(INTERNAL_DEFAULT))
    }

    /// The settings as a file that would give them again, but for secrets, which are not shown.
    pub fn to_toml(&self) -> String {
        // Plain data of strings, numbers and tables cannot fail to become TOML.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}
