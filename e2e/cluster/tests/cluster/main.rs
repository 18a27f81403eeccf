//! End-to-end scenarios of clusters, see the crate's page for the list.

mod chaos;
mod drain;
mod fenced;
mod drained;
mod lost_store;
mod outage;
mod pause;
mod split;
mod status;
mod support;
mod takeover;
mod tls;
mod tokens;
