//! The metadata service: catalogue and sequencers.
