//! A restore is accepted by a word in the bucket where one process has the store to itself: whoever has it
//! open finds the word, and nobody else opens it.

use tidelog_metadata::backup::{AcceptError, Acceptance, pending_restore};
use tidelog_store::Store as _;
use tidelog_store::memory::MemoryStore;

use super::Bucket;
use crate::world::World;

async fn waits(store: &MemoryStore) -> bool {
    let mut transaction = store.begin().await.expect("it answers");
    let pending = pending_restore(transaction.as_mut()).await;
    pending.expect("it answers").is_some()
}

/// A bucket with a backup, and a store that was restored from it.
async fn restored() -> (Bucket, MemoryStore) {
    let (world, _process) = World::opened().await;
    let bucket = Bucket::new();
    bucket.take(&world.store.memory, "nightly").await;
    let (store, _) = bucket.restored("nightly").await;
    (bucket, store)
}

#[tokio::test]
async fn a_word_in_the_bucket_is_found_by_whoever_has_the_store() {
    let (bucket, store) = restored().await;
    let (backups, env) = (&bucket.backups, &bucket.env);
    let before = backups.accept_if_asked(&store, env).await;
    assert_eq!(before.expect("it answers"), Acceptance::Waits);
    assert!(waits(&store).await);
    let asked = backups.ask_to_accept(&store, env).await;
    let asked = asked.expect("one waits");
    assert!(waits(&store).await, "the word is in the bucket alone");
    let again = backups.ask_to_accept(&store, env).await;
    assert_eq!(again.expect("twice is once"), asked);
    let accepted = backups.accept_if_asked(&store, env).await;
    assert_eq!(accepted.expect("it answers"), Acceptance::Accepted(asked));
    assert!(!waits(&store).await);
    let after = backups.accept_if_asked(&store, env).await;
    assert_eq!(after.expect("it answers"), Acceptance::Nothing);
    let late = backups.ask_to_accept(&store, env).await;
    assert!(matches!(late, Err(AcceptError::None)), "{late:?}");
}

/// A restore that comes later has a generation of its own, of which nobody has said anything.
#[tokio::test]
async fn a_word_of_another_restore_accepts_nothing() {
    let (bucket, store) = restored().await;
    let (backups, env) = (&bucket.backups, &bucket.env);
    let asked = backups.ask_to_accept(&store, env).await;
    asked.expect("one waits");
    let (store, _) = bucket.restored("nightly").await;
    let found = backups.accept_if_asked(&store, env).await;
    assert_eq!(found.expect("it answers"), Acceptance::Waits);
    assert!(waits(&store).await);
}
