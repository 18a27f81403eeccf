//! Records to write, and when each is due.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Clock, Env, MonoTime};

use super::LoadArgs;

/// Random bytes that values are cut from. Larger than a compressor's window for small values.
const POOL_BYTES: usize = 1 << 20;
/// Sleeping for less costs more than it gives.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// Values of one size, different from one another.
#[derive(Debug)]
pub(super) struct Values {
    pool: Vec<u8>,
    size: usize,
    at: usize,
}

impl Values {
    pub(super) fn new(env: &Env, size: u64) -> Self {
        let size = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .min(64 * POOL_BYTES);
        let mut pool = Vec::with_capacity(POOL_BYTES + size);
        while pool.len() < POOL_BYTES + size {
            pool.extend_from_slice(&env.rng.next_u64().to_be_bytes());
        }
        Self { pool, size, at: 0 }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        // An odd step visits every place before it comes back.
        self.at = (self.at + 4099) % POOL_BYTES;
        &self.pool[self.at..self.at + self.size]
    }
}

/// Says when the next record is due, and when it is enough.
#[derive(Debug)]
pub(super) struct Schedule {
    clock: Arc<dyn Clock>,
    start: MonoTime,
    until: Option<MonoTime>,
    records: u64,
    sent: u64,
    /// Time between two records.
    gap: Option<Duration>,
}

impl Schedule {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate of so many records a second is not exact"
    )]
    /// The part of one of several producers that share the load.
    pub(super) fn new(args: &LoadArgs, env: &Env, start: MonoTime, index: u32) -> Self {
        let producers = u64::from(args.producers);
        let share =
            |total: u64| total / producers + u64::from(u64::from(index) < total % producers);
        let gap = args.rate.map(|rate| {
            let seconds = Duration::from_secs(producers);
            seconds.div_f64(rate.max(1) as f64)
        });
        Self {
            clock: Arc::clone(&env.clock),
            start,
            until: args.records.is_none().then(|| start + args.duration.get()),
            records: args.records.map_or(u64::MAX, share),
            sent: 0,
            gap,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "2^52 records are more than anyone waits for"
    )]
    /// Waits until the next record is due and answers when that was; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<MonoTime> {
        if self.sent == self.records {
            return None;
        }
        let mut now = self.clock.now();
        let due = match self.gap {
            None => now,
            Some(gap) => self.start + gap.mul_f64(self.sent as f64),
        };
        if due > now && due - now >= SLEEP_MIN {
            self.clock.sleep_until(due).await;
            now = self.clock.now();
        }
        if self.until.is_some_and(|until| due >= until || now >= until) {
            return None;
        }
        self.sent += 1;
        Some(due)
    }

    /// How many records were due so far.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}
