//! The router finds the owner of each shard, and follows a shard that moves.

use std::sync::Arc;

use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, LocalMember, Parts, Router, RouterError, RouterParts};
use tidelog_types::*;

use crate::fake::{Fake, partition, upto};
use crate::world::*;

fn lookup(index: u32, extents_max: usize) -> LookupRequest {
    LookupRequest {
        partition: partition(index),
        offset: Offset::ZERO,
        bytes_max: 100,
        extents_max,
    }
}

/// Two processes that own a shard each, and a router that has seen both.
struct Two {
    a: Arc<Fake>,
    b: Arc<Fake>,
    servers: [Served; 2],
    router: Router,
}

impl Two {
    async fn new() -> Self {
        let (a, b) = (Fake::owning(&[0]), Fake::owning(&[1]));
        let servers = [active(&a).await, active(&b).await];
        let two = Self {
            router: {
                let seen = view(&[&servers[0].address, &servers[1].address], &[1, 2], 1);
                a.view.send_replace(Arc::clone(&seen));
                b.view.send_replace(seen);
                router(&[&servers[0]], None).await
            },
            a,
            b,
            servers,
        };
        for token in two.a.seen().into_iter().chain(two.b.seen()) {
            two.router
                .reached(token)
                .await
                .expect("a test process answers");
        }
        two
    }

    /// Both processes see these owners.
    fn owners(&self, owners: &[u8], epoch: u64) {
        let [one, other] = &self.servers;
        let seen = view(&[&one.address, &other.address], owners, epoch);
        self.a.view.send_replace(Arc::clone(&seen));
        self.b.view.send_replace(seen);
    }

    /// Shard 0 goes to the second process, which only that one and the first know.
    fn hand_over(&self) {
        let group = self.a.said.lock().groups.remove(&ShardId::new(0));
        let mut said = self.b.said.lock();
        said.groups
            .insert(ShardId::new(0), group.expect("a test process answers"));
    }
}

#[tokio::test]
async fn commits_go_to_the_owners_of_their_shards_and_answers_keep_their_places() {
    let two = Two::new().await;
    let commits = vec![
        commit(7, 10, 1, 1),
        commit(7, 11, 0, 0),
        commit(7, 12, 9, 0),
        commit(7, 13, 1, 1),
    ];
    let answers = two.router.commit(commits).await;
    let at = |place: usize| format!("{:?}", answers[place]);
    assert!(at(0).contains("Offset(10)") && at(1).contains("Offset(11)"));
    assert!(at(3).contains("Offset(13)"));
    assert!(matches!(answers[2], Err(CommitError::Unavailable { .. })));
    assert_eq!(two.a.said.lock().commits, [11]);
    assert_eq!(two.b.said.lock().commits, [10, 13]);
}

#[tokio::test]
async fn partitions_that_have_answers_do_not_wait_long_for_a_shard_without_an_owner() {
    let two = Two::new().await;
    two.owners(&[0, 2], 2);
    let mut view = two.router.watch();
    let is_free = |view: &Arc<ClusterView>| view.owner(ShardId::new(0)).is_none();
    view.wait_for(is_free).await.unwrap();
    let begun = std::time::Instant::now();
    let found = two.router.locate(&[lookup(0, 5), lookup(1, 5)]).await;
    assert!(matches!(found[0], Err(LogError::Unavailable { .. })));
    assert!(found[1].is_ok(), "{found:?}");
    assert!(begun.elapsed() < ClientSettings::default().request_timeout / 2);
}

#[tokio::test]
async fn a_shard_that_moves_is_found_again() {
    let two = Two::new().await;
    two.hand_over();
    let refused = committed(&two.router, commit(7, 1, 0, 0)).await;
    assert_eq!(refused.unwrap_err(), CommitError::NotOwner);
    // A question waits for the new owner to be known.
    let requests = [lookup(0, 5), lookup(1, 5)];
    let question = two.router.locate(&requests);
    let latest = two.router.offset(partition(0), OffsetQuery::Latest);
    let (found, latest, ()) = tokio::join!(question, latest, async {
        two.owners(&[2, 2], 2);
    });
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(latest, Ok(OffsetAnswer::Offset(Offset::new(3))));
    let mut view = two.router.watch();
    let moved = |view: &Arc<ClusterView>| view.shards.iter().all(|shard| shard.epoch == 2);
    view.wait_for(moved).await.unwrap();
    committed(&two.router, commit(7, 1, 0, 0)).await.unwrap();
    assert_eq!(two.b.said.lock().commits, [1]);
}

/// It hangs: its connection stands, and nothing comes.
#[tokio::test]
async fn commits_to_an_owner_of_before_that_says_nothing_are_given_up() {
    let two = Two::new().await;
    two.a.gate.send_replace(false);
    let pending = tokio::spawn({
        let router = two.router.clone();
        async move {
            let commits = vec![commit(7, 1, 0, 0), commit(7, 2, 1, 0)];
            router.commit(commits).await
        }
    });
    two.hand_over();
    // A shard that nobody owns may yet be its own again.
    two.owners(&[0, 2], 2);
    let mut view = two.router.watch();
    let is_free = |view: &Arc<ClusterView>| view.owner(ShardId::new(0)).is_none();
    view.wait_for(is_free).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert!(!pending.is_finished());
    two.owners(&[2, 2], 3);
    let begun = std::time::Instant::now();
    let answers = pending.await.unwrap();
    assert!(
        matches!(answers[0], Err(CommitError::Unknown)),
        "{answers:?}"
    );
    assert!(answers[1].is_ok(), "{answers:?}");
    assert!(begun.elapsed() < ClientSettings::default().silence);
    // The next owner is asked, and knows.
    committed(&two.router, commit(7, 1, 0, 0)).await.unwrap();
    two.a.gate.send_replace(true);
}

#[tokio::test]
async fn an_older_statement_about_an_owner_does_not_hold() {
    let two = Two::new().await;
    two.hand_over();
    two.owners(&[2, 2], 5);
    let mut seen = two.router.watch();
    let moved = |view: &Arc<ClusterView>| view.shards[0].epoch == 5;
    seen.wait_for(moved).await.unwrap();
    // A process that has not heard of it yet.
    two.owners(&[1, 2], 4);
    let renamed = two.servers[0].address.clone();
    let marker = view(&[&renamed, &two.servers[1].address, "x:1"], &[1, 2], 4);
    two.a.view.send_replace(marker);
    seen.wait_for(|view| view.members.len() == 3).await.unwrap();
    committed(&two.router, commit(7, 1, 0, 0)).await.unwrap();
    assert_eq!(two.b.said.lock().commits, [1]);
}

#[tokio::test]
async fn bounds_of_followed_partitions_cost_no_question_and_never_go_down() {
    let two = Two::new().await;
    two.a.said.lock().high_watermarks.insert(partition(0), 5);
    assert_eq!(two.router.bounds(partition(0)).await, Ok(upto(5)));
    let asked = two.a.said.lock().lookups;
    let token = two.a.advance(0, 8);
    two.router.reached(token).await.unwrap();
    assert_eq!(two.router.bounds(partition(0)).await, Ok(upto(8)));
    let end = LookupRequest {
        offset: Offset::new(8),
        ..lookup(0, 5)
    };
    assert!(two.router.lookup(end).await.unwrap().extents.is_empty());
    assert_eq!(two.a.said.lock().lookups, asked);
    // The new owner has loaded less than was shown: it must be asked until it has caught up.
    two.hand_over();
    two.b.said.lock().high_watermarks.insert(partition(0), 3);
    two.owners(&[2, 2], 2);
    let (bounds, ()) = tokio::join!(two.router.bounds(partition(0)), async {
        two.b.said.lock().high_watermarks.insert(partition(0), 9);
    });
    assert!(bounds.unwrap().high_watermark >= Offset::new(8));
}

/// Rule C9: what was shown is remembered of some partitions only. Of the others a process that has lost the
/// shard and does not know it may not say less.
#[tokio::test]
async fn bounds_that_were_shown_and_forgotten_never_go_down() {
    let (a, b) = (Fake::owning(&[0]), Fake::owning(&[1, 2, 3]));
    let servers = [active(&a).await, active(&b).await];
    let owners = |owners: &[u8], epoch| {
        let seen = view(&[&servers[0].address, &servers[1].address], owners, epoch);
        a.view.send_replace(Arc::clone(&seen));
        b.view.send_replace(seen);
    };
    owners(&[1, 2, 2, 2], 1);
    let settings = ClientSettings {
        bounds_kept: 1,
        ..ClientSettings::default()
    };
    let router = router_with(&[&servers[0]], None, settings).await;
    for token in a.seen().into_iter().chain(b.seen()) {
        router.reached(token).await.unwrap();
    }
    a.said.lock().high_watermarks.insert(partition(0), 5);
    assert_eq!(router.bounds(partition(0)).await, Ok(upto(5)));
    // The second process takes the shard and goes on. The view does not say so yet.
    a.said.lock().is_stale = true;
    b.said.lock().groups.insert(ShardId::new(0), 1);
    let token = b.advance(0, 9);
    router.reached(token).await.unwrap();
    assert_eq!(router.bounds(partition(0)).await, Ok(upto(9)));
    for index in 1..4 {
        router.bounds(partition(index)).await.unwrap();
    }
    let bounds = router.bounds(partition(0));
    let moved = async { owners(&[2, 2, 2, 2], 2) };
    let (bounds, ()) = tokio::join!(bounds, moved);
    assert_eq!(bounds, Ok(upto(9)));
}

#[tokio::test]
async fn a_process_that_ends_is_left_for_another() {
    let two = Two::new().await;
    two.hand_over();
    let [one, _] = &two.servers;
    one.stop.cancel();
    let seen = view(&["", &two.servers[1].address], &[2, 2], 2);
    two.b.view.send_replace(seen);
    let mut views = two.router.watch();
    let moved = |view: &Arc<ClusterView>| view.shards[0].epoch == 2;
    tokio::time::timeout(LONG, views.wait_for(moved))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(two.router.register_writer().await, Ok(Incarnation::new(7)));
    committed(&two.router, commit(7, 1, 0, 0)).await.unwrap();
}

#[tokio::test]
async fn the_local_service_is_called_without_a_socket() {
    let fake = Fake::owning(&[0]);
    fake.view.send_replace(view(&["127.0.0.1:1"], &[1], 1));
    let parts = Parts::of(Arc::clone(&fake));
    let router = router(&[], Some(LocalMember::always(member_id(1), parts))).await;
    committed(&router, commit(7, 1, 0, 0)).await.unwrap();
    let token = fake.advance(0, 4);
    router.reached(token).await.unwrap();
    assert_eq!(router.bounds(partition(0)).await, Ok(upto(4)));
}

#[tokio::test]
async fn whoever_finds_nobody_is_told_whom_it_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let parts = |seeds| RouterParts {
        env: Env::seeded(3),
        seeds,
        local: None,
        settings: ClientSettings::default(),
        metrics: metrics(),
        start_timeout: std::time::Duration::from_millis(300),
    };
    let error = Router::connect(parts(vec![seed.clone()]), CancellationToken::new()).await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains(&format!("`{seed}`: nobody listens there")),
        "{text}"
    );
    let error = Router::connect(parts(Vec::new()), CancellationToken::new()).await;
    assert!(matches!(error, Err(RouterError::NoSeeds)));
}
