//! What a reader will want next, so that it need not wait for the bucket each time.
//!
//! Who comes back to where it left off reads on: the longer it does, the more pages are fetched ahead of it, up to a window.
//! All windows together take a quarter of the pool of old data: what a fetch reads at the same time, the place that it goes on
//! from and what others read need the rest, or pages would go before their reader comes. Nothing is fetched but on the way of
//! a request, so a reader that stops costs a window at most; what is on its way then is given up after a while.
//!
//! What is known of a place stays for a while when somebody has gone on from it. Others who read the same come there later, and
//! have to take their turns in the same order, or each of them would need pages of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_cache::{PAGE_BYTES, PageKey, Pool};
use tidelog_env::MonoTime;
use tidelog_env::clock::timeout;
use tidelog_types::{Offset, TopicPartition};

use super::budget::Turns;
use super::reads::Reads;
use super::request::FoundPartition;
use super::{FetchPartition, FetchRequest};

/// Bytes by which a reader may be behind and reads the tail, in all its partitions together; and the least that is
/// looked for beyond what a fetch may take.
pub(super) const TAIL_BYTES: u64 = 16 * 1024 * 1024;
/// Pages that are fetched ahead of a reader that has just come, and of one that reads on and on.
const WINDOW_MIN: usize = 4;
const WINDOW_MAX: usize = 16;
/// Of what follows so much is looked for, however small the window: of one page a partition may have the rest only, and then
/// nothing tells whose the next one is.
const PAGES_KNOWN: usize = 2;
/// A reader that does not come back for so long has stopped, and what is fetched for it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Places that readers may come to. Past it half of them are forgotten.
const PLACES_MAX: usize = 16_384;

/// Where readers left off.
#[derive(Debug)]
pub(super) struct Ahead {
    places: Mutex<Places>,
    /// Pages that all windows together may have.
    pages: usize,
}

#[derive(Debug, Default)]
struct Places {
    by_offset: HashMap<(TopicPartition, Offset), Place>,
    /// How many of them are where somebody is expected.
    awaited: usize,
    /// When those were forgotten that nobody came to.
    swept: MonoTime,
}

/// A place that a reader has read up to.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// How often it has come back to where it was.
    streak: u32,
    since: MonoTime,
    last: Last,
    /// Whether somebody is still expected to go on from here.
    is_awaited: bool,
}

/// What a reader got of a partition when it was last here.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// Whether it got anything.
    was_served: bool,
    /// Bytes in its turn, as long as it has it.
    stint: u64,
    /// For how many fetches it has got nothing.
    waits: u32,
    /// Whether it was the first of those that got nothing, for whoever was here.
    comes_next: bool,
}

/// A reader that has come.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    streak: u32,
    /// Pages that may be fetched ahead of it.
    pub(super) window: usize,
    /// How many read old data, about, if it is one of them.
    pub(super) readers: Option<usize>,
    /// By partition of the request.
    lasts: Vec<Last>,
    /// How many of them got something, and how many come next of those that did not.
    served: u64,
    next: u64,
}

impl Reader {
    /// Bytes to look for beyond what it may have now of a partition: of those that it reads on in together, and of those that
    /// come next, what may be fetched ahead.
    pub(super) fn bytes(&self, at: usize) -> u64 {
        let tail = TAIL_BYTES / (self.lasts.len() as u64).max(1);
        let window = self.window.max(PAGES_KNOWN) as u64 * u64::from(PAGE_BYTES);
        let share = match self.lasts.get(at) {
            Some(last) if last.was_served => window / self.served.max(1),
            // Where several readers are, what comes next for one of them need not be next for this one.
            Some(last) if last.comes_next => window / self.next.div_ceil(2).max(1),
            _ => tail,
        };
        share.max(tail)
    }

    /// Whose turn it is, with this partition the first in the rotation for who has just come.
    pub(super) fn turns(&self, first: usize) -> Turns {
        let streak = usize::try_from(self.streak).unwrap_or_default();
        Turns {
            // Not in step with what comes first.
            first: if streak == 0 { first } else { streak / 4 },
            oldest_first: streak % 2 == 1,
            tail_first: streak / 2 % 2 == 1,
            waits: self.lasts.iter().map(|last| last.waits).collect(),
            stints: self.lasts.iter().map(|last| last.stint).collect(),
            next: None,
        }
    }
}

impl Ahead {
    /// Windows within a pool of old data of so many bytes.
    pub(super) fn new(pool_bytes: u64) -> Self {
        let pages = pool_bytes / 4 / u64::from(PAGE_BYTES);
        Self {
            places: Mutex::default(),
            pages: usize::try_from(pages).unwrap_or(usize::MAX),
        }
    }

    /// Takes note of a reader that has come.
    pub(super) fn arrive(&self, request: &FetchRequest, now: MonoTime) -> Reader {
        let mut places = self.places.lock();
        let came_back = |wanted: &FetchPartition| {
            let place = places.by_offset.get(&(wanted.partition, wanted.offset))?;
            (now - place.since <= PATIENCE).then_some(*place)
        };
        let found: Vec<Option<Place>> = request.partitions.iter().map(came_back).collect();
        // Of those where it got nothing it may be that others have come back to them since.
        let rank = |place: &&Place| (place.last.was_served, place.streak);
        let mine = found.iter().flatten().max_by_key(rank);
        let lasts = found.iter();
        let lasts = lasts.map(|place| place.map(|place| place.last).unwrap_or_default());
        let lasts: Vec<Last> = lasts.collect();
        let count = |is: fn(&&Last) -> bool| lasts.iter().filter(is).count() as u64;
        let served = count(|last| last.was_served);
        let next = count(|last| last.comes_next && !last.was_served);
        places.forget_old(now);
        let streak = mine.map_or(0, |place| place.streak);
        let wanted = WINDOW_MIN << streak.min(WINDOW_MAX.ilog2());
        let partitions = request.partitions.len().max(1);
        let readers = places.awaited.div_ceil(partitions).max(1);
        let window = wanted.min(WINDOW_MAX).min(self.pages / readers).max(1);
        Reader {
            streak,
            window,
            readers: (streak > 0).then_some(readers),
            lasts,
            served,
            next,
        }
    }

    /// Takes note of where a reader will go on that reads old data.
    pub(super) fn leave(
        &self,
        reader: &Reader,
        came_from: &[FetchPartition],
        found: &[FoundPartition],
        pools: &[Option<Pool>],
        turns: &Turns,
        now: MonoTime,
    ) {
        let mut places = self.places.lock();
        let all = came_from.iter().zip(found).zip(pools).enumerate();
        for (at, ((wanted, found), pool)) in all {
            places.go_on_from(wanted);
            let Ok(found) = found else { continue };
            if *pool == Some(Pool::CatchUp) {
                // A partition that had no turn is come back to just as well.
                let was_served = found.next_offset > wanted.offset;
                let waits = turns.waits.get(at).copied().unwrap_or_default();
                let place = Place {
                    streak: reader.streak.saturating_add(1),
                    since: now,
                    last: Last {
                        was_served,
                        stint: turns.stints.get(at).copied().unwrap_or_default(),
                        comes_next: turns.next == Some(at),
                        waits: if was_served {
                            0
                        } else {
                            waits.saturating_add(1)
                        },
                    },
                    is_awaited: true,
                };
                places.come_to((found.partition, found.next_offset), place);
            }
        }
        places.forget_surplus();
    }
}

impl Places {
    /// Somebody is at a place. Others that come to it next may still be on their way there.
    fn come_to(&mut self, at: (TopicPartition, Offset), mut place: Place) {
        if let Some(before) = self.by_offset.get(&at) {
            let is_late = place.since - before.since > PATIENCE;
            place.last.comes_next |= before.last.comes_next && !is_late;
            self.awaited -= usize::from(before.is_awaited);
        }
        self.awaited += usize::from(place.is_awaited);
        self.by_offset.insert(at, place);
    }

    /// Somebody is at a place no more.
    fn go_on_from(&mut self, wanted: &FetchPartition) {
        let at = (wanted.partition, wanted.offset);
        if let Some(place) = self.by_offset.get_mut(&at) {
            self.awaited -= usize::from(place.is_awaited);
            place.is_awaited = false;
        }
    }

    /// Forgets what is old, now and then.
    fn forget_old(&mut self, now: MonoTime) {
        if now - self.swept >= PATIENCE {
            self.swept = now;
            self.keep(|place| now - place.since <= PATIENCE);
        }
    }

    /// Forgets half of them when there are too many: first those where nobody is expected, and the oldest of these.
    fn forget_surplus(&mut self) {
        if self.by_offset.len() > PLACES_MAX {
            let rank = |place: &Place| (place.is_awaited, place.since);
            let mut ranks: Vec<_> = self.by_offset.values().map(rank).collect();
            let middle = ranks.len() / 2;
            let (_, middle, _) = ranks.select_nth_unstable(middle);
            let middle = *middle;
            self.keep(|place| rank(place) > middle);
        }
    }

    fn keep(&mut self, is_kept: impl Fn(&Place) -> bool) {
        self.by_offset.retain(|_, place| is_kept(place));
        let awaited = self.by_offset.values().filter(|place| place.is_awaited);
        self.awaited = awaited.count();
    }
}

impl Reads {
    /// Begins to fetch pages that will be wanted, as far as there is memory for them now. Errors are left
    /// to those who want them.
    pub(super) fn fetch_ahead(&self, pages: Vec<(PageKey, Pool)>) {
        for (key, pool) in pages {
            if self.in_flight.free_bytes() < 2 * u64::from(PAGE_BYTES) {
                return;
            }
            if pool == Pool::CatchUp && self.herd.must_wait(&key) {
                continue;
            }
            if !self.pages.has(&key) {
                self.metrics.ahead.inc();
                let reads = self.clone();
                let clock = Arc::clone(&self.env.clock);
                let fetch = async move {
                    let page = reads.page(key, pool);
                    drop(timeout(clock.as_ref(), PATIENCE, page).await);
                };
                drop(self.env.supervisor.spawn("fetch ahead", fetch));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::PartitionBounds;
    use tidelog_types::{PartitionIndex, TopicNumber};

    use super::*;
    use crate::decoding::RecordsEstimate;
    use crate::fetch::{Batches, FetchedPartition, Isolation};

    const POOL: u64 = 1024 * 1024 * 1024;

    fn partition(index: u32) -> TopicPartition {
        TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
    }

    fn wants(places: &[(u32, u64)]) -> FetchRequest {
        let wanted = places.iter().map(|(index, offset)| FetchPartition {
            partition: partition(*index),
            offset: Offset::new(*offset),
            bytes_max: 1,
        });
        FetchRequest {
            partitions: wanted.collect(),
            bytes_max: 1,
            bytes_min: 0,
            wait_max: Duration::ZERO,
            isolation: Isolation::Uncommitted,
        }
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::START + Duration::from_secs(seconds)
    }

    /// A fetch that reads ten offsets of each partition; what it may fetch ahead.
    fn read(ahead: &Ahead, places: &[(u32, u64)], pool: Pool, now: MonoTime) -> usize {
        let reader = ahead.arrive(&wants(places), now);
        leave(ahead, &reader, places, 10, (pool, &Turns::default()), now);
        reader.window
    }

    /// The end of a fetch that has read so many offsets of each partition.
    fn leave(
        ahead: &Ahead,
        reader: &Reader,
        places: &[(u32, u64)],
        offsets: u64,
        (pool, turns): (Pool, &Turns),
        now: MonoTime,
    ) {
        let found: Vec<FoundPartition> = places
            .iter()
            .map(|(index, offset)| {
                Ok(FetchedPartition {
                    partition: partition(*index),
                    bounds: PartitionBounds::default(),
                    batches: Batches::default(),
                    next_offset: Offset::new(offset + offsets),
                    aborted: [].into(),
                    estimate: RecordsEstimate::default(),
                    is_transactional: false,
                })
            })
            .collect();
        let pools = vec![Some(pool); places.len()];
        let came_from = wants(places).partitions;
        ahead.leave(reader, &came_from, &found, &pools, turns, now);
    }

    fn windows(ahead: &Ahead, pool: Pool, offsets: &[u64]) -> Vec<usize> {
        let offsets = offsets.iter();
        offsets
            .map(|offset| read(ahead, &[(0, *offset)], pool, at(0)))
            .collect()
    }

    #[test]
    fn who_reads_on_gets_more_ahead_and_who_jumps_begins_anew() {
        let ahead = Ahead::new(POOL);
        let seen = windows(&ahead, Pool::CatchUp, &[0, 10, 20, 30, 400, 410]);
        assert_eq!(seen, [4, 8, 16, 16, 4, 8]);
        let seen = windows(&Ahead::new(POOL), Pool::Tail, &[0, 10, 20]);
        assert_eq!(seen, [4, 4, 4]);
    }

    #[test]
    fn who_comes_back_late_begins_anew() {
        let ahead = Ahead::new(POOL);
        assert_eq!(read(&ahead, &[(0, 0)], Pool::CatchUp, at(0)), 4);
        assert_eq!(read(&ahead, &[(0, 10)], Pool::CatchUp, at(10)), 8);
        assert_eq!(read(&ahead, &[(0, 20)], Pool::CatchUp, at(21)), 4);
    }

    /// The first one goes on before the second comes to where both have been.
    #[test]
    fn whoever_comes_behind_another_one_reads_on_as_well() {
        let ahead = Ahead::new(POOL);
        for (offset, window) in [(0, 4), (10, 8), (20, 16)] {
            let both = [(); 2].map(|()| ahead.arrive(&wants(&[(0, offset)]), at(0)));
            assert_eq!(both.map(|reader| reader.window), [window; 2]);
            for _ in 0..2 {
                let again = read(&ahead, &[(0, offset)], Pool::CatchUp, at(0));
                assert_eq!(again, window, "at offset {offset}");
            }
        }
        assert_eq!(ahead.places.lock().awaited, 1, "both are at one place");
    }

    #[test]
    fn one_partition_that_goes_on_is_enough() {
        let ahead = Ahead::new(POOL);
        assert_eq!(read(&ahead, &[(0, 0), (1, 0)], Pool::CatchUp, at(0)), 4);
        assert_eq!(read(&ahead, &[(0, 10), (1, 99)], Pool::CatchUp, at(0)), 8);
    }

    /// Whoever else has been there since, and does not come to it next.
    #[test]
    fn of_who_comes_next_is_looked_for_as_much_as_of_who_is_served() {
        let ahead = Ahead::new(POOL);
        let many: Vec<(u32, u64)> = (0..16).map(|partition| (partition, 0)).collect();
        let reader = ahead.arrive(&wants(&many), at(0));
        let tail = TAIL_BYTES / 16;
        assert_eq!(reader.bytes(1), tail, "nobody has been here");
        for next in [Some(1), None] {
            let turns = Turns {
                next,
                ..Turns::default()
            };
            leave(&ahead, &reader, &many, 0, (Pool::CatchUp, &turns), at(0));
        }
        let reader = ahead.arrive(&wants(&many), at(0));
        let window = reader.window as u64 * u64::from(PAGE_BYTES);
        assert_eq!([reader.bytes(1), reader.bytes(2)], [window, tail]);
        // Those of all readers together get two windows.
        for next in 2..16 {
            let turns = Turns {
                next: Some(next),
                ..Turns::default()
            };
            leave(&ahead, &reader, &many, 0, (Pool::CatchUp, &turns), at(0));
        }
        let reader = ahead.arrive(&wants(&many), at(0));
        let window = reader.window as u64 * u64::from(PAGE_BYTES);
        let all: u64 = (1..16).map(|at| reader.bytes(at)).sum();
        assert!(all <= 2 * window, "{all}");
        leave(
            &ahead,
            &reader,
            &many,
            0,
            (Pool::CatchUp, &Turns::default()),
            at(11),
        );
        let reader = ahead.arrive(&wants(&many), at(11));
        assert_eq!(reader.bytes(1), tail, "that was long ago");
    }

    #[test]
    fn windows_of_many_readers_fit_into_a_quarter_of_the_pool() {
        let pages = 40_u64;
        let ahead = Ahead::new(4 * pages * u64::from(PAGE_BYTES));
        let mut all = 0;
        for round in 0..4 {
            all = (0..10)
                .map(|reader| read(&ahead, &[(reader, round * 10)], Pool::CatchUp, at(0)))
                .sum();
        }
        assert!(all as u64 <= pages, "{all}");
        // Those that stopped do not count for long.
        let alone = [(0, 0), (0, 10), (0, 20)];
        let alone = alone.map(|place| read(&ahead, &[place], Pool::CatchUp, at(60)));
        assert_eq!(alone, [4, 8, 16]);
    }

    #[test]
    fn places_are_bounded() {
        let ahead = Ahead::new(POOL);
        for reader in 0..3 * u32::try_from(PLACES_MAX).unwrap() {
            read(&ahead, &[(reader, 0)], Pool::CatchUp, at(u64::from(reader)));
        }
        assert!(ahead.places.lock().by_offset.len() <= PLACES_MAX);
    }

    #[test]
    fn of_too_many_places_those_go_first_where_nobody_is_expected() {
        let ahead = Ahead::new(POOL);
        read(&ahead, &[(0, 0)], Pool::CatchUp, at(0));
        for step in 0..=PLACES_MAX as u64 {
            read(&ahead, &[(1, 10 * step)], Pool::CatchUp, at(1));
        }
        assert!(ahead.places.lock().by_offset.len() <= PLACES_MAX);
        assert_eq!(ahead.arrive(&wants(&[(0, 10)]), at(2)).streak, 1);
    }
}
