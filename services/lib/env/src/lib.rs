//! Effects as arguments: clock, randomness, supervisor, backoff and invariant checks; and how errors are
//! told and metrics registered.
//!
//! Code below this crate is a function of what it is given. Only this crate touches the real clock, the
//! real source of randomness and the runtime's `spawn`; everything else takes an [`Env`] or a part of it,
//! so that a test, and later a simulation, can hand in others.

pub mod backoff;
mod causes;
pub mod clock;
mod invariant;
mod metrics;
pub mod rng;
pub mod supervisor;
mod workers;

use std::sync::Arc;

pub use backoff::{Backoff, BackoffPolicy};
pub use causes::error_chain;
pub use clock::{Clock, ManualClock, MonoTime, SystemClock};
pub use invariant::InvariantId;
pub use metrics::register_each;
pub use rng::{Rng, SeededRng, SystemRng};
pub use supervisor::{ShutdownError, Supervisor, TaskFailure};
pub use tokio_util::sync::CancellationToken;

/// The effects that most parts need, handed down together.
#[derive(Clone, Debug)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Owner of background tasks.
    pub supervisor: Supervisor,
}

impl Env {
    /// The effects of a real process.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
            supervisor: Supervisor::new(),
        }
    }

    /// Real time but seeded randomness: for tests that want the same choices at each run.
    pub fn seeded(seed: u64) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SeededRng::new(seed)),
            supervisor: Supervisor::new(),
        }
    }
}
