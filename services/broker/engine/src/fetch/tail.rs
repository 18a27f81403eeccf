//! What becomes of a segment that was just stored: its pages are kept for those who follow the tail.

use bytes::BytesMut;
use tidelog_cache::{PAGE_BYTES, PageKey};
use tidelog_format::segment::SealedSegment;

use super::Reads;
use super::reads::to_usize;
use crate::append::TailCache;

impl TailCache for Reads {
    /// Keeps a segment that was just stored, if somebody reads one of its partitions here: whoever follows the
    /// tail then needs no GET. Others are offered it in any case, for those who read elsewhere.
    fn insert(&self, segment: &SealedSegment) {
        let mut slices = segment
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.slices);
        let is_read = slices.any(|slice| self.watermarks.is_known(slice.partition));
        let bucket = segment.manifests.first().map(|manifest| manifest.bucket);
        let bucket = bucket.unwrap_or_default();
        let near = self.near.as_deref();
        // What lies in the store is read from there, by brokers alone.
        let near = near.filter(|near| near.takes_offers() && !bucket.is_store());
        if !is_read && near.is_none() {
            return;
        }
        for_each_page(segment, |page| {
            let (number, bytes) = page;
            let key = PageKey::new(bucket, segment.name, number);
            if let Some(near) = near {
                near.offer(key, bytes.clone());
            }
            if is_read {
                self.pages.insert(key, bytes);
            }
        });
    }
}

/// Copies a segment into pages, each with memory of its own.
fn for_each_page(segment: &SealedSegment, mut take: impl FnMut((u32, bytes::Bytes))) {
    let page_bytes = to_usize(u64::from(PAGE_BYTES));
    let mut page = BytesMut::with_capacity(page_bytes.min(to_usize(segment.length)));
    let mut number = 0;
    for chunk in &segment.chunks {
        let mut rest = chunk.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(page_bytes - page.len()));
            page.extend_from_slice(now);
            rest = later;
            if page.len() == page_bytes {
                take((number, page.split().freeze()));
                number += 1;
            }
        }
    }
    if !page.is_empty() {
        take((number, page.freeze()));
    }
}
