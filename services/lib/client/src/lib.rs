//! The Rust client: producer, consumer and admin.
