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
//! the task only swaps, between groups, in small steps, each a transaction under the lease. What is merged and still
//! small is merged again, when nothing of the tail is to be merged, and so is what is left of merged segments of which little
//! is named any more.

mod again;
mod desk;
mod plan;
mod plan_again;
mod plan_left;
mod plan_sparse;
mod sparse;
mod step;
mod swap;
mod swapping;
mod windows;

pub(crate) use again::Again;
pub(crate) use desk::{Desk, NextMerge};
pub(crate) use plan::Planning;
pub(crate) use sparse::Sparse;
pub(crate) use step::{MergeMessage, MergeQueue};
pub(crate) use swapping::check_merged;
pub(crate) use windows::Unmerged;
pub use windows::{MergeSettings, RewriteSettings};
