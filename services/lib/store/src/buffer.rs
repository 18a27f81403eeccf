//! A transaction's own writes, in the order-free form in which they are committed: cleared ranges
//! first, then at most one write a key.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::occ::WriteSet;
use crate::range_set::RangeSet;
use crate::{KeyRange, LimitKind, Limits, TooLarge};

/// What happens to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is set.
    Put(Bytes),
    /// It is removed.
    Delete,
    /// A number is added to the counter that the snapshot, or a commit before this one, left there.
    Add(i64),
}

impl Write {
    fn len(&self) -> usize {
        match self {
            Self::Put(value) => value.len(),
            Self::Delete => 0,
            Self::Add(_) => size_of::<i64>(),
        }
    }

    /// The value of the key after this write, given the one before it.
    pub fn resolve(&self, before: Option<&[u8]>) -> Option<Bytes> {
        match self {
            Self::Put(value) => Some(value.clone()),
            Self::Delete => None,
            Self::Add(delta) => Some(add_to_counter(before, *delta)),
        }
    }
}

/// Adds to a counter as [`Transaction::add`](crate::Transaction::add) says.
pub fn add_to_counter(before: Option<&[u8]>, delta: i64) -> Bytes {
    let mut counter = [0_u8; size_of::<i64>()];
    if let Some(before) = before {
        let kept = before.len().min(counter.len());
        counter[..kept].copy_from_slice(&before[..kept]);
    }
    let sum = i64::from_le_bytes(counter).wrapping_add(delta);
    Bytes::copy_from_slice(&sum.to_le_bytes())
}

/// Buffered writes.
#[derive(Clone, Debug, Default)]
pub struct WriteBuffer {
    writes: BTreeMap<Bytes, Write>,
    writes_len: usize,
    cleared: RangeSet,
    conflicts: RangeSet,
}

impl WriteBuffer {
    /// Sets `key`.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.write(key, Write::Put(value));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: Bytes) {
        self.write(key, Write::Delete);
    }

    /// Removes the keys of `range`, and the writes to them so far.
    pub fn delete_range(&mut self, range: KeyRange) {
        if range.is_empty() {
            return;
        }
        let covered: Vec<Bytes> = self
            .writes
            .range::<[u8], _>(range.bounds())
            .map(|(key, _)| key.clone())
            .collect();
        for key in covered {
            if let Some(write) = self.writes.remove(&key) {
                self.writes_len -= key.len() + write.len();
            }
        }
        self.cleared.insert(range);
    }

    /// Adds `delta` to the counter at `key`.
    pub fn add(&mut self, key: Bytes, delta: i64) {
        let write = match self.writes.get(&key) {
            Some(Write::Put(value)) => Write::Put(add_to_counter(Some(value), delta)),
            Some(Write::Delete) => Write::Put(add_to_counter(None, delta)),
            Some(Write::Add(earlier)) => Write::Add(earlier.wrapping_add(delta)),
            None if self.cleared.contains(&key) => Write::Put(add_to_counter(None, delta)),
            None => Write::Add(delta),
        };
        self.write(key, write);
    }

    /// Makes readers of `range` conflict.
    pub fn add_conflict(&mut self, range: KeyRange) {
        self.conflicts.insert(range);
    }

    /// Applies the writes of `later` on top of these, as if one transaction had made them all.
    pub fn append(&mut self, later: Self) {
        for range in later.cleared.iter() {
            self.delete_range(range);
        }
        for (key, write) in later.writes {
            match write {
                Write::Add(delta) => self.add(key, delta),
                write => self.write(key, write),
            }
        }
        for range in later.conflicts.iter() {
            self.conflicts.insert(range);
        }
    }

    /// The write to `key`, or `Delete` if it is in a cleared range, or `None` if it is untouched.
    pub fn lookup(&self, key: &[u8]) -> Option<Write> {
        match self.writes.get(key) {
            Some(write) => Some(write.clone()),
            None if self.cleared.contains(key) => Some(Write::Delete),
            None => None,
        }
    }

    /// The writes to single keys, by key; they come after the cleared ranges.
    pub fn writes(&self) -> impl Iterator<Item = (&Bytes, &Write)> {
        self.writes.iter()
    }

    /// The writes to single keys of `range`, by key.
    pub fn writes_in(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &Write)> {
        // An inverted range would make the map panic; it holds no key, as this one does not.
        let range = if range.is_empty() { &EMPTY } else { range };
        self.writes.range::<[u8], _>(range.bounds())
    }

    /// The cleared ranges; they come before the writes.
    pub fn cleared(&self) -> impl Iterator<Item = KeyRange> + '_ {
        self.cleared.iter()
    }

    /// The ranges that were added by hand for readers to conflict with.
    pub fn conflicts(&self) -> impl Iterator<Item = KeyRange> + '_ {
        self.conflicts.iter()
    }

    /// Whether committing this changes nothing and makes nobody conflict.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.cleared.is_empty() && self.conflicts.is_empty()
    }

    /// The bytes of all keys, values and bounds.
    pub fn size_bytes(&self) -> usize {
        self.writes_len + self.cleared.bounds_len() + self.conflicts.bounds_len()
    }

    /// What later readers are checked against.
    pub fn write_set(&self) -> WriteSet {
        WriteSet {
            keys: self.writes.keys().cloned().collect(),
            ranges: self.cleared.iter().chain(self.conflicts.iter()).collect(),
        }
    }

    fn write(&mut self, key: Bytes, write: Write) {
        self.writes_len += key.len() + write.len();
        let key_len = key.len();
        if let Some(earlier) = self.writes.insert(key, write) {
            self.writes_len -= key_len + earlier.len();
        }
    }
}

static EMPTY: KeyRange = KeyRange {
    start: Bytes::new(),
    end: Some(Bytes::new()),
};

/// Whether `size` is within `limit`.
pub(crate) fn within(what: LimitKind, size: usize, limit: usize) -> Result<(), TooLarge> {
    if size > limit {
        Err(TooLarge { what, size, limit })
    } else {
        Ok(())
    }
}

/// Whether the bounds are not longer than a key's successor.
pub(crate) fn check_range(range: &KeyRange, limits: &Limits) -> Result<(), TooLarge> {
    let longest = range
        .start
        .len()
        .max(range.end.as_ref().map_or(0, Bytes::len));
    within(LimitKind::Key, longest, limits.key_bytes_max + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn counters_pad_cut_and_wrap() {
        assert_eq!(add_to_counter(None, 5), 5_i64.to_le_bytes()[..]);
        assert_eq!(add_to_counter(Some(&[1]), 1), 2_i64.to_le_bytes()[..]);
        let long = [255_u8; 12];
        assert_eq!(add_to_counter(Some(&long), 1), 0_i64.to_le_bytes()[..]);
    }

    #[test]
    fn a_cleared_range_takes_earlier_writes_and_lets_later_ones_stand() {
        let mut buffer = WriteBuffer::default();
        buffer.put(bytes("b"), bytes("1"));
        buffer.delete_range(KeyRange::new(bytes("a"), bytes("d")));
        buffer.add(bytes("c"), 2);
        assert_eq!(buffer.lookup(b"b"), Some(Write::Delete));
        assert_eq!(
            buffer.lookup(b"c"),
            Some(Write::Put(add_to_counter(None, 2)))
        );
        assert_eq!(buffer.lookup(b"d"), None);
    }

    #[test]
    fn size_counts_a_key_once_and_forgets_what_was_cleared() {
        let mut buffer = WriteBuffer::default();
        buffer.put(bytes("key"), bytes("long value"));
        buffer.put(bytes("key"), bytes("v"));
        assert_eq!(buffer.size_bytes(), 4);
        buffer.delete_range(KeyRange::new(bytes("k"), bytes("l")));
        assert_eq!(buffer.size_bytes(), 2);
    }

    #[test]
    fn appended_writes_come_on_top() {
        let mut first = WriteBuffer::default();
        first.put(bytes("a"), bytes("1"));
        first.add(bytes("n"), 3);
        let mut second = WriteBuffer::default();
        second.delete_range(KeyRange::single(bytes("a")));
        second.add(bytes("n"), 4);
        first.append(second);
        assert_eq!(first.lookup(b"a"), Some(Write::Delete));
        assert_eq!(first.lookup(b"n"), Some(Write::Add(7)));
    }
}
