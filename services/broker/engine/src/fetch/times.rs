//! Offsets by time: the metadata service knows timestamps per batch, the records tell the rest.

use tidelog_cache::Pool;
use tidelog_format::batch::{BatchView, DecodeLimit};
use tidelog_metadata_api::{Extent, LookupRequest, OffsetAnswer, OffsetQuery};
use tidelog_types::{Offset, Timestamp, TopicPartition};

use super::{FetchError, Fetcher};

/// How many extents a search goes on through after the one that it was pointed to.
const EXTENTS_SEARCHED: usize = 16;

/// An offset and the timestamp of the record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, if the search was by time.
    pub timestamp: Option<Timestamp>,
}

/// What is looked for in records.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The first record of this time or later.
    From(Timestamp),
    /// The first record of exactly this time.
    Exactly(Timestamp),
}

impl Fetcher {
    /// Resolves an offset; `None` if no record is that late.
    pub(crate) async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let extent = match self.log.offset(partition, query).await? {
            OffsetAnswer::Offset(offset) => {
                if query == OffsetQuery::Latest {
                    let bounds = self.log.bounds(partition).await?;
                    self.watermarks.raise(partition, bounds);
                }
                return Ok(Some(FoundOffset {
                    offset,
                    timestamp: None,
                }));
            }
            OffsetAnswer::None => return Ok(None),
            OffsetAnswer::Within(extent) => extent,
        };
        let wanted = match query {
            OffsetQuery::AtTime(time) => Wanted::From(time),
            _ => Wanted::Exactly(extent.max_timestamp),
        };
        let log_start = self.log.bounds(partition).await?.log_start;
        let mut next = extent;
        for _ in 0..EXTENTS_SEARCHED {
            if let Some(found) = self.search(partition, &next, wanted, log_start).await? {
                return Ok(Some(found));
            }
            let request = LookupRequest {
                partition,
                offset: next.offsets.next,
                bytes_max: 1,
                extents_max: 1,
            };
            match self.extents.find(request).await?.extents.into_iter().next() {
                Some(extent) => next = extent,
                None => return Ok(None),
            }
        }
        // Timestamps in headers are the producers' word. Where they do not hold, the place they point to
        // is an honest answer: reading from there misses nothing that is as late.
        Ok(Some(FoundOffset {
            offset: next.offsets.base,
            timestamp: None,
        }))
    }

    /// Looks for a record in one extent.
    async fn search(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        wanted: Wanted,
        log_start: Offset,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let pieces = self.reads.extent(partition, extent, Pool::CatchUp).await?;
        let mut base = extent.offsets.base;
        for batch in BatchView::all(pieces.to_bytes()).flatten() {
            let header = batch.header();
            let next = Offset::new(base.get() + u64::from(header.offset_count()));
            let (Wanted::From(time) | Wanted::Exactly(time)) = wanted;
            let latest = header.max_timestamp.max(header.base_timestamp);
            if latest >= time && next > log_start {
                match search_records(&batch, base, wanted, log_start) {
                    Some(found) => return Ok(Some(found)),
                    // Records that cannot be decoded are the consumer's to complain of.
                    None if batch.records(base, DecodeLimit::default()).is_err() => {
                        let offset = base.max(log_start);
                        return Ok(Some(FoundOffset {
                            offset,
                            timestamp: Some(latest),
                        }));
                    }
                    None => {}
                }
            }
            base = next;
        }
        Ok(None)
    }
}

fn search_records(
    batch: &BatchView,
    base: Offset,
    wanted: Wanted,
    log_start: Offset,
) -> Option<FoundOffset> {
    let records = batch.records(base, DecodeLimit::default()).ok()?;
    records
        .map_while(Result::ok)
        .find(|record| {
            record.offset >= log_start
                && match wanted {
                    Wanted::From(time) => record.timestamp >= time,
                    Wanted::Exactly(time) => record.timestamp == time,
                }
        })
        .map(|record| FoundOffset {
            offset: record.offset,
            timestamp: Some(record.timestamp),
        })
}
