//! A share of memory for messages that come piece by piece.
//!
//! Who begins such a message says how long it is, and may never send the rest. If all of it were held from the
//! start, a few who send nothing would keep everybody out for as long as it takes to give them up, one lot after
//! the other. If what has come were all that counts, many who all send could fill the share with halves of
//! messages, and none of them could go on. So a message **claims** its length and holds what has come, and is
//! let go on only while there is an order in which all that have begun can come in whole, each with what is
//! free and what those before it give back (the banker's algorithm). Hence:
//!
//! - No more is held than there is, and those who go on sending always come in.
//! - What has begun goes on before anything else begins: a part of the share is kept for that.
//! - Whoever stands still costs what has come of it. A message that fits beside what is held waits for nobody
//!   who wants more.
//!
//! ```text
//!   share  |###### complete ######|## a ##|# b #|........ free ........|
//!           given back by itself    a needs 60,  b needs 90,  free is 70: a can come in, then b
//! ```

mod gathered;
mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::line::{Line, Turn, Waiter};

pub use gathered::Gathered;

/// What is given at a time. Requests are alike then, so that large ones are not passed over by small ones that
/// fit into what has just become free.
const STEP_BYTES: u64 = 16 * 1_024;
/// Who begins leaves this part of the share to those who have begun, unless nobody has. Otherwise they would wait
/// for those who stand still whenever these have taken the last of it.
const KEPT_PART: u64 = 4;
/// So many parts are passed over, more or less, whenever something is given back, to see who may go on: the sizes
/// of messages could be such that every look is at all of them.
const WALK_MAX: usize = 10_000;

/// A share of memory, given out to claims. Clones share it.
#[derive(Clone, Debug)]
pub struct ClaimShare {
    state: Arc<Mutex<State>>,
}

/// A place in the share. Dropping it gives back what it holds.
#[derive(Debug)]
pub struct Claim {
    id: u64,
    state: Arc<Mutex<State>>,
}

/// What one has and still needs.
#[derive(Clone, Copy, Debug)]
struct Entry {
    held: u64,
    rest: u64,
}

#[derive(Debug)]
struct State {
    total: u64,
    free: u64,
    claims: HashMap<u64, Entry>,
    /// What those hold who need nothing more.
    complete: u64,
    /// What those hold who need more, by how much that is.
    parts: BTreeMap<(u64, u64), u64>,
    /// Those who wait to go on. Nobody who wants to begin is looked at before them.
    begun: Line,
    /// Those who wait to begin.
    beginning: Line,
    /// How many parts were passed over since somebody was served.
    walked: usize,
    next: u64,
}

impl ClaimShare {
    /// A share of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let state = State {
            total: bytes,
            free: bytes,
            claims: HashMap::new(),
            complete: 0,
            parts: BTreeMap::new(),
            begun: Line::default(),
            beginning: Line::default(),
            walked: 0,
            next: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A claim that holds nothing yet. One of more than the whole share counts as one of the whole share, so that
    /// it waits for all others instead of for ever.
    pub fn claim(&self, whole: u64) -> Claim {
        let mut state = self.state.lock();
        let id = state.number();
        let rest = whole.min(state.total);
        state.claims.insert(id, Entry { held: 0, rest });
        let state = Arc::clone(&self.state);
        Claim { id, state }
    }

    /// What nobody holds.
    pub fn free_bytes(&self) -> u64 {
        self.state.lock().free
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let state = self.state.lock();
        state.begun.len() + state.beginning.len()
    }
}

impl Claim {
    /// Holds so many bytes more, at most what is claimed, and waits until they may come. Cancel-safe: what was
    /// given until then stays with the claim.
    pub async fn grow(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 && self.needs() {
            let step = left.min(STEP_BYTES);
            self.step(step).await;
            left -= step;
        }
    }

    /// Whether more of it may come than is held.
    fn needs(&self) -> bool {
        let state = self.state.lock();
        state
            .claims
            .get(&self.id)
            .is_some_and(|entry| entry.rest > 0)
    }

    async fn step(&self, bytes: u64) {
        let (ticket, granted) = {
            let mut state = self.state.lock();
            if state.take_at_once(self.id, bytes) {
                return;
            }
            let (answer, granted) = oneshot::channel();
            (state.enter(self.id, bytes, answer), granted)
        };
        let waiting = Waiting {
            state: &self.state,
            ticket,
        };
        // Who begins may go before those who wait to begin already.
        serve(&self.state, State::served_to_begin);
        if granted.await.is_err() {
            // Who waits is answered or goes by itself.
            std::future::pending::<()>().await;
        }
        drop(waiting);
    }

    /// Holds so many bytes more, at most what is claimed, if they may come now, and nobody waits or this has
    /// begun.
    pub fn try_grow(&self, bytes: u64) -> bool {
        self.state.lock().take_at_once(self.id, bytes)
    }

    /// Holds all that is claimed, if nobody waits and there is so much.
    pub fn try_whole(&self) -> bool {
        self.try_grow(u64::MAX)
    }

    /// What is held is all: nothing more comes.
    pub fn complete(&self) {
        serve(&self.state, |state| {
            if let Some(entry) = state.claims.get(&self.id).copied() {
                state.put(self.id, Entry { rest: 0, ..entry });
            }
            state.served()
        });
    }

    /// What is held.
    pub fn held_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.claims.get(&self.id).map_or(0, |entry| entry.held)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        serve(&self.state, |state| {
            if let Some(entry) = state.claims.remove(&self.id) {
                state.uncount(self.id, entry);
                state.free += entry.held;
            }
            state.served()
        });
    }
}

impl State {
    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn count(&mut self, id: u64, entry: Entry) {
        if entry.rest == 0 {
            self.complete += entry.held;
        } else if entry.held > 0 {
            self.parts.insert((entry.rest, id), entry.held);
        }
    }

    fn uncount(&mut self, id: u64, entry: Entry) {
        if entry.rest == 0 {
            self.complete -= entry.held;
        } else if entry.held > 0 {
            self.parts.remove(&(entry.rest, id));
        }
    }

    fn put(&mut self, id: u64, entry: Entry) {
        if let Some(before) = self.claims.insert(id, entry) {
            self.uncount(id, before);
        }
        self.count(id, entry);
    }

    /// Whether all that have begun can come in, one after the other: whoever needs least first.
    fn is_safe(&mut self) -> bool {
        let Some((&(most, _), _)) = self.parts.last_key_value() else {
            return true;
        };
        let mut there = self.free + self.complete;
        for (&(rest, _), held) in &self.parts {
            if there >= most {
                return true;
            }
            if rest > there {
                return false;
            }
            there += held;
            self.walked += 1;
        }
        true
    }

    /// Gives so many bytes, if that leaves a way for all, and this has begun or nobody waits. Who needs nothing
    /// more has it.
    fn take_at_once(&mut self, id: u64, bytes: u64) -> bool {
        let Some(entry) = self.claims.get(&id).copied() else {
            return true;
        };
        let nobody_waits = self.begun.is_empty() && self.beginning.is_empty();
        entry.rest == 0 || ((entry.held > 0 || nobody_waits) && self.try_take(id, bytes))
    }

    /// Whether so many bytes are free, with what is kept.
    fn has_free(&self, entry: Entry, bytes: u64) -> bool {
        let Some(left) = self.free.checked_sub(bytes.min(entry.rest)) else {
            return false;
        };
        let begins = entry.held == 0 && self.free < self.total;
        !begins || left >= self.total / KEPT_PART
    }

    /// Gives so many bytes, if that leaves a way for all.
    fn try_take(&mut self, id: u64, bytes: u64) -> bool {
        let Some(before) = self.claims.get(&id).copied() else {
            return false;
        };
        if !self.has_free(before, bytes) {
            return false;
        }
        let bytes = bytes.min(before.rest);
        let after = Entry {
            held: before.held + bytes,
            rest: before.rest - bytes,
        };
        self.free -= bytes;
        self.put(id, after);
        let is_safe = self.is_safe();
        if !is_safe {
            self.put(id, before);
            self.free += bytes;
        }
        is_safe
    }

    fn enter(&mut self, id: u64, bytes: u64, granted: oneshot::Sender<()>) -> u64 {
        let ticket = self.number();
        let (held, rest) = self
            .claims
            .get(&id)
            .map_or((0, 0), |entry| (entry.held, entry.rest));
        let waiter = Waiter {
            id,
            bytes,
            rest,
            granted,
        };
        let line = if held > 0 {
            &mut self.begun
        } else {
            &mut self.beginning
        };
        line.enter(ticket, waiter);
        ticket
    }

    fn leave(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.begun.leave(ticket);
        waiter.or_else(|| self.beginning.leave(ticket))
    }

    /// Those whose next piece may come: whoever needs least, whoever waits longest, and so on in turn; those who
    /// have begun first. Of these the one who needs least of all is always looked at: it can go on once what is
    /// complete has been given back.
    fn served(&mut self) -> Vec<Waiter> {
        let mut served = Vec::new();
        if self.free == 0 {
            return served;
        }
        self.walked = 0;
        for (looks, (turn, ticket)) in self.begun.order().into_iter().enumerate() {
            if looks > 1 && self.walked > WALK_MAX {
                break;
            }
            let waiter = self.begun.get(ticket);
            let Some((id, bytes)) = waiter.map(|waiter| (waiter.id, waiter.bytes)) else {
                continue;
            };
            if self.try_take(id, bytes) {
                served.extend(self.begun.serve(ticket, turn));
            }
        }
        served.extend(self.served_to_begin());
        served
    }

    /// Those who may begin. What comes back is left to whoever waits longest, when it is its turn, until that is
    /// enough: those who need less would take it bit by bit.
    fn served_to_begin(&mut self) -> Vec<Waiter> {
        let mut served = Vec::new();
        self.walked = 0;
        for (looks, (turn, ticket)) in self.beginning.order().into_iter().enumerate() {
            if looks > 1 && self.walked > WALK_MAX {
                break;
            }
            let waiter = self.beginning.get(ticket);
            let Some((id, bytes)) = waiter.map(|waiter| (waiter.id, waiter.bytes)) else {
                continue;
            };
            let entry = self.claims.get(&id).copied();
            let has_free = entry.is_some_and(|entry| self.has_free(entry, bytes));
            if !has_free && turn == Turn::WaitsLongest {
                break;
            }
            if has_free && self.try_take(id, bytes) {
                served.extend(self.beginning.serve(ticket, turn));
            }
        }
        served
    }
}

/// Changes something, and tells those who are served then.
fn serve(state: &Mutex<State>, change: impl FnOnce(&mut State) -> Vec<Waiter>) {
    let served = change(&mut state.lock());
    for waiter in served {
        // Whoever has gone in between has its claim all the same.
        let _ = waiter.granted.send(());
    }
}

/// One that waits; its place goes with it.
struct Waiting<'a> {
    state: &'a Mutex<State>,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        serve(self.state, |state| match state.leave(self.ticket) {
            None => Vec::new(),
            // What was left to it may be for others.
            Some(_) => state.served_to_begin(),
        });
    }
}
