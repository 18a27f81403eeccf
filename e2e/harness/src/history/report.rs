//! What the checker says.

use std::fmt;

use super::Partition;

/// A promise that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The promise.
    pub kind: Kind,
    /// Where.
    pub partition: Partition,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Partition { topic, number } = &self.partition;
        write!(f, "{:?} in {topic}/{number}: {}", self.kind, self.detail)
    }
}

/// Promises, as the literature on checking logs names their breaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One offset had two contents.
    InconsistentOffset,
    /// One record is at two offsets.
    Duplicate,
    /// An acknowledged record is behind the last offset read, yet was never read.
    LostWrite,
    /// An acknowledged record was not there at the end.
    Unseen,
    /// A reader was led past offsets.
    PollSkip,
    /// A reader went backwards.
    NonmonotonicPoll,
    /// Records of one sender are not in the order in which they were sent.
    NonmonotonicSend,
    /// A refused record is in the log.
    RefusedButThere,
    /// A record is in the log that nobody sent.
    Phantom,
    /// What was read differs from what was sent.
    Altered,
    /// There is a gap between the log start and the high watermark.
    Gap,
    /// A read did not see what had been acknowledged before it began.
    StaleRead,
    /// The high watermark went back.
    HighWatermarkRegressed,
    /// The log start went back.
    LogStartRegressed,
    /// An old epoch wrote after a newer one had.
    FencedProducerWrote,
    /// An append succeeded although its expected offset was not the actual one.
    ConditionIgnored,
    /// An append succeeded although its fencing token was not the partition's.
    TokenIgnored,
}

/// The judgement.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Broken promises, in order.
    pub violations: Vec<Violation>,
    /// How many records were acknowledged.
    pub acked: usize,
    /// How many records have an unknown outcome.
    pub unknown: usize,
    /// How many of these are in the log.
    pub unknown_but_there: usize,
    /// How many repeats are in the log that no idempotence forbids.
    pub repeats: usize,
}

impl Report {
    pub(super) fn add(&mut self, kind: Kind, partition: &Partition, detail: String) {
        self.violations.push(Violation {
            kind,
            partition: partition.clone(),
            detail,
        });
    }

    /// Fails with the first of the violations.
    pub fn ensure_clean(&self) -> anyhow::Result<()> {
        const SHOWN: usize = 20;
        let shown: Vec<String> = self
            .violations
            .iter()
            .take(SHOWN)
            .map(ToString::to_string)
            .collect();
        anyhow::ensure!(
            shown.is_empty(),
            "{} violations, {} records acknowledged:\n{}",
            self.violations.len(),
            self.acked,
            shown.join("\n")
        );
        Ok(())
    }
}
