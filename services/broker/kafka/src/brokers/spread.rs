//! Which broker is named for what: pure functions, the same in every process that sees the same brokers.
//!
//! Rendezvous hashing, so that little moves when a broker comes or goes, bounded within a topic: each broker is
//! named for as many partitions of it as any other, or one more.

use tidelog_types::TopicId;

/// Who is named as the leader of each of the first `count` partitions of a topic. Nobody if there are no
/// brokers.
pub(super) fn leaders(topic: TopicId, count: u32, brokers: &[i32]) -> Vec<i32> {
    let partitions = usize::try_from(count).unwrap_or(usize::MAX);
    let (least, mut more) = match brokers.len() {
        0 => return Vec::new(),
        some => (partitions / some, partitions % some),
    };
    let topic = fold(&topic.to_bytes());
    let mut places: Vec<(i32, u64, usize)> = brokers
        .iter()
        .map(|broker| (*broker, mix(topic ^ fold(&broker.to_be_bytes())), 0))
        .collect();
    let mut leaders = Vec::with_capacity(partitions);
    for partition in 0..u64::from(count) {
        let has_room = |taken: usize| taken < least || (taken == least && more > 0);
        let free = places.iter_mut().filter(|(_, _, taken)| has_room(*taken));
        // The places add up to the number of partitions, so that one is free.
        let Some((broker, _, taken)) = free.max_by_key(|(_, seed, _)| mix(*seed ^ partition))
        else {
            break;
        };
        if *taken == least {
            more -= 1;
        }
        *taken += 1;
        leaders.push(*broker);
    }
    leaders
}

/// Who is named for one thing. -1, which is nobody, if there are no brokers.
pub(super) fn best(key: &[u8], brokers: &[i32]) -> i32 {
    let key = fold(key);
    let best = brokers
        .iter()
        .max_by_key(|broker| mix(key ^ mix(fold(&broker.to_be_bytes()))));
    best.copied().unwrap_or(-1)
}

/// FNV-1a.
fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of murmur3.
const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId::from_bytes([7; 16]);

    fn loads(leaders: &[i32], brokers: &[i32]) -> Vec<usize> {
        let named = |broker: &i32| leaders.iter().filter(|leader| *leader == broker).count();
        brokers.iter().map(named).collect()
    }

    #[test]
    fn partitions_of_a_topic_are_spread_evenly() {
        for count in [0, 1, 2, 3, 4, 5, 10, 100, 1_001] {
            for size in 1..=5 {
                let brokers: Vec<i32> = (1..=size).collect();
                let leaders = leaders(TOPIC, count, &brokers);
                let loads = loads(&leaders, &brokers);
                let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
                assert!(most - least <= 1, "{count} over {size}: {loads:?}");
                assert_eq!(loads.iter().sum::<usize>(), count as usize);
            }
        }
        assert!(leaders(TOPIC, 3, &[]).is_empty());
    }

    #[test]
    fn little_moves_when_a_broker_comes_or_goes() {
        let before = leaders(TOPIC, 1_000, &[1, 2, 3, 4]);
        let after = leaders(TOPIC, 1_000, &[1, 2, 4]);
        let of_the_living = before.iter().zip(&after).filter(|(old, _)| **old != 3);
        let moved = of_the_living.filter(|(old, new)| old != new).count();
        assert!(moved < 250, "{moved} moved though their broker had stayed");
    }

    #[test]
    fn topics_of_one_partition_are_spread_and_everybody_says_the_same() {
        let brokers = [11, 12, 13];
        let topics = (0..300_u128).map(|number| TopicId::from_bytes(number.to_be_bytes()));
        let all: Vec<i32> = topics
            .flat_map(|topic| leaders(topic, 1, &brokers))
            .collect();
        let loads = loads(&all, &brokers);
        assert!(loads.iter().all(|load| *load > 60), "{loads:?}");
        let turned: Vec<i32> = brokers.iter().rev().copied().collect();
        assert_eq!(leaders(TOPIC, 9, &turned), leaders(TOPIC, 9, &brokers));
        assert_eq!(best(b"g", &turned), best(b"g", &brokers));
        assert_eq!(best(b"g", &[]), -1);
    }
}
