//! The topics that there are, as groups of the consumer protocol need to know them: all at once, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use regex::{Regex, RegexBuilder};
use tidelog_env::{Clock, MonoTime};
use tidelog_groups::consumer::{TopicShape, Topics};
use tidelog_metadata_api::GroupsError;
use tidelog_types::TopicNumber;

use super::errors::of_catalogue;
use crate::catalogue::Catalogue;
use crate::driver::{Hold, Memory};

/// Topics that are read at once.
const PAGE: usize = 1_000;
/// Patterns whose topics are remembered.
const PATTERNS_KEPT: usize = 1_000;
/// Bytes of memory of the names that patterns match, of a shard at most.
const PATTERNS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of memory of a name beside its text.
const NAME_BYTES: usize = 32;
/// Bytes of a compiled pattern at most.
const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Reading all topics takes at most one part in so many of the time.
const READING_SHARE: u32 = 20;
/// What other processes have done this long ago shows to a member that joins.
const FRESH_FOR: Duration = Duration::from_millis(500);

/// All live topics at a time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Another one whenever the topics are others.
    version: u64,
    by_name: BTreeMap<String, TopicShape>,
    names: HashMap<TopicNumber, String>,
    /// The number of changes of this process that are in it.
    changes: u64,
    read_at: MonoTime,
    took: Duration,
}

impl Snapshot {
    /// The name of a topic.
    pub(super) fn name(&self, number: TopicNumber) -> Option<String> {
        self.names.get(&number).cloned()
    }
}

/// The topics of a process. All its coordinators share it; nothing is read before one of them asks.
#[derive(Debug)]
pub(crate) struct TopicDirectory {
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    /// Whether other processes change topics too.
    is_shared: bool,
    interval: Duration,
    current: RwLock<Option<Arc<Snapshot>>>,
    /// One reads at a time; whoever comes meanwhile may find what he needs afterwards.
    reading: tokio::sync::Mutex<()>,
}

impl TopicDirectory {
    pub(crate) fn new(
        catalogue: Catalogue,
        clock: Arc<dyn Clock>,
        is_shared: bool,
        interval: Duration,
    ) -> Self {
        Self {
            catalogue,
            clock,
            is_shared,
            interval,
            current: RwLock::new(None),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// What was read last.
    pub(super) fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.read().clone()
    }

    /// Whether a member that joins can be told from it what it reads.
    pub(super) fn is_fresh(&self, snapshot: &Snapshot) -> bool {
        snapshot.changes == self.catalogue.changes()
            && (!self.is_shared || self.age(snapshot) < FRESH_FOR)
    }

    /// Whether it is time to look for changes.
    pub(super) fn is_old(&self, snapshot: &Snapshot) -> bool {
        let interval = self.interval.max(snapshot.took * READING_SHARE);
        snapshot.changes != self.catalogue.changes()
            || (self.is_shared && self.age(snapshot) >= interval)
    }

    fn age(&self, snapshot: &Snapshot) -> Duration {
        self.clock.now() - snapshot.read_at
    }

    /// Reads all topics, if nobody has since the call.
    pub(super) async fn refresh(&self) -> Result<Arc<Snapshot>, GroupsError> {
        let asked = self.clock.now();
        let changes = self.catalogue.changes();
        let _reading = self.reading.lock().await;
        let before = self.current();
        if let Some(before) = &before
            && before.read_at >= asked
            && before.changes >= changes
            && before.read_at > MonoTime::START
        {
            return Ok(Arc::clone(before));
        }
        let changes = self.catalogue.changes();
        let read_at = self.clock.now();
        let by_name = self.read().await?;
        let version = match &before {
            Some(before) if before.by_name == by_name => before.version,
            Some(before) => before.version + 1,
            None => 1,
        };
        let names = by_name.iter();
        let names = names.map(|(name, shape)| (shape.number, name.clone()));
        let snapshot = Arc::new(Snapshot {
            version,
            names: names.collect(),
            by_name,
            changes,
            read_at,
            took: self.clock.now() - read_at,
        });
        *self.current.write() = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    async fn read(&self) -> Result<BTreeMap<String, TopicShape>, GroupsError> {
        let mut by_name = BTreeMap::new();
        let mut after = Vec::new();
        loop {
            let page = self.catalogue.list(&after, PAGE, false).await;
            let page = page.map_err(of_catalogue)?;
            for topic in &page.topics {
                let shape = TopicShape {
                    number: topic.number,
                    partitions: topic.partition_count(),
                };
                by_name.insert(topic.name.as_str().to_owned(), shape);
            }
            if page.next.is_empty() {
                return Ok(by_name);
            }
            after = page.next;
        }
    }
}

/// Compiles a pattern. It matches whole names, as in Kafka.
pub(super) fn compile(pattern: &str) -> Result<Regex, GroupsError> {
    let whole = format!("^(?:{pattern})$");
    let built = RegexBuilder::new(&whole)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build();
    built.map_err(|error| GroupsError::InvalidPattern {
        reason: error.to_string(),
    })
}

/// What patterns match, so that it is not looked for with each heartbeat. As much is kept as there is memory for.
#[derive(Debug)]
pub(super) struct Patterns {
    memory: Memory,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    matches: HashMap<String, Matches>,
    bytes: usize,
}

/// What a pattern matches of one version of the topics.
#[derive(Debug)]
struct Matches {
    version: u64,
    names: Vec<String>,
    bytes: usize,
    /// Their part of the memory for groups.
    _hold: Hold,
}

impl Patterns {
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            memory,
            kept: Mutex::default(),
        }
    }

    fn keep(&self, kept: &mut Kept, pattern: &str, version: u64, names: &[String]) {
        let texts = names.iter().map(|name| name.len() + NAME_BYTES);
        let bytes = pattern.len() + NAME_BYTES + texts.sum::<usize>();
        kept.remove(pattern);
        if bytes > PATTERNS_BYTES_MAX {
            return;
        }
        while kept.matches.len() >= PATTERNS_KEPT || kept.bytes + bytes > PATTERNS_BYTES_MAX {
            // Any one but not all, which would all be looked for again.
            let Some(any) = kept.matches.keys().next().cloned() else {
                break;
            };
            kept.remove(&any);
        }
        if let Some(hold) = self.memory.try_hold(bytes) {
            kept.bytes += bytes;
            let matches = Matches {
                version,
                names: names.to_vec(),
                bytes,
                _hold: hold,
            };
            kept.matches.insert(pattern.to_owned(), matches);
        }
    }
}

impl Kept {
    fn remove(&mut self, pattern: &str) {
        let removed = self.matches.remove(pattern);
        self.bytes -= removed.map_or(0, |matches| matches.bytes);
    }
}

/// Topics at a time, for a group.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) patterns: &'a Patterns,
}

impl Topics for View<'_> {
    fn version(&self) -> u64 {
        self.snapshot.version
    }

    fn find(&self, name: &str) -> Option<TopicShape> {
        self.snapshot.by_name.get(name).copied()
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let version = self.snapshot.version;
        let mut kept = self.patterns.kept.lock();
        let known = kept.matches.get(pattern);
        if let Some(known) = known.filter(|known| known.version == version) {
            return known.names.clone();
        }
        // One that cannot be compiled was refused when it came.
        let Ok(regex) = compile(pattern) else {
            return Vec::new();
        };
        let names = self.snapshot.by_name.keys();
        let names: Vec<String> = names.filter(|name| regex.is_match(name)).cloned().collect();
        self.patterns.keep(&mut kept, pattern, version, &names);
        names
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let shape = TopicShape {
            number: TopicNumber::new(1),
            partitions: 1,
        };
        let names = ["orders", "orders-eu", "my-orders"];
        let snapshot = Snapshot {
            version: 1,
            by_name: names.map(|name| (name.to_owned(), shape)).into(),
            names: HashMap::new(),
            changes: 0,
            read_at: MonoTime::START,
            took: Duration::ZERO,
        };
        let patterns = Patterns::new(Memory::new(1_000, Gauge::default()));
        let view = View {
            snapshot: &snapshot,
            patterns: &patterns,
        };
        assert_eq!(view.matching("orders.*"), ["orders", "orders-eu"]);
        assert_eq!(view.matching("a|orders"), ["orders"]);
        assert!(view.matching("(").is_empty());
        assert!(compile("(").is_err());
        assert!(compile(&"(a{100}){100}{100}".repeat(10)).is_err());
    }

    #[test]
    fn what_patterns_match_is_kept_as_far_as_there_is_memory() {
        let shape = TopicShape {
            number: TopicNumber::new(1),
            partitions: 1,
        };
        let names = (0..2_000).map(|number| (format!("{number:0>200}"), shape));
        let snapshot = Snapshot {
            version: 1,
            by_name: names.collect(),
            names: HashMap::new(),
            changes: 0,
            read_at: MonoTime::START,
            took: Duration::ZERO,
        };
        for (memory, most) in [(1_000_000, 1_000_000), (usize::MAX / 2, PATTERNS_BYTES_MAX)] {
            let shown = Gauge::default();
            let patterns = Patterns::new(Memory::new(memory, shown.clone()));
            let view = View {
                snapshot: &snapshot,
                patterns: &patterns,
            };
            for number in 0..30 {
                let pattern = format!(".*|{number}");
                assert_eq!(view.matching(&pattern).len(), 2_000);
                // Also what is not kept is found again.
                assert_eq!(view.matching(&pattern).len(), 2_000);
            }
            let kept = patterns.kept.lock();
            assert_eq!(shown.get(), i64::try_from(kept.bytes).unwrap());
            assert!(
                kept.bytes <= most && kept.bytes > most / 3,
                "{}",
                kept.bytes
            );
        }
    }
}
