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
mod named;
mod nearest;
pub mod options;
mod reference;
mod sections;
#[cfg(test)]
mod tests;
mod units;
mod words;

use std::net::SocketAddr;

pub use load::{Loaded, Origin, SettingsError, SettingsErrors, Sources, load};
pub use nearest::nearest;
pub use reference::reference;
pub use sections::{
    BesideSettings, CacheSettings, ClusterSettings, DrainSettings, FdbSettings, FetchSettings,
    GroupsSettings, GrpcSettings, JanitorSettings, KafkaSettings, ListenSettings, LocalSettings,
    LogSettings, MAIN_BUCKET, MemorySettings, MetadataSettings, OtlpSettings, ProduceSettings,
    RequestSettings, S3Settings, Settings, StorageClassSettings, StorageSettings, StoreSettings,
    TransactionsSettings,
};
use tidelog_types::Role;
pub use tidelog_types::Secret;
pub use units::{ByteSize, OrAuto, Span, UnitError};
pub use words::{Checksum, Encryption, LogFormat, MetadataStore, Peers, Roles};

/// The folder that is the bucket if none is named.
pub const DATA_DEFAULT: &str = "./tidelog-data";

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
        let has_some = self.roles.has(Role::Metadata) || self.roles.has(Role::Reader);
        let serves = has_some && self.is_clustered();
        serves.then(|| self.listen.internal.unwrap_or(INTERNAL_DEFAULT))
    }

    /// The settings as a file that would give them again, but for secrets, which are not shown.
    pub fn to_toml(&self) -> String {
        // Plain data of strings, numbers and tables cannot fail to become TOML.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}
