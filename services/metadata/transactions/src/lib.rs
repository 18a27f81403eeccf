//! Transactional producers as state machines.
//!
//! A transactional id is with one producer at a time, which has one transaction at a time. A [`Coordinator`] keeps
//! one id: it takes events (a request, a marker that is written, or that time has passed) and says what follows:
//! the answer, whether its state must be durable before anybody hears of it, and which markers are to be written
//! then. It does no I/O and asks no clock, so that a test can play a week of crashes in a moment and an owner that
//! fails leaves nothing behind but what it stored.
//!
//! ```text
//!                +-----------------------------------------------+
//!                v  add                                          | add
//!   Empty --> Ongoing --end--> Ending (Prepare*) --all marked--> Ended (Complete*)
//!     ^          |               ^                               |
//!     |          +- time, init --+                               |
//!     +------------------------- init ---------------------------+
//! ```
//!
//! The decision over a transaction is made when `Ending` is durable, and never changes. Whoever drives a
//! coordinator owns the rest: one id is driven by one owner of its shard; answers and markers that follow a change
//! to be stored are held back until it is durable. An owner that cannot store drops the coordinator and reads it
//! again from what is stored.
//!
//! Who a producer is, is its [`ProducerIdentity`](tidelog_metadata_api::ProducerIdentity): id and epoch. The coordinator knows the one that the id is with, and the
//! one before if the same producer had it and may not have heard of its new one: so an answer that was lost is
//! given again, and everybody else is fenced.

mod coordinator;
mod effects;
mod limits;
mod producer;
mod show;
mod stored;
#[cfg(test)]
mod tests;

pub use coordinator::Coordinator;
pub use effects::{Effects, Markers, Outcome};
pub use limits::{Limits, Now};
pub use stored::{Cause, Ending, Phase, StoredTransaction};
