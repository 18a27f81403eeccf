//! End-to-end scenarios of the log, see the crate's page for the list.

mod abuse;
mod audit;
mod bad_input;
mod buckets;
mod classes;
mod clients;
mod command_line;
mod compaction;
mod conditions;
mod cost;
mod deletion;
mod drain;
mod encryption;
mod express;
mod fence;
mod flights;
mod idle;
mod kill;
mod merge;
mod outage;
mod purge;
mod rebuild;
mod restore;
mod retention;
mod rewrite;
mod support;
