//! Whether the process lives and whether it can serve, as named conditions.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Why a condition does not hold that nobody has said anything about yet.
const STARTING: &str = "starting";

/// The conditions of one process. Clones share them.
///
/// A condition is registered before the part it speaks of is started and begins as not met, so a process
/// is never ready before all of its parts have said so.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Conditions by name; `Some` says why one is not met.
    conditions: BTreeMap<&'static str, Option<String>>,
    /// Set once, when the process must not go on.
    failure: Option<String>,
}

/// One condition; whoever holds it says whether it is met.
#[derive(Debug)]
pub struct Condition {
    health: Health,
    name: &'static str,
}

impl Health {
    /// A process without conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is not met yet. A name that is there already is shared.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.state
            .lock()
            .conditions
            .entry(name)
            .or_insert_with(|| Some(STARTING.to_owned()));
        Condition {
            health: self.clone(),
            name,
        }
    }

    /// Says that the process must not go on. The first reason stays.
    pub fn fail(&self, reason: impl Into<String>) {
        self.state.lock().failure.get_or_insert(reason.into());
    }

    /// Why the process must not go on, if so.
    pub fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    /// The conditions that are not met, by name, with the reason; empty means ready.
    pub fn unmet(&self) -> BTreeMap<&'static str, String> {
        let state = self.state.lock();
        let mut unmet: BTreeMap<&'static str, String> = state
            .conditions
            .iter()
            .filter_map(|(name, reason)| Some((*name, reason.clone()?)))
            .collect();
        if let Some(failure) = &state.failure {
            unmet.insert("process", failure.clone());
        }
        unmet
    }
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        self.set(None);
    }

    /// The condition is not met, and why.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        self.health
            .state
            .lock()
            .conditions
            .insert(self.name, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_once_every_condition_is_met() {
        let health = Health::new();
        let store = health.condition("store");
        let broker = health.condition("broker");
        assert_eq!(health.unmet().len(), 2);
        store.met();
        broker.met();
        assert!(health.unmet().is_empty());
        broker.unmet("draining");
        assert_eq!(
            health.unmet(),
            BTreeMap::from([("broker", "draining".to_owned())])
        );
    }

    #[test]
    fn after_a_failure_it_is_never_ready_again() {
        let health = Health::new();
        health.fail("fenced");
        health.fail("later");
        assert_eq!(health.failure().as_deref(), Some("fenced"));
        assert_eq!(health.unmet().len(), 1);
    }
}
