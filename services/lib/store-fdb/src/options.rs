//! Options of the store and of the client below it.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tidelog_store::Bytes;

/// The prefix of all keys unless the options say otherwise.
pub const KEY_PREFIX_DEFAULT: &[u8] = b"tidelog/";
/// Longest prefix: every key carries it.
pub const KEY_PREFIX_BYTES_MAX: usize = 64;
/// Where `FoundationDB`'s own keys begin.
const SYSTEM_KEYS: u8 = 0xff;

/// `FoundationDB` keeps versions for this long: an older transaction can neither read nor commit.
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_secs(5);
/// The time limit of calls unless the options say otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The shortest time limit: below it a healthy cluster would seem to be down.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// The longest time limit.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// Options of an `FdbStore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbOptions {
    /// The cluster file: where the coordinators are. The client rewrites it when they move.
    pub cluster_file: PathBuf,
    /// What every key of this store begins with, so that others can share the database. No store's prefix
    /// may begin with that of another.
    pub key_prefix: Bytes,
    /// How long a transaction may take until it commits, and how long a commit may take; then the call
    /// fails. A transaction is too old after [`TRANSACTION_AGE_MAX`] in any case.
    pub timeout: Duration,
}

/// Options of the client's network thread, of which a process has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Knobs of the client. One that it does not know is ignored, with a line on standard error.
    pub knobs: Vec<Knob>,
    /// Files for TLS. Whether TLS is used at all, the cluster file says, address by address (`:tls`).
    pub tls: TlsOptions,
    /// Where the client traces what it does; nowhere unless this is set.
    pub trace: Option<TraceOptions>,
}

/// A knob of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name, without `knob_`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Files and rules for TLS; what is not set is taken from `FoundationDB`'s environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Our certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The authorities that are trusted, PEM.
    pub authorities: Option<PathBuf>,
    /// What a server's certificate must say, in `FoundationDB`'s syntax, as `Check.Valid=1,S.O=Example`.
    pub verify_peers: Option<String>,
}

impl TlsOptions {
    /// The files that are named.
    #[cfg(feature = "client")]
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key, &self.authorities]
            .into_iter()
            .flatten()
    }
}

/// Trace files of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The folder; the client keeps at most 100 MB in it.
    pub folder: PathBuf,
    /// The attribute `LogGroup` of every event.
    pub log_group: Option<String>,
}

/// Options that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// A prefix without which, or with which, the store would reach keys that are not its own.
    #[error(
        "key prefix has `{0}` bytes: it must have 1 to `{KEY_PREFIX_BYTES_MAX}`, the first below 0xff, where FoundationDB's own keys begin"
    )]
    KeyPrefix(usize),
    /// A time limit out of bounds.
    #[error("timeout is `{0:?}`: it must be from `{TIMEOUT_MIN:?}` to `{TIMEOUT_MAX:?}`")]
    Timeout(Duration),
    /// A knob that the client could not tell from another.
    #[error("knob `{0}` is no name of lower-case letters, digits and underscores")]
    Knob(String),
}

impl FdbOptions {
    /// The defaults, for the cluster of this file.
    pub fn new(cluster_file: impl Into<PathBuf>) -> Self {
        Self {
            cluster_file: cluster_file.into(),
            key_prefix: Bytes::from_static(KEY_PREFIX_DEFAULT),
            timeout: TIMEOUT_DEFAULT,
        }
    }

    /// Whether the options make sense, as far as can be told without the cluster.
    pub fn check(&self) -> Result<(), OptionsError> {
        let prefix = &self.key_prefix;
        let ours = prefix.first().is_some_and(|first| *first < SYSTEM_KEYS);
        if !ours || prefix.len() > KEY_PREFIX_BYTES_MAX {
            return Err(OptionsError::KeyPrefix(prefix.len()));
        }
        if self.timeout < TIMEOUT_MIN || self.timeout > TIMEOUT_MAX {
            return Err(OptionsError::Timeout(self.timeout));
        }
        Ok(())
    }
}

impl NetworkOptions {
    /// Whether the options make sense, as far as can be told without the client.
    pub fn check(&self) -> Result<(), OptionsError> {
        match self.knobs.iter().find(|knob| !is_name(&knob.name)) {
            Some(knob) => Err(OptionsError::Knob(knob.name.clone())),
            None => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> FdbOptions {
        FdbOptions::new("fdb.cluster")
    }

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(options().check(), Ok(()));
    }

    #[test]
    fn a_prefix_keeps_the_store_among_its_own_keys() {
        for prefix in [&b""[..], b"\xff", b"\xff\xff/", &[b'a'; 65]] {
            let key_prefix = Bytes::from_static(prefix);
            let options = FdbOptions {
                key_prefix,
                ..options()
            };
            assert_eq!(options.check(), Err(OptionsError::KeyPrefix(prefix.len())));
        }
        for prefix in [&b"a"[..], b"\x00", b"\xfe\xff", &[b'a'; 64]] {
            let key_prefix = Bytes::from_static(prefix);
            assert_eq!(
                FdbOptions {
                    key_prefix,
                    ..options()
                }
                .check(),
                Ok(())
            );
        }
    }

    #[test]
    fn time_limits_and_names_of_knobs_are_checked() {
        let timeout = Duration::from_millis(1);
        let short = FdbOptions {
            timeout,
            ..options()
        };
        assert_eq!(short.check(), Err(OptionsError::Timeout(timeout)));
        let mut odd = NetworkOptions::default();
        assert_eq!(odd.check(), Ok(()));
        odd.knobs.push(Knob {
            name: "A=B".to_owned(),
            value: String::new(),
        });
        assert_eq!(odd.check(), Err(OptionsError::Knob("A=B".to_owned())));
    }
}
