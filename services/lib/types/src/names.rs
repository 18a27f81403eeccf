//! Names that people give, checked where they enter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::TOPIC_NAME_BYTES_MAX;

/// A valid topic name: 1 to 249 of the characters `a-z A-Z 0-9 . _ -`, neither `.` nor `..`, as in
/// Kafka (`org.apache.kafka.common.internals.Topic`). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicNameError {
    /// The text is empty.
    #[error("a topic name must not be empty")]
    Empty,
    /// The text is too long.
    #[error("a topic name has at most {TOPIC_NAME_BYTES_MAX} characters, not {0}")]
    TooLong(usize),
    /// The text has a character that is not allowed.
    #[error("a topic name has only letters, digits, `.`, `_` and `-`, not `{0}`")]
    Character(char),
    /// `.` and `..` would be confused with folders.
    #[error("a topic cannot be named `.` or `..`")]
    Dots,
}

impl TopicName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if let Some(bad) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(TopicNameError::Character(bad));
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong(name.len()));
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_allows_are_allowed() {
        for good in [
            "a",
            "orders.v1",
            "A_b-c.9",
            &"x".repeat(TOPIC_NAME_BYTES_MAX),
        ] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_kafka_refuses_are_refused_with_the_reason() {
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new("."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new("a b"), Err(TopicNameError::Character(' ')));
        assert_eq!(
            TopicName::new("a/../b"),
            Err(TopicNameError::Character('/'))
        );
        assert_eq!(
            TopicName::new(&"x".repeat(250)),
            Err(TopicNameError::TooLong(250))
        );
    }
}
