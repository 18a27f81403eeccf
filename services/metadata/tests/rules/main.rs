//! The commit rules C1 to C10, the catalogue and the rows, each shown on the memory store.

mod cluster;
mod golden;
mod limits;
mod manifests;
mod model;
mod store;
mod world;

mod audit;
mod backup;
mod c10_unknown;
mod c1_lease;
mod c2_c3_settle;
mod c4_takeover;
mod c5_long_lives;
mod c5_receipts;
mod c6_floors;
mod c7_producers;
mod c8_conditions;
mod c8_orders;
mod c9_linearizable;
mod catalogue;
mod deletion;
mod groups;
mod history;
mod many_partitions;
mod merge;
mod purge;
mod rebuild;
mod reclaim;
mod restart;
mod retention;
mod tail_age;
mod tidy;
mod transactional_ids;
mod transactions;
