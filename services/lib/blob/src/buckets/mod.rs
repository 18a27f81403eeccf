//! Buckets beside the main one: which a cluster has, by which number, and how an object in one of them is found.
//!
//! ```text
//!   <main>/<cluster>/bucket/<number>   what the bucket is called, and where it was when it got its number
//!                          /<number>.entered     which place has its marker, once that was seen
//!                          /<number>.moved-<n>   where it is since it has moved
//!                          /<number>.gone        it was emptied and forgotten
//!   <beside>/tidelog.json              whose it is, its number, and where the main bucket is
//! ```
//!
//! A number is given once and for ever, since locations name it. All of them are specified in `docs/format/marker.md`.

mod entering;
mod error;
mod register;
mod routed;

pub use entering::{MainBucket, Place, adopt, check_free, enter, forget};
pub use error::RegisterError;
pub use register::{BESIDE_MAX, Registered, missing, newer, read, register};
pub use routed::{Beside, Routed, UnknownBucket};
