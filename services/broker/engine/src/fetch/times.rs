//! Offsets by time: the metadata service knows timestamps per batch, the records tell the rest.

use bytes::Bytes;
use tidelog_cache::Pool;
use tidelog_format::batch::{BatchHeader, BatchView, DecodeLimit, RecordError};
use tidelog_metadata_api::{Extent, LookupRequest, OffsetAnswer, OffsetQuery};
use tidelog_types::{Offset, Timestamp, TopicPartition};

use super::pieces::Pieces;
use super::reads::batch_at;
use super::{FetchError, Fetcher, Isolation};
use crate::decoding::Decoding;

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
    /// Resolves an offset as a reader sees it; `None` if no record is that late.
    pub(crate) async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let query = match (query, isolation) {
            (OffsetQuery::Latest, Isolation::Committed) => OffsetQuery::LastStable,
            _ => query,
        };
        let found = self.resolve(partition, query).await?;
        let Some(found) = found.filter(|_| isolation == Isolation::Committed) else {
            return Ok(found);
        };
        if !matches!(query, OffsetQuery::AtTime(_) | OffsetQuery::MaxTimestamp) {
            return Ok(Some(found));
        }
        let bounds = self.log.bounds(partition).await?;
        Ok(Some(found).filter(|found| found.offset < bounds.last_stable))
    }

    async fn resolve(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let extent = match self.log.offset(partition, query).await? {
            OffsetAnswer::Offset(offset) => {
                if matches!(query, OffsetQuery::Latest | OffsetQuery::LastStable) {
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
        let sought = Sought { wanted, log_start };
        for _ in 0..EXTENTS_SEARCHED {
            if let Some(found) = self.search(partition, &next, sought).await? {
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
    ///
    /// Pages of the extent are let go before this waits for memory, so that waiting costs none. The batch is
    /// read again then, most likely from the cache.
    async fn search(
        &self,
        partition: TopicPartition,
        extent: &Extent,
        sought: Sought,
    ) -> Result<Option<FoundOffset>, FetchError> {
        let read = || self.reads.extent(partition, extent, Pool::CatchUp);
        let decoding = &self.decoding;
        let mut from = Some((0, extent.offsets.base));
        // What the records of a batch that became more than usual may become.
        let mut more = None;
        while let Some((position, base)) = from {
            let Some(batch) = sought.candidate(&read().await?, position, base) else {
                return Ok(None);
            };
            let usual = Decoding::usual_bytes(&batch.header);
            let limit = more.unwrap_or(usual).min(decoding.batch_bytes_max());
            let bytes = u64::from(batch.header.size()).saturating_add(limit);
            let hold = decoding.share().hold(bytes).await;
            let copy = batch.copy(&read().await?);
            let searched = decoding.work(bytes, move || {
                let searched = sought.search(copy, batch.base, limit);
                drop(hold);
                searched
            });
            match searched.await {
                Some(Searched::Found(found)) => return Ok(Some(found)),
                Some(Searched::Nothing) => {
                    from = Some((batch.end, batch.next()));
                    more = None;
                }
                Some(Searched::OverLimit) if limit < decoding.batch_bytes_max() => {
                    from = Some((batch.position, batch.base));
                    more = Some(decoding.batch_bytes_max());
                }
                // Records that cannot be decoded are the consumer's to complain of.
                _ => return Ok(Some(batch.begin(sought.log_start))),
            }
        }
        Ok(None)
    }
}

/// A record that is looked for.
#[derive(Clone, Copy, Debug)]
struct Sought {
    wanted: Wanted,
    log_start: Offset,
}

/// A batch in which it may be.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    header: BatchHeader,
    /// Where it begins and ends in its extent.
    position: usize,
    end: usize,
    base: Offset,
}

/// What a search of a batch came to.
#[derive(Clone, Copy, Debug)]
enum Searched {
    Found(FoundOffset),
    Nothing,
    /// More comes out of it than it was given.
    OverLimit,
    /// What comes out of it are no records.
    Undecodable,
}

impl Candidate {
    /// The offset after its last.
    fn next(&self) -> Offset {
        Offset::new(self.base.get() + u64::from(self.header.offset_count()))
    }

    fn latest(&self) -> Timestamp {
        if self.header.attributes.has_delete_horizon() {
            return self.header.max_timestamp;
        }
        self.header.max_timestamp.max(self.header.base_timestamp)
    }

    /// Its first offset that is still there.
    fn begin(&self, log_start: Offset) -> FoundOffset {
        FoundOffset {
            offset: self.base.max(log_start),
            timestamp: Some(self.latest()),
        }
    }

    /// Its bytes, which keep no page.
    fn copy(&self, pieces: &Pieces) -> Bytes {
        let mut bytes = Vec::with_capacity(self.end - self.position);
        pieces.for_each(self.position, self.end, |_, part| {
            bytes.extend_from_slice(part);
        });
        bytes.into()
    }
}

impl Sought {
    /// The first batch that may hold the record by its header, from the one at a position on.
    fn candidate(
        &self,
        pieces: &Pieces,
        mut position: usize,
        mut base: Offset,
    ) -> Option<Candidate> {
        let (Wanted::From(time) | Wanted::Exactly(time)) = self.wanted;
        while let Some((header, end)) = batch_at(pieces, position) {
            let batch = Candidate {
                header,
                position,
                end,
                base,
            };
            if batch.latest() >= time && batch.next() > self.log_start {
                return Some(batch);
            }
            (position, base) = (end, batch.next());
        }
        None
    }

    fn is(&self, offset: Offset, timestamp: Timestamp) -> bool {
        offset >= self.log_start
            && match self.wanted {
                Wanted::From(time) => timestamp >= time,
                Wanted::Exactly(time) => timestamp == time,
            }
    }

    /// Looks for the record in a batch whose records may become so many bytes.
    fn search(&self, batch: Bytes, base: Offset, limit: u64) -> Searched {
        let limit = DecodeLimit::bytes(usize::try_from(limit).unwrap_or(usize::MAX));
        let Ok((batch, _)) = BatchView::split(batch) else {
            return Searched::Undecodable;
        };
        let records = match batch.records(base, limit) {
            Ok(records) => records,
            Err(RecordError::TooLarge { .. }) => return Searched::OverLimit,
            Err(_) => return Searched::Undecodable,
        };
        let found = records
            .map_while(Result::ok)
            .find(|record| self.is(record.offset, record.timestamp));
        found.map_or(Searched::Nothing, |record| {
            Searched::Found(FoundOffset {
                offset: record.offset,
                timestamp: Some(record.timestamp),
            })
        })
    }
}
