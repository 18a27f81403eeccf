//! The bytes as files hold them, as another implementation reads them, and as damage leaves them.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bodies;
mod damage;
mod differential;
mod fixtures;
mod golden;
mod segments;
