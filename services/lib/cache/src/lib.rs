//! The page cache: memory, single flight, admission.
//!
//! A page is a fixed-size cut of a segment. Segments never change, so that a page never goes stale: what
//! is in the cache is right, or it is damaged, which its reader notices by the checksums of the log.
//!
//! The eviction is foyer's; behind [`PageCache`] there is room for its second tier on disk.

mod flight;
mod metrics;
mod page;

pub use flight::FetchFailed;
pub use metrics::CacheMetrics;
pub use page::{PAGE_BYTES, PageCache, PageKey};
