//! Facts about producers: what gathers, what is sent, and what answers do.

use std::sync::Arc;
use std::time::Duration;

use tidelog_api::ApiError;
use tidelog_env::{BackoffPolicy, ManualClock, MonoTime};
use tidelog_format::batch::{BatchHeader, Compression};
use tidelog_types::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};

use super::accumulator::{Accumulator, Append};
use super::batch::Resolution;
use super::delivery::BatchProduced;
use super::lane::Lane;
use super::{Delivery, ProduceError, ProducerOptions, SendError, SendRecord};

const POLICY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(10), Duration::from_millis(100), 3);
const TIMEOUT: Duration = Duration::from_mins(2);
const LINGER: Duration = Duration::from_millis(5);
const NOW: MonoTime = MonoTime::START;

/// Senders on one side, one lane on the other.
struct Bench {
    clock: ManualClock,
    shared: Accumulator,
    lane: Lane,
    out: Vec<Resolution>,
}

impl Bench {
    fn new(options: ProducerOptions) -> Self {
        let idempotent = options.idempotent;
        let mut lane = Lane::new(0, idempotent, 5, POLICY);
        if idempotent {
            lane.set_writer(ProducerId::new(7), ProducerEpoch::new(0));
        }
        let clock = ManualClock::new(Timestamp::from_millis(1));
        Self {
            clock,
            shared: Accumulator::new(options, 1, 0),
            lane,
            out: Vec::new(),
        }
    }

    fn append(&self, record: &SendRecord<'_>) -> Result<Option<Delivery>, SendError> {
        append(&self.shared, &self.clock, record)
    }

    /// One batch of one record, closed and handed to the lane.
    fn batch(&mut self, value: &[u8]) -> Delivery {
        let delivery = self.append(&SendRecord::value(value)).unwrap().unwrap();
        self.shared.close_all();
        let (closed, _) = self.shared.take_closed(NOW, LINGER, |_| false);
        for closed in closed {
            self.lane.push(closed);
        }
        delivery
    }

    /// Everything that may be sent now: id and first sequence.
    fn send(&mut self, now: MonoTime) -> Vec<(u64, i32)> {
        std::iter::from_fn(|| self.lane.next_to_send(now, &mut self.out))
            .map(|(id, bytes)| (id, BatchHeader::parse(&bytes).unwrap().base_sequence))
            .collect()
    }

    fn accept(&mut self, id: u64, base_offset: u64) {
        self.answer(
            id,
            Ok(BatchProduced {
                partition: 0,
                base_offset,
            }),
        );
    }

    fn answer(&mut self, id: u64, answer: Result<BatchProduced, ApiError>) {
        let wait = |_: &mut tidelog_env::Backoff, _: &ApiError| NOW + Duration::from_millis(10);
        self.lane.answer(id, answer, wait, &mut self.out);
        self.publish();
    }

    fn publish(&mut self) {
        for resolution in self.out.drain(..) {
            self.shared
                .resolved(resolution.id, resolution.result.as_ref().err());
            resolution.outcome.resolve(resolution.result);
        }
    }
}

fn append(
    shared: &Accumulator,
    clock: &ManualClock,
    record: &SendRecord<'_>,
) -> Result<Option<Delivery>, SendError> {
    let mut memory = None;
    loop {
        match shared.append(record, Timestamp::from_millis(5), clock, &mut memory)? {
            Append::Taken(delivery) => return Ok(Some(delivery)),
            Append::NeedsMemory(bytes) => match shared.try_reserve(bytes) {
                None => return Ok(None),
                taken => memory = taken,
            },
        }
    }
}

fn unavailable() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "later")
}

fn retry_time() -> MonoTime {
    NOW + Duration::from_millis(10)
}

#[test]
fn records_of_a_batch_learn_their_own_offsets_from_one_answer() {
    let mut bench = Bench::new(ProducerOptions::default());
    let first = bench.append(&SendRecord::value(b"a")).unwrap().unwrap();
    let second = bench.batch(b"b");
    let sent = bench.send(NOW);
    assert_eq!(sent, [(0, 0)]);
    assert_eq!(first.peek(), None);
    bench.accept(0, 40);
    assert_eq!(first.peek().unwrap().unwrap().offset, 40);
    assert_eq!(second.peek().unwrap().unwrap().offset, 41);
}

#[test]
fn no_more_batches_are_in_flight_than_the_service_remembers() {
    let mut bench = Bench::new(ProducerOptions::default());
    for _ in 0..7 {
        bench.batch(b"x");
    }
    assert_eq!(bench.send(NOW).len(), 5);
    bench.accept(0, 0);
    assert_eq!(bench.send(NOW), [(5, 5)]);
}

#[test]
fn after_a_passing_failure_all_is_sent_again_in_order_with_the_same_sequences() {
    let mut bench = Bench::new(ProducerOptions::default());
    for _ in 0..3 {
        bench.batch(b"x");
    }
    assert_eq!(bench.send(NOW), [(0, 0), (1, 1), (2, 2)]);
    bench.accept(0, 0);
    bench.answer(1, Err(unavailable()));
    assert_eq!(bench.send(retry_time()), [], "an answer is still out");
    bench.answer(
        2,
        Err(ApiError::new(ErrorCode::OutOfOrderSequence, "1 is missing")),
    );
    bench.batch(b"y");
    assert_eq!(bench.send(NOW), [], "the wait is not over");
    assert_eq!(bench.send(retry_time()), [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn a_lost_connection_is_followed_by_the_same_batches() {
    let mut bench = Bench::new(ProducerOptions::default());
    bench.batch(b"x");
    bench.batch(b"y");
    let sent = bench.send(NOW);
    bench.lane.connection_lost(&mut bench.out);
    assert!(bench.out.is_empty());
    assert_eq!(bench.send(NOW), sent);
}

#[test]
fn a_lasting_failure_fails_what_is_behind_and_takes_a_new_producer_id() {
    let mut bench = Bench::new(ProducerOptions::default());
    let before = bench.batch(b"0");
    let refused = bench.batch(b"1");
    let behind = bench.batch(b"2");
    bench.send(NOW);
    let unsent = bench.batch(b"3");
    bench.answer(1, Err(ApiError::new(ErrorCode::BatchTooLarge, "no")));
    bench.accept(0, 9);
    assert_eq!(before.peek().unwrap().unwrap().offset, 9);
    assert!(matches!(
        refused.peek(),
        Some(Err(ProduceError::Refused(_)))
    ));
    for delivery in [behind, unsent] {
        let error = delivery.peek().unwrap().unwrap_err();
        assert!(matches!(error, ProduceError::Behind { .. }), "{error}");
        assert!(!error.may_have_happened());
        assert_eq!(error.code(), Some(ErrorCode::BatchTooLarge));
    }
    assert!(bench.lane.take_broken().is_some());
    bench.batch(b"4");
    assert_eq!(bench.send(NOW), [], "the old sequences lead nowhere");
    assert!(bench.lane.needs_writer());
    bench
        .lane
        .set_writer(ProducerId::new(8), ProducerEpoch::new(0));
    assert_eq!(bench.send(NOW), [(4, 0)]);
}

#[test]
fn a_gap_that_nothing_in_front_explains_is_final() {
    let mut bench = Bench::new(ProducerOptions::default());
    let delivery = bench.batch(b"x");
    bench.send(NOW);
    bench.answer(0, Err(ApiError::new(ErrorCode::OutOfOrderSequence, "gap")));
    assert_eq!(
        delivery.peek().unwrap().unwrap_err().code(),
        Some(ErrorCode::OutOfOrderSequence)
    );
}

#[test]
fn without_idempotence_an_unknown_outcome_is_not_tried_again() {
    let options = ProducerOptions {
        idempotent: false,
        ..ProducerOptions::default()
    };
    let mut bench = Bench::new(options);
    let lost = bench.batch(b"x");
    assert_eq!(bench.send(NOW), [(0, -1)]);
    let unsent = bench.batch(b"y");
    bench.lane.connection_lost(&mut bench.out);
    bench.publish();
    assert!(lost.peek().unwrap().unwrap_err().may_have_happened());
    assert_eq!(unsent.peek(), None);
    assert_eq!(bench.send(NOW).len(), 1);
    bench.answer(1, Err(unavailable().with_unknown_outcome()));
    assert!(unsent.peek().unwrap().unwrap_err().may_have_happened());
}

#[test]
fn a_batch_is_given_up_when_its_time_is_over() {
    let mut bench = Bench::new(ProducerOptions::default());
    let sent = bench.batch(b"x");
    bench.send(NOW);
    let deadline = bench.lane.expiry(TIMEOUT).unwrap();
    assert_eq!(deadline, NOW + TIMEOUT);
    bench.lane.expire(deadline, TIMEOUT, &mut bench.out);
    bench.publish();
    let error = sent.peek().unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            ProduceError::TimedOut {
                outcome_unknown: true,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn memory_is_bounded_and_comes_back_with_the_answer() {
    let options = ProducerOptions {
        memory_bytes: 1000,
        batch_bytes: 500,
        ..ProducerOptions::default()
    };
    let mut bench = Bench::new(options);
    let value = [0; 400];
    bench.batch(&value);
    bench.batch(&value);
    assert_eq!(bench.send(NOW).len(), 2);
    assert!(
        bench.append(&SendRecord::value(&value)).unwrap().is_none(),
        "two are on their way"
    );
    bench.accept(0, 0);
    assert!(bench.append(&SendRecord::value(&value)).unwrap().is_some());
    let error = bench.append(&SendRecord::value(&[0; 2000])).unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }), "{error}");
}

#[test]
fn a_batch_waits_for_company_no_longer_than_linger() {
    let bench = Bench::new(ProducerOptions::default());
    bench.append(&SendRecord::value(b"x")).unwrap().unwrap();
    let (closed, next) = bench.shared.take_closed(NOW, LINGER, |_| false);
    assert_eq!((closed.len(), next), (0, Some(NOW + LINGER)));
    let (closed, next) = bench.shared.take_closed(NOW + LINGER, LINGER, |_| false);
    assert_eq!((closed.len(), next), (1, None));
}

#[test]
fn records_that_cannot_be_sent_yet_go_together_later() {
    let mut bench = Bench::new(ProducerOptions::default());
    let late = NOW + LINGER;
    for value in 0..5_u8 {
        bench.batch(&[value]);
        bench.send(NOW);
    }
    assert!(bench.lane.is_busy());
    for value in 5..40_u8 {
        bench.append(&SendRecord::value(&[value])).unwrap().unwrap();
        let (closed, next) = bench.shared.take_closed(late, LINGER, |_| true);
        assert_eq!((closed.len(), next), (0, None));
    }
    bench.accept(0, 0);
    assert!(!bench.lane.is_busy());
    let (closed, _) = bench.shared.take_closed(late, LINGER, |_| false);
    assert_eq!(closed.len(), 1);
    // Nobody waits longer than a record may.
    bench.append(&SendRecord::value(b"x")).unwrap().unwrap();
    let too_late = NOW + ProducerOptions::default().delivery_timeout;
    let (closed, _) = bench.shared.take_closed(too_late, LINGER, |_| true);
    assert_eq!(closed.len(), 1);
}

#[test]
fn records_without_a_key_leave_a_partition_that_takes_none() {
    let clock = ManualClock::default();
    let shared = Accumulator::new(ProducerOptions::default(), 3, 1);
    let record = SendRecord::value(b"v");
    append(&shared, &clock, &record).unwrap().unwrap();
    let stuck = |partition| partition == 1;
    let late = NOW + LINGER;
    let (closed, _) = shared.take_closed(late, LINGER, stuck);
    assert!(closed.is_empty(), "it goes on gathering");
    append(&shared, &clock, &record).unwrap().unwrap();
    let (mut closed, _) = shared.take_closed(late + LINGER, LINGER, stuck);
    let next = closed.pop_front().unwrap();
    assert_eq!((next.partition, closed.len()), (2, 0));
}

#[test]
fn records_go_by_partition_by_key_or_batch_by_batch_in_turn() {
    let clock = ManualClock::default();
    let options = ProducerOptions {
        batch_bytes: 100,
        ..ProducerOptions::default()
    };
    let shared = Accumulator::new(options, 12, 11);
    let partition_of = |record: &SendRecord<'_>| {
        append(&shared, &clock, record).unwrap().unwrap();
        shared.close_all();
        shared
            .take_closed(NOW, LINGER, |_| false)
            .0
            .pop_front()
            .unwrap()
            .partition
    };
    let keyed = partition_of(&SendRecord::keyed(b"21", b"v"));
    assert_eq!(keyed, crate::partition_for_key(b"21", 12));
    assert_eq!(partition_of(&SendRecord::value(b"v")), 11);
    assert_eq!(
        partition_of(&SendRecord::value(b"v")),
        0,
        "the next one after a batch"
    );
    let chosen = SendRecord {
        partition: Some(3),
        ..SendRecord::keyed(b"21", b"v")
    };
    assert_eq!(partition_of(&chosen), 3);
    let missing = SendRecord {
        partition: Some(12),
        ..chosen
    };
    assert!(matches!(
        append(&shared, &clock, &missing),
        Err(SendError::UnknownPartition {
            partition: 12,
            count: 12
        })
    ));
}

#[test]
fn a_compressed_batch_is_built_when_it_is_sent() {
    let options = ProducerOptions {
        compression: Compression::Zstd,
        ..ProducerOptions::default()
    };
    let mut bench = Bench::new(options);
    bench.batch(&[7; 4000]);
    let (_, bytes) = bench.lane.next_to_send(NOW, &mut bench.out).unwrap();
    assert!(bytes.len() < 300, "{}", bytes.len());
}

#[tokio::test]
async fn a_flush_waits_for_what_was_sent_before_and_tells_the_first_failure_once() {
    let mut bench = Bench::new(ProducerOptions::default());
    bench.batch(b"x");
    bench.batch(b"y");
    bench.send(NOW);
    let shared = Arc::new(bench.shared);
    let flushing = Arc::clone(&shared);
    let mut flush = Box::pin(flushing.flush());
    assert!(futures::poll!(&mut flush).is_pending());
    shared.resolved(0, Some(&ProduceError::ConnectionLost));
    assert!(futures::poll!(&mut flush).is_pending());
    append(&shared, &bench.clock, &SendRecord::value(b"later"))
        .unwrap()
        .unwrap();
    shared.resolved(1, None);
    assert_eq!(flush.await, Err(ProduceError::ConnectionLost));
    shared.resolved(2, None);
    assert_eq!(shared.flush().await, Ok(()));
}

#[tokio::test]
async fn a_sealed_producer_takes_nothing_and_is_finished_when_all_is_answered() {
    let mut bench = Bench::new(ProducerOptions::default());
    bench.batch(b"x");
    bench.shared.seal();
    assert!(matches!(
        bench.append(&SendRecord::value(b"y")),
        Err(SendError::Closed)
    ));
    assert!(!bench.shared.is_finished());
    bench.send(NOW);
    bench.accept(0, 0);
    assert!(bench.shared.is_finished());
}
