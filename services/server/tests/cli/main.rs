//! The binary as its users meet it: started as a process, spoken to by its own command line.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends where it stands"
)]

mod commands;
mod serving;
mod settings;
mod support;
