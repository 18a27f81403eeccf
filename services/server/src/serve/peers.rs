//! How this process and other members of the cluster reach each other.

use std::net::SocketAddr;
use std::path::Path;

use tidelog_broker_kafka::{Address, AddressError, LISTENER};
use tidelog_env::Env;
use tidelog_metadata_api::{KafkaAddress, Member, MemberState};
use tidelog_metadata_rpc::ClientSettings;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::Settings;
use tidelog_types::{MemberId, Role, Timestamp};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::VERSION;
use crate::cli::{CliError, Result};

/// TLS between members: who this process is, and who may speak to it.
#[derive(Clone)]
pub(super) struct PeerTls {
    identity: Identity,
    authority: Certificate,
}

impl PeerTls {
    /// Reads the files that the settings name; none if they name none.
    pub(super) fn load(settings: &Settings) -> Result<Option<Self>> {
        let cluster = &settings.cluster;
        let (Some(cert), Some(key), Some(ca)) =
            (&cluster.tls_cert, &cluster.tls_key, &cluster.tls_ca)
        else {
            return Ok(None);
        };
        let cert = read("cluster.tls_cert", cert)?;
        let key = read("cluster.tls_key", key)?;
        Ok(Some(Self {
            identity: Identity::from_pem(cert, key),
            authority: Certificate::from_pem(read("cluster.tls_ca", ca)?),
        }))
    }

    /// For the side that listens: peers must show a certificate.
    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.identity.clone())
            .client_ca_root(self.authority.clone())
    }

    /// For the side that connects.
    pub(super) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity.clone())
            .ca_certificate(self.authority.clone())
    }
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        let message = format!("`{option}`: the file `{}` cannot be read", path.display());
        CliError::because(Exit::Usage, message, source)
    })
}

/// How other members are reached.
pub(super) fn client_settings(tls: Option<&PeerTls>) -> ClientSettings {
    ClientSettings {
        tls: tls.map(PeerTls::client),
        ..ClientSettings::default()
    }
}

/// What this process is, for the others. Its incarnation comes later.
pub(super) fn member(
    settings: &Settings,
    grpc: Option<SocketAddr>,
    kafka: Option<&KafkaAddress>,
    internal: Option<SocketAddr>,
    env: &Env,
) -> Member {
    let cluster = &settings.cluster;
    let host = cluster.name.clone().unwrap_or_else(host_name);
    let own_name = || member_name(&host, settings, grpc.or(internal));
    let name = cluster.name.clone().unwrap_or_else(own_name);
    let address = |advertised: &Option<String>, listened: Option<SocketAddr>| {
        let listened = || listened.map(|address| reachable(address, &host));
        advertised.clone().or_else(listened).unwrap_or_default()
    };
    let has_broker = settings.roles.has(Role::Broker);
    let grpc = has_broker.then(|| address(&cluster.advertise_grpc, grpc));
    let internal_address = match internal {
        Some(listened) => address(&cluster.advertise_internal, Some(listened)),
        None => String::new(),
    };
    Member {
        id: MemberId::from_random_bytes(env.rng.bytes_16()),
        internal_address,
        grpc_address: grpc.unwrap_or_default(),
        kafka_addresses: kafka.cloned().into_iter().collect(),
        name,
        roles: settings.roles.get(),
        zone: cluster.zone.clone(),
        version: VERSION.to_owned(),
        incarnation: None,
        merger: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

/// Where Kafka clients reach this process.
pub(super) fn kafka_address(settings: &Settings, listened: SocketAddr) -> Result<KafkaAddress> {
    let cluster = &settings.cluster;
    let listened = || reachable(listened, &cluster.name.clone().unwrap_or_else(host_name));
    let text = cluster.advertise_kafka.clone().unwrap_or_else(listened);
    let address: Address = text.parse().map_err(|error: AddressError| {
        CliError::usage(format!("`cluster.advertise_kafka`: {error}"))
    })?;
    Ok(KafkaAddress {
        listener: LISTENER.to_owned(),
        host: address.host,
        port: address.port,
    })
}

/// The name of a process that was given none: those on one host differ by role and port.
fn member_name(host: &str, settings: &Settings, listened: Option<SocketAddr>) -> String {
    let roles = settings.roles.get().to_string().replace(',', "-");
    match listened {
        Some(address) => format!("{host}-{roles}-{}", address.port()),
        None => format!("{host}-{roles}"),
    }
}

/// An address that listens everywhere is reached by the name of the host.
fn reachable(address: SocketAddr, host: &str) -> String {
    if address.ip().is_unspecified() {
        format!("{host}:{}", address.port())
    } else {
        address.to_string()
    }
}

fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    fn named(flags: &[(&str, &str)], grpc: &str) -> Member {
        let grpc = grpc.parse().ok();
        let internal = "127.0.0.1:7071".parse().ok();
        member(&settings(flags), grpc, None, internal, &Env::seeded(1))
    }

    #[test]
    fn a_member_is_reached_where_it_listens_or_where_it_says() {
        let member = named(&[("cluster.name", "one")], "0.0.0.0:7070");
        assert_eq!(member.grpc_address, "one:7070");
        assert_eq!(member.internal_address, "127.0.0.1:7071");
        let flags = [("cluster.advertise_grpc", "logs.example:443")];
        assert_eq!(
            named(&flags, "10.0.0.1:7070").grpc_address,
            "logs.example:443"
        );
        assert_eq!(named(&[], "10.0.0.1:7070").grpc_address, "10.0.0.1:7070");
    }

    #[test]
    fn kafka_clients_are_told_where_the_process_listens_or_what_it_is_told_to_say() {
        let told = |flags: &[(&str, &str)], listened: &str| {
            let address = kafka_address(&settings(flags), listened.parse().unwrap()).unwrap();
            format!("{} {}", address.host, address.port)
        };
        let name = [("cluster.name", "one")];
        assert_eq!(told(&name, "0.0.0.0:9092"), "one 9092");
        assert_eq!(told(&name, "[::1]:9093"), "::1 9093");
        let flags = [("cluster.advertise_kafka", "logs.example:443")];
        assert_eq!(told(&flags, "127.0.0.1:9092"), "logs.example 443");
    }

    #[test]
    fn processes_of_one_host_have_names_of_their_own() {
        let flags = [("roles", "broker"), ("cluster.metadata", "h:7071")];
        let broker = named(&flags, "127.0.0.1:7070").name;
        assert_eq!(broker, format!("{}-broker-7070", host_name()));
        assert_ne!(named(&flags, "127.0.0.1:7170").name, broker);
    }

    #[test]
    fn a_metadata_process_serves_no_clients() {
        let member = named(&[("roles", "metadata")], "127.0.0.1:7070");
        assert_eq!(member.grpc_address, "");
    }
}
