//! Ranges of keys.

use std::ops::Bound;

use bytes::Bytes;

/// Keys from `start` (included) to `end` (excluded; `None` is past every key).
///
/// A range whose end is not above its start is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Bytes,
    /// First key after the range; `None` if the range has no upper bound.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self {
            start: Bytes::new(),
            end: None,
        }
    }

    /// Keys from `start` up to, not including, `end`.
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// Keys from `start` on.
    pub fn from(start: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: None,
        }
    }

    /// Exactly `key`.
    pub fn single(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let end = Some(Self::successor(&start));
        Self { start, end }
    }

    /// Keys that begin with `prefix`, itself included.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = Self::prefix_end(&start);
        Self { start, end }
    }

    /// The smallest key above `key`.
    pub fn successor(key: &[u8]) -> Bytes {
        let mut next = Vec::with_capacity(key.len() + 1);
        next.extend_from_slice(key);
        next.push(0);
        Bytes::from(next)
    }

    /// The smallest key above every key that begins with `prefix`: its strict upper bound. `None` if
    /// there is none, which is so for an empty prefix and for one of `0xff` only.
    pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
        let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
        let mut end = prefix[..=keep].to_vec();
        end[keep] += 1;
        Some(Bytes::from(end))
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.is_below_end(key)
    }

    /// Whether a key may be in both ranges.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty()
            && !other.is_empty()
            && other.is_below_end(&self.start)
            && self.is_below_end(&other.start)
    }

    /// The bounds as maps of the standard library take them. A map panics on an inverted range: ask
    /// [`is_empty`](Self::is_empty) first.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self
            .end
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start.as_ref()), end)
    }

    /// The bytes of both bounds.
    pub fn bounds_len(&self) -> usize {
        self.start.len() + self.end.as_ref().map_or(0, Bytes::len)
    }

    fn is_below_end(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_strict_upper_bound() {
        assert_eq!(KeyRange::prefix_end(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(
            KeyRange::prefix_end(b"a\xff\xff").as_deref(),
            Some(&b"b"[..])
        );
        assert_eq!(KeyRange::prefix_end(b"\xff\xff"), None);
        assert_eq!(KeyRange::prefix_end(b""), None);
    }

    #[test]
    fn prefix_holds_its_keys_and_no_other() {
        let range = KeyRange::prefix(&b"a\xff"[..]);
        assert!(range.contains(b"a\xff"));
        assert!(range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b"));
        assert!(!range.contains(b"a\xfe"));
    }

    #[test]
    fn ranges_overlap_only_where_they_share_a_key() {
        let low = KeyRange::new(&b"a"[..], &b"c"[..]);
        assert!(low.overlaps(&KeyRange::new(&b"b"[..], &b"d"[..])));
        assert!(low.overlaps(&KeyRange::all()));
        assert!(!low.overlaps(&KeyRange::from(&b"c"[..])));
        assert!(!low.overlaps(&KeyRange::new(&b"b"[..], &b"b"[..])));
        assert!(low.overlaps(&KeyRange::single(&b"b"[..])));
        assert!(!low.overlaps(&KeyRange::single(&b"c"[..])));
    }
}
