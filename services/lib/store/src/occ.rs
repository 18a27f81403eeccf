//! The conflict window: the keys that recent commits wrote, with their versions.
//!
//! ```text
//!   floor            read version            last commit
//!   --|--------------------|--------------------|--->
//!     forgotten            | a write here to what was read is a conflict
//! ```
//!
//! Every implementation that checks conflicts itself uses this one, so that all behave alike.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::range_set::RangeSet;
use crate::{CommitError, KeyRange, Version};

/// What a transaction read serializably.
#[derive(Clone, Debug, Default)]
pub struct ReadSet {
    keys: BTreeSet<Bytes>,
    ranges: RangeSet,
}

impl ReadSet {
    /// Adds one key.
    pub fn add_key(&mut self, key: &[u8]) {
        if !self.keys.contains(key) {
            self.keys.insert(Bytes::copy_from_slice(key));
        }
    }

    /// Adds a range.
    pub fn add_range(&mut self, range: KeyRange) {
        self.ranges.insert(range);
    }

    /// Everything that was read: single keys as ranges of one, then ranges; they may overlap.
    pub fn ranges(&self) -> impl Iterator<Item = KeyRange> + '_ {
        let keys = self.keys.iter().map(|key| KeyRange::single(key.clone()));
        keys.chain(self.ranges.iter())
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}

/// What a commit wrote.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    /// Single keys.
    pub keys: Vec<Bytes>,
    /// Cleared ranges and write conflicts.
    pub ranges: Vec<KeyRange>,
}

impl WriteSet {
    fn len(&self) -> usize {
        self.keys.len() + self.ranges.len()
    }
}

/// Why the check refused a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What it read was written after its read version.
    Conflict,
    /// Its read version is below the window.
    TooOld,
}

impl From<Refusal> for CommitError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::Conflict,
            Refusal::TooOld => Self::TooOld,
        }
    }
}

/// The window. Bounded by a number of entries: the oldest commits are forgotten first, and a
/// transaction that began before a forgotten commit is too old.
#[derive(Debug)]
pub struct ConflictWindow {
    entries_max: usize,
    entries: usize,
    floor: Version,
    /// The last version that wrote each key.
    keys: BTreeMap<Bytes, Version>,
    commits: VecDeque<(Version, WriteSet)>,
    /// How many of the commits have a range, so that point commits cost no walk.
    with_ranges: usize,
}

impl ConflictWindow {
    /// An empty window that starts at `floor` and keeps at most `entries_max` keys and ranges.
    pub fn new(floor: Version, entries_max: usize) -> Self {
        Self {
            entries_max,
            entries: 0,
            floor,
            keys: BTreeMap::new(),
            commits: VecDeque::new(),
            with_ranges: 0,
        }
    }

    /// Transactions that read below this version are too old.
    pub fn floor(&self) -> Version {
        self.floor
    }

    /// How many keys and ranges are kept.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether a transaction that read `reads` at `version` may commit now.
    pub fn check(&self, version: Version, reads: &ReadSet) -> Result<(), Refusal> {
        if version < self.floor {
            return Err(Refusal::TooOld);
        }
        let key_written =
            |key: &Bytes| self.keys.get(key).is_some_and(|written| *written > version);
        let range_written = |range: KeyRange| {
            self.keys
                .range::<[u8], _>(range.bounds())
                .any(|(_, written)| *written > version)
        };
        let conflict = reads.keys.iter().any(key_written)
            || reads.ranges.iter().any(range_written)
            || self.ranges_conflict(version, reads);
        if conflict {
            Err(Refusal::Conflict)
        } else {
            Ok(())
        }
    }

    /// Adds a commit. Commits of one group may share a version; versions never go back.
    pub fn record(&mut self, version: Version, writes: WriteSet) {
        debug_assert!(self.commits.back().is_none_or(|(last, _)| *last <= version));
        for key in &writes.keys {
            // A copy, since the caller's key may be a slice of a large buffer.
            self.keys.insert(Bytes::copy_from_slice(key), version);
        }
        self.entries += writes.len();
        self.with_ranges += usize::from(!writes.ranges.is_empty());
        self.commits.push_back((version, writes));
        while self.entries > self.entries_max && self.forget_oldest() {}
    }

    /// Forgets the commits up to and with `version`.
    pub fn raise_floor(&mut self, version: Version) {
        while self
            .commits
            .front()
            .is_some_and(|(oldest, _)| *oldest <= version)
        {
            self.forget_oldest();
        }
        self.floor = self.floor.max(version);
    }

    fn ranges_conflict(&self, version: Version, reads: &ReadSet) -> bool {
        if self.with_ranges == 0 {
            return false;
        }
        let later = self
            .commits
            .iter()
            .rev()
            .take_while(|(written, _)| *written > version);
        later.flat_map(|(_, writes)| &writes.ranges).any(|written| {
            reads.keys.iter().any(|key| written.contains(key))
                || reads.ranges.iter().any(|read| read.overlaps(written))
        })
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((version, writes)) = self.commits.pop_front() else {
            return false;
        };
        for key in &writes.keys {
            if self.keys.get(key) == Some(&version) {
                self.keys.remove(key);
            }
        }
        self.entries -= writes.len();
        self.with_ranges -= usize::from(!writes.ranges.is_empty());
        self.floor = self.floor.max(version);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&'static str]) -> WriteSet {
        let keys = names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect();
        WriteSet {
            keys,
            ranges: Vec::new(),
        }
    }

    fn read(name: &str) -> ReadSet {
        let mut reads = ReadSet::default();
        reads.add_key(name.as_bytes());
        reads
    }

    #[test]
    fn only_a_later_write_to_what_was_read_conflicts() {
        let mut window = ConflictWindow::new(Version::ZERO, 100);
        window.record(Version::new(1), keys(&["a"]));
        window.record(Version::new(2), keys(&["b"]));
        assert_eq!(window.check(Version::new(1), &read("a")), Ok(()));
        assert_eq!(
            window.check(Version::new(1), &read("b")),
            Err(Refusal::Conflict)
        );
        assert_eq!(window.check(Version::ZERO, &ReadSet::default()), Ok(()));
    }

    #[test]
    fn ranges_conflict_with_keys_and_with_ranges() {
        let mut window = ConflictWindow::new(Version::ZERO, 100);
        window.record(Version::new(1), keys(&["m"]));
        let cleared = vec![KeyRange::new(&b"x"[..], &b"z"[..])];
        window.record(
            Version::new(2),
            WriteSet {
                keys: Vec::new(),
                ranges: cleared,
            },
        );
        let mut phantom = ReadSet::default();
        phantom.add_range(KeyRange::new(&b"l"[..], &b"n"[..]));
        assert_eq!(
            window.check(Version::ZERO, &phantom),
            Err(Refusal::Conflict)
        );
        assert_eq!(window.check(Version::new(1), &phantom), Ok(()));
        assert_eq!(
            window.check(Version::new(1), &read("y")),
            Err(Refusal::Conflict)
        );
        assert_eq!(window.check(Version::new(1), &read("z")), Ok(()));
    }

    #[test]
    fn forgotten_commits_make_old_transactions_too_old_and_no_key_is_lost() {
        let mut window = ConflictWindow::new(Version::ZERO, 2);
        window.record(Version::new(1), keys(&["a"]));
        window.record(Version::new(2), keys(&["a"]));
        window.record(Version::new(3), keys(&["b"]));
        assert_eq!(window.floor(), Version::new(1));
        assert_eq!(
            window.check(Version::ZERO, &ReadSet::default()),
            Err(Refusal::TooOld)
        );
        assert_eq!(
            window.check(Version::new(1), &read("a")),
            Err(Refusal::Conflict)
        );
        window.raise_floor(Version::new(3));
        assert_eq!(window.entries(), 0);
        assert_eq!(window.check(Version::new(3), &read("a")), Ok(()));
    }
}
