use std::time::Duration;

use futures::FutureExt as _;
use object_store::PutMode;
use object_store::memory::InMemory;
use tidelog_env::{ManualClock, SeededRng};

use super::*;
use crate::errors::{ErrorKind, classify, may_have_happened};

fn store() -> (ManualClock, FaultyStore) {
    let clock = ManualClock::default();
    let store = FaultyStore::new(Arc::new(InMemory::new()), Arc::new(clock.clone()));
    (clock, store)
}

fn path() -> Path {
    Path::from("seg/x")
}

async fn create(store: &FaultyStore, body: &'static [u8]) -> Result<PutResult> {
    let options = PutOptions::from(PutMode::Create);
    store
        .put_opts(&path(), PutPayload::from_static(body), options)
        .await
}

#[tokio::test]
async fn a_rule_acts_on_what_it_names_and_is_used_up() {
    let (_, store) = store();
    let rule = FaultRule::new(Fault::SLOW_DOWN)
        .on(Operation::Put)
        .at("seg/");
    store.inject(rule.after(1).times(2));
    let other = Path::from("meta/x");
    store.put(&other, PutPayload::new()).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..5 {
        ends.push(store.put(&path(), PutPayload::new()).await.is_ok());
    }
    assert_eq!(ends, [true, false, false, true, true]);
    assert_eq!(store.injected()["status"], 2);
    assert_eq!(store.seen(Operation::Put), 6);
}

#[tokio::test]
async fn injected_answers_are_classified_like_real_ones() {
    for (fault, kind) in [
        (Fault::SLOW_DOWN, ErrorKind::Throttled),
        (Fault::INTERNAL, ErrorKind::Unavailable),
        (Fault::CONFLICT, ErrorKind::Conflict),
        (Fault::NOT_FOUND, ErrorKind::NotFound),
        (Fault::DENIED, ErrorKind::Denied),
        (Fault::Status(404, "NoSuchBucket"), ErrorKind::NoSuchBucket),
        (Fault::Timeout, ErrorKind::Timeout),
        (Fault::DiskFull, ErrorKind::StorageFull),
        (Fault::ReadOnly, ErrorKind::ReadOnly),
    ] {
        let (_, store) = store();
        store.inject(FaultRule::new(fault).once());
        assert_eq!(classify(&create(&store, b"a").await.unwrap_err()), kind);
        create(&store, b"a").await.unwrap();
    }
}

#[tokio::test]
async fn ghosts_are_done_though_the_client_hears_an_error() {
    for (fault, kind) in [
        (Fault::GhostTimeout, ErrorKind::Timeout),
        (Fault::GhostAlreadyExists, ErrorKind::AlreadyExists),
    ] {
        let (_, store) = store();
        store.inject(FaultRule::new(fault).once());
        let error = create(&store, b"mine").await.unwrap_err();
        assert_eq!(classify(&error), kind);
        assert!(may_have_happened(&error));
        assert_eq!(
            store.get(&path()).await.unwrap().bytes().await.unwrap(),
            "mine"
        );
    }
}

#[tokio::test]
async fn a_late_ghost_lands_when_told_and_not_before() {
    let (_, store) = store();
    store.inject(FaultRule::new(Fault::GhostLater).once());
    create(&store, b"mine").await.unwrap_err();
    store.head(&path()).await.unwrap_err();
    let landed = store.land_ghosts().await;
    assert_eq!(landed.len(), 1);
    assert!(landed[0].is_ok());
    store.head(&path()).await.unwrap();
    let error = create(&store, b"other").await.unwrap_err();
    assert_eq!(classify(&error), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_hanging_request_never_ends_and_a_slow_one_does() {
    let (clock, store) = store();
    store.inject(FaultRule::new(Fault::Hang).once());
    assert!(create(&store, b"a").now_or_never().is_none());
    store.head(&path()).await.unwrap_err();
    store.inject(FaultRule::new(Fault::GhostHang).once());
    assert!(create(&store, b"a").now_or_never().is_none());
    store.head(&path()).await.unwrap();
    store.inject(FaultRule::new(Fault::Delay(Duration::from_secs(1))).once());
    let path = path();
    let mut slow = Box::pin(store.head(&path));
    assert!(futures::poll!(&mut slow).is_pending());
    clock.advance(Duration::from_secs(1));
    slow.await.unwrap();
}

#[tokio::test]
async fn bodies_are_damaged_without_a_word() {
    let (_, store) = store();
    create(&store, b"0123456789").await.unwrap();
    let mut read = Vec::new();
    for fault in [Fault::Truncate(1), Fault::FlipBit(8), Fault::WrongRange(3)] {
        store.inject(FaultRule::new(fault).once());
        let range = GetOptions::new().with_range(Some(2..6));
        let result = store.get_opts(&path(), range).await.unwrap();
        assert_eq!(result.range, 2..6);
        read.push(result.bytes().await.unwrap());
    }
    assert_eq!(read, ["234", "2245", "5678"]);
}

#[tokio::test]
async fn a_delete_and_a_listing_can_lie() {
    let (_, store) = store();
    create(&store, b"a").await.unwrap();
    store.inject(FaultRule::new(Fault::Lie).on(Operation::Delete).once());
    store.inject(FaultRule::new(Fault::Lie).on(Operation::List).once());
    store.delete(&path()).await.unwrap();
    store.head(&path()).await.unwrap();
    assert_eq!(store.list(None).count().await, 0);
    assert_eq!(store.list(None).count().await, 1);
}

#[tokio::test]
async fn chance_follows_the_seed_and_the_shares() {
    let ends = |seed| async move {
        let (_, store) = store();
        let per_mille = vec![
            (Fault::SLOW_DOWN, Operation::Head, 200),
            (Fault::Timeout, Operation::Head, 100),
        ];
        store.chaos(Arc::new(SeededRng::new(seed)), Chaos { per_mille });
        store.put(&path(), PutPayload::new()).await.unwrap();
        let mut ends = Vec::new();
        for _ in 0..1_000 {
            ends.push(store.head(&path()).await.is_ok());
        }
        (ends, store.injected())
    };
    let (first, injected) = ends(5).await;
    assert_eq!(first, ends(5).await.0);
    assert_ne!(first, ends(6).await.0);
    assert!((140..260).contains(&injected["status"]), "{injected:?}");
    assert!((60..140).contains(&injected["timeout"]), "{injected:?}");
}
