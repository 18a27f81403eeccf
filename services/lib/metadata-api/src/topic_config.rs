//! Configuration of topics: Kafka's keys, checked where they enter.

use std::collections::BTreeMap;

use thiserror::Error;
use tidelog_types::limits::{BATCH_BYTES_MAX_DEFAULT, BATCH_BYTES_MAX_LIMIT};

/// A key or a value that a topic cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown topic configuration key `{key}`{}", nearest_hint(.nearest.as_deref()))]
    UnknownKey {
        /// As it was given.
        key: String,
        /// A key that looks like it.
        nearest: Option<String>,
    },
    /// The value does not fit the key.
    #[error("topic configuration `{key}` cannot be `{value}`: {reason}")]
    InvalidValue {
        /// The key.
        key: String,
        /// As it was given.
        value: String,
        /// The rule.
        reason: String,
    },
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

/// What a key means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyClass {
    /// It does what it says.
    Honoured,
    /// It is stored and shown, but has no meaning in a log without disks and replicas.
    Stored,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueRule {
    /// A whole number in a range.
    Integer { min: i64, max: i64 },
    /// One of some words.
    Word(&'static [&'static str]),
    /// A comma-separated list of some words.
    Words(&'static [&'static str]),
    /// A number in `[0, 1]`.
    Ratio,
    /// `true` or `false`.
    Bool,
}

/// A key of a topic's configuration.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// Its name, as in Kafka where Kafka has it.
    pub name: &'static str,
    /// Its value where nobody sets it.
    pub default: &'static str,
    /// Whether it does anything.
    pub class: KeyClass,
    /// One sentence for people.
    pub doc: &'static str,
    rule: ValueRule,
}

/// Shorthand for one row of the table.
const fn key(
    name: &'static str,
    default: &'static str,
    class: KeyClass,
    rule: ValueRule,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        default,
        class,
        doc,
        rule,
    }
}

/// Any number that Kafka takes where -1 stands for "no limit".
const OR_UNLIMITED: ValueRule = ValueRule::Integer {
    min: -1,
    max: i64::MAX,
};
/// Any number from 0.
const NATURAL: ValueRule = ValueRule::Integer {
    min: 0,
    max: i64::MAX,
};

use KeyClass::{Honoured, Stored};

/// Every key, in the order of their names.
const KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        "delete",
        Honoured,
        ValueRule::Words(&["compact", "delete"]),
        "how old records go: by age and size, by key, or both",
    ),
    key(
        "compression.type",
        "producer",
        Stored,
        ValueRule::Word(&["producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"]),
        "batches are kept as they were sent, whatever this says",
    ),
    key(
        "delete.retention.ms",
        "86400000",
        Honoured,
        NATURAL,
        "how long a tombstone is kept after compaction has reached it",
    ),
    key(
        "deleted.retention.ms",
        "86400000",
        Honoured,
        NATURAL,
        "how long a deleted topic can be undeleted",
    ),
    key(
        "file.delete.delay.ms",
        "60000",
        Stored,
        NATURAL,
        "there are no files to delete",
    ),
    key(
        "flush.messages",
        "9223372036854775807",
        Stored,
        NATURAL,
        "every record is durable when it is acknowledged",
    ),
    key(
        "flush.ms",
        "9223372036854775807",
        Stored,
        NATURAL,
        "every record is durable when it is acknowledged",
    ),
    key(
        "index.interval.bytes",
        "4096",
        Stored,
        NATURAL,
        "indexes are laid out by the service",
    ),
    key(
        "max.compaction.lag.ms",
        "9223372036854775807",
        Honoured,
        ValueRule::Integer {
            min: 1,
            max: i64::MAX,
        },
        "how long a record may wait for compaction",
    ),
    key(
        "max.message.bytes",
        "1048588",
        Honoured,
        ValueRule::Integer {
            min: 1,
            max: BATCH_BYTES_MAX_LIMIT as i64,
        },
        "largest record batch, as it was sent",
    ),
    key(
        "message.timestamp.type",
        "CreateTime",
        Honoured,
        ValueRule::Word(&["CreateTime", "LogAppendTime"]),
        "whether records keep their producer's time or get the broker's",
    ),
    key(
        "min.cleanable.dirty.ratio",
        "0.5",
        Honoured,
        ValueRule::Ratio,
        "share of records that compaction has not seen before it starts",
    ),
    key(
        "min.compaction.lag.ms",
        "0",
        Honoured,
        NATURAL,
        "how long a record is safe from compaction",
    ),
    key(
        "min.insync.replicas",
        "1",
        Stored,
        ValueRule::Integer {
            min: 1,
            max: i64::MAX,
        },
        "the bucket replicates",
    ),
    key(
        "preallocate",
        "false",
        Stored,
        ValueRule::Bool,
        "there are no files to allocate",
    ),
    key(
        "retention.bytes",
        "-1",
        Honoured,
        OR_UNLIMITED,
        "most bytes of a partition that are kept; -1 keeps all",
    ),
    key(
        "retention.ms",
        "604800000",
        Honoured,
        OR_UNLIMITED,
        "how long records are kept; -1 keeps them for ever",
    ),
    key(
        "segment.bytes",
        "1073741824",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        "segment.index.bytes",
        "10485760",
        Stored,
        NATURAL,
        "indexes are laid out by the service",
    ),
    key(
        "segment.jitter.ms",
        "0",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        "segment.ms",
        "604800000",
        Stored,
        NATURAL,
        "segments hold many partitions",
    ),
    key(
        "unclean.leader.election.enable",
        "false",
        Stored,
        ValueRule::Bool,
        "there are no leaders",
    ),
];

impl ConfigKey {
    /// Every key that there is, in the order of their names.
    pub const fn all() -> &'static [Self] {
        KEYS
    }

    /// Finds a key.
    pub fn find(name: &str) -> Result<&'static Self, ConfigError> {
        KEYS.iter()
            .find(|key| key.name == name)
            .ok_or_else(|| ConfigError::UnknownKey {
                key: name.to_owned(),
                nearest: nearest_key(name).map(ToOwned::to_owned),
            })
    }

    /// Says in words what the key takes.
    pub fn values(&self) -> String {
        match self.rule {
            ValueRule::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
            ValueRule::Integer { min, max } => format!("a whole number from {min} to {max}"),
            ValueRule::Word(words) => format!("one of {}", words.join(", ")),
            ValueRule::Words(words) => format!("one or more of {}", words.join(",")),
            ValueRule::Ratio => "a number from 0 to 1".to_owned(),
            ValueRule::Bool => "true or false".to_owned(),
        }
    }

    fn check(&self, value: &str) -> Result<(), ConfigError> {
        let fits = match self.rule {
            ValueRule::Integer { min, max } => value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            ValueRule::Word(words) => words.contains(&value),
            ValueRule::Words(words) => value.split(',').all(|word| words.contains(&word.trim())),
            ValueRule::Ratio => value
                .parse::<f64>()
                .is_ok_and(|number| (0.0..=1.0).contains(&number)),
            ValueRule::Bool => matches!(value, "true" | "false"),
        };
        if fits {
            return Ok(());
        }
        Err(ConfigError::InvalidValue {
            key: self.name.to_owned(),
            value: value.to_owned(),
            reason: format!("it takes {}", self.values()),
        })
    }
}

/// The known key that shares most of its start or end with `name`, if it is like it at all.
fn nearest_key(name: &str) -> Option<&'static str> {
    let likeness = |key: &str| {
        let same = |a: &mut dyn Iterator<Item = u8>, b: &mut dyn Iterator<Item = u8>| {
            a.zip(b)
                .take_while(|(x, y)| x.eq_ignore_ascii_case(y))
                .count()
        };
        let normal = |text: &str| text.replace(['_', '-'], ".");
        let (key, name) = (normal(key), normal(name));
        same(&mut key.bytes(), &mut name.bytes())
            + same(&mut key.bytes().rev(), &mut name.bytes().rev())
    };
    KEYS.iter()
        .map(|key| (likeness(key.name), key.name))
        .max_by_key(|(likeness, _)| *likeness)
        .filter(|(likeness, key)| likeness * 2 >= key.len())
        .map(|(_, key)| key)
}

/// Who gives a record its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

/// How old records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// By age and size.
    pub delete: bool,
    /// By key.
    pub compact: bool,
}

/// The configuration of a topic: only what was set; all else has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    set: BTreeMap<String, String>,
}

impl TopicConfig {
    /// Checks every key and value.
    pub fn new(set: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in &set {
            ConfigKey::find(name)?.check(value)?;
        }
        Ok(Self { set })
    }

    /// Reads what was stored. Keys that this version does not know are kept, since an older or newer
    /// version may.
    pub const fn from_stored(set: BTreeMap<String, String>) -> Self {
        Self { set }
    }

    /// Applies changes: a value sets a key, `None` puts it back to its default.
    pub fn altered(&self, changes: &BTreeMap<String, Option<String>>) -> Result<Self, ConfigError> {
        let mut set = self.set.clone();
        for (name, value) in changes {
            let key = ConfigKey::find(name)?;
            match value {
                Some(value) => {
                    key.check(value)?;
                    set.insert(name.clone(), value.clone());
                }
                None => {
                    set.remove(name);
                }
            }
        }
        Ok(Self { set })
    }

    /// What was set, by key.
    pub const fn as_set(&self) -> &BTreeMap<String, String> {
        &self.set
    }

    /// The value in force of a key of the table.
    fn value(&self, name: &'static str) -> &str {
        let default = || {
            KEYS.iter()
                .find(|key| key.name == name)
                .map_or("", |key| key.default)
        };
        self.set.get(name).map_or_else(default, String::as_str)
    }

    fn integer(&self, name: &'static str) -> Option<i64> {
        self.value(name).parse().ok()
    }

    /// Largest record batch.
    pub fn batch_bytes_max(&self) -> u32 {
        self.integer("max.message.bytes")
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(BATCH_BYTES_MAX_DEFAULT)
    }

    /// Who gives records their timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.value("message.timestamp.type") {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// How long records are kept; `None` is for ever.
    pub fn retention_millis(&self) -> Option<i64> {
        self.integer("retention.ms").filter(|millis| *millis >= 0)
    }

    /// How many bytes of a partition are kept; `None` is all.
    pub fn retention_bytes(&self) -> Option<u64> {
        self.integer("retention.bytes")
            .and_then(|bytes| u64::try_from(bytes).ok())
    }

    /// How long the topic can be undeleted after its deletion.
    pub fn deleted_retention_millis(&self) -> i64 {
        self.integer("deleted.retention.ms").unwrap_or_default()
    }

    /// How old records go.
    pub fn cleanup_policy(&self) -> CleanupPolicy {
        let has = |word| {
            self.value("cleanup.policy")
                .split(',')
                .any(|part| part.trim() == word)
        };
        CleanupPolicy {
            delete: has("delete"),
            compact: has("compact"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn defaults_fit_their_own_rules_and_keys_are_sorted() {
        for key in ConfigKey::all() {
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
        }
        assert!(KEYS.is_sorted_by_key(|key| key.name));
        let config = TopicConfig::default();
        assert_eq!(config.batch_bytes_max(), BATCH_BYTES_MAX_DEFAULT);
        assert_eq!(config.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(config.retention_millis(), Some(604_800_000));
        assert_eq!(config.retention_bytes(), None);
        assert_eq!(
            config.cleanup_policy(),
            CleanupPolicy {
                delete: true,
                compact: false
            }
        );
    }

    #[test]
    fn values_outside_the_rule_are_refused_with_the_rule() {
        let error = TopicConfig::new(set(&[("max.message.bytes", "8388609")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic configuration `max.message.bytes` cannot be `8388609`: it takes a whole number \
             from 1 to 8388608"
        );
        for (key, value) in [
            ("retention.ms", "-2"),
            ("cleanup.policy", "shred"),
            ("message.timestamp.type", "logappendtime"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "yes"),
        ] {
            assert!(
                TopicConfig::new(set(&[(key, value)])).is_err(),
                "{key}={value}"
            );
        }
        assert!(TopicConfig::new(set(&[("cleanup.policy", "compact,delete")])).is_ok());
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        let error = TopicConfig::new(set(&[("retention_ms", "1")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown topic configuration key `retention_ms`; did you mean `retention.ms`?"
        );
        let error = TopicConfig::new(set(&[("colour", "blue")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown topic configuration key `colour`"
        );
    }

    #[test]
    fn a_change_sets_resets_and_leaves_the_rest() {
        let config =
            TopicConfig::new(set(&[("retention.ms", "5"), ("retention.bytes", "7")])).unwrap();
        let changes = BTreeMap::from([
            ("retention.ms".to_owned(), None),
            ("max.message.bytes".to_owned(), Some("99".to_owned())),
        ]);
        let after = config.altered(&changes).unwrap();
        assert_eq!(
            after.as_set(),
            &set(&[("max.message.bytes", "99"), ("retention.bytes", "7")])
        );
    }
}
