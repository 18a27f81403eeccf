//! The broker engine: batching, flush, commit and fetch; no network.
