//! News of a process, and its silence.

use std::time::{Duration, Instant};

use tidelog_env::Env;
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, PeerWatch, Probe};
use tidelog_types::*;

use crate::fake::Fake;
use crate::proxy::Proxy;
use crate::world::*;

#[tokio::test]
async fn news_reaches_whoever_waits_for_it() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    let mut news = node.subscribe();
    let reached = |group| ReadToken {
        generation: GENERATION,
        shard: ShardId::new(0),
        group: GroupNumber::new(group),
    };
    node.reached(reached(1)).await.unwrap();
    let token = fake.advance(0, 5);
    let bounds = until(&mut news, |notice| match notice {
        Notice::Commit(commit) => Some(commit.advances[0].bounds),
        _ => None,
    });
    assert_eq!(bounds.await.high_watermark, Offset::new(5));
    node.reached(token).await.unwrap();
    assert_eq!(node.seen(), [token]);
}

#[tokio::test]
async fn a_shard_that_is_taken_later_is_followed_from_then_on() {
    let fake = Fake::owning(&[]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    assert_eq!(node.seen(), []);
    let token = fake.advance(3, 5);
    node.reached(token).await.unwrap();
}

#[tokio::test]
async fn after_a_break_news_counts_as_missed() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let proxy = Proxy::to(&server.address).await;
    let node = remote(&proxy.address).await;
    let token = fake.advance(0, 5);
    node.reached(token).await.unwrap();
    let mut news = node.subscribe();
    proxy.cut();
    let unheard = fake.advance(0, 6);
    until(&mut news, |notice| {
        matches!(notice, Notice::Missed).then_some(())
    })
    .await;
    node.reached(unheard).await.unwrap();
}

#[tokio::test]
async fn a_silent_peer_is_noticed_within_three_seconds() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let proxy = Proxy::to(&server.address).await;
    let settings = ClientSettings::default();
    let mut watch = PeerWatch::open(&Env::seeded(5), &proxy.address, &settings, &metrics())
        .await
        .unwrap();
    assert!(watch.next().await.is_some());
    let node = remote(&proxy.address).await;
    fake.gate.send_replace(false);
    let open = node.commit(vec![commit(7, 0, 0, 0)]);
    node.register_writer().await.unwrap();
    proxy.freeze();
    let frozen = Instant::now();
    let (ended, answer) = tokio::join!(watch.next(), open);
    assert!(ended.is_none());
    assert_eq!(answer[0].as_ref().unwrap_err(), &CommitError::Unknown);
    assert!(frozen.elapsed() < Duration::from_millis(4_500));
}

#[tokio::test]
async fn beats_keep_a_quiet_watch_alive() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let settings = ClientSettings::default();
    let env = Env::seeded(5);
    let mut watch = PeerWatch::open(&env, &server.address, &settings, &metrics())
        .await
        .unwrap();
    assert!(watch.next().await.is_some());
    let silence = settings.silence + Duration::from_millis(500);
    let quiet = tidelog_env::clock::timeout(env.clock.as_ref(), silence, watch.next());
    assert!(
        quiet.await.is_err(),
        "it ended, or told a view that is none"
    );
    fake.view.send_replace(view(&[], &[1], 1));
    assert_eq!(watch.next().await.unwrap().shards.len(), 1);
}

#[tokio::test]
async fn a_port_at_which_nobody_listens_is_told_from_one_that_is_silent() {
    let metrics = metrics();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = ClientSettings::default();
    let env = Env::seeded(5);
    let opened = PeerWatch::open(&env, &address, &settings, &metrics);
    assert!(matches!(opened.await, Err(Probe::Silent { .. })));
    drop(listener);
    let opened = PeerWatch::open(&env, &address, &settings, &metrics);
    assert_eq!(opened.await.err(), Some(Probe::Refused));
}
