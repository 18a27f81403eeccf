//! From the command line to a client.

use std::time::Duration;

use tidelog_client::{Client, ClientOptions, Notice, OnTrouble};
use tidelog_env::{BackoffPolicy, Env};
use tonic::transport::Uri;

use super::output::say;
use super::{CliError, Global, Result, context};

/// Where a server listens unless it is told otherwise.
pub(crate) const ADDRESS_DEFAULT: &str = "http://127.0.0.1:7070";

/// What the command line calls itself.
const CLIENT_ID: &str = concat!("tidelog-cli/", env!("CARGO_PKG_VERSION"));

/// How often a connection is probed at least and at most.
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(10);
/// The waits between attempts; the timeout is what ends them.
const BACKOFF: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(50), Duration::from_secs(2), u32::MAX);

/// A client of the cluster that is meant. It connects with the first request.
pub(crate) fn client(global: &Global, env: Env) -> Result<Client> {
    let timeout = global.timeout.get();
    if timeout.is_zero() {
        return Err(CliError::usage("--timeout must be longer than 0"));
    }
    let output = global.output;
    let tell = move |notice: Notice<'_>| match notice {
        Notice::Trying(why) => {
            let text = format!("{why}; still trying, for as long as --timeout says ({timeout:?})");
            say(output, "warning", &text);
        }
        Notice::Back => say(output, "note", "the cluster answers again"),
    };
    let options = ClientOptions {
        client_id: CLIENT_ID.to_owned(),
        request_timeout: timeout,
        backoff: BACKOFF,
        // A connection that has died without a word is noticed within the timeout.
        keep_alive_interval: (timeout / 3).clamp(PROBE_MIN, PROBE_MAX),
        on_trouble: Some(OnTrouble::new(tell)),
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
    addresses.iter().map(|address| checked(address)).collect()
}

/// The address as a URL, if it can be one of a server. `host:port` is short for `http://host:port`.
pub(crate) fn checked(address: &str) -> Result<String> {
    let wrong = |why: &str| {
        CliError::usage(format!(
            "`{address}` is no address of a server: {why}; write http://HOST:PORT, such as {ADDRESS_DEFAULT}"
        ))
    };
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let url = match scheme {
        "http" => address.to_owned(),
        "" => format!("http://{rest}"),
        "https" => return Err(wrong("there is no TLS for clients yet")),
        _ => return Err(wrong(&format!("`{scheme}` is not spoken"))),
    };
    let uri: Uri = url.parse().map_err(|_| wrong("it cannot be parsed"))?;
    let has_port = uri.port_u16().is_some();
    if uri.host().is_none_or(str::is_empty) || (scheme.is_empty() && !has_port) {
        return Err(wrong("it has no port"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_plain_http() {
        assert_eq!(checked("127.0.0.1:7070").unwrap(), "http://127.0.0.1:7070");
        assert_eq!(checked("http://logs").unwrap(), "http://logs");
    }

    #[test]
    fn what_is_no_address_is_refused_with_why() {
        let why = |text: &str| checked(text).unwrap_err().to_string();
        assert!(why("https://logs:7070").contains("no TLS for clients yet"));
        assert!(why("not-a-url").contains("no port"));
        assert!(why("ftp://logs").contains("`ftp` is not spoken"));
        for text in ["", "http://", "http://a b", "a b:7", "logs:port"] {
            assert!(why(text).contains("write http://HOST:PORT"), "{text}");
        }
    }
}
