//! Bucket set-up for S3: what the object-store seam does not do.
//!
//! The data path never comes here. This crate makes the bucket, gives it a rule that removes abandoned
//! multipart uploads, and looks at what could surprise its owner. It takes address and credentials from the
//! opened store ([`tidelog_blob::S3Access`]), so that both speak to one bucket as one principal.

mod bucket;
mod error;
mod facts;
mod lifecycle;
mod object;

pub use bucket::{BucketAdmin, Created};
pub use error::AdminError;
pub use facts::{BucketFacts, Fact, Versioning};
pub use lifecycle::{ABANDONED_UPLOADS_RULE, LifecycleChange};
pub use object::StoredAs;
