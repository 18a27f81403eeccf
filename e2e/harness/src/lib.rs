//! Starts servers, S3 and clients as real processes, hurts them, and judges what clients saw.
//!
//! - [`Tools`]: where programs and downloads are; what is missing is said, never passed over.
//! - [`Process`]: a child that does not outlive its owner and whose log is shown when a test fails.
//! - [`Minio`], [`Seaweed`], [`Server`], [`Cli`]: the programs under test and beside it.
//! - [`Cluster`]: metadata processes and brokers on one bucket.
//! - [`FdbServer`]: a `FoundationDB` of one process, to be killed and paused.
//! - [`Proxy`]: S3 that answers 503, refuses writes, hangs, or is counted.
//! - [`Bucket`]: the bucket behind the server's back, to look into it and to damage it.
//! - [`history`]: what clients did and saw, and the checker that is the judge.
//! - [`load`]: producers and consumers that record such a history.
//!
//! Everything listens on the loopback interface and lives in temporary folders.

mod bucket;
mod cli;
mod cluster;
mod disk;
mod fdb;
mod gate;
pub mod history;
pub mod load;
mod minio;
mod named;
mod net;
mod process;
mod proxy;
mod seaweed;
mod server;
mod tools;
mod wait;

pub use bucket::{Bucket, Place};
pub use cli::{Cli, Finished};
pub use cluster::{Cluster, ClusterOptions, MetadataProcess};
pub use disk::{ReadOnlyFolder, SmallDisk};
pub use fdb::FdbServer;
pub use gate::Gate;
pub use minio::Minio;
pub use named::{only_what_is_named, rows};
pub use net::{free_port, http_get, http_post, metric};
pub use process::{Ended, Process, raise_open_files};
pub use proxy::{Mode, Proxy};
pub use seaweed::Seaweed;
pub use server::{CrashPoint, Server, ServerOptions};
pub use tools::Tools;
pub use wait::{until, within};
