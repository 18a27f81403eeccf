//! Every option in one table: what it is for, its default, its limits, since when.
//!
//! The table is the only place where a default stands; settings are read through it, the reference is
//! generated from it, and a test holds it against the structs.

mod table;

use std::net::SocketAddr;

use toml::Value;

pub use table::OPTIONS;

use super::units::{AUTO, ByteSize, Span};
use super::words::{MetadataStore, Peers, Roles, peer};

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A path of a file or folder.
    Path,
    /// A URL of HTTP.
    Url,
    /// An address and port to listen on.
    Address,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Flag,
    /// A whole number within limits.
    Integer(u64, u64),
    /// A whole number within limits, or `auto`.
    IntegerOrAuto(u64, u64),
    /// A number within limits.
    Number(f64, f64),
    /// A number of bytes within limits, which are written as in a file.
    Size(&'static str, &'static str),
    /// A length of time within limits, which are written as in a file.
    Span(&'static str, &'static str),
    /// A length of time within limits, or `auto`.
    SpanOrAuto(&'static str, &'static str),
    /// Roles of a process.
    Roles,
    /// The address of a process.
    Peer,
    /// Addresses of processes.
    Peers,
    /// Where metadata is kept.
    MetadataStore,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptionDoc {
    /// Its name: group and key, joined by a dot.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its default as one would write it; none means unset.
    pub default: Option<&'static str>,
    /// What it is for, in whole sentences.
    pub doc: &'static str,
    /// The first version that knows it.
    pub since: &'static str,
}

/// The option of this name.
pub fn find(key: &str) -> Option<&'static OptionDoc> {
    OPTIONS.iter().find(|option| option.key == key)
}

impl OptionDoc {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("TIDELOG_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Checks a value and brings it into the form in which settings are read.
    pub(crate) fn check(&self, value: &Value) -> Result<Value, String> {
        match (self.kind, value) {
            (Kind::Flag, Value::Boolean(_)) => Ok(value.clone()),
            (Kind::Integer(min, max), Value::Integer(number)) => {
                self.integer(u64::try_from(*number).ok(), &number.to_string(), min, max)
            }
            (Kind::Number(min, max), Value::Float(number)) => self.number(*number, min, max),
            (
                Kind::Number(..) | Kind::Size(..) | Kind::IntegerOrAuto(..),
                Value::Integer(number),
            ) => self.check_text(&number.to_string()),
            (kind, Value::String(text)) if !matches!(kind, Kind::Flag | Kind::Integer(..)) => {
                self.check_text(text)
            }
            _ => Err(format!("it takes {}", self.takes())),
        }
    }

    /// As [`OptionDoc::check`], for a value that came as text: from the environment or a flag.
    pub(crate) fn check_text(&self, text: &str) -> Result<Value, String> {
        let wrong = || format!("`{text}` is wrong: it takes {}", self.takes());
        let same = || Ok(Value::String(text.to_owned()));
        match self.kind {
            Kind::Text | Kind::Secret => same(),
            Kind::Path if !text.is_empty() => same(),
            Kind::Url if text.starts_with("http://") || text.starts_with("https://") => same(),
            Kind::Choice(words) if words.contains(&text) => same(),
            Kind::Address => text
                .parse::<SocketAddr>()
                .map_err(|_| wrong())
                .and_then(|_| same()),
            Kind::Path | Kind::Url | Kind::Choice(_) => Err(wrong()),
            Kind::Roles => text.parse::<Roles>().and_then(|_| same()),
            Kind::Peer => peer(text).and_then(|_| same()),
            Kind::Peers => text.parse::<Peers>().and_then(|_| same()),
            Kind::MetadataStore => text.parse::<MetadataStore>().and_then(|_| same()),
            Kind::Flag => text.parse().map(Value::Boolean).map_err(|_| wrong()),
            Kind::Integer(min, max) => self.integer(text.parse().ok(), text, min, max),
            Kind::IntegerOrAuto(..) | Kind::SpanOrAuto(..) if text == AUTO => same(),
            // As text, since it may be a word.
            Kind::IntegerOrAuto(min, max) => self
                .integer(text.parse().ok(), text, min, max)
                .and_then(|_| same()),
            Kind::Number(min, max) => text
                .parse()
                .map_err(|_| wrong())
                .and_then(|number| self.number(number, min, max)),
            Kind::Size(min, max) => within::<ByteSize>(text, min, max).ok_or_else(wrong),
            Kind::Span(min, max) | Kind::SpanOrAuto(min, max) => {
                within::<Span>(text, min, max).ok_or_else(wrong)
            }
        }
    }

    fn integer(&self, value: Option<u64>, text: &str, min: u64, max: u64) -> Result<Value, String> {
        let value = value.filter(|value| (min..=max).contains(value));
        let value = value.and_then(|value| i64::try_from(value).ok());
        value
            .map(Value::Integer)
            .ok_or_else(|| format!("`{text}` is wrong: it takes {}", self.takes()))
    }

    fn number(&self, value: f64, min: f64, max: f64) -> Result<Value, String> {
        if value >= min && value <= max {
            return Ok(Value::Float(value));
        }
        Err(format!("`{value}` is wrong: it takes {}", self.takes()))
    }

    /// What values it takes, in words.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Text => "a text".to_owned(),
            Kind::Secret => "a text, which is never shown".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Url => "a URL that begins with http:// or https://".to_owned(),
            Kind::Address => "an address and port, such as 127.0.0.1:7070".to_owned(),
            Kind::Roles => "roles with commas".to_owned(),
            Kind::Peer => "an address as host:port".to_owned(),
            Kind::Peers => "addresses as host:port, with commas".to_owned(),
            Kind::MetadataStore => "embedded or fdb:CLUSTERFILE".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Kind::IntegerOrAuto(min, max) => {
                format!("auto or a whole number from {min} to {max}")
            }
            Kind::Number(min, max) => format!("a number from {min} to {max}"),
            Kind::Size(min, max) => format!("a size from {min} to {max}"),
            Kind::Span(min, max) => format!("a duration from {min} to {max}"),
            Kind::SpanOrAuto(min, max) => format!("auto or a duration from {min} to {max}"),
        }
    }
}

/// The text as a value if it is one and lies within the limits.
fn within<T>(text: &str, min: &str, max: &str) -> Option<Value>
where
    T: std::str::FromStr + PartialOrd + ToString,
{
    let value: T = text.parse().ok()?;
    let (min, max): (T, T) = (min.parse().ok()?, max.parse().ok()?);
    (value >= min && value <= max).then(|| Value::String(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_option_takes() {
        for option in OPTIONS {
            if let Some(default) = option.default {
                assert!(option.check_text(default).is_ok(), "{}", option.key);
            }
        }
    }

    #[test]
    fn options_are_documented_and_named_once() {
        let mut keys: Vec<&str> = OPTIONS.iter().map(|option| option.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), OPTIONS.len());
        let mut variables: Vec<String> = OPTIONS.iter().map(OptionDoc::variable).collect();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!(variables.len(), OPTIONS.len());
        for option in OPTIONS {
            assert!(option.doc.ends_with('.'), "{}", option.key);
            assert!(
                option.doc.starts_with(|c: char| c.is_uppercase()),
                "{}",
                option.key
            );
        }
    }

    #[test]
    fn values_outside_the_limits_are_refused_with_the_limits() {
        let total = find("memory.total").unwrap();
        let error = total.check_text("1MiB").unwrap_err();
        assert_eq!(
            error,
            "`1MiB` is wrong: it takes a size from 128MiB to 16TiB"
        );
        assert!(find("produce.linger").unwrap().check_text("auto").is_ok());
        let connections = find("grpc.connections_max").unwrap();
        for fine in ["auto", "1", "500"] {
            assert!(connections.check_text(fine).is_ok(), "{fine}");
        }
        for wrong in ["0", "-1", "many", "1.5"] {
            assert!(connections.check_text(wrong).is_err(), "{wrong}");
        }
        assert!(
            find("otlp.sample_ratio")
                .unwrap()
                .check_text("NaN")
                .is_err()
        );
        assert!(
            find("listen.insecure")
                .unwrap()
                .check(&Value::String("yes".into()))
                .is_err()
        );
    }
}
