//! From the command line to a client.

use tidelog_client::{Client, ClientOptions};
use tidelog_env::Env;

use super::{Global, Result, context};

/// Where a server listens unless it is told otherwise.
pub(crate) const ADDRESS_DEFAULT: &str = "http://127.0.0.1:7070";

/// What the command line calls itself.
const CLIENT_ID: &str = concat!("tidelog-cli/", env!("CARGO_PKG_VERSION"));

/// A client of the cluster that is meant. It connects with the first request.
pub(crate) fn client(global: &Global, env: Env) -> Result<Client> {
    let options = ClientOptions {
        client_id: CLIENT_ID.to_owned(),
        request_timeout: global.timeout.get(),
        env,
        ..ClientOptions::default()
    };
    Ok(Client::connect_lazy(&addresses(global)?, options)?)
}

/// The addresses of the flag, else of the context, else the default.
fn addresses(global: &Global) -> Result<Vec<String>> {
    let mut addresses = global.address.clone();
    if addresses.is_empty() {
        addresses = context::addresses(global.context.as_deref())?;
    }
    if addresses.is_empty() {
        addresses.push(ADDRESS_DEFAULT.to_owned());
    }
    Ok(addresses.into_iter().map(with_scheme).collect())
}

/// `host:port` is short for `http://host:port`.
fn with_scheme(address: String) -> String {
    if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_plain_http() {
        assert_eq!(
            with_scheme("127.0.0.1:7070".to_owned()),
            "http://127.0.0.1:7070"
        );
        assert_eq!(with_scheme("https://logs".to_owned()), "https://logs");
    }
}
