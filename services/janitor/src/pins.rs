//! What backups need, as whoever deletes sees it.

use std::fmt::Debug;

use async_trait::async_trait;
use tidelog_types::{SegmentName, Timestamp};

/// Why it is not known what backups need.
pub type BackupsError = Box<dyn std::error::Error + Send + Sync>;

/// The backups of the cluster.
#[async_trait]
pub trait Backups: Debug + Send + Sync + 'static {
    /// What they need now. To be asked after what shall be deleted was handed out.
    async fn pins(&self) -> Result<Box<dyn Pins>, BackupsError>;
}

/// What the backups of one moment need.
pub trait Pins: Debug + Send + Sync {
    /// Whether one of them needs a segment that nothing has named since a time.
    fn need(&self, segment: SegmentName, unnamed_since: Timestamp) -> bool;

    /// Whether one of them is being taken, or may be: it may yet read what lies in the metadata store. One that is complete
    /// has a copy of that.
    fn are_under_way(&self) -> bool;
}
