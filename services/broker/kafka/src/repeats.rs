//! What stands in a request more than once: it is not done, and mostly answered for once.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use tidelog_kafka_codec::ErrorCode;

use crate::errors::Refusal;

/// How often each thing of a request stands there.
#[derive(Debug)]
pub(crate) struct Repeats<K>(HashMap<K, u32>);

impl<K: Eq + Hash> Repeats<K> {
    /// Counts all that is named.
    pub(crate) fn of(named: impl IntoIterator<Item = K>) -> Self {
        let mut times = HashMap::new();
        for key in named {
            *times.entry(key).or_default() += 1;
        }
        Self(times)
    }

    /// Whether it may be done; `what` names it for people.
    pub(crate) fn check(&self, key: &K, what: impl Display) -> Result<(), Refusal> {
        refused_if(self.0.get(key).is_some_and(|times| *times > 1), what)
    }

    /// The same where it is answered for once: nothing when it comes again.
    pub(crate) fn check_once(
        &mut self,
        key: &K,
        what: impl Display,
    ) -> Option<Result<(), Refusal>> {
        let times = self.0.remove(key)?;
        Some(refused_if(times > 1, what))
    }
}

fn refused_if(is_repeated: bool, what: impl Display) -> Result<(), Refusal> {
    if is_repeated {
        let message = format!("{what} stands there twice");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}
