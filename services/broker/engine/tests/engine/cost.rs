//! What `tidelog-cost` says of the number of segments, against an engine that gets such a load: batches of one size
//! that come at random, for half a minute.

use std::num::NonZeroU32;
use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::{AppendSettings, EngineSettings};
use tidelog_cost::{Load, Metadata, SegmentRate};
use tidelog_format::segment::SegmentWriter;
use tidelog_types::{PartitionIndex, ShardId, TopicId, TopicNumber, TopicPartition};

use crate::batches::{batch, stamped};
use crate::world::{World, settings};

/// How far the number of segments may be from what the model says, up or down.
const FACTOR: f64 = 1.25;
/// How long each load goes on.
const SECONDS: u32 = 30;

/// A load, and what decides how it becomes segments.
#[derive(Clone, Copy, Debug)]
struct Case {
    batches_per_second: u32,
    value_bytes: usize,
    linger_ms: u32,
    segment_bytes: u32,
    put_ms: u32,
}

/// Times between batches that know nothing of each other.
struct Pauses {
    mean: f64,
    state: u32,
}

impl Pauses {
    fn new(batches_per_second: u32) -> Self {
        Self {
            mean: 1.0 / f64::from(batches_per_second),
            state: 7,
        }
    }

    fn next(&mut self) -> Duration {
        self.state = self
            .state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let even = (f64::from(self.state >> 8) + 0.5) / f64::from(1 << 24);
        Duration::from_secs_f64(-self.mean * even.ln())
    }
}

/// What the engine does: segments for each second.
async fn counted(case: &Case, batch_bytes: u32) -> f64 {
    let four = NonZeroU32::MIN.saturating_add(3);
    let append = AppendSettings {
        linger: Duration::from_millis(case.linger_ms.into()),
        segment_bytes: case.segment_bytes,
        flush_rate: four,
        flush_burst: four,
        uploads_max: 1000,
        unanswered_max: 1000,
        ..settings().append
    };
    let world = World::with(EngineSettings {
        append,
        ..settings()
    })
    .await;
    let put = Duration::from_millis(case.put_ms.into());
    world
        .way
        .inject(FaultRule::new(Fault::Delay(put)).on(Operation::Put));
    let mut pauses = Pauses::new(case.batches_per_second);
    let value = "x".repeat(case.value_bytes);
    let mut answers = Vec::new();
    let began = world.env.clock.now();
    let mut due = Duration::ZERO;
    for number in 0..case.batches_per_second * SECONDS {
        let one = batch(&[&value]);
        assert_eq!(one.size(), batch_bytes);
        answers.push(world.send_batch(number % 4, one, None));
        due += pauses.next();
        world.env.clock.sleep_until(began + due).await;
    }
    let puts = u32::try_from(world.puts()).expect("few segments");
    let took = world.env.clock.now() - began;
    f64::from(puts) / took.as_secs_f64()
}

/// What the model says of it.
fn expected(case: &Case, batch_bytes: u32) -> f64 {
    let load = Load {
        write_rate: f64::from(case.batches_per_second) * f64::from(batch_bytes),
        fan_out: 0.0,
        catch_up_rate: 0.0,
        retention: 0.0,
        partitions: 4,
        batch_bytes: batch_bytes.into(),
        consumers: 0,
        zones: 1,
        brokers: 1,
        readers: 0,
        kafka_brokers: 1,
        shards: 1,
        linger: f64::from(case.linger_ms) / 1000.0,
        segment_bytes: case.segment_bytes.into(),
        flush_rate: 4.0,
        metadata: Metadata::Embedded,
    };
    assert_eq!(load.check(), Ok(()));
    SegmentRate::of(&load, f64::from(case.put_ms) / 1000.0).rate
}

async fn holds(case: Case) {
    let batch_bytes = batch(&[&"x".repeat(case.value_bytes)]).size();
    let (counted, expected) = (
        counted(&case, batch_bytes).await,
        expected(&case, batch_bytes),
    );
    let ratio = counted / expected;
    assert!(
        (1.0 / FACTOR..FACTOR).contains(&ratio),
        "{counted:.2} segments/s, {expected:.2} by the model: {case:?}"
    );
}

/// A load that stays below all limits but those of time.
const QUIET: Case = Case {
    batches_per_second: 2,
    value_bytes: 500,
    linger_ms: 250,
    segment_bytes: 8 * 1024 * 1024,
    put_ms: 80,
};

#[tokio::test(start_paused = true)]
async fn a_quiet_log_has_a_segment_for_each_batch() {
    holds(QUIET).await;
}

#[tokio::test(start_paused = true)]
async fn a_steady_log_has_as_many_as_may_be_closed_early() {
    for batches_per_second in [20, 200] {
        holds(Case {
            batches_per_second,
            ..QUIET
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_linger_closes_most_of_them() {
    for batches_per_second in [20, 100] {
        let case = Case {
            batches_per_second,
            linger_ms: 5,
            put_ms: 1,
            ..QUIET
        };
        holds(case).await;
    }
}

/// 1.6 MB/s in segments of 128 KiB: twelve a second by size.
const BUSY: Case = Case {
    batches_per_second: 200,
    value_bytes: 8 * 1024,
    linger_ms: 250,
    segment_bytes: 128 * 1024,
    put_ms: 20,
};

#[tokio::test(start_paused = true)]
async fn a_busy_log_fills_its_segments_and_closes_some_early() {
    holds(BUSY).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_always_uploads_closes_none_early() {
    holds(Case {
        put_ms: 400,
        ..BUSY
    })
    .await;
}

/// The model says how small batches fill a manifest before a segment by what one takes there.
#[test]
fn a_batch_takes_about_as_much_of_a_manifest_as_the_model_says() {
    let mut writer = SegmentWriter::new();
    let batches = 2_000;
    for number in 0..batches {
        let partition = TopicPartition::new(TopicNumber::new(70_000), PartitionIndex::new(0));
        let batch = stamped(
            "value",
            1_000_000 + number % 50,
            3_000 + 7 * i32::try_from(number).expect("few"),
        );
        let pushed = writer.push(
            TopicId::from_bytes([1; 16]),
            partition,
            ShardId::new(3),
            batch,
        );
        assert!(pushed.is_ok());
    }
    let each = writer.manifest_bytes_max() / 2_000;
    assert!((10..=20).contains(&each), "{each} bytes");
}
