//! The object-store seam.
//!
//! `Arc<dyn ObjectStore>` of the crate `object_store` is the seam itself; behaviour is added by wrapping
//! it, one concern a wrapper:
//!
//! ```text
//!   engine, reader, janitor
//!        |
//!   [Routed]      all buckets of a cluster as one; below it, each has wrappers of its own
//!        |
//!   [Retrying]    bounded attempts, a deadline for each, short bodies are collected and checked
//!        |
//!   [Hedged]      a second GET when the first is slow; the first whole answer wins
//!        |
//!   [Metered]     one count and one latency for each request that is really sent
//!        |
//!   [LocalStore] | S3 without retries of its own | memory          (tests: [FaultyStore] around it)
//! ```
//!
//! A wrapper writes the methods that it changes and names the others to [`delegate_object_store!`].
//! [`open`] builds the bottom, [`stack`] the rest. [`names`] says where each object lies and [`marker`]
//! what the bucket says about itself. [`preflight`] proves at start that the store keeps the few promises
//! that the log stands on. [`RequestBudget`] is no wrapper: the engine asks it before it makes a request
//! that could wait.
//!
//! # Who tries again
//!
//! Exactly one layer does: [`Retrying`]. The S3 client below is built with no retries of its own, so what
//! is metered and budgeted is what is sent. A PUT that creates and whose answer was lost is sent again
//! too; if the first one had landed, the second is refused with `AlreadyExists`, and that is handed to the
//! caller as it is: only the writer can tell its own object from another's, by reading the trailer under
//! its own name.
//!
//! [`Routed`]: buckets::Routed
//! [`Retrying`]: retry::Retrying
//! [`Hedged`]: hedge::Hedged
//! [`Metered`]: metered::Metered
//! [`LocalStore`]: local::LocalStore
//! [`FaultyStore`]: faulty::FaultyStore

mod backup_name;
mod body;
pub mod buckets;
pub mod budget;
#[cfg(feature = "conformance")]
pub mod conformance;
#[doc(hidden)]
pub mod delegate;
pub mod errors;
pub mod faulty;
pub mod hedge;
pub mod local;
pub mod location;
pub mod marker;
pub mod metered;
pub mod metrics;
pub mod names;
mod open;
pub mod preflight;
mod purpose;
pub mod retry;
mod s3;
pub mod settings;
mod stack;

pub use backup_name::{BackupName, BackupNameError, BackupPart};
pub use budget::RequestBudget;
pub use errors::{ErrorKind, classify};
pub use location::{Location, LocationError};
pub use metrics::{Meter, MeterSnapshot, Metrics, Operation, Role};
pub use names::{BucketLayout, ClusterLayout, MAIN};
pub use open::{OpenError, OpenedStore, open};
pub use purpose::Purpose;
pub use s3::S3Access;
pub use settings::{BlobSettings, Secret};
pub use stack::stack;

pub use object_store;
