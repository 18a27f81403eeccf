use std::sync::Arc;

use futures::StreamExt as _;
use object_store::memory::InMemory;
use tidelog_env::{ManualClock, SeededRng};

use super::*;
use crate::Operation;
use crate::faulty::{Fault, FaultRule, FaultyStore};

fn location() -> Location {
    "s3://logs/p".parse().unwrap()
}

async fn run(store: &FaultyStore) -> Result<(), PreflightError> {
    let layout = BucketLayout::new(location().prefix());
    preflight(store, &location(), &layout, &SeededRng::new(1)).await
}

/// What the check says when the rules act.
async fn says(rules: impl IntoIterator<Item = FaultRule>) -> PreflightError {
    let clock = Arc::new(ManualClock::default());
    let store = FaultyStore::new(Arc::new(InMemory::new()), clock);
    for rule in rules {
        store.inject(rule);
    }
    run(&store).await.unwrap_err()
}

#[tokio::test]
async fn a_good_store_passes_and_nothing_is_left() {
    let clock = Arc::new(ManualClock::default());
    let store = FaultyStore::new(Arc::new(InMemory::new()), clock);
    run(&store).await.unwrap();
    assert_eq!(store.list(None).count().await, 0);
}

#[tokio::test]
async fn a_store_that_overwrites_is_found_out() {
    // The second create seems done.
    let lie = FaultRule::new(Fault::Lie).on(Operation::Put).after(1);
    let error = says([lie]).await;
    assert!(
        matches!(error, PreflightError::OverwritesExisting(_)),
        "{error}"
    );
    assert!(error.to_string().contains("ignores `If-None-Match`"));
    let unsupported = FaultRule::new(Fault::Status(501, "NotImplemented")).on(Operation::Put);
    let error = says([unsupported]).await;
    assert!(
        matches!(error, PreflightError::NoConditionalPut { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_bucket_is_told_by_name() {
    for code in ["NoSuchBucket", ""] {
        let rule = FaultRule::new(Fault::Status(404, code)).on(Operation::Put);
        let text = says([rule]).await.to_string();
        assert!(
            text.contains("bucket `s3://logs/p` does not exist"),
            "{text}"
        );
        assert!(text.contains("tidelog bucket create"), "{text}");
    }
}

#[tokio::test]
async fn what_the_credentials_may_not_do_is_named() {
    for (operation, verb) in [
        (Operation::Put, "write"),
        (Operation::Get, "read"),
        (Operation::List, "list"),
        (Operation::Delete, "delete"),
    ] {
        let text = says([FaultRule::new(Fault::DENIED).on(operation)])
            .await
            .to_string();
        let expected = format!("may not {verb} objects under `p/tidelog-preflight`");
        assert!(text.contains(&expected), "{text}");
    }
    let expired = FaultRule::new(Fault::Status(403, "ExpiredToken"));
    let error = says([expired]).await;
    assert!(
        matches!(error, PreflightError::Unauthenticated { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn stores_that_lie_are_found_out() {
    let error = says([FaultRule::new(Fault::FlipBit(3)).on(Operation::Get)]).await;
    assert!(
        matches!(error, PreflightError::WrongBytes { .. }),
        "{error}"
    );
    let error = says([FaultRule::new(Fault::WrongRange(1)).on(Operation::Get)]).await;
    assert!(
        matches!(error, PreflightError::WrongBytes { .. }),
        "{error}"
    );
    let error = says([FaultRule::new(Fault::Lie).on(Operation::List)]).await;
    assert!(matches!(error, PreflightError::StaleList(_)), "{error}");
    let error = says([FaultRule::new(Fault::Lie).on(Operation::Delete)]).await;
    assert!(matches!(error, PreflightError::DeleteLies(_)), "{error}");
}

#[tokio::test]
async fn a_full_or_read_only_disk_is_told_and_an_outage_is_worth_a_retry() {
    let error = says([FaultRule::new(Fault::DiskFull)]).await;
    assert!(matches!(error, PreflightError::StorageFull(_)), "{error}");
    let error = says([FaultRule::new(Fault::ReadOnly)]).await;
    assert!(matches!(error, PreflightError::ReadOnly(_)), "{error}");
    assert!(!error.is_retriable());
    let error = says([FaultRule::new(Fault::SLOW_DOWN)]).await;
    assert!(error.is_retriable(), "{error}");
}
