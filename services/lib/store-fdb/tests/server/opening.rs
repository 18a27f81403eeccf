//! Opening says what is wrong, and in time.

use std::time::Duration;

use tidelog_e2e_harness::within;
use tidelog_env::{Env, error_chain};
use tidelog_store_fdb::{
    FdbOptions, FdbStore, Knob, Metrics, NetworkError, OpenError, TraceOptions,
};

use crate::support::{SOON, open, options, put, start, write_cluster_file};

async fn refused(options: FdbOptions) -> OpenError {
    let opened = FdbStore::open(options, Env::seeded(1), Metrics::unregistered());
    let opened = within("an answer", SOON, opened).await;
    let opened = opened.expect("opening ends by itself");
    opened.expect_err("nothing can be opened")
}

#[tokio::test]
async fn a_cluster_file_that_is_missing_or_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fdb.cluster");
    let error = refused(FdbOptions::new(&path)).await;
    assert!(
        matches!(&error, OpenError::File { path: named, .. } if *named == path),
        "{error:?}"
    );
    for text in ["", "# a:b@c:1\n", "nonsense", "name@127.0.0.1:4500"] {
        std::fs::write(&path, text).expect("a file");
        let error = refused(FdbOptions::new(&path)).await;
        assert!(
            matches!(&error, OpenError::ClusterFile { .. }),
            "{text:?}: {error:?}"
        );
        assert!(error.to_string().contains("fdb.cluster"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fdb.cluster");
    write_cluster_file(&path);
    let mut options = FdbOptions::new(&path);
    options.network.tls.certificate = Some(folder.path().join("none.pem"));
    let error = refused(options).await;
    assert!(error.to_string().contains("none.pem"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_nobody_serves_is_unreachable_within_the_time_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fdb.cluster");
    write_cluster_file(&path);
    let timeout = Duration::from_millis(300);
    let options = FdbOptions {
        timeout,
        ..FdbOptions::new(&path)
    };
    let error = refused(options).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let chain = error_chain(&error);
    assert!(
        chain.contains("fdb.cluster") && chain.contains("`1031`"),
        "{chain}"
    );
}

#[tokio::test]
async fn the_cluster_file_of_another_cluster_reaches_nothing() {
    let (server, _store) = start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.cluster");
    std::fs::write(&path, format!("other:other@{}\n", server.address())).expect("a file");
    let timeout = Duration::from_millis(500);
    let options = FdbOptions {
        timeout,
        ..FdbOptions::new(&path)
    };
    let error = refused(options).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_locked_database_says_so() {
    let (server, store) = start().await;
    put(&store, "key", "1").await;
    server.cli("lock").await.expect("fdbcli locks");
    let error = refused(options(&server)).await;
    let chain = error_chain(&error);
    assert!(chain.contains("locked"), "{chain}");
}

/// Runs as a process of its own under the test runner; where it shares one, others have started the client.
#[tokio::test]
async fn knobs_and_traces_are_taken_and_a_second_store_must_agree() {
    if std::env::var_os("NEXTEST").is_none() {
        return;
    }
    let server = tidelog_e2e_harness::FdbServer::start().await;
    let server = server.expect("fdbserver starts");
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(&server);
    options.network.knobs.push(Knob {
        name: "max_outstanding_watches".to_owned(),
        value: "1000000".to_owned(),
    });
    options.network.trace = Some(TraceOptions {
        folder: folder.path().to_owned(),
        log_group: Some("tidelog".to_owned()),
    });
    let store = open(options.clone()).await;
    put(&store, "key", "1").await;
    let traces = std::fs::read_dir(folder.path()).expect("the folder is there");
    assert!(traces.count() > 0, "the client traces");

    let _same = open(options.clone()).await;
    options.network.knobs.clear();
    let error = refused(options).await;
    let other = matches!(error, OpenError::Network(NetworkError::OtherOptions));
    assert!(other, "{error:?}");
}
