//! Names of groups.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest group name in bytes. With a member's id it must fit a key of the store.
pub const GROUP_NAME_BYTES_MAX: usize = 255;

/// The name of a group, as Kafka's `group.id`: not empty, at most [`GROUP_NAME_BYTES_MAX`] bytes, no control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// The text cannot be a group's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GroupNameError {
    /// It is empty.
    #[error("a group name must not be empty")]
    Empty,
    /// It is too long.
    #[error("a group name has at most `{GROUP_NAME_BYTES_MAX}` bytes, not `{0}`")]
    TooLong(usize),
    /// It has a control character.
    #[error("a group name must not have control characters")]
    ControlCharacter,
}

impl GroupName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, GroupNameError> {
        if name.is_empty() {
            return Err(GroupNameError::Empty);
        }
        if name.len() > GROUP_NAME_BYTES_MAX {
            return Err(GroupNameError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(GroupNameError::ControlCharacter);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_no_control_characters() {
        assert_eq!(GroupName::new(""), Err(GroupNameError::Empty));
        assert_eq!(
            GroupName::new("a\0b"),
            Err(GroupNameError::ControlCharacter)
        );
        let long = "x".repeat(GROUP_NAME_BYTES_MAX);
        assert!(GroupName::new(&long).is_ok());
        let longer = long + "x";
        let error = GroupNameError::TooLong(longer.len());
        assert_eq!(GroupName::new(&longer), Err(error));
        let name = GroupName::new("my group").expect("blanks are fine");
        assert_eq!(name.to_string(), "my group");
    }
}
