//! Server, client and router over real sockets.

mod commits;
mod fake;
mod fake_groups;
mod follow;
mod groups;
mod hostile;
mod local;
mod markers;
mod membership;
mod patience;
mod proxy;
mod routing;
mod shared;
mod standby;
mod world;
