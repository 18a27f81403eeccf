//! The gRPC API: types and services generated from `proto/`, and the mapping of errors to statuses.
//!
//! Wire types stop at the front ends and the client: nothing below them names this crate.

mod code;
pub mod codec;
mod error;

pub use error::{ApiError, ERROR_DOMAIN};
pub use prost_types;

/// The package `tidelog.v1`: the public API.
#[allow(
    clippy::allow_attributes_without_reason,
    clippy::all,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    missing_docs,
    reason = "the generators decide how their code looks"
)]
pub mod v1 {
    include!("gen/tidelog.v1.rs");
}

/// The package `tidelog.internal`: what members of a cluster say to each other. No client sees it.
pub mod internal {
    /// The package `tidelog.internal.v1`.
    #[allow(
        clippy::allow_attributes_without_reason,
        clippy::all,
        clippy::clone_on_ref_ptr,
        clippy::pedantic,
        missing_docs,
        reason = "the generators decide how their code looks"
    )]
    pub mod v1 {
        include!("gen/tidelog.internal.v1.rs");
    }

    /// Its proto files, encoded as a `google.protobuf.FileDescriptorSet`; for tests and tools.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/tidelog.internal.bin");
}

/// All public proto files with their comments, encoded as a `google.protobuf.FileDescriptorSet`; for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/tidelog.bin");
