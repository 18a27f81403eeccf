//! What follows from an event.

use crate::GroupError;
use crate::classic::{Joined, Synced};

/// Names a request that waits for its answer. Whoever drives the group gives them out, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The answer to a request that may have had to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a join.
    Join(Result<Joined, GroupError>),
    /// To a sync.
    Sync(Result<Synced, GroupError>),
}

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The group has changed in a way that must be durable before any of the answers is given.
    pub store: bool,
    /// Who is answered, in order.
    pub answers: Vec<(Ticket, Answer)>,
}

impl Effects {
    pub(crate) fn join(&mut self, ticket: Ticket, answer: Result<Joined, GroupError>) {
        self.answers.push((ticket, Answer::Join(answer)));
    }

    pub(crate) fn sync(&mut self, ticket: Ticket, answer: Result<Synced, GroupError>) {
        self.answers.push((ticket, Answer::Sync(answer)));
    }
}
