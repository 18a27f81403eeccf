//! Rows with their versions, and the order of commits.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::buffer::WriteBuffer;
use crate::occ::{ConflictWindow, ReadSet};
use crate::{CommitError, Direction, KeyRange, ScanOptions, ScanPage, Version};

/// The versions of one key, oldest first; `None` is a deletion.
type History = VecDeque<(Version, Option<Bytes>)>;

/// A commit that has not landed.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) version: Version,
    pub(super) reads: ReadSet,
    pub(super) writes: WriteBuffer,
    pub(super) commits_left: u32,
}

#[derive(Debug)]
pub(super) struct Data {
    rows: BTreeMap<Bytes, History>,
    version: Version,
    window: ConflictWindow,
    /// The keys that each commit in the window changed: their history shrinks when it leaves.
    changed: VecDeque<(Version, Vec<Bytes>)>,
    delayed: Vec<Delayed>,
}

impl Data {
    pub(super) fn new(
        window_entries_max: usize,
        rows: impl IntoIterator<Item = (Bytes, Bytes)>,
    ) -> Self {
        let history = |value| VecDeque::from([(Version::ZERO, Some(value))]);
        Self {
            rows: rows
                .into_iter()
                .map(|(key, value)| (key, history(value)))
                .collect(),
            version: Version::ZERO,
            window: ConflictWindow::new(Version::ZERO, window_entries_max),
            changed: VecDeque::new(),
            delayed: Vec::new(),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Snapshots below this version are no longer kept.
    pub(super) fn floor(&self) -> Version {
        self.window.floor()
    }

    /// Whether not even a deletion is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn dump(&self) -> Vec<(Bytes, Bytes)> {
        let live = |(key, history): (&Bytes, &History)| {
            Some((key.clone(), value_at(history, self.version)?))
        };
        self.rows.iter().filter_map(live).collect()
    }

    pub(super) fn get(&self, key: &[u8], version: Version) -> Option<Bytes> {
        self.rows
            .get(key)
            .and_then(|history| value_at(history, version))
    }

    pub(super) fn scan(
        &self,
        range: &KeyRange,
        options: ScanOptions,
        version: Version,
    ) -> ScanPage {
        let rows = self.rows.range::<[u8], _>(range.bounds());
        let live =
            |(key, history): (&Bytes, &History)| Some((key.clone(), value_at(history, version)?));
        match options.direction {
            Direction::Forward => page(rows.filter_map(live), options),
            Direction::Backward => page(rows.rev().filter_map(live), options),
        }
    }

    /// Forgets the history of all commits: who began before the next one is too old.
    pub(super) fn expire(&mut self) {
        // A version of its own, so that a snapshot of the last commit is below the floor as well.
        self.version = Version::new(self.version.get() + 1);
        self.window.raise_floor(self.version);
        self.prune();
    }

    pub(super) fn delay(&mut self, commit: Delayed) {
        self.delayed.push(commit);
    }

    /// Lands the delayed commits that `due` names.
    pub(super) fn land_delayed(
        &mut self,
        mut due: impl FnMut(&mut Delayed) -> bool,
    ) -> Vec<Result<Version, CommitError>> {
        let mut landing = Vec::new();
        let mut kept = Vec::new();
        for mut commit in std::mem::take(&mut self.delayed) {
            if due(&mut commit) {
                landing.push(commit);
            } else {
                kept.push(commit);
            }
        }
        self.delayed = kept;
        landing.iter().map(|commit| self.land(commit)).collect()
    }

    pub(super) fn commit(&mut self, commit: &Delayed) -> Result<Version, CommitError> {
        // What lands here has told its caller nothing, so its result is nobody's.
        self.land_delayed(|delayed| {
            let due = delayed.commits_left == 0;
            delayed.commits_left = delayed.commits_left.saturating_sub(1);
            due
        });
        self.land(commit)
    }

    fn land(&mut self, commit: &Delayed) -> Result<Version, CommitError> {
        self.window.check(commit.version, &commit.reads)?;
        self.version = Version::new(self.version.get() + 1);
        let changed = self.apply(&commit.writes);
        self.window.record(self.version, commit.writes.write_set());
        self.changed.push_back((self.version, changed));
        self.prune();
        Ok(self.version)
    }

    /// Applies the writes at the current version and returns the keys that they change.
    fn apply(&mut self, writes: &WriteBuffer) -> Vec<Bytes> {
        let version = self.version;
        let mut changed = Vec::new();
        for range in writes.cleared() {
            for (key, history) in self.rows.range_mut::<[u8], _>(range.bounds()) {
                history.push_back((version, None));
                changed.push(key.clone());
            }
        }
        for (key, write) in writes.writes() {
            let history = self.rows.entry(key.clone()).or_default();
            let before = history.back().and_then(|(_, value)| value.clone());
            history.push_back((version, write.resolve(before.as_deref())));
            changed.push(key.clone());
        }
        changed
    }

    /// Drops the versions that no transaction can read any more.
    fn prune(&mut self) {
        let floor = self.window.floor();
        while self
            .changed
            .front()
            .is_some_and(|(version, _)| *version <= floor)
        {
            let Some((_, keys)) = self.changed.pop_front() else {
                return;
            };
            for key in keys {
                self.prune_key(&key, floor);
            }
        }
    }

    fn prune_key(&mut self, key: &Bytes, floor: Version) {
        let Some(history) = self.rows.get_mut(key) else {
            return;
        };
        while history.get(1).is_some_and(|(version, _)| *version <= floor) {
            history.pop_front();
        }
        let dead = history.len() == 1
            && history
                .front()
                .is_some_and(|(version, value)| *version <= floor && value.is_none());
        if dead {
            self.rows.remove(key);
        }
    }
}

fn value_at(history: &History, version: Version) -> Option<Bytes> {
    let visible = history
        .iter()
        .rev()
        .find(|(written, _)| *written <= version);
    visible.and_then(|(_, value)| value.clone())
}

fn page(mut rows: impl Iterator<Item = (Bytes, Bytes)>, options: ScanOptions) -> ScanPage {
    let mut page = ScanPage::default();
    let mut bytes = 0;
    while page.rows.len() < options.limit && (bytes < options.bytes_max || page.rows.is_empty()) {
        let Some((key, value)) = rows.next() else {
            return page;
        };
        bytes += key.len() + value.len();
        page.rows.push((key, value));
    }
    page.more = rows.next().is_some();
    page
}
