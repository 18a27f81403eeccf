//! A share of memory in which those who hold least go first.
//!
//! [`MemoryShare`](crate::MemoryShare) knows nothing of who asks. Where what is held goes back at the pace of
//! somebody outside, such as the reader of an answer, that is not enough: a few who are slow would take it all,
//! again and again, and a newcomer would wait behind all that they still want.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// This part of the share is kept for small requests of those who hold nothing.
const KEPT_PART: u64 = 4;
/// A request is small if so many of it fit into what is kept.
const SMALL_PART: u64 = 8;

/// Whose bytes they are: one connection, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HolderId(pub u64);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// So many bytes, which are taken.
    Exactly(u64),
    /// What will be is not known yet: a turn when so many bytes are free, none of which are taken. Whoever
    /// gets nothing for a while drops it, and what has come is added to it.
    Room(u64),
}

impl Need {
    /// What is taken at once.
    const fn taken(self) -> u64 {
        match self {
            Self::Exactly(bytes) => bytes,
            Self::Room(_) => 0,
        }
    }
}

/// A share of memory. Clones share it.
///
/// Of those who wait, whoever holds least goes first, and of two who hold the same, whoever came first. So
/// while one who holds nothing waits, nobody else gets more. What the first one needs is not given to those
/// behind it; but a quarter is kept for small requests of those who hold nothing, who wait for each other alone.
/// Nobody waits for ever, as long as what is held is given back in the end.
#[derive(Clone, Debug)]
pub struct FairShare {
    state: Arc<Mutex<State>>,
}

/// A part of the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Open,
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Pool {
    total: u64,
    used: u64,
}

#[derive(Debug)]
struct State {
    open: Pool,
    kept: Pool,
    /// Who holds how much; nobody who holds nothing.
    holders: HashMap<HolderId, u64>,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Waiter>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    holder: HolderId,
    need: Need,
    answer: oneshot::Sender<FairHold>,
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct FairHold {
    share: FairShare,
    holder: HolderId,
    part: Part,
    bytes: u64,
}

impl FairShare {
    /// A share of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let kept = bytes / KEPT_PART;
        let pool = |total| Pool { total, used: 0 };
        let state = State {
            open: pool(bytes - kept),
            kept: pool(kept),
            holders: HashMap::new(),
            waiting: BTreeMap::new(),
            tickets: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Waits for the turn of `holder`. Cancel-safe. One that needs more than half of the share gets all of it
    /// when half is free.
    pub async fn hold(&self, holder: HolderId, need: Need) -> FairHold {
        if let Some(hold) = self.try_hold(holder, need) {
            return hold;
        }
        let (answer, granted) = oneshot::channel();
        let waiter = Waiter {
            holder,
            need,
            answer,
        };
        let mut waiting = {
            let mut state = self.state.lock();
            let ticket = state.tickets;
            state.tickets += 1;
            state.waiting.insert(ticket, waiter);
            Waiting {
                share: self,
                ticket,
                has_gone: true,
            }
        };
        self.serve(|_| {});
        let hold = granted.await;
        waiting.has_gone = false;
        match hold {
            Ok(hold) => hold,
            // Who waits is answered or goes by itself.
            Err(_) => std::future::pending().await,
        }
    }

    /// The turn of `holder`, if it has it now and nobody waits.
    pub fn try_hold(&self, holder: HolderId, need: Need) -> Option<FairHold> {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() {
            return None;
        }
        let part = state.place(holder, need, false)?;
        state.take(holder, part, need.taken());
        Some(FairHold {
            share: self.clone(),
            holder,
            part,
            bytes: need.taken(),
        })
    }

    /// Nothing yet, for what [`FairHold::add`] counts without a turn.
    pub fn nothing(&self, holder: HolderId) -> FairHold {
        FairHold {
            share: self.clone(),
            holder,
            part: Part::Open,
            bytes: 0,
        }
    }

    /// What is free now for everybody.
    pub fn free_bytes(&self) -> u64 {
        self.state.lock().open.free()
    }

    /// What is held now, which may be more than the share: see [`FairHold::add`].
    pub fn used_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.open.used + state.kept.used
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Changes something, and serves whoever can be served then.
    fn serve(&self, change: impl FnOnce(&mut State)) {
        let served = {
            let mut state = self.state.lock();
            change(&mut state);
            state.served()
        };
        for (waiter, part) in served {
            let hold = FairHold {
                share: self.clone(),
                holder: waiter.holder,
                part,
                bytes: waiter.need.taken(),
            };
            // Whoever has gone in between gives it back by dropping it.
            let _ = waiter.answer.send(hold);
        }
    }
}

impl Pool {
    const fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    const fn fits(&self, bytes: u64) -> bool {
        bytes <= self.free()
    }
}

impl State {
    const fn pool(&mut self, part: Part) -> &mut Pool {
        match part {
            Part::Open => &mut self.open,
            Part::Kept => &mut self.kept,
        }
    }

    fn held(&self, holder: HolderId) -> u64 {
        self.holders.get(&holder).copied().unwrap_or_default()
    }

    fn take(&mut self, holder: HolderId, part: Part, bytes: u64) {
        self.pool(part).used += bytes;
        if bytes > 0 {
            *self.holders.entry(holder).or_default() += bytes;
        }
    }

    fn give_back(&mut self, holder: HolderId, part: Part, bytes: u64) {
        self.pool(part).used -= bytes;
        let left = self.held(holder) - bytes;
        if left == 0 {
            self.holders.remove(&holder);
        } else {
            self.holders.insert(holder, left);
        }
    }

    /// Where a request may be served now, where somebody before it may wait for the open part.
    fn place(&self, holder: HolderId, need: Need, is_blocked: bool) -> Option<Part> {
        let (Need::Exactly(bytes) | Need::Room(bytes)) = need;
        // One that is larger than what may ever be free would keep everybody waiting.
        if !is_blocked && self.open.fits(bytes.min(self.open.total / 2)) {
            return Some(Part::Open);
        }
        let is_small = need.taken() == bytes && bytes <= self.kept.total / SMALL_PART;
        let may = is_small && self.held(holder) == 0 && bytes <= self.kept.free();
        may.then_some(Part::Kept)
    }

    /// Those whose turn it is and for whom there is enough.
    fn served(&mut self) -> Vec<(Waiter, Part)> {
        let mut served = Vec::new();
        if self.waiting.is_empty() || (self.open.free() == 0 && self.kept.free() == 0) {
            return served;
        }
        let place = |(ticket, waiter): (&u64, &Waiter)| (self.held(waiter.holder), *ticket);
        let mut order: BTreeSet<(u64, u64)> = self.waiting.iter().map(place).collect();
        // Turns given now, of which nothing is taken yet.
        let mut promised = 0;
        let mut is_blocked = false;
        while let Some((held, ticket)) = order.pop_first() {
            let Some(waiter) = self.waiting.get(&ticket) else {
                continue;
            };
            let (holder, need) = (waiter.holder, waiter.need);
            let now = self.held(holder);
            if now > held {
                // It was served just now, and goes behind those who hold less.
                order.insert((now, ticket));
                continue;
            }
            self.open.used += promised;
            let part = self.place(holder, need, is_blocked);
            self.open.used -= promised;
            let Some(part) = part else {
                is_blocked = true;
                continue;
            };
            match need {
                Need::Exactly(bytes) => self.take(holder, part, bytes),
                Need::Room(bytes) => promised += bytes,
            }
            let waiter = self.waiting.remove(&ticket);
            served.extend(waiter.map(|waiter| (waiter, part)));
        }
        served
    }
}

/// One that waits. If it goes, its place goes with it, or the turn that it was given just now.
struct Waiting<'a> {
    share: &'a FairShare,
    ticket: u64,
    has_gone: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.has_gone {
            let ticket = self.ticket;
            self.share.serve(|state| {
                state.waiting.remove(&ticket);
            });
        }
    }
}

impl FairHold {
    /// How much it is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more without waiting, whether or not there is so much: for what is in memory already.
    pub fn add(&mut self, bytes: u64) {
        let mut state = self.share.state.lock();
        state.take(self.holder, self.part, bytes);
        self.bytes += bytes;
    }

    /// Parts off a hold of so many bytes, at most all.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            share: self.share.clone(),
            bytes,
            ..*self
        }
    }
}

impl Drop for FairHold {
    fn drop(&mut self) {
        let (holder, part, bytes) = (self.holder, self.part, self.bytes);
        // Also a turn that was not used is the next one's.
        self.share
            .serve(|state| state.give_back(holder, part, bytes));
    }
}

#[cfg(test)]
mod tests;
