//! A share of the process's memory, counted in bytes (invariant I7).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

/// How much larger a request may be than one that came just before it, to be served first all the same. So
/// one that wants a mebibyte is overtaken by 128 small ones at most.
const TURN_BYTES: u64 = 8 * 1_024;

/// A share of memory. Clones share it.
///
/// Those who wait are served in the order of what they want and when they came: a small request does not wait
/// for all large ones before it, and a large one waits for a bounded number of small ones. Nobody is
/// served out of this order, so that nobody waits for ever.
#[derive(Clone, Debug)]
pub struct MemoryShare {
    total: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: u64,
    waiting: BTreeMap<Turn, Waiter>,
    tickets: u64,
}

/// The place of one that waits: what it wants and when it came, and a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    order: u64,
    ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    answer: oneshot::Sender<MemoryHold>,
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct MemoryHold {
    bytes: u64,
    state: Arc<Mutex<State>>,
}

/// The share is used up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("memory for requests is used up: `{wanted}` bytes wanted, `{free}` of `{total}` free")]
pub struct MemoryExhausted {
    /// What was asked for.
    pub wanted: u64,
    /// What is free.
    pub free: u64,
    /// The whole share.
    pub total: u64,
}

impl MemoryShare {
    /// A share of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let state = State {
            free: bytes,
            waiting: BTreeMap::new(),
            tickets: 0,
        };
        Self {
            total: bytes,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// More than the whole share counts as the whole share, so that one large request waits for all others
    /// instead of for ever.
    fn capped(&self, bytes: u64) -> u64 {
        bytes.min(self.total)
    }

    /// Waits for the bytes. Cancel-safe.
    pub async fn hold(&self, bytes: u64) -> MemoryHold {
        let bytes = self.capped(bytes);
        let (waiting, answer) = {
            let mut state = self.state.lock();
            if let Some(hold) = self.take(&mut state, bytes) {
                return hold;
            }
            let (sender, answer) = oneshot::channel();
            let waiter = Waiter {
                bytes,
                answer: sender,
            };
            let turn = state.enter(waiter);
            let state = &self.state;
            (Waiting { state, turn }, answer)
        };
        // It may go before those who wait already.
        serve(&self.state, |_| {});
        let hold = answer.await;
        drop(waiting);
        match hold {
            Ok(hold) => hold,
            // Who waits is answered or goes by itself.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes the bytes if they are free now and nobody waits for them.
    pub fn try_hold(&self, bytes: u64) -> Result<MemoryHold, MemoryExhausted> {
        let capped = self.capped(bytes);
        let mut state = self.state.lock();
        self.take(&mut state, capped).ok_or(MemoryExhausted {
            wanted: bytes,
            free: state.free,
            total: self.total,
        })
    }

    /// Whether so much can be held at all, and nobody waits for any.
    pub fn is_open_to(&self, bytes: u64) -> bool {
        bytes <= self.total && self.state.lock().waiting.is_empty()
    }

    /// What is free now.
    pub fn free_bytes(&self) -> u64 {
        self.state.lock().free
    }

    fn take(&self, state: &mut State, bytes: u64) -> Option<MemoryHold> {
        if !state.waiting.is_empty() {
            return None;
        }
        state.free = state.free.checked_sub(bytes)?;
        let state = Arc::clone(&self.state);
        Some(MemoryHold { bytes, state })
    }
}

impl State {
    fn enter(&mut self, waiter: Waiter) -> Turn {
        let ticket = self.tickets;
        self.tickets += 1;
        let came = ticket.saturating_mul(TURN_BYTES);
        let order = came.saturating_add(waiter.bytes);
        let turn = Turn { order, ticket };
        self.waiting.insert(turn, waiter);
        turn
    }

    /// Those whose turn it is and for whom there is enough.
    fn served(&mut self) -> Vec<Waiter> {
        let mut served = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            let Some(left) = self.free.checked_sub(first.get().bytes) else {
                break;
            };
            self.free = left;
            served.push(first.remove());
        }
        served
    }
}

/// Gives bytes back, or a place among those who wait, and serves whoever can be served then.
fn serve(state: &Arc<Mutex<State>>, change: impl FnOnce(&mut State)) {
    let served = {
        let mut state = state.lock();
        change(&mut state);
        state.served()
    };
    for waiter in served {
        let hold = MemoryHold {
            bytes: waiter.bytes,
            state: Arc::clone(state),
        };
        // Whoever has gone in between gives it back by dropping it.
        let _ = waiter.answer.send(hold);
    }
}

/// One that waits; its place goes with it.
struct Waiting<'a> {
    state: &'a Arc<Mutex<State>>,
    turn: Turn,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let turn = self.turn;
        serve(self.state, |state| {
            state.waiting.remove(&turn);
        });
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        let bytes = self.bytes;
        serve(&self.state, |state| state.free += bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;

    use super::*;

    const KIB: u64 = 1_024;

    #[tokio::test]
    async fn a_share_gives_out_no_more_than_it_has_and_takes_it_back() {
        let share = MemoryShare::new(10 * KIB);
        let first = share.try_hold(6 * KIB).unwrap();
        let error = share.try_hold(5 * KIB).unwrap_err();
        assert_eq!(error.free, 4 * KIB);
        let mut waiting = Box::pin(share.hold(5 * KIB));
        assert!(poll!(&mut waiting).is_pending());
        assert!(share.try_hold(KIB).is_err(), "somebody waits");
        assert!(!share.is_open_to(KIB));
        drop(first);
        let _second = waiting.await;
        assert_eq!(share.free_bytes(), 5 * KIB);
        assert!(share.is_open_to(10 * KIB) && !share.is_open_to(11 * KIB));
    }

    #[tokio::test]
    async fn a_request_larger_than_the_share_takes_all_of_it() {
        let share = MemoryShare::new(4 * KIB);
        let all = share.hold(100 * KIB).await;
        assert_eq!(share.free_bytes(), 0);
        drop(all);
        assert_eq!(share.free_bytes(), 4 * KIB);
    }

    #[tokio::test]
    async fn a_small_request_goes_before_large_ones_but_not_for_ever() {
        let share = MemoryShare::new(100 * KIB);
        let mut held = Some(share.hold(100 * KIB).await);
        let mut large = Box::pin(share.hold(80 * KIB));
        assert!(poll!(&mut large).is_pending());
        let mut small_before = 0;
        loop {
            let mut small = Box::pin(share.hold(30 * KIB));
            let mut turn = poll!(&mut small);
            drop(held.take());
            if turn.is_pending() {
                turn = poll!(&mut small);
            }
            let Poll::Ready(got) = turn else {
                assert!(poll!(&mut large).is_ready());
                break;
            };
            small_before += 1;
            assert!(poll!(&mut large).is_pending());
            // The rest is too little for the large one, which is the next.
            held = Some(got);
        }
        assert_eq!(small_before, (80 - 30) / 8);
    }

    #[tokio::test]
    async fn one_that_goes_while_it_waits_leaves_the_others_their_turn() {
        let share = MemoryShare::new(10 * KIB);
        let held = share.hold(8 * KIB).await;
        let mut first = Box::pin(share.hold(4 * KIB));
        let mut second = Box::pin(share.hold(2 * KIB + TURN_BYTES));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        drop(first);
        drop(held);
        let second = second.await;
        assert_eq!(share.free_bytes(), 0);
        // An answer that nobody took comes back.
        let mut third = Box::pin(share.hold(KIB));
        assert!(poll!(&mut third).is_pending());
        drop(second);
        drop(third);
        assert_eq!(share.free_bytes(), 10 * KIB);
    }
}
