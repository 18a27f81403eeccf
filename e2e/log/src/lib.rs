//! End-to-end scenarios of the log.
