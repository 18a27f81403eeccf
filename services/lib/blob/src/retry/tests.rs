use std::time::Duration;

use futures::TryStreamExt as _;
use futures::stream::{StreamExt as _, iter};
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt as _, UpdateVersion};
use tidelog_env::{SeededRng, SystemClock};

use super::*;
use crate::faulty::{Fault, FaultRule, FaultyStore};
use crate::metrics::{Metrics, Role};

/// A store that is tried again three times, the faults below it, and the count.
fn store() -> (Retrying, FaultyStore, Meter) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let faulty = FaultyStore::new(Arc::new(InMemory::new()), Arc::clone(&clock));
    let meter = Metrics::unregistered().meter(Role::Broker);
    let settings = RetrySettings {
        retries_max: 3,
        attempt_timeout: Duration::from_secs(5),
        ..RetrySettings::default()
    };
    let rng = Arc::new(SeededRng::new(1));
    let inner = Arc::new(faulty.clone());
    let store = Retrying::new(inner, settings, meter.clone(), clock, rng);
    (store, faulty, meter)
}

fn path() -> Path {
    Path::from("x")
}

async fn put(store: &Retrying, mode: PutMode) -> Result<PutResult> {
    let payload = PutPayload::from_static(b"0123456789");
    store
        .put_opts(&path(), payload, PutOptions::from(mode))
        .await
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_out_and_what_stays_is_given_up() {
    let (store, faulty, meter) = store();
    faulty.inject(FaultRule::new(Fault::SLOW_DOWN).times(3));
    put(&store, PutMode::Create).await.unwrap();
    assert_eq!(faulty.seen(Operation::Put), 4);
    assert_eq!(meter.snapshot().get(Operation::Put).retries, 3);

    faulty.inject(FaultRule::new(Fault::INTERNAL));
    let error = store.get(&path()).await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::Unavailable);
    assert_eq!(faulty.seen(Operation::Get), 4);
}

#[tokio::test(start_paused = true)]
async fn a_definite_no_is_not_asked_again() {
    for (fault, kind) in [
        (Fault::DENIED, ErrorKind::Denied),
        (Fault::DiskFull, ErrorKind::StorageFull),
        (Fault::Status(404, "NoSuchBucket"), ErrorKind::NoSuchBucket),
    ] {
        let (store, faulty, _) = store();
        faulty.inject(FaultRule::new(fault));
        let error = put(&store, PutMode::Create).await.unwrap_err();
        assert_eq!(classify(&error), kind);
        assert_eq!(faulty.seen(Operation::Put), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_was_lost_ends_in_already_exists() {
    for fault in [Fault::GhostTimeout, Fault::GhostHang] {
        let (store, faulty, _) = store();
        faulty.inject(FaultRule::new(fault).once());
        let error = put(&store, PutMode::Create).await.unwrap_err();
        assert_eq!(classify(&error), ErrorKind::AlreadyExists);
        assert!(may_have_happened(&error));
        assert_eq!(faulty.seen(Operation::Put), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_conflict_between_creators_is_asked_again() {
    let (store, faulty, _) = store();
    faulty.inject(FaultRule::new(Fault::CONFLICT).once());
    put(&store, PutMode::Create).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_definite_no_after_a_lost_answer_says_that_it_may_be_done() {
    let (store, faulty, _) = store();
    faulty.inject(FaultRule::new(Fault::GhostLater).once());
    faulty.inject(FaultRule::new(Fault::DENIED));
    let error = put(&store, PutMode::Create).await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::Denied);
    assert!(may_have_happened(&error));
    assert!(!ErrorKind::Denied.may_have_happened());
}

#[tokio::test(start_paused = true)]
async fn an_update_is_not_repeated_when_it_may_be_done() {
    let (store, faulty, _) = store();
    let first = put(&store, PutMode::Create).await.unwrap();
    faulty.inject(FaultRule::new(Fault::GhostTimeout).once());
    let update = PutMode::Update(UpdateVersion::from(first));
    let error = put(&store, update).await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::Timeout);
    assert_eq!(faulty.seen(Operation::Put), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_attempt_ends_at_its_deadline() {
    let (store, faulty, _) = store();
    put(&store, PutMode::Create).await.unwrap();
    faulty.inject(FaultRule::new(Fault::Hang).times(2));
    let before = tokio::time::Instant::now();
    assert_eq!(store.get_range(&path(), 2..4).await.unwrap(), "23");
    let took = before.elapsed();
    assert!(
        took >= Duration::from_secs(10) && took < Duration::from_secs(11),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let (store, faulty, _) = store();
    put(&store, PutMode::Create).await.unwrap();
    faulty.inject(FaultRule::new(Fault::Truncate(1)).times(2));
    assert_eq!(store.get_range(&path(), 2..6).await.unwrap(), "2345");
    assert_eq!(faulty.injected()["truncate"], 2);
    faulty.inject(FaultRule::new(Fault::Truncate(3)));
    let error = store.get(&path()).await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::BadAnswer);
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_was_lost_counts_as_done() {
    let (store, faulty, _) = store();
    let paths: Vec<_> = (0..3).map(|n| Path::from(format!("d/{n}"))).collect();
    for path in &paths {
        store.put(path, PutPayload::new()).await.unwrap();
    }
    let second = FaultRule::new(Fault::GhostTimeout).on(Operation::Delete);
    faulty.inject(second.after(1).once());
    let locations = iter(paths.clone().into_iter().map(Ok)).boxed();
    let deleted: Vec<_> = store.delete_stream(locations).try_collect().await.unwrap();
    assert_eq!(deleted, paths);
    assert_eq!(faulty.seen(Operation::Delete), 4);
    // What was never there is still told.
    let missing = FaultRule::new(Fault::NOT_FOUND)
        .on(Operation::Delete)
        .once();
    faulty.inject(missing);
    let error = store.delete(&paths[0]).await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_keeps_failing_fails_alone() {
    let (store, faulty, _) = store();
    for name in ["d/0", "d/1"] {
        store
            .put(&Path::from(name), PutPayload::new())
            .await
            .unwrap();
    }
    faulty.inject(FaultRule::new(Fault::SLOW_DOWN).at("d/0"));
    let paths = ["d/0", "d/1"].map(|name| Ok(Path::from(name)));
    let ends: Vec<_> = store.delete_stream(iter(paths).boxed()).collect().await;
    assert!(ends[0].is_err() && ends[1].is_ok(), "{ends:?}");
    assert_eq!(faulty.seen(Operation::Delete), 5);
}

#[tokio::test(start_paused = true)]
async fn a_listing_begins_again_when_it_fails() {
    let (store, faulty, _) = store();
    for name in ["l/a", "l/b"] {
        store
            .put(&Path::from(name), PutPayload::new())
            .await
            .unwrap();
    }
    faulty.inject(
        FaultRule::new(Fault::SLOW_DOWN)
            .on(Operation::List)
            .times(2),
    );
    assert_eq!(store.list(Some(&Path::from("l"))).count().await, 2);
    assert_eq!(faulty.seen(Operation::List), 3);
    faulty.inject(FaultRule::new(Fault::DENIED).on(Operation::List));
    let ends: Vec<_> = store.list(None).collect().await;
    assert!(ends.len() == 1 && ends[0].is_err(), "{ends:?}");
}
