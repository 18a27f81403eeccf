//! The store on `FoundationDB`, behind the store trait: for clusters of many metadata processes.
//!
//! ```text
//!   reads  ---> snapshot of the client's transaction, own writes laid over it here
//!   writes ---> buffered here
//!   commit ---> read conflicts + cleared ranges + writes + write conflicts ---> FoundationDB
//! ```
//!
//! # What is built
//! With the feature `client` the crate has `FdbStore`, and whatever is built with it links `libfdb_c`.
//! Without it there are the options, the metrics and the meaning of errors, which need no library.
//!
//! # Contract
//! What the trait promises, and in particular:
//!
//! - **Model.** Own writes, sizes, limits and the ranges that a read conflicts with are those of
//!   [`BufferedTransaction`](tidelog_store::BufferedTransaction), which every store has: a scan that
//!   stopped at a limit conflicts up to its last row, in either direction. The client reads snapshots only
//!   and is handed the conflict ranges at the commit. Blind writes never conflict, `add` is the server's
//!   atomic addition.
//! - **Versions.** A transaction's version is `FoundationDB`'s read version, a commit's its committed
//!   version; commits of one moment may share one. `begin` sees every commit that was acknowledged to
//!   anyone before it: no option that weakens this is set.
//! - **Durability.** A commit is acknowledged when the transaction logs have it on disk, as many copies as
//!   the cluster is configured for.
//! - **Outcomes.** `Conflict`, `TooOld`, `TooLarge` and `Unavailable` mean that nothing was written, nor
//!   will be. Everything else is `Unknown`: `commit_unknown_result`, a time limit, a cancelled call, a
//!   cluster that changed its version, and every error that this crate does not know. Such a commit may
//!   land after the answer; the caller settles it by a write to what the commit had read. Nothing is
//!   retried here, and no idempotency ids are used.
//! - **Time.** A transaction is too old after 5 s, or after the time limit if that is shorter. `begin` and
//!   reads fail with `Unavailable`, commits with `Unknown`, when the time limit is over. The client
//!   reconnects by itself: a store goes on when its cluster is back, without being opened anew.
//! - **Limits.** Checked before anything is sent: those of all stores, and the client's own of 10 MB by
//!   its own measure, which only a transaction of very many very short rows can pass first.
//! - **Prefix.** Every key and bound lies under the key prefix; a range without an end ends where the
//!   prefix ends. Nothing outside is read, written or conflicted with.
//! - **Role.** Nobody is fenced by this store: many processes have it open, and owners are told apart by
//!   their leases. `closed` waits until `close` is called; then commits that are under way are finished,
//!   and every other call says `Closed`.
//! - **Process.** The client has one network thread in a process, a `Network`. It is stopped when every
//!   `Network`, store and transaction is dropped, and cannot be started again. A process starts one before
//!   it opens its first store, and drops all of them before it ends.
//! - **No watches.** The store sets none, so its load does not grow with the number of partitions.

#[cfg(any(feature = "client", test))]
mod errors;
#[cfg(any(feature = "client", test))]
mod keyspace;
pub mod metrics;
#[cfg(feature = "client")]
mod network;
#[cfg(feature = "client")]
mod open;
mod options;
#[cfg(feature = "client")]
mod snapshot;
#[cfg(feature = "client")]
mod store;

#[cfg(any(feature = "client", test))]
pub use errors::FdbFailure;
pub use metrics::{Metrics, Stats};
#[cfg(feature = "client")]
pub use network::{Network, NetworkError};
#[cfg(feature = "client")]
pub use open::OpenError;
pub use options::{
    FdbOptions, KEY_PREFIX_BYTES_MAX, KEY_PREFIX_DEFAULT, Knob, NetworkOptions, OptionsError,
    TIMEOUT_DEFAULT, TIMEOUT_MAX, TIMEOUT_MIN, TRANSACTION_AGE_MAX, TlsOptions, TraceOptions,
};
#[cfg(feature = "client")]
pub use store::FdbStore;
