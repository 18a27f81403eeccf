//! Reads extents out of the bucket, by pages, and proves their bytes.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tidelog_blob::{ErrorKind, classify, object_store};
use tidelog_cache::{BucketPages, FetchFailed, NearPages, PAGE_BYTES, PageCache, PageKey, Pool};
use tidelog_env::{Env, error_chain};
use tidelog_format::batch::BatchHeader;
use tidelog_format::extent::prove;
use tidelog_format::location::Location;
use tidelog_format::marker::MARKER_BATCH_BYTES;
use tidelog_metadata_api::{Extent, Log};
use tidelog_types::{BucketId, Offset, SegmentName, TopicPartition};

use super::ends::{End, Ends};
use super::herd::Herd;
use super::pieces::Pieces;
use super::source::{Source, bytes_max};
use super::watermarks::Watermarks;
use crate::memory::MemoryShare;
use crate::metrics::FetchMetrics;

/// The least memory for pages with which the last two of a segment come together.
const ROOM_FOR_ENDS: u64 = 8 * PAGE_BYTES as u64;

/// Why the bytes of an extent cannot be had.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The object is not there.
    #[error("object `{object}` with offsets from `{offset}` of partition `{partition}` is missing")]
    Missing {
        /// Its path in the bucket.
        object: String,
        /// The first offset wanted from it.
        offset: Offset,
        /// Whose.
        partition: TopicPartition,
    },
    /// The bytes are not those that were written (invariant I6).
    #[error(
        "object `{object}` is damaged at byte `{position}`, offset `{offset}` of partition \
         `{partition}`: {reason}"
    )]
    Damaged {
        /// Its path in the bucket.
        object: String,
        /// Where in it.
        position: u32,
        /// The first offset concerned.
        offset: Offset,
        /// Whose.
        partition: TopicPartition,
        /// What does not fit.
        reason: String,
    },
    /// The bucket does not answer.
    #[error("the bucket does not answer: {reason}")]
    Bucket {
        /// Why, for the log.
        reason: String,
    },
    /// The extent is of a kind that this version cannot read.
    #[error("the extent at offset `{0}` is of a kind that this version cannot read")]
    Unsupported(Offset),
}

/// Reads through the page cache. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    pub(crate) bucket: BucketPages,
    /// Who has what lies in the store.
    pub(crate) log: Arc<dyn Log>,
    /// Who may have a page nearer than the bucket.
    pub(crate) near: Option<Arc<dyn NearPages>>,
    pub(crate) pages: PageCache,
    pub(crate) watermarks: Watermarks,
    pub(crate) metrics: FetchMetrics,
    /// How long segments are.
    pub(crate) ends: Ends,
    /// Who reads the same old data at once.
    pub(crate) herd: Herd,
    /// Memory for pages on their way.
    pub(crate) in_flight: MemoryShare,
    pub(crate) env: Env,
}

/// A place in an object.
#[derive(Clone, Copy, Debug)]
struct Place {
    bucket: BucketId,
    segment: SegmentName,
    position: u32,
    length: u32,
}

impl Place {
    /// Where an extent lies; `None` if that is not in a segment.
    const fn of(extent: &Extent) -> Option<Self> {
        match extent.location {
            Location::Segment {
                bucket,
                segment,
                position,
                length,
            } => Some(Self {
                bucket,
                segment,
                position,
                length,
            }),
            Location::Inline { .. } | Location::Marker(_) => None,
        }
    }

    /// The pages that it touches.
    fn pages(self) -> impl Iterator<Item = PageKey> {
        let end = self.position.saturating_add(self.length.max(1) - 1);
        (self.position / PAGE_BYTES..=end / PAGE_BYTES)
            .map(move |page| PageKey::new(self.bucket, self.segment, page))
    }

    /// Takes what one of these pages has of it.
    fn take(self, key: PageKey, page: &Bytes, pieces: &mut Pieces) {
        let start = u64::from(self.position);
        let end = start + u64::from(self.length);
        let page_start = u64::from(key.page) * u64::from(PAGE_BYTES);
        let page_end = page_start + page.len() as u64;
        let from = to_usize(start.max(page_start) - page_start);
        let to = to_usize(end.min(page_end).saturating_sub(page_start));
        if from < to {
            pieces.push(page.slice(from..to));
        }
    }
}

impl Reads {
    /// The proven bytes of an extent.
    pub(crate) async fn extent(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        pool: Pool,
    ) -> Result<Pieces, ReadError> {
        if let Location::Marker(marker) = &extent.location {
            let mut pieces = Pieces::default();
            pieces.push(marker.to_batch(extent.offsets.base, extent.max_timestamp));
            return Ok(pieces);
        }
        let Some(place) = Place::of(extent) else {
            return Err(ReadError::Unsupported(extent.offsets.base));
        };
        match self.proven(partition, extent, place, pool).await {
            // Memory, disk or whoever had the pages may be what is damaged.
            Err(ReadError::Damaged { .. }) => {
                self.metrics.reread.inc();
            }
            proven => return proven,
        }
        let proven = match self.renewed(partition, extent, place, pool).await {
            Ok(pieces) => self.prove(partition, extent, place, pieces),
            Err(error) => Err(error),
        };
        if let Err(error @ ReadError::Damaged { .. }) = &proven {
            self.metrics.damaged.inc();
            // The next reader asks the bucket again.
            for page in place.pages() {
                self.pages.remove(&page);
            }
            tracing::error!(error = error as &dyn std::error::Error, "damaged bytes");
        }
        proven
    }

    /// The bytes of an extent, if those at hand are what was written.
    async fn proven(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        pool: Pool,
    ) -> Result<Pieces, ReadError> {
        let pieces = self.place(partition, extent, place, pool).await?;
        self.prove(partition, extent, place, pieces)
    }

    /// Invariant I6.
    fn prove(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        pieces: Pieces,
    ) -> Result<Pieces, ReadError> {
        match prove(extent.crc32c, pieces.as_slice()) {
            Ok(()) => Ok(pieces),
            Err(unproven) => Err(self.damaged(partition, extent, place, unproven.to_string())),
        }
    }

    /// The bytes of an extent as the bucket has them, past all caches; these have them from then on, if there is room.
    async fn renewed(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        pool: Pool,
    ) -> Result<Pieces, ReadError> {
        let mut pieces = Pieces::default();
        for key in place.pages() {
            let _hold = self.in_flight.hold(bytes_max(key)).await;
            if let Some(near) = self.near.as_ref().filter(|_| !key.bucket.is_store()) {
                near.distrust(key);
            }
            let page = self.source().page(key).await.map_err(FetchFailed::new);
            let page = page.map_err(|error| self.page_error(partition, extent, place, &error))?;
            place.take(key, &page, &mut pieces);
            self.pages.replace(key, pool, page);
        }
        self.whole(partition, extent, place, pieces)
    }

    fn damaged(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        reason: String,
    ) -> ReadError {
        ReadError::Damaged {
            object: self
                .bucket
                .layout()
                .segment(place.bucket, place.segment)
                .to_string(),
            position: place.position,
            offset: extent.offsets.base,
            partition,
            reason,
        }
    }

    async fn place(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        pool: Pool,
    ) -> Result<Pieces, ReadError> {
        let mut pieces = Pieces::default();
        for key in place.pages() {
            let page = self
                .page(key, pool)
                .await
                .map_err(|error| self.page_error(partition, extent, place, &error))?;
            place.take(key, &page, &mut pieces);
        }
        self.whole(partition, extent, place, pieces)
    }

    /// Whether pages had all of an extent.
    fn whole(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        pieces: Pieces,
    ) -> Result<Pieces, ReadError> {
        if pieces.len() as u64 == u64::from(place.length) {
            Ok(pieces)
        } else {
            let reason = format!(
                "it ends after `{}` of `{}` bytes",
                pieces.len(),
                place.length
            );
            Err(self.damaged(partition, extent, place, reason))
        }
    }

    fn page_error(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        place: Place,
        error: &FetchFailed,
    ) -> ReadError {
        let cause = error.cause();
        let kind = cause.downcast_ref().map_or(ErrorKind::Other, classify);
        match kind {
            ErrorKind::NotFound => {
                self.metrics.missing.inc();
                let object = self
                    .bucket
                    .layout()
                    .segment(place.bucket, place.segment)
                    .to_string();
                ReadError::Missing {
                    object,
                    offset: extent.offsets.base,
                    partition,
                }
            }
            ErrorKind::Range => {
                let reason = "it ends before these bytes".to_owned();
                self.damaged(partition, extent, place, reason)
            }
            _ => ReadError::Bucket {
                reason: error_chain(cause),
            },
        }
    }

    /// One page: from memory, from whoever has it near, or by one ranged GET. All who want it share that.
    pub(super) async fn page(&self, key: PageKey, pool: Pool) -> Result<Bytes, FetchFailed> {
        let end = if self.fetches_ends(pool) && !self.pages.has(&key) {
            self.ends.of(key)
        } else {
            None
        };
        if let Some(end) = end.filter(|end| end.last == key) {
            // Most likely it is found then.
            self.page_or_end(end.first, Some(end), pool).await?;
        }
        let end = end.filter(|end| end.first == key);
        self.page_or_end(key, end, pool).await
    }

    /// Whether there may be a reader elsewhere that has pages.
    fn has_near(&self) -> bool {
        self.near.as_ref().is_some_and(|near| near.takes_offers())
    }

    /// Whether the last pages of segments come together. Readers elsewhere and a disk have pages one by one, and where there is
    /// no room for one beside the one that was asked for it would come for nothing.
    fn fetches_ends(&self, pool: Pool) -> bool {
        let has_room = self.pages.pool_bytes(pool) >= ROOM_FOR_ENDS;
        has_room && !self.pages.has_disk() && !self.has_near()
    }

    /// One page, and the one behind it at the end of a segment unless others wait for memory: these would go first.
    async fn page_or_end(
        &self,
        key: PageKey,
        end: Option<End>,
        pool: Pool,
    ) -> Result<Bytes, FetchFailed> {
        let (source, near) = (self.source(), self.near.clone());
        let near = near.filter(|_| !key.bucket.is_store());
        let in_flight = self.in_flight.clone();
        let herd = (pool == Pool::CatchUp && !self.has_near()).then(|| self.herd.clone());
        let pages = self.pages.clone();
        let fetch = async move {
            if let Some(herd) = &herd {
                herd.begin(&key);
            }
            let end = end.filter(|end| !pages.has(&end.last) && in_flight.is_open_to(end.bytes));
            let bytes = end.map_or(bytes_max(key), |end| end.bytes);
            let _hold = in_flight.hold(bytes).await;
            let found = match near {
                Some(near) => near.page(key, pool).await,
                None => None,
            };
            let page = match (found, end) {
                (Some(page), _) => page,
                (None, None) => source.page(key).await?,
                (None, Some(end)) => {
                    let (page, last) = source.end(end).await?;
                    // Somebody who follows the tail may have fetched it meanwhile.
                    if !pages.has(&end.last) {
                        pages.replace(end.last, pool, last);
                    }
                    if let Some(herd) = &herd {
                        herd.end(end.last);
                    }
                    page
                }
            };
            if let Some(herd) = &herd {
                herd.end(key);
            }
            Ok::<_, object_store::Error>(page)
        };
        self.pages.get_or_fetch(key, pool, fetch).await
    }

    fn source(&self) -> Source {
        Source {
            bucket: self.bucket.clone(),
            log: Arc::clone(&self.log),
            ends: self.ends.clone(),
        }
    }
}

/// The bytes of an extent in an answer: those of a marker lie nowhere, but are made.
pub(crate) const fn answer_bytes(extent: &Extent) -> u64 {
    match extent.location {
        Location::Segment { length, .. } => length as u64,
        Location::Marker(_) => MARKER_BATCH_BYTES as u64,
        Location::Inline { .. } => 0,
    }
}

/// The pages that an extent touches.
pub(crate) fn pages_of(extent: &Extent) -> impl Iterator<Item = PageKey> + use<> {
    Place::of(extent).into_iter().flat_map(Place::pages)
}

/// The header of the batch at a position of proven bytes, and where the batch ends.
pub(crate) fn batch_at(pieces: &Pieces, position: usize) -> Option<(BatchHeader, usize)> {
    let header = BatchHeader::parse(&pieces.header_at(position)?).ok()?;
    let end = position.checked_add(usize::try_from(header.size()).ok()?)?;
    (end <= pieces.len()).then_some((header, end))
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
