//! Closing, and the end of the client.

use tidelog_e2e_harness::within;
use tidelog_store::{CommitError, Store as _, StoreError};
use tidelog_store_fdb::{Network, NetworkError, NetworkOptions};

use crate::support::{SOON, begin, has_own_process, open, options, put, read, start, text};

#[tokio::test]
async fn closing_waits_for_commits_under_way_and_refuses_later_ones() {
    let (server, store) = start().await;
    put(&store, "key", "1").await;
    let mut under_way = begin(&store).await;
    under_way.put(text("key"), text("2"));
    let mut late = begin(&store).await;
    late.put(text("key"), text("3"));

    server.pause().await.expect("a process is paused");
    let commit = under_way.commit();
    tokio::pin!(commit);
    assert!(
        futures_poll(&mut commit).await.is_none(),
        "the server does not answer"
    );
    let other = store.clone();
    let close = async move { other.close().await };
    tokio::pin!(close);
    assert!(
        futures_poll(&mut close).await.is_none(),
        "a commit is under way"
    );
    let outcome = late.commit().await;
    assert!(matches!(outcome, Err(CommitError::Closed)), "{outcome:?}");
    server.resume().expect("a process goes on");

    let both = async { tokio::join!(commit, close) };
    let (committed, closed) = within("both", SOON, both).await.expect("they end");
    committed.expect("it was begun before");
    closed.expect("nothing is in the way");
    let begun = store.begin().await.map(drop);
    assert!(matches!(begun, Err(StoreError::Closed)), "{begun:?}");

    let again = open(options(&server)).await;
    assert_eq!(read(&again, "key").await, Some(text("2")));
}

/// What a future gives when it is polled once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn the_client_ends_with_its_last_user_and_does_not_start_again() {
    if !has_own_process() {
        return;
    }
    let (_server, store) = start().await;
    let transaction = begin(&store).await;
    drop(store);
    let kept = Network::start(&NetworkOptions::default());
    drop(kept.expect("the transaction keeps it running"));
    drop(transaction);
    let again = Network::start(&NetworkOptions::default());
    assert!(matches!(again, Err(NetworkError::Ended)), "{again:?}");
}
