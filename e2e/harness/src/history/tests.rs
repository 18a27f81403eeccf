//! The checker is checked: a good history is clean, and each way to spoil it is found.

use super::*;
use report::Kind::*;

const READER: u64 = 7;

fn partition() -> Partition {
    Partition {
        topic: "t".to_owned(),
        number: 0,
    }
}

fn content(n: u64) -> Content {
    Content::of(Some(b"k"), Some(n.to_string().as_bytes()), &[], Some(1))
}

fn append(order: u64, base: u64, tick: Tick) -> Append {
    Append {
        partition: partition(),
        sender: 1,
        order,
        producer: Some(ProducerEpoch { id: 5, epoch: 0 }),
        may_repeat: false,
        expected_next: None,
        token: None,
        set_token: None,
        records: vec![content(order)],
        invoked: tick,
        outcome: Outcome::Acked {
            base,
            duplicate: false,
            returned: tick + 1,
        },
    }
}

fn read(reader: u64, from: u64, records: Vec<(u64, Content)>, tick: Tick) -> Read {
    let next = records.last().map_or(from, |(offset, _)| offset + 1);
    Read {
        partition: partition(),
        reader,
        invoked: tick,
        returned: tick + 1,
        from,
        records,
        next,
        high_watermark: None,
        log_start: Some(0),
    }
}

/// Ten appends at ticks 10 to 100, a reader in two steps, and a drain.
fn good() -> History {
    let appends = (0..10).map(|n| append(n, n, 10 * (n + 1))).collect();
    let all: Vec<_> = (0..10).map(|n| (n, content(n))).collect();
    let mut second = read(READER, 4, all[4..].to_vec(), 220);
    second.high_watermark = Some(10);
    let reads = vec![
        read(READER, 0, all[..4].to_vec(), 200),
        second,
        read(READER + 1, 0, all, 300),
    ];
    History {
        appends,
        reads,
        drain: Some(READER + 1),
    }
}

/// The kinds of what is found after `spoil`.
fn found(spoil: impl FnOnce(&mut History)) -> Vec<Kind> {
    let mut history = good();
    spoil(&mut history);
    let mut kinds: Vec<Kind> = check(&history)
        .violations
        .iter()
        .map(|one| one.kind)
        .collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_good_history_is_clean() {
    assert_eq!(found(|_| {}), []);
    let report = check(&good());
    assert_eq!((report.acked, report.unknown, report.repeats), (10, 0, 0));
}

#[test]
fn a_record_that_is_gone_is_a_gap_and_a_lost_write() {
    let gone = |history: &mut History| {
        for read in &mut history.reads {
            read.records.retain(|(offset, _)| *offset != 5);
        }
    };
    assert_eq!(found(gone), [LostWrite, Gap]);
}

#[test]
fn a_record_that_is_gone_from_the_end_is_unseen() {
    let gone = |history: &mut History| {
        for read in &mut history.reads {
            read.records.retain(|(offset, _)| *offset != 9);
            read.next = read.next.min(9);
        }
    };
    assert_eq!(found(gone), [Unseen]);
}

#[test]
fn a_record_that_is_there_twice_is_a_duplicate_unless_its_sender_may_repeat() {
    let twice = |history: &mut History| {
        let drain = &mut history.reads[2];
        drain.records.push((10, content(3)));
        drain.next = 11;
    };
    // The record sent last is no longer the last: the first place counts for the order.
    assert_eq!(found(twice), [Duplicate]);
    let may = |history: &mut History| {
        twice(history);
        history.appends[3].may_repeat = true;
    };
    assert_eq!(found(may), []);
}

#[test]
fn records_that_changed_places_contradict_their_acknowledgements() {
    let swap = |history: &mut History| {
        for read in &mut history.reads {
            for (_, one) in &mut read.records {
                *one = if *one == content(5) {
                    content(6)
                } else if *one == content(6) {
                    content(5)
                } else {
                    one.clone()
                };
            }
        }
    };
    let kinds = found(swap);
    assert!(kinds.contains(&InconsistentOffset), "{kinds:?}");
    assert!(kinds.contains(&NonmonotonicSend), "{kinds:?}");
}

#[test]
fn a_flipped_bit_is_found_even_if_nobody_acknowledged_the_offset() {
    let flip = |history: &mut History| {
        history.appends[9].outcome = Outcome::Unknown;
        for read in &mut history.reads {
            if let Some((_, last)) = read.records.iter_mut().find(|(offset, _)| *offset == 9) {
                last.digest ^= 1;
            }
        }
    };
    assert_eq!(found(flip), [Altered]);
}

#[test]
fn a_record_of_another_key_that_nobody_sent_is_a_phantom() {
    let phantom = |history: &mut History| {
        let drain = &mut history.reads[2];
        drain
            .records
            .push((10, Content::of(Some(b"other"), None, &[], None)));
        drain.next = 11;
    };
    assert_eq!(found(phantom), [Phantom]);
}

#[test]
fn a_refused_record_must_not_be_there_and_an_unknown_one_may() {
    assert_eq!(
        found(|history| history.appends[9].outcome = Outcome::Refused),
        [RefusedButThere]
    );
    assert_eq!(
        found(|history| history.appends[9].outcome = Outcome::Unknown),
        []
    );
    let absent = |history: &mut History| {
        history.appends[9].outcome = Outcome::Unknown;
        for read in &mut history.reads {
            read.records.retain(|(offset, _)| *offset != 9);
            read.next = read.next.min(9);
            read.high_watermark = read.high_watermark.map(|_| 9);
        }
    };
    assert_eq!(found(absent), []);
}

#[test]
fn a_reader_that_is_led_past_or_back_is_seen() {
    let skip = |history: &mut History| {
        history.reads[1].from = 5;
        history.reads[1].records.remove(0);
    };
    assert_eq!(found(skip), [PollSkip]);
    let back = |history: &mut History| {
        history.reads[1].from = 3;
        history.reads[1].records.insert(0, (3, content(3)));
    };
    assert_eq!(found(back), [NonmonotonicPoll]);
}

#[test]
fn a_sender_whose_records_are_in_another_order_is_seen() {
    let swap = |history: &mut History| {
        history.appends[2].order = 3;
        history.appends[3].order = 2;
    };
    assert_eq!(found(swap), [NonmonotonicSend]);
}

#[test]
fn a_read_that_does_not_know_of_an_earlier_answer_is_stale() {
    assert_eq!(
        found(|history| history.reads[1].high_watermark = Some(9)),
        [StaleRead]
    );
    // It began before the answer came, so it need not know.
    let early = |history: &mut History| {
        history.reads[1].high_watermark = Some(9);
        history.reads[1].invoked = 100;
    };
    assert_eq!(found(early), []);
}

#[test]
fn watermarks_and_log_starts_never_go_back() {
    let watermark = |history: &mut History| {
        history.appends[9].outcome = Outcome::Unknown;
        history.reads[0].high_watermark = Some(10);
        history.reads[1].high_watermark = Some(9);
    };
    assert_eq!(found(watermark), [HighWatermarkRegressed]);
    let start = |history: &mut History| history.reads[0].log_start = Some(1);
    assert_eq!(found(start), [LogStartRegressed]);
}

#[test]
fn an_old_epoch_must_not_write_after_a_new_one() {
    let old = |history: &mut History| {
        history.appends[4].producer = Some(ProducerEpoch { id: 5, epoch: 1 });
    };
    assert_eq!(found(old), [FencedProducerWrote]);
}

#[test]
fn an_expected_offset_is_the_actual_one() {
    assert_eq!(
        found(|history| history.appends[4].expected_next = Some(4)),
        []
    );
    assert_eq!(
        found(|history| history.appends[4].expected_next = Some(3)),
        [ConditionIgnored]
    );
}

#[test]
fn a_demanded_token_is_the_one_set_last() {
    let set = |history: &mut History| {
        history.appends[2].set_token = Some("a".to_owned());
        history.appends[3].token = Some("a".to_owned());
        history.appends[5].token = Some("a".to_owned());
    };
    assert_eq!(found(set), []);
    let other = |history: &mut History| {
        set(history);
        history.appends[4].set_token = Some("b".to_owned());
    };
    assert_eq!(found(other), [TokenIgnored]);
    // A set whose outcome nobody knows, but which is in the log, counts.
    let unknown = |history: &mut History| {
        other(history);
        history.appends[4].outcome = Outcome::Unknown;
    };
    assert_eq!(found(unknown), [TokenIgnored]);
}
