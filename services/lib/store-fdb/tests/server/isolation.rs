//! Nothing outside the prefix is read, written or conflicted with.

use tidelog_e2e_harness::FdbServer;
use tidelog_store::{CommitError, KeyRange, ScanOptions};
use tidelog_store_fdb::{FdbOptions, FdbStore};

use crate::support::{begin, keys, open, options, put, read, start, text};

async fn open_at(server: &FdbServer, prefix: &'static str) -> FdbStore {
    let key_prefix = text(prefix);
    let options = FdbOptions {
        key_prefix,
        ..options(server)
    };
    open(options).await
}

/// Every row of the database, as `fdbcli` shows them.
async fn everything(server: &FdbServer) -> Vec<String> {
    let said = server
        .cli("getrange \"\" \\xff 1000")
        .await
        .expect("fdbcli reads");
    let rows = said.lines().filter(|line| line.starts_with('`'));
    rows.map(str::to_owned).collect()
}

#[tokio::test]
async fn rows_lie_under_the_prefix_and_others_are_neither_seen_nor_deleted() {
    let (server, store) = start().await;
    let strangers = "writemode on; set a 1; set tidelog 2; set tidelog. 3; set tidelog0 4; set z 5";
    server.cli(strangers).await.expect("fdbcli writes");
    put(&store, "row", "6").await;
    let rows = ["`a' is `1'", "`tidelog' is `2'", "`tidelog.' is `3'"];
    let last = ["`tidelog0' is `4'", "`z' is `5'"];
    let own = "`tidelog/row' is `6'";
    let all: Vec<&str> = rows.into_iter().chain([own]).chain(last).collect();
    assert_eq!(everything(&server).await, all);

    for options in [ScanOptions::default(), ScanOptions::default().backward()] {
        assert_eq!(keys(&store, options).await, ["row"]);
    }
    let mut deleter = begin(&store).await;
    deleter.delete_range(KeyRange::all());
    deleter.commit().await.expect("a blind write commits");
    let without: Vec<&str> = rows.into_iter().chain(last).collect();
    assert_eq!(everything(&server).await, without);
}

#[tokio::test]
async fn stores_of_two_prefixes_share_a_database_and_nothing_in_it() {
    let (server, one) = start().await;
    let two = open_at(&server, "tidelog0").await;
    put(&one, "key", "one").await;
    put(&two, "key", "two").await;
    assert_eq!(read(&one, "key").await, Some(text("one")));
    assert_eq!(read(&two, "key").await, Some(text("two")));

    let mut all_of_one = begin(&one).await;
    let scanned = all_of_one.scan(KeyRange::all(), ScanOptions::default());
    assert_eq!(scanned.await.expect("an open store scans").rows.len(), 1);
    all_of_one.add_read_conflict(KeyRange::all());
    all_of_one.put(text("result"), text("x"));
    let mut all_of_two = begin(&two).await;
    all_of_two.add_read_conflict(KeyRange::all());
    all_of_two.put(text("result"), text("x"));
    let mut writer = begin(&two).await;
    writer.delete_range(KeyRange::all());
    writer.add_write_conflict(KeyRange::all());
    writer.commit().await.expect("a blind write commits");
    all_of_one
        .commit()
        .await
        .expect("the other store's writes are not read");
    let outcome = all_of_two.commit().await;
    assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
    assert_eq!(keys(&one, ScanOptions::default()).await, ["key", "result"]);
    assert_eq!(
        keys(&two, ScanOptions::default()).await,
        Vec::<String>::new()
    );
}
