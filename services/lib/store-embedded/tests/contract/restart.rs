//! What survives a stop, a kill, and a clock that was set back.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Env, ManualClock, SeededRng, Supervisor};
use tidelog_store::{Bytes, Store as _};
use tidelog_store_embedded::{EmbeddedStore, Metrics};
use tidelog_types::Timestamp;

use crate::objects::{LogFault, TestObjects};
use crate::support::{dump, open, options, put, read, try_put};

#[tokio::test(start_paused = true)]
async fn a_closed_store_opens_with_everything_and_later_versions() {
    let objects = TestObjects::in_memory();
    let mut last = None;
    for round in 0..5 {
        let store = open(Arc::clone(&objects), options()).await;
        assert_eq!(dump(&store).await.len(), round * 10);
        for number in 0..10 {
            let version = put(&store, &format!("{round}/{number}"), "x").await;
            assert!(Some(version) > last, "versions go back");
            last = Some(version);
        }
        store.close().await.expect("closes");
    }
}

/// Runs `body` in a runtime of its own that dies afterwards, with all its tasks, as a process does.
fn in_a_process_that_is_killed<Fut: Future<Output = ()>>(body: Fut) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(body);
    runtime.shutdown_background();
}

#[test]
fn a_killed_store_keeps_every_acknowledged_commit_whole() {
    let objects = TestObjects::in_memory();
    for round in 0_i64..6 {
        in_a_process_that_is_killed(async {
            let mut options = options();
            options.flushes_per_table = 7;
            let store = open(Arc::clone(&objects), options).await;
            let total = read(&store, "total").await;
            let total = total.map_or(0, |total| {
                i64::from_le_bytes(total.as_ref().try_into().expect("a counter"))
            });
            assert_eq!(total, round * 25);
            assert_eq!(
                dump(&store).await.len(),
                usize::from(round > 0) + to_usize(round * 50)
            );
            for number in 0..25 {
                let mut transaction = store.begin().await.expect("begins");
                transaction.put(Bytes::from(format!("a/{round}/{number}")), Bytes::new());
                transaction.put(Bytes::from(format!("b/{round}/{number}")), Bytes::new());
                transaction.add(Bytes::from_static(b"total"), 1);
                transaction.commit().await.expect("commits");
            }
        });
    }
}

fn to_usize(number: i64) -> usize {
    usize::try_from(number).expect("not negative")
}

#[test]
fn a_commit_cut_before_its_put_never_happened_and_one_cut_after_it_is_whole() {
    for (fault, there) in [(LogFault::Held, false), (LogFault::StoredButError(1), true)] {
        let objects = TestObjects::in_memory();
        in_a_process_that_is_killed(async {
            let store = open(Arc::clone(&objects), options()).await;
            put(&store, "before", "x").await;
            objects.set_fault(fault);
            let cut = async {
                let mut transaction = store.begin().await.expect("begins");
                transaction.put(Bytes::from_static(b"one"), Bytes::new());
                transaction.put(Bytes::from_static(b"two"), Bytes::new());
                transaction.commit().await
            };
            // The first retry would come after 100 ms: the kill is in between.
            let cut = tokio::time::timeout(Duration::from_millis(1), cut).await;
            assert!(cut.is_err(), "the kill comes before the answer");
        });
        objects.set_fault(LogFault::None);
        in_a_process_that_is_killed(async {
            let store = open(Arc::clone(&objects), options()).await;
            assert!(read(&store, "before").await.is_some());
            assert_eq!(read(&store, "one").await.is_some(), there);
            assert_eq!(read(&store, "two").await.is_some(), there);
        });
    }
}

/// The randomness repeats at each start as well: names of objects must not.
#[tokio::test]
async fn a_clock_that_was_set_back_stops_nothing() {
    let objects = TestObjects::in_memory();
    for hour in [5_i64, 1, 3] {
        let wall = Timestamp::from_millis(hour * 3_600_000);
        let env = Env {
            clock: Arc::new(ManualClock::new(wall)),
            rng: Arc::new(SeededRng::new(3)),
            supervisor: Supervisor::new(),
        };
        let opened = EmbeddedStore::open(
            Arc::<TestObjects>::clone(&objects),
            options(),
            env,
            Metrics::unregistered(),
        )
        .await;
        let store = opened.expect("opens");
        try_put(&store, &format!("hour {hour}"), "x")
            .await
            .expect("commits at once");
        store.close().await.expect("closes");
    }
    let store = open(objects, options()).await;
    assert_eq!(dump(&store).await.len(), 3);
}
