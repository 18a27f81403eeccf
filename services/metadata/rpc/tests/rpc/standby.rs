//! Which of two processes answers, and how callers find it.

use std::sync::Arc;

use tidelog_env::Env;
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, Parts, PeerWatch, Probe, Standing};
use tidelog_types::*;

use crate::fake::Fake;
use crate::world::*;

fn standby(active: &str) -> Standing {
    Standing::Standby {
        active: Some(active.to_owned()),
        reason: "standby".to_owned(),
    }
}

#[tokio::test]
async fn a_standby_names_the_active_one_and_becomes_it_at_the_same_port() {
    let (a, b) = (Fake::owning(&[0]), Fake::owning(&[]));
    let one = active(&a).await;
    let other = served(standby(&one.address)).await;
    let settings = ClientSettings::default();
    let env = Env::seeded(5);
    let probed = PeerWatch::open(&env, &other.address, &settings, &metrics()).await;
    assert_eq!(
        probed.err(),
        Some(Probe::Standby {
            active: Some(one.address.clone())
        })
    );
    // Only the standby is known.
    a.view.send_replace(view(&[&one.address], &[1], 1));
    let router = router(&[&other], None).await;
    committed(&router, commit(7, 1, 0, 0)).await.unwrap();

    // They change places.
    b.said.lock().groups.insert(ShardId::new(0), 1);
    b.view.send_replace(view(&[&other.address], &[1], 2));
    other
        .standing
        .send_replace(Standing::Active(Parts::of(Arc::clone(&b))));
    one.standing.send_replace(standby(&other.address));
    let mut views = router.watch();
    let moved = |view: &Arc<ClusterView>| view.shards[0].epoch == 2;
    tokio::time::timeout(LONG, views.wait_for(moved))
        .await
        .unwrap()
        .unwrap();
    committed(&router, commit(7, 2, 0, 0)).await.unwrap();
    assert_eq!(b.said.lock().commits, [2]);
}

#[tokio::test]
async fn a_call_of_a_standby_did_nothing_and_says_where_to_go() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let node = remote(&server.address).await;
    server.standing.send_replace(standby("other:7071"));
    let why = "standby; active is `other:7071`";
    let refused = node.create_topic(new_topic("x", 1)).await;
    let reason = why.to_owned();
    assert_eq!(refused.unwrap_err(), CatalogueError::Unavailable { reason });
    let mut told = String::new();
    for sequence in 0..10 {
        // The stream that was open ends first, and what was on it is unknown.
        told = committed(&node, commit(7, sequence, 0, 0))
            .await
            .unwrap_err()
            .to_string();
        if told.contains(why) {
            break;
        }
    }
    assert!(told.contains(why), "{told}");
    assert!(fake.said.lock().commits.is_empty());
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_taken() {
    let fake = Fake::owning(&[0]);
    let mut server = active(&fake).await;
    let node = remote(&server.address).await;
    fake.gate.send_replace(false);
    let open = node.commit(vec![commit(7, 0, 0, 0)]);
    let open = tokio::spawn(open);
    node.register_writer().await.unwrap();
    while fake.said.lock().commits.is_empty() {
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    fake.gate.send_replace(true);
    assert!(open.await.unwrap()[0].is_ok());
    let ended = tokio::time::timeout(LONG, &mut server.ended).await;
    ended.unwrap().unwrap();
    let late = committed(&node, commit(7, 1, 0, 0)).await;
    assert!(late.unwrap_err().may_ask_again());
}
