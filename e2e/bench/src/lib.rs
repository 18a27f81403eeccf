//! The load generator and its peers.
