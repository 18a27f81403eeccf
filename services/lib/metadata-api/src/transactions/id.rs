//! The name under which a producer comes back.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest transactional id: as long as the name of a group may be, so that both fit into a key of the store.
const BYTES_MAX: usize = 255;

/// The name under which a producer comes back, after a restart or on another machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

/// The text cannot be a transactional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransactionalIdError {
    /// It is empty.
    #[error("a transactional id must not be empty")]
    Empty,
    /// It is too long.
    #[error("a transactional id has at most `{BYTES_MAX}` bytes, not `{0}`")]
    TooLong(usize),
    /// It has a control character.
    #[error("a transactional id must not have control characters")]
    ControlCharacter,
}

impl TransactionalId {
    /// The most bytes that an id may have.
    pub const BYTES_MAX: usize = BYTES_MAX;

    /// Checks an id.
    pub fn new(id: &str) -> Result<Self, TransactionalIdError> {
        if id.is_empty() {
            return Err(TransactionalIdError::Empty);
        }
        if id.len() > BYTES_MAX {
            return Err(TransactionalIdError::TooLong(id.len()));
        }
        if id.chars().any(char::is_control) {
            return Err(TransactionalIdError::ControlCharacter);
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_between_one_byte_and_the_most_and_no_control_character() {
        let longest = "x".repeat(BYTES_MAX);
        assert_eq!(TransactionalId::new(&longest).unwrap().as_str(), longest);
        assert_eq!(TransactionalId::new(""), Err(TransactionalIdError::Empty));
        assert_eq!(
            TransactionalId::new(&"x".repeat(BYTES_MAX + 1)),
            Err(TransactionalIdError::TooLong(BYTES_MAX + 1))
        );
        assert_eq!(
            TransactionalId::new("a\0"),
            Err(TransactionalIdError::ControlCharacter)
        );
    }
}
