//! Which request meets which fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use tidelog_env::Rng;

use crate::metrics::Operation;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not done; the store answers this status with this code of S3, e.g. 503 `SlowDown`.
    Status(u16, &'static str),
    /// Not done; no answer in time.
    Timeout,
    /// Not done; there is never an answer.
    Hang,
    /// Done; the answer is lost.
    GhostTimeout,
    /// Done; there is never an answer.
    GhostHang,
    /// The answer is lost; done only at [`super::FaultyStore::land_ghosts`].
    GhostLater,
    /// Done; the answer is that the object exists already, as when an attempt below was repeated.
    GhostAlreadyExists,
    /// Not done, though the answer is that it is. A listing that lies is empty.
    Lie,
    /// Done, after a while on the clock.
    Delay(Duration),
    /// The body lacks this many bytes at its end, the announcement does not.
    Truncate(u64),
    /// This bit of the body is flipped, counted modulo the body.
    FlipBit(u64),
    /// The bytes come from this much further on in the object, as far as there are any; the announcement
    /// is the right one.
    WrongRange(u64),
    /// The disk is full.
    DiskFull,
    /// The file system is read-only.
    ReadOnly,
}

impl Fault {
    /// 503 `SlowDown`.
    pub const SLOW_DOWN: Self = Self::Status(503, "SlowDown");
    /// 500 `InternalError`.
    pub const INTERNAL: Self = Self::Status(500, "InternalError");
    /// 409, by which S3 refuses one of two conditional writes at once.
    pub const CONFLICT: Self = Self::Status(409, "ConditionalRequestConflict");
    /// 404 for an object that may be there.
    pub const NOT_FOUND: Self = Self::Status(404, "NoSuchKey");
    /// 403.
    pub const DENIED: Self = Self::Status(403, "AccessDenied");

    /// The name under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status(..) => "status",
            Self::Timeout => "timeout",
            Self::Hang => "hang",
            Self::GhostTimeout => "ghost_timeout",
            Self::GhostHang => "ghost_hang",
            Self::GhostLater => "ghost_later",
            Self::GhostAlreadyExists => "ghost_already_exists",
            Self::Lie => "lie",
            Self::Delay(_) => "delay",
            Self::Truncate(_) => "truncate",
            Self::FlipBit(_) => "flip_bit",
            Self::WrongRange(_) => "wrong_range",
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
        }
    }
}

/// Which requests meet a fault: all of them, until narrowed.
#[derive(Clone, Debug)]
pub struct FaultRule {
    fault: Fault,
    operation: Option<Operation>,
    path_part: Option<String>,
    skip: u64,
    times: u64,
}

impl FaultRule {
    /// Every request meets `fault`.
    pub const fn new(fault: Fault) -> Self {
        Self {
            fault,
            operation: None,
            path_part: None,
            skip: 0,
            times: u64::MAX,
        }
    }

    /// Only requests of this kind.
    #[must_use]
    pub const fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests whose path contains this.
    #[must_use]
    pub fn at(mut self, path_part: &str) -> Self {
        self.path_part = Some(path_part.to_owned());
        self
    }

    /// Not the first `count` that match.
    #[must_use]
    pub const fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Only so many, then the rule is used up.
    #[must_use]
    pub const fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Only the next that matches.
    #[must_use]
    pub const fn once(self) -> Self {
        self.times(1)
    }

    /// Whether the rule acts on this request; counts it if it matches.
    fn take(&mut self, operation: Operation, path: &Path) -> bool {
        let matches = self.operation.is_none_or(|only| only == operation)
            && self
                .path_part
                .as_ref()
                .is_none_or(|part| path.as_ref().contains(part));
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// Faults by chance.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    /// Each fault with how many requests in a thousand meet it, and the kind of request that can.
    pub per_mille: Vec<(Fault, Operation, u16)>,
}

/// The faults to come and the counts of those that were.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) rules: Vec<FaultRule>,
    pub(super) chaos: Option<(Arc<dyn Rng>, Chaos)>,
    pub(super) injected: BTreeMap<&'static str, u64>,
    pub(super) seen: [u64; Operation::ALL.len()],
}

impl Plan {
    pub(super) fn draw(&mut self, operation: Operation, path: &Path) -> Option<Fault> {
        self.seen[operation as usize] += 1;
        let ruled = self.rules.iter_mut().find_map(|rule| {
            let acts = rule.take(operation, path);
            acts.then_some(rule.fault)
        });
        self.rules.retain(|rule| rule.times > 0);
        let fault = ruled.or_else(|| self.draw_by_chance(operation))?;
        *self.injected.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    fn draw_by_chance(&self, operation: Operation) -> Option<Fault> {
        let (rng, chaos) = self.chaos.as_ref()?;
        let mut point = rng.below(1_000);
        for (fault, only, share) in &chaos.per_mille {
            if *only != operation {
                continue;
            }
            match point.checked_sub(u64::from(*share)) {
                Some(rest) => point = rest,
                None => return Some(*fault),
            }
        }
        None
    }
}
