//! A transaction's own writes.
