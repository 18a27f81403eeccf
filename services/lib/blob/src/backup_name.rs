//! Names of backups, and of the objects that one is made of.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name of a backup.
const NAME_BYTES_MAX: usize = 64;

/// The name of a backup: 1 to 64 of `a` to `z`, `0` to `9` and `-`, first a letter or a digit. So it is
/// one folder of the bucket, the same on every store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName(String);

/// A text that cannot name a backup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` cannot name a backup: write 1 to {NAME_BYTES_MAX} of `a-z`, `0-9` and `-`, first a letter or a digit"
)]
pub struct BackupNameError(pub String);

impl BackupName {
    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, BackupNameError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_right = text.len() <= NAME_BYTES_MAX
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(|byte| is_plain(byte) || byte == b'-');
        if is_right {
            Ok(Self(text.to_owned()))
        } else {
            Err(BackupNameError(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupName {
    type Err = BackupNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// One object of a backup. Its text is the last part of the object's name, and must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupPart {
    /// Put before anything is read.
    Begin,
    /// Rows, numbered from 1.
    Rows(u32),
    /// Put last: the backup is complete.
    End,
}

impl fmt::Display for BackupPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::Rows(number) => write!(f, "{number:08}"),
            Self::End => f.write_str("end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_folder() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "0", "nightly-2026", "a--b-", longest.as_str()] {
            assert_eq!(BackupName::new(good).unwrap().as_str(), good);
        }
        let longer = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "-a", "A", "a/b", "a.b", "..", "a b", longer.as_str()] {
            let error = BackupName::new(bad).unwrap_err();
            assert_eq!(error, BackupNameError(bad.to_owned()));
        }
    }
}
