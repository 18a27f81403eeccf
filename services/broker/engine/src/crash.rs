//! Places at which a test can make the process die, as if the power had gone.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The places, in the order in which a batch passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The segment is sealed; nothing was sent.
    BeforePut,
    /// The upload has begun.
    PutSent,
    /// The object is known to be stored.
    PutAcked,
    /// The manifests are with the metadata service.
    CommitSent,
    /// The commit is known to be durable; nobody was answered.
    CommitApplied,
    /// The callers were answered.
    AckSent,
}

/// The text names no crash point.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no crash point: use before_put, put_sent, put_acked, commit_sent, commit_applied or \
     ack_sent, and `:n` for the n-th time"
)]
pub struct UnknownCrashPoint(String);

#[derive(Debug)]
struct Plan {
    point: CrashPoint,
    passes_left: AtomicU64,
}

/// Where to die; nowhere by default. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct CrashPlan(Option<Arc<Plan>>);

impl CrashPlan {
    /// Dies when `point` is passed, if that is where the plan says so.
    pub(crate) fn pass(&self, point: CrashPoint) {
        let Some(plan) = self.0.as_deref().filter(|plan| plan.point == point) else {
            return;
        };
        if plan.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::error!(?point, "crash point reached");
            // No destructor runs and nothing is flushed, as with `kill -9`.
            std::process::abort();
        }
    }
}

impl FromStr for CrashPlan {
    type Err = UnknownCrashPoint;

    /// Reads `point` or `point:n`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownCrashPoint(text.to_owned());
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let point = match name {
            "before_put" => CrashPoint::BeforePut,
            "put_sent" => CrashPoint::PutSent,
            "put_acked" => CrashPoint::PutAcked,
            "commit_sent" => CrashPoint::CommitSent,
            "commit_applied" => CrashPoint::CommitApplied,
            "ack_sent" => CrashPoint::AckSent,
            _ => return Err(unknown()),
        };
        let count = count
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(unknown)?;
        Ok(Self(Some(Arc::new(Plan {
            point,
            passes_left: AtomicU64::new(count),
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_a_point_and_a_count_and_nothing_else() {
        let plan: CrashPlan = "put_acked:3".parse().unwrap();
        assert_eq!(plan.0.as_ref().unwrap().point, CrashPoint::PutAcked);
        plan.pass(CrashPoint::BeforePut);
        plan.pass(CrashPoint::PutAcked);
        plan.pass(CrashPoint::PutAcked);
        assert_eq!(plan.0.unwrap().passes_left.load(Ordering::Relaxed), 1);
        for bad in ["", "put", "put_sent:0", "put_sent:x"] {
            assert!(bad.parse::<CrashPlan>().is_err(), "{bad}");
        }
    }
}
