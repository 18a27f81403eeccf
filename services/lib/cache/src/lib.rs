//! The page cache: pages of segments in memory and on the local disk, each fetched once however many wait for it.
//!
//! A segment is cut into pages of 4 MiB; the last one is shorter. Segments never change, so a page never
//! goes stale: what is in the cache is right, or it is damaged. Each page carries checksums of its blocks,
//! taken when it came; [`PageCache::read`] checks the blocks that it gives out, and a page that fails is
//! dropped, counted and fetched again. [`PageCache::get_or_fetch`] gives out whole pages as they are, for a
//! reader that proves what it takes from them by the checksums of the log and calls [`PageCache::remove`]
//! if they do not hold; pages that come so get theirs only if somebody reads them with a check.
//!
//! Two pools share nothing: what readers of old data fetch cannot evict the tail that everybody reads. The
//! bound is on bytes that the cache holds; bytes that a reader still has in its hands after an eviction are
//! the reader's.
//!
//! The pages lie in foyer, as a plain store with an order of eviction. Used so, foyer starts no thread and no
//! task. Single flight is ours: foyer would run fetches as tasks that nobody owns. Pages that leave memory go to
//! the local disk if there is one for them ([`PageCache::open`]), in two pools as well; whoever misses a page in
//! memory looks there before it is fetched.
//!
//! What is in neither comes from somebody near who has it ([`NearPages`]) or from the bucket ([`BucketPages`]).

mod bucket;
mod cache;
mod disk;
mod flight;
pub mod metrics;
mod near;
mod page;
mod settings;

pub use bucket::BucketPages;
pub use cache::{PageCache, PageTooLong};
pub use disk::{DISK_BYTES_MIN, DISK_MEMORY_BYTES};
pub use flight::{FetchFailed, FetchPanicked};
pub use metrics::{CacheMetrics, CacheSnapshot};
pub use near::NearPages;
pub use page::{PAGE_BYTES, PageKey, page_at, page_range};
pub use settings::{CacheSettings, DiskSettings, Pool};
