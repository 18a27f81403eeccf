//! End-to-end scenarios of clusters, see the crate's page for the list.

mod accepted;
mod both_roles;
mod chaos;
mod drain;
mod drained;
mod fenced;
mod health;
mod history;
mod janitor;
mod keyed;
mod lost_store;
mod outage;
mod pause;
mod readers;
mod split;
mod status;
mod support;
mod takeover;
mod tls;
mod tokens;
