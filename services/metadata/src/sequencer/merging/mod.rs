//! Merging, as the owner of a shard sees it: it says what is to be merged, and puts what a janitor has made of it in
//! its place.
//!
//! ```text
//!   tail   [ merged: goes by and by ][ in pages, to be merged ][ not in pages ]
//!                                    ^                         ^
//!                                 merged row               checkpoint
//! ```
//!
//! What is to be merged is planned outside the task that owns the shard, from entries of the tail that nobody changes;
//! the task only swaps, between groups, in small steps, each a transaction under the lease.

mod desk;
mod plan;
mod step;
mod swap;
mod windows;

pub(crate) use desk::{Desk, NextMerge};
pub(crate) use plan::Planning;
pub(crate) use step::{MergeMessage, MergeQueue};
pub use windows::MergeSettings;
pub(crate) use windows::Unmerged;
