//! Addresses as settings say them.

use std::str::FromStr;

use thiserror::Error;

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

#[cfg(test)]
mod tests {
    use super::*;

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
