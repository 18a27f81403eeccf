//! The counters of one role.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::{ErrorLabels, Labels, Metrics, Operation, Role, TrafficLabels};
use crate::errors::ErrorKind;
use crate::purpose::Purpose;

/// The counters of one role. Clones share them.
#[derive(Clone, Debug)]
pub struct Meter {
    inner: Arc<MeterInner>,
}

#[derive(Debug)]
struct MeterInner {
    role: Role,
    families: Metrics,
    lines: [Line; Operation::ALL.len()],
    /// Begun when there is something to count, so that nobody exports what a role never does.
    flows: [[OnceLock<Flow>; Purpose::ALL.len()]; OPERATIONS_TOLD],
}

/// The operations, and the parts of objects beside them.
const OPERATIONS_TOLD: usize = Operation::ALL.len() + 1;
/// Where parts of objects are counted.
const RANGED: usize = Operation::ALL.len();

/// What kind of request it is, for the counts of requests and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    operation: Operation,
    is_ranged: bool,
    purpose: Purpose,
}

impl Traffic {
    /// A request that has nothing to do with a part of an object.
    pub(crate) const fn of(operation: Operation, purpose: Purpose) -> Self {
        Self {
            operation,
            is_ranged: false,
            purpose,
        }
    }

    /// A GET of a part of an object.
    pub(crate) const fn ranged(purpose: Purpose) -> Self {
        Self {
            operation: Operation::Get,
            is_ranged: true,
            purpose,
        }
    }

    pub(crate) const fn operation(self) -> Operation {
        self.operation
    }

    const fn index(self) -> usize {
        if self.is_ranged {
            RANGED
        } else {
            self.operation as usize
        }
    }

    const fn label(self) -> &'static str {
        if self.is_ranged {
            "get_range"
        } else {
            self.operation.as_str()
        }
    }
}

/// Requests and bytes of one kind.
#[derive(Debug)]
struct Flow {
    requests: Counter,
    sent: Counter,
    received: Counter,
}

/// The counters of one operation.
#[derive(Debug)]
struct Line {
    latency: Histogram,
    retries: Counter,
    hedges: Counter,
    hedges_won: Counter,
    errors: AtomicU64,
}

/// What was counted for one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationSnapshot {
    /// Requests begun.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Hedges sent.
    pub hedges: u64,
    /// Hedges that came first.
    pub hedges_won: u64,
}

/// What was counted for one role, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterSnapshot {
    operations: [OperationSnapshot; Operation::ALL.len()],
}

impl MeterSnapshot {
    /// One operation.
    pub const fn get(&self, operation: Operation) -> OperationSnapshot {
        self.operations[operation as usize]
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.operations.iter().map(|line| line.requests).sum()
    }
}

impl Meter {
    /// Counts on these families.
    pub(super) fn new(families: &Metrics, role: Role) -> Self {
        let line = |operation: Operation| {
            let labels = Labels {
                operation: operation.as_str(),
                role: role.as_str(),
            };
            Line {
                latency: families.latency.get_or_create_owned(&labels),
                retries: families.retries.get_or_create_owned(&labels),
                hedges: families.hedges.get_or_create_owned(&labels),
                hedges_won: families.hedges_won.get_or_create_owned(&labels),
                errors: AtomicU64::new(0),
            }
        };
        Self {
            inner: Arc::new(MeterInner {
                role,
                families: families.clone(),
                lines: Operation::ALL.map(line),
                flows: Default::default(),
            }),
        }
    }

    /// The role that is counted.
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// What was counted so far. The parts are read one after the other.
    pub fn snapshot(&self) -> MeterSnapshot {
        MeterSnapshot {
            operations: Operation::ALL.map(|operation| {
                let line = self.line(operation);
                let sum = |count: fn(&Flow) -> &Counter| {
                    self.flows(operation).map(|flow| count(flow).get()).sum()
                };
                OperationSnapshot {
                    requests: sum(|flow| &flow.requests),
                    errors: line.errors.load(Ordering::Relaxed),
                    sent_bytes: sum(|flow| &flow.sent),
                    received_bytes: sum(|flow| &flow.received),
                    retries: line.retries.get(),
                    hedges: line.hedges.get(),
                    hedges_won: line.hedges_won.get(),
                }
            }),
        }
    }

    fn line(&self, operation: Operation) -> &Line {
        &self.inner.lines[operation as usize]
    }

    /// What was counted of an operation, for each purpose; parts of objects with whole ones.
    fn flows(&self, operation: Operation) -> impl Iterator<Item = &Flow> {
        let ranged = (operation == Operation::Get).then_some(RANGED);
        let indexes = [Some(operation as usize), ranged].into_iter().flatten();
        indexes.flat_map(|index| self.inner.flows[index].iter().filter_map(OnceLock::get))
    }

    fn flow(&self, traffic: Traffic) -> &Flow {
        let cell = &self.inner.flows[traffic.index()][traffic.purpose as usize];
        cell.get_or_init(|| {
            let labels = TrafficLabels {
                operation: traffic.label(),
                role: self.inner.role.as_str(),
                purpose: traffic.purpose.as_str(),
            };
            let families = &self.inner.families;
            Flow {
                requests: families.requests.get_or_create_owned(&labels),
                sent: families.sent.get_or_create_owned(&labels),
                received: families.received.get_or_create_owned(&labels),
            }
        })
    }

    pub(crate) fn begin(&self, traffic: Traffic, sent_bytes: u64) {
        let flow = self.flow(traffic);
        flow.requests.inc();
        flow.sent.inc_by(sent_bytes);
    }

    pub(crate) fn received(&self, traffic: Traffic, bytes: u64) {
        self.flow(traffic).received.inc_by(bytes);
    }

    pub(crate) fn end(&self, operation: Operation, took: Duration) {
        self.line(operation).latency.observe(took.as_secs_f64());
    }

    pub(crate) fn error(&self, operation: Operation, kind: ErrorKind) {
        self.line(operation).errors.fetch_add(1, Ordering::Relaxed);
        let labels = ErrorLabels {
            operation: operation.as_str(),
            role: self.inner.role.as_str(),
            kind: kind.as_str(),
        };
        self.inner
            .families
            .errors
            .get_or_create_owned(&labels)
            .inc();
    }

    pub(crate) fn retry(&self, operation: Operation) {
        self.line(operation).retries.inc();
    }

    pub(crate) fn hedge(&self, operation: Operation) {
        self.line(operation).hedges.inc();
    }

    pub(crate) fn hedge_won(&self, operation: Operation) {
        self.line(operation).hedges_won.inc();
    }
}
