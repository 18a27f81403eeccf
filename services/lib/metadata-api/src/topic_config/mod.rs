//! Configuration of topics: Kafka's keys, checked where they enter.

mod key;
mod table;

use std::collections::BTreeMap;

use tidelog_types::limits::{BATCH_BYTES_MAX_DEFAULT, BATCH_BYTES_MAX_LIMIT};

pub use key::{ConfigError, ConfigKey, KeyClass};

/// The key that names a topic's storage class.
pub const STORAGE_CLASS: &str = "tidelog.storage.class";

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
            ConfigKey::all()
                .iter()
                .find(|key| key.name == name)
                .map_or("", |key| key.default)
        };
        self.set.get(name).map_or_else(default, String::as_str)
    }

    fn integer(&self, name: &'static str) -> Option<i64> {
        self.value(name).parse().ok()
    }

    /// Largest record batch. Topics of Kafka may ask for more than a segment takes, and are made all the same.
    pub fn batch_bytes_max(&self) -> u32 {
        self.integer("max.message.bytes")
            .and_then(|bytes| u32::try_from(bytes).ok())
            .map_or(BATCH_BYTES_MAX_DEFAULT, |bytes| {
                bytes.min(BATCH_BYTES_MAX_LIMIT)
            })
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

    /// The storage class that the topic names, if it names one.
    pub fn storage_class(&self) -> Option<&str> {
        Some(self.value(STORAGE_CLASS)).filter(|name| !name.is_empty())
    }

    /// How long a tombstone stays after compaction has reached it.
    pub fn tombstone_millis(&self) -> i64 {
        self.integer("delete.retention.ms").unwrap_or_default()
    }

    /// How young records may not be compacted, and after how long they must be.
    pub fn compaction_lags_millis(&self) -> (i64, i64) {
        let min = self.integer("min.compaction.lag.ms").unwrap_or_default();
        let max = self.integer("max.compaction.lag.ms").unwrap_or(i64::MAX);
        (min, max)
    }

    /// Which share of the bytes must be new before a partition is compacted, from 0 to 1.
    pub fn dirty_ratio_min(&self) -> f64 {
        let ratio = self.value("min.cleanable.dirty.ratio").trim().parse();
        ratio.unwrap_or(0.5_f64).clamp(0.0, 1.0)
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
mod tests;
