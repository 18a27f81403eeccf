use std::sync::Arc;

use futures::StreamExt as _;
use object_store::memory::InMemory;
use object_store::{GetResult, PutResult, Result as Answer};
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

/// Knows two classes, and does not read the second before it is restored.
#[derive(Debug)]
struct Classes {
    inner: InMemory,
}

impl std::fmt::Display for Classes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("classes")
    }
}

fn refused() -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: "the class is wrong".into(),
    }
}

#[async_trait::async_trait]
impl ObjectStore for Classes {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<PutResult> {
        let class = options.attributes.get(&Attribute::StorageClass);
        match class.map(AsRef::as_ref) {
            None | Some("STANDARD_IA" | "ICE") => {
                self.inner.put_opts(location, payload, options).await
            }
            Some(_) => Err(refused()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
        let is_head = options.head;
        let found = self.inner.get_opts(location, options).await?;
        let class = found.attributes.get(&Attribute::StorageClass);
        if !is_head && class.map(AsRef::as_ref) == Some("ICE") {
            return Err(refused());
        }
        Ok(found)
    }

    crate::delegate_object_store!(
        inner: put_multipart_opts, delete_stream, list, list_with_delimiter, copy_opts
    );
}

#[tokio::test]
async fn a_storage_class_is_proven_before_segments_have_it() {
    let store = Classes {
        inner: InMemory::new(),
    };
    let layout = BucketLayout::new(location().prefix());
    for (class, ability) in [
        (None, None),
        (Some("STANDARD_IA"), None),
        (Some("STANDARD-IA"), Some(Ability::Write)),
        (Some("ICE"), Some(Ability::Read)),
    ] {
        let rng = SeededRng::new(1);
        let proven = preflight_as(&store, &location(), &layout, &rng, class).await;
        let failed = proven.err().map(|error| match error {
            PreflightError::Other { ability, .. } => ability,
            other => panic!("{other}"),
        });
        assert_eq!(failed, ability, "{class:?}");
        assert_eq!(store.list(None).count().await, 0);
    }
}
