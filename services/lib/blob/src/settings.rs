//! Settings of the object store: plain data with defaults, unknown keys refused.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelog_env::BackoffPolicy;

pub use tidelog_types::Secret;

/// Everything about the bucket that is not its location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobSettings {
    /// How to speak to a store that speaks S3.
    pub s3: S3Settings,
    /// How to use a local folder.
    pub local: LocalSettings,
    /// How often and how patiently requests are tried again.
    pub retry: RetrySettings,
    /// When a slow GET is sent a second time.
    pub hedge: HedgeSettings,
}

/// How to speak to a store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The store's URL, such as `http://127.0.0.1:9000`; none for AWS.
    pub endpoint: Option<String>,
    /// The region; none takes `AWS_REGION`, then `us-east-1`.
    pub region: Option<String>,
    /// A static access key; none takes the environment (`AWS_ACCESS_KEY_ID`, web identity, container or
    /// instance credentials, in this order).
    pub access_key_id: Option<Secret>,
    /// The static key's secret.
    pub secret_access_key: Option<Secret>,
    /// The static key's session token, if it is a temporary one.
    pub session_token: Option<Secret>,
    /// Whether the bucket stands in the URL's path instead of its host name; none means yes with an
    /// endpoint of one's own or a bucket with dots, no with AWS.
    pub path_style: Option<bool>,
    /// Whether plain HTTP is allowed.
    pub allow_http: bool,
    /// The checksum that goes with each PUT and that the store verifies.
    pub checksum: Checksum,
    /// How the store encrypts what is put.
    pub encryption: Encryption,
    /// Whether request bodies are signed, which costs a SHA-256 of each. Off, since TLS and the checksum
    /// protect them; needed only for stores that refuse `UNSIGNED-PAYLOAD`.
    pub sign_payload: bool,
    /// Longest wait for a connection.
    #[serde(with = "duration_text")]
    pub connect_timeout: Duration,
    /// Longest time of a request with its body; longer than the retry deadline, which acts first.
    #[serde(with = "duration_text")]
    pub request_timeout: Duration,
    /// How long an idle connection is kept; shorter than what stores and balancers keep it.
    #[serde(with = "duration_text")]
    pub pool_idle_timeout: Duration,
    /// How many idle connections are kept.
    pub pool_idle_max: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            path_style: None,
            allow_http: false,
            checksum: Checksum::Crc64nvme,
            encryption: Encryption::None,
            sign_payload: false,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_mins(2),
            pool_idle_timeout: Duration::from_secs(15),
            pool_idle_max: 64,
        }
    }
}

/// The checksum that goes with each PUT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME: many gigabytes a second, and AWS's own default.
    #[default]
    Crc64nvme,
    /// SHA-256, for stores that do not know the other.
    Sha256,
    /// None, for stores that know neither. A body that is damaged on the way is then found only when it
    /// is read.
    None,
}

/// How the store encrypts what is put. What is read is decrypted by the store; nobody else need know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    None,
    /// With keys of the store.
    SseS3,
    /// With a key of a key service: this one, or the default one of the store.
    SseKms(Option<String>),
}

/// How to use a local folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Staged files that are older than this were left by a process that died, and are removed. Long
    /// enough that the upload of a living process is never taken for one.
    #[serde(with = "duration_text")]
    pub stale_staged_after: Duration,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            stale_staged_after: Duration::from_hours(1),
        }
    }
}

/// How often and how patiently requests are tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// How often a request is sent again after the first time.
    pub retries_max: u32,
    /// The first wait; it doubles each time.
    #[serde(with = "duration_text")]
    pub wait_initial: Duration,
    /// The longest wait.
    #[serde(with = "duration_text")]
    pub wait_max: Duration,
    /// How long one attempt may take, body included if it is collected.
    #[serde(with = "duration_text")]
    pub attempt_timeout: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            retries_max: 5,
            wait_initial: Duration::from_millis(50),
            wait_max: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(20),
        }
    }
}

impl RetrySettings {
    /// The waits between attempts.
    pub const fn policy(&self) -> BackoffPolicy {
        BackoffPolicy::new(self.wait_initial, self.wait_max, self.retries_max)
    }
}

/// When a slow GET is sent a second time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HedgeSettings {
    /// Whether slow GETs are hedged at all.
    pub enabled: bool,
    /// A GET is slow when it takes longer than this share of those before it, in percent.
    pub percentile: u8,
    /// No GET is hedged sooner.
    #[serde(with = "duration_text")]
    pub delay_min: Duration,
    /// Every GET that takes this long is hedged, whatever those before it took.
    #[serde(with = "duration_text")]
    pub delay_max: Duration,
    /// At most one hedge for this many GETs, so that a store that is slow for all is not loaded twice.
    pub requests_per_hedge: NonZeroU32,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            percentile: 95,
            delay_min: Duration::from_millis(20),
            delay_max: Duration::from_secs(2),
            requests_per_hedge: NonZeroU32::MIN.saturating_add(9),
        }
    }
}

/// Durations as people write them: `250ms`, `2s`, `1h`.
mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is no duration: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_but_never_shown() {
        let json = r#"{"s3": {"secret_access_key": "hush-hush"}}"#;
        let settings: BlobSettings = serde_json::from_str(json).unwrap();
        let secret = settings.s3.secret_access_key.as_ref().unwrap();
        assert_eq!(secret.expose(), "hush-hush");
        let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
        assert!(shown.contains(Secret::REDACTED) && !shown.contains("hush"));
    }

    #[test]
    fn durations_have_units_and_unknown_keys_are_refused() {
        let json = r#"{"retry": {"attempt_timeout": "1500ms"}}"#;
        let settings: BlobSettings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.retry.attempt_timeout, Duration::from_millis(1_500));
        for bad in [
            r#"{"retry": {"attempt_timeout": "7"}}"#,
            r#"{"retries": {}}"#,
        ] {
            assert!(serde_json::from_str::<BlobSettings>(bad).is_err());
        }
    }

    #[test]
    fn encryption_is_one_of_three() {
        for (json, expected) in [
            (r#""none""#, Encryption::None),
            (r#""sse-s3""#, Encryption::SseS3),
            (
                r#"{"sse-kms": "key"}"#,
                Encryption::SseKms(Some("key".to_owned())),
            ),
            (r#"{"sse-kms": null}"#, Encryption::SseKms(None)),
        ] {
            let read: Encryption = serde_json::from_str(json).unwrap();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn defaults_survive_being_written_and_read() {
        let text = serde_json::to_string(&BlobSettings::default()).unwrap();
        let read: BlobSettings = serde_json::from_str(&text).unwrap();
        assert_eq!(read, BlobSettings::default());
    }
}
