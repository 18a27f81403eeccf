//! Which brokers clients are told of.

use std::str::FromStr;

use thiserror::Error;
use tidelog_kafka_codec::ByteString;
use tidelog_types::Incarnation;

use crate::front::Front;

/// The leader epoch of every partition: no broker leads, so it never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Where clients reach a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not `host:port`")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// A broker as clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) node_id: i32,
    pub(crate) host: ByteString,
    pub(crate) port: i32,
    pub(crate) rack: Option<ByteString>,
}

/// The number by which clients know a broker: that of its incarnation, which no other process has, within
/// the positive numbers.
pub(crate) fn node_id(incarnation: Incarnation) -> i32 {
    let low = incarnation.get() & u64::from(i32::MAX.cast_unsigned());
    i32::try_from(low).unwrap_or_default()
}

impl Front {
    /// The number of this broker.
    pub(crate) fn node_id(&self) -> i32 {
        node_id(self.parts.engine.incarnation())
    }

    /// The brokers that a client is told of, never none. Every one of them serves every partition. Today it is
    /// this process alone: a member does not say yet where it serves Kafka clients.
    pub(crate) fn brokers(&self) -> Vec<Broker> {
        let address = &self.parts.advertised;
        let zone = &self.parts.zone;
        vec![Broker {
            node_id: self.node_id(),
            host: address.host.as_str().into(),
            port: i32::from(address.port),
            rack: (!zone.is_empty()).then(|| zone.as_str().into()),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_positive_whatever_the_incarnation_is() {
        assert_eq!(node_id(Incarnation::new(7)), 7);
        for raw in [u64::MAX, 1 << 31, (1 << 31) + 5, 1 << 63] {
            assert!(node_id(Incarnation::new(raw)) >= 0);
        }
        assert_eq!(node_id(Incarnation::new((1 << 31) + 5)), 5);
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let address = |host: &str, port| Address {
            host: host.to_owned(),
            port,
        };
        assert_eq!(
            "logs.example:9092".parse(),
            Ok(address("logs.example", 9092))
        );
        assert_eq!("127.0.0.1:1".parse(), Ok(address("127.0.0.1", 1)));
        assert_eq!("[::1]:9092".parse(), Ok(address("::1", 9092)));
        for wrong in ["", "a", ":1", "a:", "a:x", "a:70000", "::1:9092"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
