//! A set of keys, as ranges that neither overlap nor touch.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::KeyRange;

/// Ranges by their start. Invariant: each is non-empty, and ends below the start of the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    ranges: BTreeMap<Bytes, Option<Bytes>>,
    bounds_len: usize,
}

impl RangeSet {
    /// Adds every key of `range`.
    pub(crate) fn insert(&mut self, range: KeyRange) {
        if range.is_empty() {
            return;
        }
        let KeyRange { mut start, mut end } = range;
        let before = self.ranges.range(..=start.clone()).next_back();
        if let Some((first, last)) = before
            && touches(last.as_ref(), &start)
        {
            let first = first.clone();
            end = later_end(end, self.remove(&first));
            start = first;
        }
        while let Some((next, _)) = self.ranges.range(start.clone()..).next()
            && touches(end.as_ref(), next)
        {
            let next = next.clone();
            end = later_end(end, self.remove(&next));
        }
        self.bounds_len += start.len() + end.as_ref().map_or(0, Bytes::len);
        self.ranges.insert(start, end);
    }

    /// Whether `key` is in the set.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let before = self
            .ranges
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end.as_ref()))
    }

    /// The ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = KeyRange> + '_ {
        self.ranges.iter().map(|(start, end)| KeyRange {
            start: start.clone(),
            end: end.clone(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of all bounds.
    pub(crate) fn bounds_len(&self) -> usize {
        self.bounds_len
    }

    fn remove(&mut self, start: &Bytes) -> Option<Bytes> {
        let end = self.ranges.remove(start).flatten();
        self.bounds_len -= start.len() + end.as_ref().map_or(0, Bytes::len);
        end
    }
}

/// Whether a range that ends at `end` overlaps or touches one that starts at `start`, not before it.
fn touches(end: Option<&Bytes>, start: &Bytes) -> bool {
    end.is_none_or(|end| end >= start)
}

fn later_end(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_the_keys_of_its_ranges_and_no_other(
            ranges in prop::collection::vec((0_u8..40, prop::option::weighted(0.9, 0_u8..40)), 0..12)
        ) {
            let mut set = RangeSet::default();
            let mut model = [false; 40];
            for (start, end) in ranges {
                let end_bytes = end.map(|end| Bytes::from(vec![end]));
                set.insert(KeyRange { start: Bytes::from(vec![start]), end: end_bytes });
                for key in start..end.unwrap_or(40) {
                    model[usize::from(key)] = true;
                }
            }
            for key in 0_u8..40 {
                prop_assert_eq!(set.contains(&[key]), model[usize::from(key)]);
            }
            let all: Vec<_> = set.iter().collect();
            for pair in all.windows(2) {
                let end = pair[0].end.as_ref().expect("only the last is without an end");
                prop_assert!(*end < pair[1].start);
            }
            let bounds: usize = all.iter().map(KeyRange::bounds_len).sum();
            prop_assert_eq!(set.bounds_len(), bounds);
        }
    }
}
