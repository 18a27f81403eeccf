//! The page cache: memory, single flight, admission.
