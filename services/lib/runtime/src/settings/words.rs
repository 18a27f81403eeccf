//! Values that are words: roles, addresses of peers, where metadata is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidelog_types::{Role, RoleSet};

/// The roles of a process, as `metadata,broker`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(RoleSet);

impl Roles {
    /// The roles.
    pub const fn get(self) -> RoleSet {
        self.0
    }

    /// Whether the process has a role.
    pub const fn has(self, role: Role) -> bool {
        self.0.contains(role)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let roles = text.split(',').map(|role| role.trim().parse::<Role>());
        let roles: RoleSet = roles
            .collect::<Result<_, _>>()
            .map_err(|unknown| unknown.to_string())?;
        Ok(Self(roles))
    }
}

/// Addresses of other processes, as `host:port,host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(Vec<String>);

impl Peers {
    /// The addresses, as they were given.
    pub fn addresses(&self) -> &[String] {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl FromStr for Peers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let addresses = text.split(',').map(str::trim);
        let addresses = addresses.filter(|address| !address.is_empty());
        addresses.map(peer).collect::<Result<_, _>>().map(Self)
    }
}

/// Checks `host:port`. A host of an IPv6 address stands in brackets.
pub(super) fn peer(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no address: write `host:port`");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if port == 0 || host.is_empty() || !(bracketed || plain) {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// Where metadata is kept: `embedded` in the bucket, or `fdb:CLUSTERFILE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MetadataStore {
    /// In the bucket.
    #[default]
    Embedded,
    /// In the FoundationDB that this cluster file names.
    FoundationDb(PathBuf),
}

/// What begins the name of a FoundationDB.
const FDB_PREFIX: &str = "fdb:";

impl fmt::Display for MetadataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::FoundationDb(file) => write!(f, "{FDB_PREFIX}{}", file.display()),
        }
    }
}

impl FromStr for MetadataStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(FDB_PREFIX) {
            Some(file) if !file.is_empty() => Ok(Self::FoundationDb(PathBuf::from(file))),
            None if text == "embedded" => Ok(Self::Embedded),
            _ => Err(format!(
                "`{text}` is wrong: write `embedded` or `fdb:CLUSTERFILE`"
            )),
        }
    }
}

/// Settings are read and written as text.
macro_rules! serde_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Roles Peers MetadataStore);

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

/// How the store encrypts what is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// As the bucket says.
    #[serde(rename = "none")]
    None,
    /// With keys of the store.
    #[serde(rename = "sse-s3")]
    SseS3,
    /// With a key of a key service.
    #[serde(rename = "sse-kms")]
    SseKms,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_words_with_commas() {
        let roles: Roles = "broker, metadata".parse().unwrap();
        assert_eq!(roles.to_string(), "metadata,broker");
        assert!("".parse::<Roles>().is_err());
        assert!("brokers".parse::<Roles>().unwrap_err().contains("no role"));
        assert_eq!("reader".parse::<Roles>().unwrap().to_string(), "reader");
    }

    #[test]
    fn peers_have_a_host_and_a_port() {
        let peers: Peers = "meta-0.meta:7071, [::1]:7071,10.0.0.1:7071"
            .parse()
            .unwrap();
        assert_eq!(peers.addresses().len(), 3);
        assert_eq!(peers.to_string().parse::<Peers>(), Ok(peers));
        assert!("".parse::<Peers>().unwrap().is_empty());
        for text in [
            "meta",
            "meta:",
            ":7071",
            "meta:0",
            "http://meta:7071",
            "a b:7071",
            "meta:70000",
        ] {
            assert!(text.parse::<Peers>().is_err(), "{text}");
        }
    }

    #[test]
    fn metadata_is_embedded_or_in_foundationdb() {
        for text in ["embedded", "fdb:/etc/foundationdb/fdb.cluster"] {
            assert_eq!(text.parse::<MetadataStore>().unwrap().to_string(), text);
        }
        for text in ["", "fdb", "fdb:", "etcd:x", "Embedded"] {
            assert!(text.parse::<MetadataStore>().is_err(), "{text}");
        }
    }
}
