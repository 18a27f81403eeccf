//! Where the bucket is: what a person writes after `--data` or `--bucket`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The place of a bucket, and the prefix within it that belongs to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// A folder of this machine; the folder itself is the bucket, so there is no prefix.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    S3 {
        /// The name of the bucket.
        bucket: String,
        /// What comes before all our keys; empty for none.
        prefix: Path,
    },
    /// The memory of this process; gone with it.
    Memory,
}

/// Why a text is not the place of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LocationError {
    /// Nothing was written.
    #[error("the bucket's location is empty: give a folder or `s3://bucket/prefix`")]
    Empty,
    /// `s3://` with no bucket behind it.
    #[error("`{0}` names no bucket: write `s3://bucket` or `s3://bucket/prefix`")]
    NoBucket(String),
    /// The bucket's name breaks the rules of S3.
    #[error(
        "`{0}` cannot name a bucket: 3 to 63 characters of `a-z`, `0-9`, `.` and `-`, \
         with a letter or digit at both ends"
    )]
    BucketName(String),
    /// The prefix cannot be a key.
    #[error("`{prefix}` cannot be a prefix of keys")]
    Prefix {
        /// What was written.
        prefix: String,
        /// Why not.
        #[source]
        source: PathFault,
    },
    /// A file URL that is not absolute or names another machine.
    #[error("`{0}` is not a folder of this machine: write `file:///absolute/folder`")]
    FileUrl(String),
    /// Another scheme.
    #[error(
        "`{0}` is not supported: use a folder, `file:///folder`, `s3://bucket/prefix` or `memory:`"
    )]
    Scheme(String),
}

/// Why a text cannot be a path of keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PathFault(String);

impl Location {
    /// What comes before all our keys in this bucket.
    pub fn prefix(&self) -> Path {
        match self {
            Self::S3 { prefix, .. } => prefix.clone(),
            Self::Folder(_) | Self::Memory => Path::default(),
        }
    }

    /// The storage class, which fixes defaults such as the linger time.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Folder(_) | Self::Memory)
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text == "memory:" || text == "memory://" {
            return Ok(Self::Memory);
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            return parse_s3(text, rest);
        }
        if let Some(path) = text.strip_prefix("file://") {
            return if path.starts_with('/') && !path.trim_matches('/').is_empty() {
                Ok(Self::Folder(PathBuf::from(path)))
            } else {
                Err(LocationError::FileUrl(text.to_owned()))
            };
        }
        if text.contains("://") {
            return Err(LocationError::Scheme(text.to_owned()));
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }
}

/// Parses what follows `s3://`.
fn parse_s3(text: &str, rest: &str) -> Result<Location, LocationError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(LocationError::NoBucket(text.to_owned()));
    }
    if !is_bucket_name(bucket) {
        return Err(LocationError::BucketName(bucket.to_owned()));
    }
    let prefix = Path::parse(prefix).map_err(|source| LocationError::Prefix {
        prefix: prefix.to_owned(),
        source: PathFault(source.to_string()),
    })?;
    Ok(Location::S3 {
        bucket: bucket.to_owned(),
        prefix,
    })
}

/// The naming rules of general-purpose buckets, as far as they are the same everywhere.
fn is_bucket_name(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (3..=63).contains(&name.len())
        && end(name.chars().next())
        && end(name.chars().next_back())
        && !name.contains("..")
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.is_root() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> Location {
        Location::S3 {
            bucket: bucket.to_owned(),
            prefix: Path::from(prefix),
        }
    }

    #[test]
    fn places_that_people_write_are_understood_and_shown_again() {
        for (text, place, shown) in [
            ("s3://logs", s3("logs", ""), "s3://logs"),
            ("s3://logs/", s3("logs", ""), "s3://logs"),
            ("s3://logs/a/b/", s3("logs", "a/b"), "s3://logs/a/b"),
            (
                "file:///var/lib/x",
                Location::Folder("/var/lib/x".into()),
                "/var/lib/x",
            ),
            ("data", Location::Folder("data".into()), "data"),
            ("./a b", Location::Folder("./a b".into()), "./a b"),
            ("memory:", Location::Memory, "memory:"),
        ] {
            let parsed: Location = text.parse().unwrap();
            assert_eq!(parsed, place);
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[test]
    fn places_that_cannot_be_are_refused_with_what_to_write() {
        for (text, hint) in [
            ("", "give a folder"),
            ("s3://", "names no bucket"),
            ("s3:///prefix", "names no bucket"),
            ("s3://Logs", "cannot name a bucket"),
            ("s3://ab", "cannot name a bucket"),
            ("s3://a..b", "cannot name a bucket"),
            ("s3://logs/a//b", "cannot be a prefix"),
            ("s3://logs/../b", "cannot be a prefix"),
            ("file://host/x", "file:///absolute/folder"),
            ("file:///", "file:///absolute/folder"),
            ("gs://logs", "not supported"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(hint), "`{text}` said `{error}`");
        }
    }
}
