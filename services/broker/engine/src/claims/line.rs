//! Those who wait, by when they came and by what they still need.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

/// Whenever something is given back, so many are looked at of those who need least, and of those who wait longest,
/// in turn.
const LOOKS_MAX: usize = 64;

/// Who asks for the next piece.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) bytes: u64,
    /// What its claim needed when it came.
    pub(super) rest: u64,
    pub(super) granted: oneshot::Sender<()>,
}

/// Why somebody is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    NeedsLeast,
    WaitsLongest,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    by_time: BTreeMap<u64, Waiter>,
    by_rest: BTreeSet<(u64, u64)>,
    /// Who needs least was served last.
    is_turn_of_longest: bool,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    pub(super) fn enter(&mut self, ticket: u64, waiter: Waiter) {
        self.by_rest.insert((waiter.rest, ticket));
        self.by_time.insert(ticket, waiter);
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Waiter> {
        self.by_time.get(&ticket)
    }

    pub(super) fn leave(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.by_time.remove(&ticket)?;
        self.by_rest.remove(&(waiter.rest, ticket));
        Some(waiter)
    }

    /// One is served in its turn; the next is of the others.
    pub(super) fn serve(&mut self, ticket: u64, turn: Turn) -> Option<Waiter> {
        self.is_turn_of_longest = turn == Turn::NeedsLeast;
        self.leave(ticket)
    }

    /// Whom to look at, in this order.
    pub(super) fn order(&self) -> Vec<(Turn, u64)> {
        let longest = self.by_time.keys().copied().take(LOOKS_MAX);
        let least = self.by_rest.iter().map(|(_, ticket)| *ticket);
        let least = least.take(LOOKS_MAX);
        let pairs = least.zip(longest);
        let pairs = pairs.map(|(a, b)| [(Turn::NeedsLeast, a), (Turn::WaitsLongest, b)]);
        pairs
            .flat_map(|[least, longest]| {
                if self.is_turn_of_longest {
                    [longest, least]
                } else {
                    [least, longest]
                }
            })
            .collect()
    }
}
