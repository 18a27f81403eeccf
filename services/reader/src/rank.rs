//! Who keeps which page: rendezvous hashing, with bounded load.
//!
//! Each pair of page and reader has a weight that all brokers reckon alike, and the reader with the highest is the page's
//! owner. When it goes, each of its pages falls to the next in the page's own order, so that its load spreads over all; nobody
//! else's pages move.

use tidelog_cache::PageKey;
use tidelog_types::MemberId;

/// The weight of a reader for a page. All processes of a cluster must reckon it alike: to change it is to make every page
/// find another owner while old and new brokers run side by side.
pub(crate) fn weight(reader: MemberId, key: PageKey) -> u64 {
    let bytes = reader.to_bytes();
    let (high, low) = bytes.split_at(8);
    let words = [
        word(high),
        word(low),
        u64::from(key.bucket.get()),
        key.segment.incarnation.get(),
        key.segment.sequence.get(),
        u64::from(key.page),
    ];
    words.into_iter().fold(0, |state, word| mix(state ^ word))
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Spreads each bit over all: the finisher of `SplitMix64`.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The places of `readers` in the order in which they are asked for a page.
pub(crate) fn order(readers: impl Iterator<Item = MemberId>, key: PageKey) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = readers
        .enumerate()
        .map(|(at, reader)| (weight(reader, key), at))
        .collect();
    order.sort_unstable_by(|one, other| other.cmp(one));
    order.into_iter().map(|(_, at)| at).collect()
}

/// How many pages one of `readers` may have under way when all of them have `total`.
pub(crate) fn load_max(total: usize, readers: usize, least: usize) -> usize {
    let even = (total + 1).saturating_mul(5).div_ceil(4 * readers.max(1));
    even.max(least)
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    fn reader(number: u8) -> MemberId {
        MemberId::from_random_bytes([number; 16])
    }

    fn key(number: u64) -> PageKey {
        let name = SegmentName::new(Incarnation::new(3), SegmentSequence::new(number / 4));
        PageKey::new(BucketId::new(0), name, u32::try_from(number % 4).unwrap())
    }

    fn owner(readers: &[u8], number: u64) -> u8 {
        let members = readers.iter().map(|number| reader(*number));
        readers[order(members, key(number))[0]]
    }

    #[test]
    fn weights_are_what_they_have_always_been() {
        let seen = [(1, 0), (1, 5), (2, 5)].map(|(at, number)| weight(reader(at), key(number)));
        assert_eq!(seen, GOLDEN);
    }

    const GOLDEN: [u64; 3] = [
        16_875_234_581_456_077_257,
        11_396_034_620_245_194_123,
        10_234_021_006_755_476_753,
    ];

    #[test]
    fn each_reader_has_its_part_of_the_pages() {
        let mut pages = [0_u32; 5];
        for number in 0..10_000 {
            pages[usize::from(owner(&[0, 1, 2, 3, 4], number))] += 1;
        }
        assert!(
            pages.iter().all(|pages| (1_800..2_200).contains(pages)),
            "{pages:?}"
        );
    }

    #[test]
    fn a_reader_that_comes_or_goes_moves_its_own_pages_only_and_those_to_all_others() {
        let mut heirs = [0_u32; 5];
        for number in 0..10_000 {
            let (with, without) = (
                owner(&[0, 1, 2, 3, 4], number),
                owner(&[0, 1, 2, 4], number),
            );
            if with == 3 {
                heirs[usize::from(without)] += 1;
            } else {
                assert_eq!(with, without);
            }
        }
        let heirs = [heirs[0], heirs[1], heirs[2], heirs[4]];
        assert!(heirs.iter().all(|pages| *pages > 400), "{heirs:?}");
    }

    #[test]
    fn the_order_in_which_readers_are_known_does_not_matter() {
        for number in 0..100 {
            assert_eq!(owner(&[0, 1, 2], number), owner(&[2, 0, 1], number));
        }
    }

    #[test]
    fn nobody_has_much_more_than_its_part_once_there_is_load() {
        assert_eq!(load_max(0, 4, 16), 16);
        assert_eq!(load_max(99, 4, 16), 32);
        assert_eq!(load_max(0, 4, 1), 1);
        assert_eq!(load_max(5, 0, 1), 8);
    }
}
