//! What clients did and what they saw, in the order in which they did and saw it.
//!
//! [`Recorder`] hands out ticks of one counter, so that "returned before the other was invoked" is a
//! comparison of numbers. [`check()`] then judges the whole. An append whose outcome nobody knows
//! (timeout, broken connection) is neither a success nor a failure: it may be in the log or not, but
//! only once, in one place, unchanged.

mod check;
mod conditions;
mod report;
#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

pub use check::check;
pub use report::{Kind, Report, Violation};

/// A moment: ticks of the recorder's counter.
pub type Tick = u64;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// The number.
    pub number: u32,
}

/// A record by its contents. Loads give each record contents of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// The key.
    pub key: Option<Bytes>,
    /// A hash over key, value, headers and timestamp.
    pub digest: u64,
}

impl Content {
    /// Of the bytes of a record.
    pub fn of(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
        timestamp: Option<i64>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (key, value, headers, timestamp).hash(&mut hasher);
        Self {
            key: key.map(Bytes::copy_from_slice),
            digest: hasher.finish(),
        }
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log from this offset on.
    Acked {
        /// The offset of its first record.
        base: u64,
        /// Whether the answer said that it had been there already.
        duplicate: bool,
        /// When the answer came.
        returned: Tick,
    },
    /// It is surely not in the log.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Who wrote a batch: an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerEpoch {
    /// The producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i32,
}

/// An append of one batch to one partition.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where.
    pub partition: Partition,
    /// The sender. Appends of one sender to one partition stand in the log in the order of `order`.
    pub sender: u64,
    /// The place among the sender's appends.
    pub order: u64,
    /// The idempotent producer, as far as the load knows it.
    pub producer: Option<ProducerEpoch>,
    /// Whether the append can be in the log twice because its sender repeats without a sequence.
    pub may_repeat: bool,
    /// The offset that was demanded.
    pub expected_next: Option<u64>,
    /// The fencing token that was demanded; empty demands none.
    pub token: Option<String>,
    /// The fencing token that was set; empty clears it.
    pub set_token: Option<String>,
    /// The records.
    pub records: Vec<Content>,
    /// When it was sent.
    pub invoked: Tick,
    /// What became of it.
    pub outcome: Outcome,
}

/// What one read of one partition returned.
#[derive(Clone, Debug)]
pub struct Read {
    /// Where.
    pub partition: Partition,
    /// The reader. Reads of one reader and partition follow one another without a gap.
    pub reader: u64,
    /// When it was asked.
    pub invoked: Tick,
    /// When the answer came.
    pub returned: Tick,
    /// The offset asked for.
    pub from: u64,
    /// The records with their offsets.
    pub records: Vec<(u64, Content)>,
    /// Where the next read goes on.
    pub next: u64,
    /// The high watermark in the answer, if it is one that has to be up to date at `invoked`.
    pub high_watermark: Option<u64>,
    /// The log start in the answer.
    pub log_start: Option<u64>,
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All appends.
    pub appends: Vec<Append>,
    /// All reads.
    pub reads: Vec<Read>,
    /// The reader that at the very end read all partitions from their start.
    pub drain: Option<u64>,
}

/// Collects a history from many tasks.
#[derive(Debug, Default)]
pub struct Recorder {
    ticks: AtomicU64,
    names: AtomicU64,
    history: Mutex<History>,
}

impl Recorder {
    /// Now.
    pub fn tick(&self) -> Tick {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// A name for a sender or reader that no other has.
    pub fn name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes an append once its outcome is known, or known to be unknown.
    pub fn append(&self, append: Append) {
        self.history.lock().appends.push(append);
    }

    /// Notes a read.
    pub fn read(&self, read: Read) {
        self.history.lock().reads.push(read);
    }

    /// Says which reader has read everything at the end.
    pub fn drained_by(&self, reader: u64) {
        self.history.lock().drain = Some(reader);
    }

    /// How many records were acknowledged so far.
    pub fn acked(&self) -> usize {
        let history = self.history.lock();
        let acked = |append: &&Append| matches!(append.outcome, Outcome::Acked { .. });
        history
            .appends
            .iter()
            .filter(acked)
            .map(|append| append.records.len())
            .sum()
    }

    /// All that was noted.
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }
}
