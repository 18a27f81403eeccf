//! Server, client and router over real sockets.

mod commits;
mod compactions;
mod fake;
mod fake_compactions;
mod fake_groups;
mod fake_janitor;
mod fake_merges;
mod fake_transactions;
mod follow;
mod groups;
mod hostile;
mod local;
mod markers;
mod membership;
mod merges;
mod patience;
mod proxy;
mod routing;
mod shared;
mod standby;
mod transactions;
mod world;
