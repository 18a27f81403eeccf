//! Ranges of versions as the definitions write them.

use std::fmt;

use anyhow::{Context, Result};

/// The versions from `min` to `max`; none if `min` is above `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    pub(crate) const NONE: Self = Self { min: 1, max: 0 };

    /// Reads `none`, `3`, `3+` or `3-5`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parsed = || {
            if text == "none" {
                return Some(Self::NONE);
            }
            if let Some(min) = text.strip_suffix('+') {
                return Some(Self {
                    min: min.parse().ok()?,
                    max: i16::MAX,
                });
            }
            let (min, max) = text.split_once('-').unwrap_or((text, text));
            Some(Self {
                min: min.parse().ok()?,
                max: max.parse().ok()?,
            })
        };
        parsed().with_context(|| format!("`{text}` is no range of versions"))
    }

    /// The same, where nothing means none.
    pub(crate) fn parse_optional(text: Option<&str>) -> Result<Self> {
        text.map_or(Ok(Self::NONE), Self::parse)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub(crate) fn intersect(self, other: Self) -> Self {
        Self {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        }
    }

    /// Whether it has every version of the other.
    pub(crate) fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.min <= other.min && self.max >= other.max)
    }

    /// An expression that tells whether `v`, one of `among`, is one of these. Nothing if each of them is.
    pub(crate) fn condition(self, among: Self) -> Option<String> {
        if self.covers(among) {
            return None;
        }
        let low = self.min > among.min;
        let high = self.max < among.max;
        Some(match (low, high) {
            _ if self.intersect(among).is_empty() => "false".to_owned(),
            (true, false) => format!("v >= {}", self.min),
            (_, true) if !low => format!("v <= {}", self.max),
            _ if self.min == self.max => format!("v == {}", self.min),
            _ => format!("({}..={}).contains(&v)", self.min, self.max),
        })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min > max => f.write_str("none"),
            (min, i16::MAX) => write!(f, "{min}+"),
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> Versions {
        Versions::parse(text).expect("a range")
    }

    #[test]
    fn ranges_are_read_and_shown() {
        for text in ["none", "3", "3+", "3-5"] {
            assert_eq!(versions(text).to_string(), text);
        }
        assert!(Versions::parse("a").is_err());
    }

    #[test]
    fn conditions_ask_for_no_more_than_they_must() {
        let condition = |text: &str, among: &str| versions(text).condition(versions(among));
        assert_eq!(condition("0+", "3-5"), None);
        assert_eq!(condition("4+", "3-5").as_deref(), Some("v >= 4"));
        assert_eq!(condition("0-4", "3-5").as_deref(), Some("v <= 4"));
        assert_eq!(condition("4", "3-5").as_deref(), Some("v == 4"));
        assert_eq!(
            condition("4-5", "3-6").as_deref(),
            Some("(4..=5).contains(&v)")
        );
        assert_eq!(condition("none", "3-6").as_deref(), Some("false"));
    }
}
