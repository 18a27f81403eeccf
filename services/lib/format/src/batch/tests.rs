//! Facts about batches.
