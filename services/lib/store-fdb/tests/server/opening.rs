//! Opening says what is wrong, and in time.

use std::time::Duration;

use tidelog_e2e_harness::{FdbServer, free_port, until, within};
use tidelog_env::{Env, error_chain};
use tidelog_store::CommitError;
use tidelog_store_fdb::{
    FdbOptions, FdbStore, Knob, Metrics, Network, NetworkError, NetworkOptions, OpenError,
    TraceOptions,
};

use crate::support::{SOON, has_own_process, network, options, put, start, try_put};

async fn try_open(options: FdbOptions) -> Result<FdbStore, OpenError> {
    let network = network();
    let opened = FdbStore::open(&network, options, Env::seeded(1), Metrics::unregistered());
    let opened = within("an answer", SOON, opened).await;
    opened.expect("opening ends by itself")
}

/// The error, and the client, which could not be started again for a second try.
async fn refused(options: FdbOptions) -> (OpenError, Network) {
    let network = network();
    let error = try_open(options).await;
    (error.expect_err("nothing can be opened"), network)
}

#[tokio::test]
async fn a_cluster_file_that_is_missing_or_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fdb.cluster");
    let (error, _network) = refused(FdbOptions::new(&path)).await;
    assert!(
        matches!(&error, OpenError::File { path: named, .. } if *named == path),
        "{error:?}"
    );
    for text in ["", "# a:b@c:1\n", "nonsense", "name@127.0.0.1:4500"] {
        std::fs::write(&path, text).expect("a file");
        let (error, _) = refused(FdbOptions::new(&path)).await;
        assert!(
            matches!(&error, OpenError::ClusterFile { .. }),
            "{text:?}: {error:?}"
        );
        assert!(error.to_string().contains("fdb.cluster"), "{error}");
    }
    std::fs::write(&path, "test:test@nowhere:port\n").expect("a file");
    let (error, _) = refused(FdbOptions::new(&path)).await;
    assert!(matches!(&error, OpenError::Client { .. }), "{error:?}");
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = NetworkOptions::default();
    options.tls.certificate = Some(folder.path().join("none.pem"));
    if has_own_process() {
        let error = Network::start(&options).expect_err("there is no such file");
        assert!(error.to_string().contains("none.pem"), "{error}");
        // It was not the client that refused, so it can still be started.
        network();
    }
}

#[tokio::test]
async fn a_cluster_that_nobody_serves_is_unreachable_within_the_time_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fdb.cluster");
    let address = free_port().expect("a port");
    std::fs::write(&path, format!("test:test@{address}\n")).expect("a file");
    let options = FdbOptions {
        timeout: Duration::from_millis(300),
        ..FdbOptions::new(&path)
    };
    let (error, _network) = refused(options).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let chain = error_chain(&error);
    assert!(
        chain.contains("fdb.cluster") && chain.contains("`1031`"),
        "{chain}"
    );
}

#[tokio::test]
async fn a_store_that_was_unreachable_can_be_opened_when_its_cluster_is_up() {
    let mut server = FdbServer::start().await.expect("fdbserver starts");
    server.kill();
    let options = FdbOptions {
        timeout: Duration::from_millis(500),
        ..options(&server)
    };
    let (error, _network) = refused(options.clone()).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    server.respawn().expect("fdbserver starts again");
    let opened = until("the store opens", SOON, async || {
        try_open(options.clone()).await.ok()
    });
    put(&opened.await.expect("it opens in the end"), "key", "1").await;
}

#[tokio::test]
async fn the_cluster_file_of_another_cluster_reaches_nothing() {
    let server = FdbServer::start().await.expect("fdbserver starts");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.cluster");
    std::fs::write(&path, format!("other:other@{}\n", server.address())).expect("a file");
    let options = FdbOptions {
        timeout: Duration::from_millis(500),
        ..FdbOptions::new(&path)
    };
    let (error, _network) = refused(options).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_locked_database_says_so() {
    let (server, store) = start().await;
    put(&store, "key", "1").await;
    server.cli("lock").await.expect("fdbcli locks");
    let (error, _network) = refused(options(&server)).await;
    let chain = error_chain(&error);
    assert!(chain.contains("locked"), "{chain}");
    let late = try_put(&store, "key", "2").await;
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
}

#[tokio::test]
async fn knobs_and_traces_are_taken_and_a_second_user_must_agree() {
    if !has_own_process() {
        return;
    }
    let server = FdbServer::start().await.expect("fdbserver starts");
    let folder = tempfile::tempdir().expect("a folder");
    let with_options = NetworkOptions {
        knobs: vec![Knob {
            name: "max_generations".to_owned(),
            value: "100".to_owned(),
        }],
        trace: Some(TraceOptions {
            folder: folder.path().to_owned(),
            log_group: Some("tidelog".to_owned()),
        }),
        ..NetworkOptions::default()
    };
    let network = Network::start(&with_options).expect("the client starts");
    assert_eq!(network.options(), &with_options);
    let opened = FdbStore::open(
        &network,
        options(&server),
        Env::seeded(1),
        Metrics::unregistered(),
    );
    put(&opened.await.expect("the store opens"), "key", "1").await;
    let traces = std::fs::read_dir(folder.path()).expect("the folder is there");
    assert!(traces.count() > 0, "the client traces");

    Network::start(&with_options).expect("the same options are shared");
    let other = Network::start(&NetworkOptions::default());
    assert!(
        matches!(other, Err(NetworkError::OtherOptions)),
        "{other:?}"
    );
}
