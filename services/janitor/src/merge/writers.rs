//! The incarnations of writers, as whoever writes under one of them needs them.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tidelog_metadata_api::{Log, LogError};
use tidelog_types::{Incarnation, SegmentSequence};

/// Keeps account of writers: this part of a [`Log`].
#[async_trait]
pub trait Writers: Debug + Send + Sync + 'static {
    /// Gives out an incarnation that nobody has or had. Durable.
    async fn register_writer(&self) -> Result<Incarnation, LogError>;

    /// From now on nothing is taken that names segments of the incarnation below this one. Durable; never lowers.
    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError>;
}

#[async_trait]
impl Writers for Arc<dyn Log> {
    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        self.as_ref().register_writer().await
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        self.as_ref().raise_floor(incarnation, floor).await
    }
}
