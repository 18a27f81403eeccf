//! What every connection shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidelog_broker_engine::{ClaimShare, Engine, FairShare, HolderId, MemoryShare};
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::{Cluster, KafkaAddress, OrderKey};
use tidelog_runtime::access::{Authorizer, Quota};

use crate::metrics::{Held, KafkaMetrics};
use crate::settings::KafkaSettings;

/// What the front end is built from.
#[derive(Clone, Debug)]
pub struct KafkaParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// The engine.
    pub engine: Engine,
    /// The other brokers.
    pub cluster: Arc<dyn Cluster>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// How much of it.
    pub quota: Arc<dyn Quota>,
    /// Limits.
    pub settings: KafkaSettings,
    /// Where it reports.
    pub metrics: KafkaMetrics,
    /// Where clients reach this process, and through which listener.
    pub advertised: KafkaAddress,
    /// The zone of this process, which clients know as its rack; empty if nobody said.
    pub zone: String,
}

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) parts: KafkaParts,
    /// Cancelled when nothing new is taken any more.
    pub(crate) stop: CancellationToken,
    /// Bytes of requests that are being received, and of those that wait for memory for their batches.
    pub(crate) intake: ClaimShare,
    /// Bytes of answers that are not taken yet.
    pub(crate) answers: FairShare,
    /// Memory for what clients want in their sessions.
    pub(crate) sessions: MemoryShare,
    orders: AtomicU64,
    holders: AtomicU64,
}

impl Front {
    pub(crate) fn new(parts: KafkaParts, stop: CancellationToken) -> Self {
        // Brokers count from places of their own, since one sequencer hears from many of them.
        let orders = AtomicU64::new(parts.env.rng.next_u64());
        let front = Self {
            sessions: MemoryShare::new(parts.settings.session_bytes),
            intake: ClaimShare::new(parts.settings.intake_bytes),
            answers: FairShare::new(parts.settings.answer_bytes),
            parts,
            stop,
            orders,
            holders: AtomicU64::new(0),
        };
        front.report_held();
        front
    }

    fn report_held(&self) {
        let KafkaSettings {
            intake_bytes,
            session_bytes,
            ..
        } = self.parts.settings;
        let intake = self.intake.clone();
        let answers = self.answers.clone();
        let sessions = self.sessions.clone();
        self.parts.metrics.report_held(move || Held {
            requests: intake_bytes.saturating_sub(intake.free_bytes()),
            answers: answers.used_bytes(),
            sessions: session_bytes.saturating_sub(sessions.free_bytes()),
        });
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// A key that no caller has had.
    pub(crate) fn new_order(&self) -> OrderKey {
        OrderKey(self.orders.fetch_add(1, Ordering::Relaxed))
    }

    /// The name under which a connection holds memory of answers.
    pub(crate) fn new_holder(&self) -> HolderId {
        HolderId(self.holders.fetch_add(1, Ordering::Relaxed))
    }
}
