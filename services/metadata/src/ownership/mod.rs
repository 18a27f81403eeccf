//! Who owns which shard. On a store that several metadata processes use, they find each other by rows and
//! beats, share the shards evenly, and hand them over when one comes, goes or dies. On a store that one
//! process has open alone, it owns them all.

mod balance;
mod events;
mod keeper;
mod lives;
mod look;
mod plan;
mod settings;
mod shards;
mod silence;
mod touch;

pub(crate) use keeper::Keeper;
pub(crate) use look::Looker;
pub use settings::{ClusterOptions, ClusterSettings, Ownership, PeerProbe};
pub(crate) use shards::{NotHere, Shards};
pub(crate) use touch::{OutOfTouch, Touch};
