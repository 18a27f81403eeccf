//! What a key of a topic's configuration is, and which values it takes.

use thiserror::Error;
use tidelog_types::is_storage_class_name;

use super::table::KEYS;

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
pub(super) enum ValueRule {
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
    /// The name of a storage class, or nothing.
    StorageClass,
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
    pub(super) rule: ValueRule,
}

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
            ValueRule::StorageClass => {
                "the name of a class of `storage.classes` in the settings, or nothing".to_owned()
            }
        }
    }

    pub(super) fn check(&self, value: &str) -> Result<(), ConfigError> {
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
            ValueRule::StorageClass => value.is_empty() || is_storage_class_name(value),
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
