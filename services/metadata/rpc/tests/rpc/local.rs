//! A process that is active at times: it calls its own service without a socket while it is, and the other one's
//! through one while it is not.

use std::future::Future;
use std::sync::Arc;

use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, LocalMember, Parts, Router, RouterParts, Standing};
use tidelog_types::*;

use crate::fake::{Fake, partition, upto};
use crate::world::*;

fn standby(active: Option<&Served>) -> Standing {
    Standing::Standby {
        active: active.map(|served| served.address.clone()),
        reason: "another process is active".to_owned(),
    }
}

/// Two processes with a server each; the router is in the first one.
struct Pair {
    here: Arc<Fake>,
    there: Arc<Fake>,
    servers: [Served; 2],
    epoch: u64,
}

impl Pair {
    async fn new() -> Self {
        Self {
            here: Fake::owning(&[]),
            there: Fake::owning(&[]),
            servers: [served(standby(None)).await, served(standby(None)).await],
            epoch: 0,
        }
    }

    fn local(&self) -> LocalMember {
        let [own, _] = &self.servers;
        LocalMember::while_active(member_id(1), own.address.clone(), own.standing.subscribe())
    }

    /// The process with this number becomes the active one, with a service of its own.
    fn activate(&mut self, number: u8) -> Arc<Fake> {
        self.epoch += 1;
        let (own, other) = (&self.servers[0], &self.servers[1]);
        let fake = Fake::owning(&[0]);
        let addresses = [own.address.as_str(), other.address.as_str()];
        fake.view
            .send_replace(view(&addresses, &[number], self.epoch));
        let active = Standing::Active(Parts::of(Arc::clone(&fake)));
        if number == 1 {
            other.standing.send_replace(standby(Some(own)));
            own.standing.send_replace(active);
            self.here = Arc::clone(&fake);
        } else {
            own.standing.send_replace(standby(Some(other)));
            other.standing.send_replace(active);
            self.there = Arc::clone(&fake);
        }
        fake
    }

    /// A router of the first process.
    fn router(&self) -> impl Future<Output = Router> + use<> {
        let servers = self.servers.iter();
        let parts = RouterParts {
            env: Env::seeded(3),
            // The other one names this one as the active one. Neither way leads to a call of itself.
            seeds: servers.map(|served| served.address.clone()).collect(),
            local: Some(self.local()),
            settings: ClientSettings::default(),
            metrics: metrics(),
            start_timeout: LONG,
        };
        async move {
            let router = Router::connect(parts, CancellationToken::new());
            router.await.expect("a test process answers")
        }
    }
}

/// Everything that a broker asks, until the process that is active by now answers it.
async fn ask_all(router: &Router, active: &Fake, epoch: u64) {
    let mut views = router.watch();
    let is_new = |view: &Arc<ClusterView>| view.shards.iter().all(|shard| shard.epoch == epoch);
    let seen = tokio::time::timeout(LONG, views.wait_for(is_new)).await;
    drop(seen.expect("it comes").expect("views go on"));
    let answer = committed(router, commit(7, epoch, 0, 0)).await;
    answer.expect("the active process answers");
    assert_eq!(active.said.lock().commits, [epoch]);
    let token = active.advance(0, epoch * 10);
    router.reached(token).await.expect("news of it comes");
    assert_eq!(router.bounds(partition(0)).await, Ok(upto(epoch * 10)));
    assert_eq!(router.register_writer().await, Ok(Incarnation::new(7)));
    let mut joins = active.joins.subscribe();
    let joined = tokio::time::timeout(LONG, joins.wait_for(|joins| *joins > 0)).await;
    drop(joined.expect("it joins").expect("joins go on"));
}

#[tokio::test]
async fn a_process_calls_itself_without_a_socket_while_it_is_active() {
    let mut pair = Pair::new().await;
    // Whoever looks before anybody is active waits for that.
    let mut connecting = Box::pin(pair.router());
    assert!(futures::poll!(&mut connecting).is_pending());
    let here = pair.activate(1);
    let router = connecting.await;
    let membership = Cluster::join(&router, member(1, Role::Broker, ""))
        .await
        .unwrap();
    ask_all(&router, &here, 1).await;
    assert_eq!(pair.servers[0].work(), (0, 0));

    // It becomes a standby, and reaches the active one.
    let there = pair.activate(2);
    ask_all(&router, &there, 2).await;
    assert_eq!(pair.servers[0].work(), (0, 0));

    // It is active again.
    let here = pair.activate(1);
    ask_all(&router, &here, 3).await;
    assert_eq!(pair.servers[0].work(), (0, 0));
    assert_eq!(pair.here.said.lock().members.len(), 1);

    membership.leave();
    let left = here.said.lock().members.remove(0).1;
    assert_eq!(tokio::time::timeout(LONG, left).await, Ok(Ok(())));
}

#[tokio::test]
async fn a_standby_finds_the_active_process_and_goes_on_by_itself_when_its_time_comes() {
    let mut pair = Pair::new().await;
    let there = pair.activate(2);
    let router = pair.router().await;
    let _membership = Cluster::join(&router, member(1, Role::Broker, ""))
        .await
        .unwrap();
    ask_all(&router, &there, 1).await;
    assert!(pair.servers[1].work().1 > 0);
    pair.servers[1].stop.cancel();
    let here = pair.activate(1);
    ask_all(&router, &here, 2).await;
    assert_eq!(pair.servers[0].work(), (0, 0));
}

#[tokio::test]
async fn one_that_becomes_active_nowhere_says_why() {
    let pair = Pair::new().await;
    let parts = RouterParts {
        env: Env::seeded(3),
        seeds: Vec::new(),
        local: Some(pair.local()),
        settings: ClientSettings::default(),
        metrics: metrics(),
        start_timeout: std::time::Duration::from_millis(100),
    };
    let error = Router::connect(parts, CancellationToken::new()).await;
    let text = error.unwrap_err().to_string();
    let own = format!("`{}`: another process is active", pair.servers[0].address);
    assert!(text.contains(&own), "{text}");
}
