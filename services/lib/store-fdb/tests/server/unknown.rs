//! Commits of unknown outcome: they may land later, and how a caller makes sure that they do not.

use std::time::Duration;

use tidelog_e2e_harness::{FdbServer, until};
use tidelog_store::{CommitError, ReadMode, Store as _, Transaction};
use tidelog_store_fdb::{FdbOptions, FdbStore};

use crate::support::{SOON, open, options, put, read, start, text, try_put, try_read};

/// Long enough for a healthy server on a busy machine, and shorter than a connection outlives a pause.
const TIMEOUT: Duration = Duration::from_millis(800);

/// The store that the lost commit is made with, and one with patience to look at what became of it.
async fn start_two() -> (FdbServer, FdbStore, FdbStore) {
    let (server, patient) = start().await;
    let options = FdbOptions {
        timeout: TIMEOUT,
        ..options(&server)
    };
    let hasty = open(options).await;
    (server, hasty, patient)
}

/// A transaction as an owner commits it: it has read the lease, and writes a row. The server may have
/// been hurt just before, so it is tried until the store has found it again.
async fn group(store: &FdbStore, row: &str) -> Box<dyn Transaction> {
    let begun = until("a transaction reads the lease", SOON, async || {
        let mut transaction = store.begin().await.ok()?;
        let lease = transaction.get(b"lease", ReadMode::Serializable).await;
        lease.ok().map(|_| transaction)
    });
    let mut transaction = begun.await.expect("the store goes on");
    transaction.put(text(row), text("lost"));
    transaction
}

async fn lose(server: &FdbServer, store: &FdbStore, row: &str) {
    let transaction = group(store, row).await;
    server.pause().await.expect("a process is paused");
    let outcome = transaction.commit().await;
    assert!(
        matches!(outcome, Err(CommitError::Unknown(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_commit_may_land_after_its_timeout_was_reported() {
    let (server, hasty, patient) = start_two().await;
    let landed = until("a commit has landed late", 2 * SOON, async || {
        // A pause can also break the connection, and with it the commit: then another is tried.
        lose(&server, &hasty, "row").await;
        server.resume().expect("a process goes on");
        let looked = until("it lands", Duration::from_secs(2), async || {
            let row = try_read(&patient, "row").await;
            row.ok().flatten().is_some().then_some(())
        });
        looked.await.ok()
    });
    landed.await.expect("this is what unknown means");
    assert_eq!(read(&patient, "row").await, Some(text("lost")));
}

#[tokio::test]
async fn after_a_write_to_the_lease_a_lost_commit_shows_or_never_will() {
    let (server, hasty, patient) = start_two().await;
    put(&patient, "lease", "first").await;
    for round in 0..4 {
        let row = format!("row {round}");
        lose(&server, &hasty, &row).await;
        // The write that settles is on its way before the server goes on, as after a real timeout.
        let settling = until("the lease is written", SOON, async || {
            try_put(&hasty, "lease", &row).await.ok()
        });
        let (settled, resumed) = tokio::join!(settling, async { server.resume() });
        resumed.expect("a process goes on");
        settled.expect("the lease is written in the end");
        let shown = read(&patient, &row).await;
        // Ten commits later nothing of it has changed.
        for number in 0..10 {
            put(&patient, "other", &number.to_string()).await;
        }
        assert_eq!(read(&patient, &row).await, shown);
    }
}

#[tokio::test]
async fn a_server_killed_in_a_commit_leaves_the_whole_or_nothing() {
    let (mut server, hasty, patient) = start_two().await;
    for round in 0..3 {
        let rows = [format!("a {round}"), format!("z {round}")];
        let mut transaction = group(&hasty, &rows[0]).await;
        transaction.put(text(&rows[1]), text("lost"));
        let commit = transaction.commit();
        let (outcome, ()) = tokio::join!(commit, async { server.kill() });
        server.respawn().expect("fdbserver starts again");
        let settled = until("the lease is written", SOON, async || {
            try_put(&patient, "lease", &rows[0]).await.ok()
        });
        settled.await.expect("the store goes on");
        let there = [
            read(&patient, &rows[0]).await,
            read(&patient, &rows[1]).await,
        ];
        assert_eq!(there[0], there[1], "a commit is whole");
        match outcome {
            Ok(_) => assert!(there[0].is_some(), "what was acknowledged is there"),
            Err(error) => assert!(error.may_have_happened() || there[0].is_none(), "{error:?}"),
        }
    }
}
