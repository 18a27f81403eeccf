//! Consumer groups as state machines.
//!
//! A group takes events (a request, or that time has passed) and says what follows: who is answered and how,
//! and whether its state must be durable before anybody hears of it. It does no I/O and asks no clock, so that a
//! test can play a week of rebalances in a moment and an owner that fails leaves nothing behind but what it
//! stored.
//!
//! ```text
//!   request, now --> group --> effects: answers to waiting requests
//!                      |                what must be stored first
//!                      +-----> wake: when it wants to be asked again
//! ```
//!
//! Whoever drives a group owns the rest: one group is driven by one owner of its shard, and answers that follow
//! a change to be stored are held back until it is durable. An owner that cannot store drops the group and reads
//! it again from what is stored.

pub mod assign;
pub mod classic;
pub mod consumer;
mod effects;
pub mod embedded;
mod error;

pub use effects::{Answer, Effects, Ticket};
pub use error::GroupError;
