//! How long a router looks for an answer, and what it asks meanwhile. The only process is a local one, so
//! that time is the test's.

use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, LocalMember, Parts, Router};
use tidelog_types::*;
use tokio::time::{Instant, sleep};

use crate::fake::{Fake, Takes, partition};
use crate::world::*;

/// A router over one local process that owns shards 0 and 1.
async fn local() -> (Arc<Fake>, Router) {
    let fake = Fake::owning(&[0, 1]);
    fake.view.send_replace(view(&["127.0.0.1:1"], &[1, 1], 1));
    let parts = Parts::of(Arc::clone(&fake));
    let router = router(&[], Some(LocalMember::always(member_id(1), parts))).await;
    (fake, router)
}

/// Shard 0 has gone, and nobody else knows.
fn lose(fake: &Fake) {
    fake.said.lock().groups.remove(&ShardId::new(0));
}

/// It is back, and everybody knows.
fn regain(fake: &Fake) {
    fake.said.lock().groups.insert(ShardId::new(0), 1);
    fake.view.send_replace(view(&["127.0.0.1:1"], &[1, 1], 2));
}

fn lookup(index: u32) -> LookupRequest {
    LookupRequest {
        partition: partition(index),
        offset: Offset::ZERO,
        bytes_max: 100,
        extents_max: 5,
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_moves_makes_nobody_ask_for_topics() {
    let (fake, router) = local().await;
    router.lookup(lookup(0)).await.unwrap();
    assert_eq!(fake.said.lock().topics, 1);
    sleep(Duration::from_secs(10)).await;
    lose(&fake);
    let offset = || router.offset(partition(0), OffsetQuery::Latest);
    let offsets = futures::future::join_all((0..50).map(|_| offset()));
    let lookups = futures::future::join_all((0..50).map(|_| router.lookup(lookup(0))));
    let moves = async {
        sleep(Duration::from_millis(900)).await;
        regain(&fake);
    };
    let (offsets, lookups, ()) = tokio::join!(offsets, lookups, moves);
    assert!(offsets.iter().all(Result::is_ok), "{offsets:?}");
    assert!(lookups.iter().all(Result::is_ok), "{lookups:?}");
    assert_eq!(fake.said.lock().topics, 1);
}

/// Then the partition may be in another shard by now.
#[tokio::test(start_paused = true)]
async fn a_topic_is_asked_for_again_when_an_owner_that_the_view_stands_by_denies_it_for_long() {
    let (fake, router) = local().await;
    router.lookup(lookup(0)).await.unwrap();
    lose(&fake);
    for _ in 0..2 {
        // Of others that are answered at once the denied ones have no time of their own.
        let requests = [lookup(0), lookup(1)];
        let located = router.locate(&requests).await;
        assert!(located[0].is_err() && located[1].is_ok(), "{located:?}");
        sleep(Duration::from_secs(1)).await;
    }
    let offset = || router.offset(partition(0), OffsetQuery::Latest);
    let offsets = futures::future::join_all((0..50).map(|_| offset()));
    for offset in offsets.await {
        assert!(matches!(offset, Err(LogError::Unavailable { .. })));
    }
    let asked = fake.said.lock().topics;
    // Once a second, and each time by those who come while it is not known.
    assert!((3..=20).contains(&asked), "{asked}");
}

/// The time of one question is that of everything that it asks on its way.
#[tokio::test(start_paused = true)]
async fn every_call_ends_within_the_time_for_requests() {
    let most = ClientSettings::default().request_timeout;
    let slow = Duration::from_secs(3);
    let cases = [
        Takes {
            topic: slow,
            locate: slow,
            offset: slow,
            ..Takes::default()
        },
        Takes {
            topic: most * 3,
            ..Takes::default()
        },
        Takes {
            locate: most * 3,
            offset: most * 3,
            change: most * 3,
            ..Takes::default()
        },
    ];
    for (case, takes) in cases.into_iter().enumerate() {
        let (fake, router) = local().await;
        fake.said.lock().takes = takes;
        let requests = [lookup(0), lookup(1)];
        let begun = Instant::now();
        let (offset, located, raised, created) = tokio::join!(
            router.offset(partition(0), OffsetQuery::Latest),
            router.locate(&requests),
            // A fake never answers it.
            router.raise_floor(Incarnation::new(1), SegmentSequence::new(1)),
            router.create_topic(new_topic("new", 1)),
        );
        assert!(begun.elapsed() <= most, "{case}: {:?}", begun.elapsed());
        let is_unavailable = |error| matches!(error, LogError::Unavailable { .. });
        assert!(is_unavailable(offset.unwrap_err()), "{case}");
        assert!(is_unavailable(raised.unwrap_err()), "{case}");
        for answer in located {
            assert!(is_unavailable(answer.unwrap_err()), "{case}");
        }
        let created = created.unwrap_err();
        let is_unknown = matches!(created, CatalogueError::Unknown);
        assert_eq!(is_unknown, !takes.change.is_zero(), "{case}: {created}");
    }
}

/// An owner that loses its shard at the end of a long answer leaves no time for another one.
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_no_reason_to_begin_anew() {
    let (fake, router) = local().await;
    router.lookup(lookup(0)).await.unwrap();
    lose(&fake);
    fake.said.lock().takes.offset = Duration::from_secs(4);
    let begun = Instant::now();
    let offset = router.offset(partition(0), OffsetQuery::Latest).await;
    assert!(matches!(offset, Err(LogError::Unavailable { .. })));
    assert!(begun.elapsed() <= ClientSettings::default().request_timeout);
}
