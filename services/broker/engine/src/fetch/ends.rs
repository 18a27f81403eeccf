//! The end of a segment: its last page is seldom a whole one, and comes with the page before it in one request.

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tidelog_cache::{PAGE_BYTES, PageKey};
use tidelog_types::{BucketId, SegmentName};

/// Segments of which is remembered how long they are.
const REMEMBERED: u64 = 4_096;

/// How long segments are, as the bucket has said with what was read of them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    lengths: Cache<(BucketId, SegmentName), u64>,
}

/// The last two pages of a segment, the second of which is not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) first: PageKey,
    pub(super) last: PageKey,
    /// Bytes of both of them.
    pub(super) bytes: u64,
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            lengths: Cache::builder()
                .max_capacity(REMEMBERED)
                // One that was just read is wanted next, and not one that was wanted often.
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }
}

impl Ends {
    /// Takes note of how long a segment is.
    pub(super) fn note(&self, page: PageKey, length: u64) {
        self.lengths.insert((page.bucket, page.segment), length);
    }

    /// The end of its segment, if a page is one of it and it is known to be there.
    pub(super) fn of(&self, page: PageKey) -> Option<End> {
        let length = self.lengths.get(&(page.bucket, page.segment))?;
        let whole = u32::try_from(length / u64::from(PAGE_BYTES)).ok()?;
        let has_rest = length % u64::from(PAGE_BYTES) > 0;
        let first = whole.checked_sub(1).filter(|_| has_rest)?;
        let at = |number| PageKey::new(page.bucket, page.segment, number);
        let end = End {
            first: at(first),
            last: at(whole),
            bytes: length - u64::from(first) * u64::from(PAGE_BYTES),
        };
        (page == end.first || page == end.last).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{Incarnation, SegmentSequence};

    use super::*;

    fn page(number: u32) -> PageKey {
        let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(1));
        PageKey::new(BucketId::new(0), segment, number)
    }

    #[test]
    fn the_last_page_belongs_to_the_one_before_it_unless_it_is_whole() {
        const PAGE: u64 = PAGE_BYTES as u64;
        let ends = Ends::default();
        assert_eq!(ends.of(page(0)), None, "nobody has said how long it is");
        let cases = [
            (0, None),
            (PAGE - 1, None),
            (PAGE, None),
            (PAGE + 1, Some((0, PAGE + 1))),
            (2 * PAGE, None),
            (3 * PAGE - 1, Some((1, 2 * PAGE - 1))),
            (u64::MAX, None),
        ];
        for (length, first) in cases {
            ends.note(page(0), length);
            for number in 0..4 {
                let end = first.map(|(first, bytes)| End {
                    first: page(first),
                    last: page(first + 1),
                    bytes,
                });
                let end = end.filter(|end| end.first == page(number) || end.last == page(number));
                assert_eq!(ends.of(page(number)), end, "{number} of {length}");
            }
        }
    }
}
