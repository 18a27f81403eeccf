//! Random logs through the cleaner: keys, tombstones, records without a key, transactions that commit and abort, all
//! codecs, extents of any size, maps with room for few keys. What must hold of the result is said in a few lines.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tidelog_format::batch::{
    BatchBuf, BatchBuilder, BatchRules, BatchView, Compression, DecodeLimit, ProducerStamp, Record,
    patch_offsets,
};
use tidelog_format::extent::place;
use tidelog_format::marker::{Decision, EndMarker};
use tidelog_metadata_api::AbortedTransaction;
use tidelog_types::{Offset, OffsetRange, ProducerEpoch, ProducerId, Timestamp};

use crate::compaction::clean::{Aborted, Cleaner, Terms, note_keys};
use crate::compaction::keys::{Keys, SLOT_BYTES};

const TOMBSTONES_MILLIS: i64 = 1_000;

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A log, and what is known of it besides its bytes.
#[derive(Clone, Default)]
struct Log {
    batches: Vec<Bytes>,
    next: u64,
    aborted: Vec<AbortedTransaction>,
    open: BTreeMap<i64, (u64, u8)>,
}

impl Log {
    fn push(&mut self, bytes: Bytes, count: u64) {
        self.batches.push(bytes);
        self.next += count;
    }

    fn batch(&mut self, builder: BatchBuilder, stamp: Option<ProducerStamp>, count: u64) {
        let mut bytes = builder.finish(stamp).unwrap().to_bytes().to_vec();
        patch_offsets(&mut bytes, Offset::new(self.next)).unwrap();
        self.push(bytes.into(), count);
    }

    fn records(&mut self, random: &mut Random, producer: Option<i64>, now: i64) {
        let codec = Compression::ALL[usize::try_from(random.below(5)).unwrap()];
        let mut builder = BatchBuilder::new(codec, 0);
        let count = 1 + random.below(6);
        for _ in 0..count {
            let key = (!random.one_in(20))
                .then(|| vec![b'k'; 1 + usize::try_from(random.below(12)).unwrap()]);
            let value = (!random.one_in(5)).then(|| random.below(u64::MAX).to_le_bytes());
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"a", Some(b"b"))];
            let headers = &headers[..usize::from(random.one_in(3))];
            let time = Timestamp::from_millis(now + random.below(50).cast_signed());
            let value = value.as_ref().map(|value| &value[..]);
            builder
                .append(time, key.as_deref(), value, headers)
                .unwrap();
        }
        let stamp = producer.map(|id| ProducerStamp {
            id: ProducerId::new(id),
            epoch: ProducerEpoch::new(1),
            base_sequence: 5,
            transactional: true,
        });
        if let Some(id) = producer {
            let open = self.open.entry(id).or_insert((self.next, 0));
            open.1 += 1;
        }
        self.batch(builder, stamp, count);
    }

    fn end(&mut self, producer: i64, decision: Decision, now: i64) {
        let marker = EndMarker {
            producer_id: ProducerId::new(producer),
            producer_epoch: ProducerEpoch::new(1),
            coordinator_epoch: 3,
            decision,
        };
        let at = Offset::new(self.next);
        let open = self.open.remove(&producer);
        if let (Decision::Abort, Some((first, _))) = (decision, open) {
            self.aborted.push(AbortedTransaction {
                producer: ProducerId::new(producer),
                first: Offset::new(first),
                last: at,
            });
        }
        self.push(marker.to_batch(at, Timestamp::from_millis(now)), 1);
    }

    /// Appends some; at the end no transaction is open.
    fn grow(&mut self, random: &mut Random, now: i64) {
        for _ in 0..random.below(40) {
            match random.below(8) {
                0..4 => self.records(random, None, now),
                4..7 => {
                    let producer = 10 + random.below(3).cast_signed();
                    self.records(random, Some(producer), now);
                }
                _ => self.end_some(random, now),
            }
        }
        while !self.open.is_empty() {
            self.end_some(random, now);
        }
    }

    fn end_some(&mut self, random: &mut Random, now: i64) {
        if let Some(producer) = self.open.keys().next().copied() {
            let abort = random.one_in(2);
            let decision = if abort {
                Decision::Abort
            } else {
                Decision::Commit
            };
            self.end(producer, decision, now);
        }
    }

    /// What a reader of committed records sees, as Kafka's consumer finds it out.
    fn committed(&self) -> Vec<Record> {
        let mut waiting = self.aborted.clone();
        waiting.sort_by_key(|transaction| transaction.first);
        let mut hidden = HashSet::new();
        let mut seen = Vec::new();
        for bytes in &self.batches {
            let (batch, _) = BatchBuf::parse(bytes.clone(), &BatchRules::stored()).unwrap();
            let header = *batch.header();
            let base = Offset::from_i64(header.base_offset).unwrap();
            let last = base.get() + u64::from(header.offset_count()) - 1;
            waiting.retain(|transaction| {
                let begins = transaction.first.get() <= last;
                if begins {
                    hidden.insert(transaction.producer);
                }
                !begins
            });
            let records = batch.records(base, DecodeLimit::DEFAULT).unwrap();
            let records: Vec<Record> = records.map(Result::unwrap).collect();
            if header.attributes.is_control() {
                if records[0].key.as_deref() == Some(&[0, 0, 0, 0][..]) {
                    hidden.remove(&header.producer_id);
                }
            } else if !header.attributes.is_transactional() || !hidden.contains(&header.producer_id)
            {
                seen.extend(records);
            }
        }
        seen
    }

    /// Batches in runs of some, as extents have them.
    fn extents(&self, random: &mut Random) -> Vec<Bytes> {
        let mut extents = Vec::new();
        let mut rest = &self.batches[..];
        while !rest.is_empty() {
            let count = 1 + usize::try_from(random.below(6)).unwrap();
            let (some, behind) = rest.split_at(count.min(rest.len()));
            extents.push(some.concat().into());
            rest = behind;
        }
        extents
    }

    /// One round, as a janitor makes it: answers up to where it came.
    fn compact(&mut self, random: &mut Random, from: Offset, keys: u64, now: i64) -> Offset {
        let aborted = Aborted::new(&self.aborted);
        let limit = DecodeLimit::DEFAULT;
        let extents = self.extents(random);
        let mut map = Keys::new([7; 16], 1_000, keys * SLOT_BYTES);
        let mut end = Offset::new(self.next);
        let dirty = OffsetRange {
            base: from,
            next: end,
        };
        for extent in &extents {
            let full = note_keys(&mut map, extent.clone(), dirty, &aborted, limit).unwrap();
            assert_eq!(full.unread, None);
            if let Some(at) = full.full {
                end = at;
                break;
            }
        }
        assert!(end > from || from.get() == self.next, "it gets on");
        let terms = Terms {
            end,
            now: Timestamp::from_millis(now),
            later: Timestamp::from_millis(now),
            tombstones_millis: TOMBSTONES_MILLIS,
            unread: None,
        };
        let mut cleaner = Cleaner::new(map, terms);
        let mut out = Vec::new();
        for extent in extents {
            cleaner.take(extent, &aborted, limit).unwrap();
            if random.one_in(3) {
                out.push(cleaner.cut().0);
            }
        }
        out.push(cleaner.cut().0);
        let whole: Bytes = out.concat().into();
        let mut placed = bytes::BytesMut::from(&whole[..]);
        let all = OffsetRange {
            base: Offset::ZERO,
            next: Offset::new(self.next),
        };
        if !whole.is_empty() {
            place(&mut placed, all).unwrap();
            assert_eq!(placed, whole, "offsets are dense, and in place");
        }
        let batches = BatchView::all(whole).map(|batch| batch.unwrap().bytes().clone());
        self.batches = batches.collect();
        end
    }
}

/// The oracle: of each key the last record, by offset.
fn last_of_each_key(records: &[Record]) -> BTreeMap<Bytes, Record> {
    let keyed = records.iter().filter_map(|record| {
        let key = record.key.clone()?;
        Some((key, record.clone()))
    });
    keyed.collect()
}

#[test]
fn the_last_record_of_each_key_stays_and_nothing_is_other_than_it_was() {
    for seed in 1..40_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut log, mut original) = (Log::default(), Log::default());
        let (mut cleaned, mut now) = (Offset::ZERO, 1_000_000);
        for _ in 0..4 {
            let before = original.batches.len();
            original.grow(&mut random, now);
            log.batches
                .extend(original.batches[before..].iter().cloned());
            (log.next, log.aborted) = (original.next, original.aborted.clone());
            let expected = last_of_each_key(&original.committed());
            let was: BTreeMap<_, _> = original
                .committed()
                .into_iter()
                .map(|r| (r.offset, r))
                .collect();
            // Few keys fit: some rounds until all is clean.
            let keys = 16 + random.below(30);
            while cleaned.get() < log.next {
                cleaned = log.compact(&mut random, cleaned, keys, now);
                now += i64::try_from(random.below(1_500)).unwrap();
            }
            let seen = log.committed();
            for record in &seen {
                assert_eq!(Some(record), was.get(&record.offset), "seed {seed}");
            }
            let found = last_of_each_key(&seen);
            let keyless = was.values().filter(|record| record.key.is_none()).count();
            assert_eq!(
                found.len() + keyless,
                seen.len(),
                "each key once, seed {seed}"
            );
            for (key, record) in &expected {
                match found.get(key) {
                    Some(found) => assert_eq!(found, record, "seed {seed}"),
                    None => assert!(record.value.is_none(), "only tombstones go, seed {seed}"),
                }
            }
            assert!(found.keys().all(|key| expected.contains_key(key)));
        }
        // Long after, tombstones go, and what is left is left for ever.
        log.compact(&mut random, cleaned, 16, now);
        now += 10 * TOMBSTONES_MILLIS;
        log.compact(&mut random, cleaned, 16, now);
        let seen = log.committed();
        let found = last_of_each_key(&seen);
        assert!(
            found.values().all(|record| record.value.is_some()),
            "seed {seed}"
        );
        let expected = last_of_each_key(&original.committed());
        let alive = expected.values().filter(|record| record.value.is_some());
        assert_eq!(found.len(), alive.count(), "seed {seed}");
        let left = log.batches.clone();
        log.compact(&mut random, cleaned, 16, now + 1);
        let records = |batches: &[Bytes]| batches.concat().len();
        assert!(records(&log.batches) <= records(&left));
    }
}

/// A transaction may be open there, and what it has may be aborted.
#[test]
fn what_lies_behind_the_end_supersedes_nothing() {
    let mut log = Log::default();
    for value in [b"1", b"2", b"3"] {
        let mut builder = BatchBuilder::new(Compression::None, 0);
        let time = Timestamp::from_millis(5);
        builder
            .append(time, Some(b"key"), Some(value), &[])
            .unwrap();
        log.batch(builder, None, 1);
    }
    let dirty = OffsetRange {
        base: Offset::ZERO,
        next: Offset::new(2),
    };
    let mut keys = Keys::new([7; 16], 10, 1 << 10);
    let (aborted, limit) = (Aborted::default(), DecodeLimit::DEFAULT);
    let all = Bytes::from(log.batches.concat());
    note_keys(&mut keys, all, dirty, &aborted, limit).unwrap();
    let superseded = |at| keys.is_superseded(b"key", Offset::new(at));
    assert!(superseded(0) && !superseded(1) && !superseded(2));
}

#[test]
fn a_tombstone_stays_as_long_as_its_topic_says_after_it_was_reached() {
    let mut random = Random(77);
    let mut log = Log::default();
    for value in [Some(&b"1"[..]), None] {
        let mut builder = BatchBuilder::new(Compression::None, 0);
        let time = Timestamp::from_millis(5);
        builder.append(time, Some(b"key"), value, &[]).unwrap();
        log.batch(builder, None, 1);
    }
    let mut at = |now| {
        log.compact(&mut random, Offset::ZERO, 16, now);
        log.committed().len()
    };
    // However old the record is, the time begins when compaction comes to it.
    assert_eq!(at(1_000_000), 1);
    assert_eq!(at(1_000_000 + TOMBSTONES_MILLIS), 1);
    assert_eq!(at(1_000_001 + TOMBSTONES_MILLIS), 0);
}

/// One record of a key; nothing for a tombstone.
fn one(log: &mut Log, key: &[u8], value: Option<&[u8]>) {
    let mut builder = BatchBuilder::new(Compression::Zstd, 0);
    let time = Timestamp::from_millis(5);
    builder.append(time, Some(key), value, &[]).unwrap();
    log.batch(builder, None, 1);
}

/// A pass over a log, with so many bytes for a batch.
fn pass(log: &mut Log, from: u64, now: i64, limit: usize) -> Cleaner {
    pass_with(log, from, now, (limit, limit))
}

/// With other limits in the first pass and the second.
fn pass_with(log: &mut Log, from: u64, now: i64, (first, limit): (usize, usize)) -> Cleaner {
    let (aborted, limit) = (Aborted::default(), DecodeLimit::bytes(limit));
    let first = DecodeLimit::bytes(first);
    let dirty = OffsetRange {
        base: Offset::new(from),
        next: Offset::new(log.next),
    };
    let all = Bytes::from(log.batches.concat());
    let mut keys = Keys::new([7; 16], 100, 1 << 12);
    let noted = note_keys(&mut keys, all.clone(), dirty, &aborted, first).unwrap();
    let terms = Terms {
        end: dirty.next,
        now: Timestamp::from_millis(now),
        later: Timestamp::from_millis(now),
        tombstones_millis: TOMBSTONES_MILLIS,
        unread: noted.unread,
    };
    let mut cleaner = Cleaner::new(keys, terms);
    cleaner.take(all, &aborted, limit).unwrap();
    let (left, _) = cleaner.cut();
    let batches = BatchView::all(left).map(|batch| batch.unwrap().bytes().clone());
    log.batches = batches.collect();
    cleaner
}

/// Whatever is done with memory: what was deleted never comes back.
#[test]
fn what_cannot_be_read_stays_and_nothing_that_was_deleted_comes_back_with_it() {
    const LITTLE: usize = 1_000;
    const MUCH: usize = 1 << 20;
    let large = vec![b'v'; 10 * LITTLE];
    let mut log = Log::default();
    one(&mut log, b"a", Some(b"1"));
    one(&mut log, b"a", Some(b"2"));
    one(&mut log, b"k", None);
    one(&mut log, b"k", Some(&large));
    one(&mut log, b"k", None);
    one(&mut log, b"b", Some(b"1"));
    one(&mut log, b"b", Some(b"2"));
    let offsets = |log: &Log| {
        let records = log.committed();
        records
            .iter()
            .map(|record| record.offset.get())
            .collect::<Vec<_>>()
    };
    let mut now = 1_000_000;
    // The tombstone of the key that is before it goes; the one behind it may be all that says that the key is gone.
    for _ in 0..3 {
        let cleaner = pass(&mut log, 0, now, LITTLE);
        let unread = cleaner.unread.as_ref().map(|(offset, _)| offset.get());
        assert_eq!((unread, cleaner.counts.unread_batches), (Some(3), 1));
        assert_eq!(
            cleaner.tombstones_until, None,
            "nobody is to come back for it"
        );
        now += 10 * TOMBSTONES_MILLIS;
    }
    assert_eq!(offsets(&log), [1, 3, 4, 6]);
    // With more memory keys are noted from there on: now it goes, and its tombstone in its time.
    let cleaner = pass(&mut log, 3, now, MUCH);
    assert!(cleaner.unread.is_none() && cleaner.tombstones_until.is_some());
    assert_eq!(offsets(&log), [1, 4, 6]);
    now += 10 * TOMBSTONES_MILLIS;
    pass(&mut log, 7, now, MUCH);
    assert_eq!(offsets(&log), [1, 6]);
}

/// A tombstone that could not be read when keys were noted has taken the place of nothing.
#[test]
fn a_tombstone_of_which_no_key_was_noted_does_not_go_before_what_it_deletes() {
    let mut log = Log::default();
    one(&mut log, b"k", Some(b"1"));
    // In one batch with something large.
    let mut builder = BatchBuilder::new(Compression::Zstd, 0);
    let time = Timestamp::from_millis(5);
    builder.append(time, Some(b"k"), None, &[]).unwrap();
    builder
        .append(time, Some(b"large"), Some(&[b'v'; 10_000]), &[])
        .unwrap();
    log.batch(builder, None, 2);
    let mut now = 1_000_000;
    for _ in 0..3 {
        let cleaner = pass_with(&mut log, 0, now, (1_000, 1 << 20));
        assert!(cleaner.unread.is_none(), "it was read by then");
        assert_eq!(cleaner.tombstones_until, None);
        now += 10 * TOMBSTONES_MILLIS;
    }
    let values = log
        .committed()
        .into_iter()
        .map(|record| record.value.is_some());
    assert_eq!(values.collect::<Vec<_>>(), [true, false, true]);
}

/// Nor does one whose key was noted, while what it deletes cannot be read.
#[test]
fn a_tombstone_stays_while_what_it_deletes_cannot_be_read() {
    let mut log = Log::default();
    one(&mut log, b"k", Some(&[b'v'; 10_000]));
    one(&mut log, b"k", None);
    let mut now = 1_000_000;
    for _ in 0..3 {
        let cleaner = pass_with(&mut log, 0, now, (1 << 20, 1_000));
        assert!(cleaner.unread.is_some());
        assert_eq!(cleaner.tombstones_until, None);
        now += 10 * TOMBSTONES_MILLIS;
    }
    assert_eq!(log.committed().len(), 2);
}
