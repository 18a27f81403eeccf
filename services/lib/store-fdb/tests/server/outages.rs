//! What callers see when the cluster is away, and that the store goes on afterwards by itself.

use std::time::{Duration, Instant};

use tidelog_e2e_harness::{FdbServer, until};
use tidelog_store::{CommitError, ReadMode, Store as _, StoreError};
use tidelog_store_fdb::{FdbOptions, FdbStore};

use crate::support::{SOON, begin, open, options, put, read, text, try_put, try_read};

const TIMEOUT: Duration = Duration::from_secs(1);
/// How much later than its time limit a call may end on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

async fn start_impatient() -> (FdbServer, FdbStore) {
    let server = FdbServer::start().await.expect("fdbserver starts");
    let options = FdbOptions {
        timeout: TIMEOUT,
        ..options(&server)
    };
    let store = open(options).await;
    (server, store)
}

#[tokio::test]
async fn every_call_to_a_server_that_hangs_ends_within_its_time_limit() {
    let (server, store) = start_impatient().await;
    put(&store, "key", "1").await;
    let mut reader = begin(&store).await;
    let read_only = begin(&store).await;
    let mut writer = begin(&store).await;
    writer.put(text("key"), text("2"));
    server.pause().await.expect("a process is paused");

    let started = Instant::now();
    let outcome = writer.commit().await;
    assert!(
        matches!(outcome, Err(CommitError::Unknown(_))),
        "{outcome:?}"
    );
    let got = reader.get(b"key", ReadMode::Snapshot).await;
    let in_vain = matches!(got, Err(StoreError::Unavailable(_) | StoreError::TooOld));
    assert!(in_vain, "{got:?}");
    let outcome = read_only.commit().await;
    assert!(
        !matches!(outcome, Err(CommitError::Unknown(_))),
        "{outcome:?}"
    );
    let begun = store.begin().await.map(drop);
    assert!(
        matches!(begun, Err(StoreError::Unavailable(_))),
        "{begun:?}"
    );
    assert!(store.confirm().await.is_err());
    assert!(started.elapsed() < 5 * TIMEOUT + SLACK);

    server.resume().expect("a process goes on");
    let back = until("the store answers", SOON, async || {
        try_read(&store, "key").await.ok().flatten()
    });
    let value = back.await.expect("the store goes on");
    assert!(value == text("1") || value == text("2"), "{value:?}");
    let stats = store.stats();
    assert!(stats.unknown == 1 && stats.unavailable >= 2, "{stats:?}");
}

#[tokio::test]
async fn the_store_goes_on_after_the_server_was_killed_and_started_again() {
    let (mut server, store) = start_impatient().await;
    for round in 0..2 {
        let round = round.to_string();
        let before = put(&store, "key", &round).await;
        server.kill();
        let gone = try_put(&store, "lost", "x").await;
        assert!(matches!(gone, Err(CommitError::Unavailable(_))), "{gone:?}");
        server.respawn().expect("fdbserver starts again");
        let back = until("the store answers", SOON, async || {
            try_read(&store, "key").await.ok()
        });
        let value = back.await.expect("the store goes on");
        assert_eq!(
            value,
            Some(text(&round)),
            "an acknowledged commit is durable"
        );
        let after = until("the store commits", SOON, async || {
            try_put(&store, "next", &round).await.ok()
        });
        assert!(after.await.expect("the store goes on") > before);
        assert_eq!(read(&store, "lost").await, None, "it was never sent");
    }
}
