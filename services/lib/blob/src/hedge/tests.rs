use std::num::NonZeroU32;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt as _, PutPayload};
use tidelog_env::SystemClock;
use tokio::time::Instant;

use super::*;
use crate::faulty::{Fault, FaultRule, FaultyStore};
use crate::metrics::{Metrics, Role};

const SLOW: Duration = Duration::from_secs(10);

/// A hedged store with one object, the faults below it, and the count; each four GETs earn a hedge.
async fn store() -> (Hedged, FaultyStore, Meter) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let faulty = FaultyStore::new(Arc::new(InMemory::new()), Arc::clone(&clock));
    let meter = Metrics::unregistered().meter(Role::Reader);
    let settings = HedgeSettings {
        requests_per_hedge: NonZeroU32::new(4).unwrap(),
        delay_min: Duration::from_millis(20),
        delay_max: Duration::from_millis(500),
        ..HedgeSettings::default()
    };
    let store = Hedged::new(Arc::new(faulty.clone()), settings, meter.clone(), clock);
    let body = PutPayload::from_static(b"0123456789");
    store.put(&Path::from("x"), body).await.unwrap();
    (store, faulty, meter)
}

/// One GET and how long it took.
async fn get(store: &Hedged) -> Duration {
    let start = Instant::now();
    let read = store.get_range(&Path::from("x"), 2..5).await.unwrap();
    assert_eq!(read, "234");
    start.elapsed()
}

fn hedges(meter: &Meter) -> (u64, u64) {
    let get = meter.snapshot().get(Operation::Get);
    (get.hedges, get.hedges_won)
}

#[tokio::test(start_paused = true)]
async fn a_slow_get_is_overtaken_by_its_hedge() {
    let (store, faulty, meter) = store().await;
    for _ in 0..LATENCIES_MIN {
        get(&store).await;
    }
    assert_eq!(hedges(&meter), (0, 0));
    for fault in [Fault::Delay(SLOW), Fault::Hang] {
        faulty.inject(FaultRule::new(fault).once());
        let took = get(&store).await;
        assert!(took < Duration::from_millis(50), "{took:?}");
    }
    assert_eq!(hedges(&meter), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_the_latencies_between_its_bounds() {
    let (store, faulty, _) = store().await;
    assert_eq!(store.delay(), store.settings.delay_max);
    for _ in 0..LATENCIES_MAX {
        get(&store).await;
    }
    assert_eq!(store.delay(), store.settings.delay_min);
    faulty.inject(FaultRule::new(Fault::Delay(Duration::from_millis(100))));
    // A tenth of the GETs is slower now than the 95th percentile.
    for _ in 0..LATENCIES_MAX / 10 {
        get(&store).await;
    }
    assert!(store.delay() > store.settings.delay_min);
    faulty.heal();
    faulty.inject(FaultRule::new(Fault::Delay(SLOW)));
    for _ in 0..LATENCIES_MAX {
        get(&store).await;
    }
    assert_eq!(store.delay(), store.settings.delay_max);
}

#[tokio::test(start_paused = true)]
async fn when_all_is_slow_hedges_are_a_bounded_share() {
    let (store, faulty, meter) = store().await;
    faulty.inject(FaultRule::new(Fault::Delay(SLOW)));
    for _ in 0..100 {
        get(&store).await;
    }
    let (sent, _) = hedges(&meter);
    assert!((20..=25).contains(&sent), "{sent}");
    assert_eq!(faulty.seen(Operation::Get), 100 + sent);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_waits_for_the_other_and_a_definite_no_ends_both() {
    let (store, faulty, _) = store().await;
    for _ in 0..LATENCIES_MIN {
        get(&store).await;
    }
    // The first is slow but well, the hedge fails at once.
    faulty.inject(FaultRule::new(Fault::Delay(SLOW)).once());
    faulty.inject(FaultRule::new(Fault::SLOW_DOWN).once());
    assert_eq!(get(&store).await, SLOW);
    faulty.inject(FaultRule::new(Fault::Delay(SLOW)).once());
    faulty.inject(FaultRule::new(Fault::NOT_FOUND).once());
    let start = Instant::now();
    store.get_range(&Path::from("x"), 0..1).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn only_reads_of_a_bounded_range_are_hedged() {
    let (store, faulty, meter) = store().await;
    for _ in 0..LATENCIES_MIN {
        get(&store).await;
    }
    faulty.inject(FaultRule::new(Fault::Delay(SLOW)));
    store.head(&Path::from("x")).await.unwrap();
    store.get(&Path::from("x")).await.unwrap();
    store
        .put(&Path::from("y"), PutPayload::new())
        .await
        .unwrap();
    assert_eq!(hedges(&meter), (0, 0));
}
