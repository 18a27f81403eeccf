//! Topics: described, created, deleted, widened.

mod change;
mod create;
mod describe;
mod metadata;
