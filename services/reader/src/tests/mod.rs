//! Brokers and readers over sockets: what is saved, and that nothing a reader does is worse than not to have it.

mod bad;
mod world;

use futures::future::join_all;
use tidelog_cache::NearPages as _;
use tidelog_metadata_api::{Member, MemberState};
use tidelog_types::{ClusterId, MemberId};

use crate::metrics::{Asked, Offered};
use crate::settings::TierSettings;
use world::{Broker, Bucket, PAGES, Served, body, cache, key, member, nowhere, patient, until};

#[tokio::test]
async fn ten_brokers_that_want_the_same_pages_cost_one_request_a_page() {
    let bucket = Bucket::new().await;
    let readers = [Served::new(1, &bucket).await, Served::new(2, &bucket).await];
    let members: Vec<&Member> = readers.iter().map(|reader| &reader.member).collect();
    let brokers: Vec<Broker> = (0..10).map(|_| Broker::new(&members)).collect();
    for page in 0..PAGES {
        let asking = brokers.iter().map(|broker| broker.page(page));
        for given in join_all(asking).await {
            assert_eq!(given, Some(body(page)));
        }
    }
    assert_eq!(bucket.gets(), u64::from(PAGES));
    let served: u64 = readers
        .iter()
        .map(|reader| reader.metrics.served.get())
        .sum();
    assert_eq!(served, 10 * u64::from(PAGES));
}

#[tokio::test]
async fn what_was_offered_costs_no_request() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let (writer, other) = (
        Broker::new(&[&reader.member]),
        Broker::new(&[&reader.member]),
    );
    assert!(writer.tier.takes_offers());
    for page in 0..PAGES {
        writer.tier.offer(key(page), body(page));
    }
    until(|| writer.offered(Offered::Taken) == u64::from(PAGES)).await;
    for page in 0..PAGES {
        assert_eq!(other.page(page).await, Some(body(page)));
    }
    assert_eq!(bucket.gets(), 0);
    assert_eq!(other.asked(Asked::Hit), u64::from(PAGES));
}

#[tokio::test]
async fn offers_that_wait_are_bounded() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let settings = TierSettings {
        offer_bytes: body(0).len() + 1,
        ..patient()
    };
    let broker = Broker::with(&[&reader.member], settings);
    broker.tier.offer(key(0), body(0));
    broker.tier.offer(key(1), body(1));
    assert_eq!(broker.offered(Offered::Dropped), 1);
    until(|| broker.offered(Offered::Taken) == 1).await;
    until(|| {
        broker.tier.offer(key(1), body(1));
        broker.offered(Offered::Taken) == 2
    })
    .await;
}

#[tokio::test]
async fn a_dead_reader_is_asked_once_and_others_have_its_pages() {
    let bucket = Bucket::new().await;
    let dead = member(1, &nowhere().await);
    let alone = Broker::new(&[&dead]);
    assert_eq!(alone.page(0).await, None);
    assert_eq!(alone.asked(Asked::Failed), 1);
    for page in 0..PAGES {
        assert_eq!(alone.page(page).await, None);
    }
    assert_eq!(alone.asked(Asked::Failed), 1);
    assert_eq!(alone.asked(Asked::Nobody), u64::from(PAGES));

    let alive = Served::new(2, &bucket).await;
    let broker = Broker::new(&[&dead, &alive.member]);
    let mut given = 0;
    for _ in 0..3 {
        for page in 0..PAGES {
            given += u64::from(broker.page(page).await == Some(body(page)));
        }
    }
    assert!(broker.asked(Asked::Failed) <= 1);
    assert_eq!(given + broker.asked(Asked::Failed), 3 * u64::from(PAGES));
}

#[tokio::test]
async fn readers_that_come_and_go_are_known_at_once_and_those_that_stay_keep_their_standing() {
    let bucket = Bucket::new().await;
    let (one, two) = (Served::new(1, &bucket).await, Served::new(2, &bucket).await);
    let broker = Broker::new(&[]);
    assert!(!broker.tier.takes_offers());
    assert_eq!(broker.page(0).await, None);
    assert_eq!(broker.asked(Asked::Nobody), 1);
    broker.sees(&[&one.member]).await;
    assert_eq!(broker.page(0).await, Some(body(0)));
    one.stop.cancel();
    broker.sees(&[&two.member]).await;
    assert_eq!(broker.page(0).await, Some(body(0)));
    let dead = member(3, &nowhere().await);
    broker.sees(&[&dead]).await;
    assert_eq!(broker.page(0).await, None);
    broker.sees(&[&dead, &two.member]).await;
    // It is not asked again because another one came.
    assert_eq!(broker.page(0).await, Some(body(0)));
    assert_eq!(broker.asked(Asked::Failed), 1);
}

#[tokio::test]
async fn readers_of_other_zones_and_those_that_drain_are_not_asked() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let far = Member {
        zone: "there".to_owned(),
        ..reader.member.clone()
    };
    let draining = Member {
        state: MemberState::Draining,
        ..reader.member.clone()
    };
    let broker = Member {
        roles: [tidelog_types::Role::Broker].into_iter().collect(),
        ..reader.member.clone()
    };
    let unreachable = member(4, "");
    for other in [far, draining, broker, unreachable] {
        let broker = Broker::new(&[&other]);
        assert_eq!(broker.tier.readers(), [], "{other:?}");
        assert_eq!(broker.page(0).await, None);
    }
    assert_eq!(bucket.gets(), 0);
}

#[tokio::test]
async fn a_reader_of_another_cluster_gives_nothing() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let other = ClusterId::from_random_bytes([8; 16]);
    let broker = Broker::of(other, &[&reader.member], patient());
    assert_eq!(broker.page(0).await, None);
    broker.tier.offer(key(0), body(0));
    assert_eq!(broker.asked(Asked::Failed), 1);
    assert_eq!((bucket.gets(), reader.pages.bytes()), (0, 0));
}

#[tokio::test]
async fn what_did_not_prove_true_is_forgotten_by_the_reader() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    reader.pages.insert(key(0), body(1));
    let broker = Broker::new(&[&reader.member]);
    assert_eq!(broker.page(0).await, Some(body(1)), "nobody can know yet");
    broker.tier.distrust(key(0));
    until(|| reader.metrics.forgotten.get() == 1).await;
    let other = Broker::new(&[&reader.member]);
    assert_eq!(other.page(0).await, Some(body(0)));
    assert_eq!(bucket.gets(), 1);
}

#[tokio::test]
async fn what_this_process_owns_itself_it_does_not_ask_for() {
    let me = Member {
        id: MemberId::from_random_bytes([200; 16]),
        ..member(1, "")
    };
    let broker = Broker::new(&[&me]);
    assert_eq!(broker.page(0).await, None);
    assert_eq!(broker.asked(Asked::Own), 1);
    broker.tier.offer(key(0), body(0));
    assert!(broker.own.has(&key(0)));
    assert!(!cache().has(&key(0)));
}
