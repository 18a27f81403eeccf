//! A second GET when the first is slow; the first whole answer wins.
//!
//! A GET that takes longer than most of those before it is likely stuck behind one slow server, and a second
//! one likely is not. Bodies are collected, since a store can be quick to answer and slow to send. Each
//! GET earns a fraction of a hedge, so that when everything is slow the load does not double. Only reads
//! of a bounded range are hedged: nothing else is both harmless to repeat and small.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, Result};
use parking_lot::Mutex;
use tidelog_env::Clock;

use crate::body::{COLLECT_BYTES_MAX, get_checked};
use crate::delegate_object_store;
use crate::errors::classify;
use crate::metrics::{Meter, Operation};
use crate::settings::HedgeSettings;

/// How many latencies are remembered.
const LATENCIES_MAX: usize = 256;
/// How many of them are needed before they say anything.
const LATENCIES_MIN: usize = 16;
/// Hedges that can be saved up while all is quick.
const HEDGES_SAVED_MAX: u32 = 8;

/// Hedges reads from the store below.
#[derive(Clone, Debug)]
pub struct Hedged {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    settings: HedgeSettings,
    meter: Meter,
    state: Arc<Mutex<State>>,
}

/// What past GETs tell about the next.
#[derive(Debug)]
struct State {
    latencies: VecDeque<Duration>,
    /// Hedges that may be sent, in units of one GET's earning.
    credit: u32,
}

impl Hedged {
    /// Hedges reads from `inner`, counting on `meter`.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        settings: HedgeSettings,
        meter: Meter,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner,
            clock,
            settings,
            meter,
            state: Arc::new(Mutex::new(State {
                latencies: VecDeque::with_capacity(LATENCIES_MAX),
                credit: 0,
            })),
        }
    }

    /// After which time a GET that begins now is slow.
    fn delay(&self) -> Duration {
        let mut latencies: Vec<Duration> = {
            let state = self.state.lock();
            state.latencies.iter().copied().collect()
        };
        if latencies.len() < LATENCIES_MIN {
            return self.settings.delay_max;
        }
        let percentile = usize::from(self.settings.percentile.min(100));
        let place = (latencies.len() - 1) * percentile / 100;
        let (_, slow, _) = latencies.select_nth_unstable(place);
        (*slow).clamp(
            self.settings.delay_min.min(self.settings.delay_max),
            self.settings.delay_max,
        )
    }

    /// Earns one GET's worth of hedges.
    fn earn(&self) {
        let mut state = self.state.lock();
        let most = self
            .settings
            .requests_per_hedge
            .get()
            .saturating_mul(HEDGES_SAVED_MAX);
        state.credit = state.credit.saturating_add(1).min(most);
    }

    /// Spends a hedge if one was earned.
    fn spend(&self) -> bool {
        let mut state = self.state.lock();
        let left = state
            .credit
            .checked_sub(self.settings.requests_per_hedge.get());
        if let Some(left) = left {
            state.credit = left;
        }
        left.is_some()
    }

    /// One GET, whose time is remembered if it succeeds.
    async fn timed(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let start = self.clock.now();
        let result = get_checked(self.inner.as_ref(), location, options).await;
        if result.is_ok() {
            let took = self.clock.now() - start;
            let mut state = self.state.lock();
            if state.latencies.len() == LATENCIES_MAX {
                state.latencies.pop_front();
            }
            state.latencies.push_back(took);
        }
        result
    }

    async fn hedged(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.earn();
        let first = Box::pin(self.timed(location, options.clone()));
        let first = match select(first, self.clock.sleep(self.delay())).await {
            Either::Left((result, _)) => return result,
            Either::Right(((), first)) => first,
        };
        if !self.spend() {
            return first.await;
        }
        self.meter.hedge(Operation::Get);
        let second = Box::pin(self.timed(location, options));
        match select(first, second).await {
            // An error that a repeat could cure leaves the hope in the other one.
            Either::Left((result, second)) => {
                if is_final(&result) {
                    result
                } else {
                    second.await
                }
            }
            Either::Right((result, first)) => {
                if is_final(&result) {
                    self.meter.hedge_won(Operation::Get);
                    result
                } else {
                    first.await
                }
            }
        }
    }
}

fn is_final<T>(result: &Result<T>) -> bool {
    result
        .as_ref()
        .err()
        .is_none_or(|error| !classify(error).is_retriable())
}

/// Whether the answer is surely small enough to ask for twice.
fn is_bounded(options: &GetOptions) -> bool {
    match &options.range {
        Some(GetRange::Bounded(range)) => {
            range.end.saturating_sub(range.start) <= COLLECT_BYTES_MAX
        }
        Some(GetRange::Suffix(count)) => *count <= COLLECT_BYTES_MAX,
        Some(GetRange::Offset(_)) | None => false,
    }
}

impl fmt::Display for Hedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hedged({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Hedged {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head || !is_bounded(&options) {
            return self.inner.get_opts(location, options).await;
        }
        self.hedged(location, options).await
    }

    delegate_object_store!(
        inner: put_opts, put_multipart_opts, get_ranges, delete_stream, list, list_with_offset,
        list_with_delimiter, copy_opts, rename_opts
    );
}

#[cfg(test)]
mod tests;
