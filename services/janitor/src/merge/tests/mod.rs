//! Merging against owners that a test speaks for, and a bucket that fails as told.

mod damage;
mod ends;
mod exact;
mod history;
mod limits;
mod sparse;
mod swaps;
mod world;
