//! The seam as its users see it: whole stacks over each store that needs no server.

#![expect(clippy::unwrap_used, reason = "an unwrap in a test is its assertion")]

mod conformance;
mod durability;
mod local;
