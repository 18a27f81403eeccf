//! Random lives of a cluster under load: processes join, drain, leave, stop, wake and die, and the store
//! fails now and then. A seed names a life; a failure prints it.

use std::time::Duration;

use tidelog_env::{Rng as _, SeededRng};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::Cluster as _;
use tidelog_store::memory::{CommitFault, Landing};

use super::audit::{Load, judge};
use super::nodes::{Node, id, world};
use crate::world::World;

/// Lives in one run; each has its own seed.
const LIVES: u64 = 12;
/// Steps of a life.
const STEPS: u64 = 14;
/// Processes that live at the same time.
const NODES_MAX: usize = 4;
const FAULTS: [CommitFault; 5] = [
    CommitFault::Conflict,
    CommitFault::Unavailable,
    CommitFault::Unknown(Landing::Now),
    CommitFault::Unknown(Landing::Never),
    CommitFault::Unknown(Landing::Later { after_commits: 2 }),
];
const FAULTY: [KeyKind; 4] = [
    KeyKind::Tail,
    KeyKind::Lease,
    KeyKind::Member,
    KeyKind::Checkpoint,
];

struct Life {
    rng: SeededRng,
    world: World,
    nodes: Vec<Node>,
    load: Load,
    last: u8,
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let shards = u32::try_from(1 + rng.below(9)).expect("small");
        let world = world(seed, shards);
        let nodes = vec![world.join(1).await, world.join(2).await];
        nodes[0].until_shared_by(&[id(1), id(2)]).await;
        let partitions = nodes[0].partition_of_each_shard().await;
        let load = Load::start(seed, 3, &[&nodes[0], &nodes[1]], &partitions);
        Self {
            rng,
            world,
            nodes,
            load,
            last: 2,
        }
    }

    fn draw(&self, below: usize) -> usize {
        let below = u64::try_from(below).expect("small");
        usize::try_from(self.rng.below(below)).expect("small")
    }

    fn drawn(&self) -> &Node {
        &self.nodes[self.draw(self.nodes.len())]
    }

    async fn step(&mut self) {
        match self.draw(8) {
            0 | 1 if self.nodes.len() < NODES_MAX => self.join().await,
            2 if self.nodes.len() > 1 => {
                let at = self.draw(self.nodes.len());
                self.nodes.swap_remove(at).kill();
            }
            3 if self.nodes.len() > 1 => {
                let at = self.draw(self.nodes.len());
                self.nodes.swap_remove(at).leave().await;
            }
            4 => self.drawn().store.freeze(),
            5 => self.drawn().store.thaw(),
            6 => {
                let drains = self.draw(2) == 0;
                let asked = self.drawn();
                let drained = self.drawn().id;
                // It may be stopped, or may not have heard of the other.
                let change = asked.set_draining(drained, drains);
                let _ = tokio::time::timeout(Duration::from_millis(200), change).await;
            }
            _ => {
                let fault = FAULTS[self.draw(FAULTS.len())];
                let kind = FAULTY[self.draw(FAULTY.len())];
                self.drawn().store.fail(kind, fault);
            }
        }
        let wait = Duration::from_millis(self.rng.below(4_000));
        tokio::time::sleep(wait).await;
    }

    async fn join(&mut self) {
        self.last += 1;
        let node = self.world.join(self.last).await;
        self.load.asked.lock().push(node.process.service.clone());
        self.nodes.push(node);
    }

    /// Everyone wakes, works and shares; then all that was told is looked at.
    async fn end(self) {
        for node in &self.nodes {
            node.store.thaw();
        }
        let first = &self.nodes[0];
        for node in &self.nodes {
            while first.set_draining(node.id, false).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        for node in &self.nodes {
            node.until_shared_by(&ids).await;
        }
        let told = self.load.stop().await;
        let owners: Vec<_> = self.nodes.iter().collect();
        judge(&told, &owners).await;
        self.world.store.memory.land_delayed();
        judge(&told, &owners).await;
    }
}

fn live(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    println!("life {seed}");
    runtime.block_on(async {
        let mut life = Life::begin(seed).await;
        for _ in 0..STEPS {
            life.step().await;
        }
        life.end().await;
    });
}

#[test]
fn random_lives_of_a_cluster_lose_and_double_nothing() {
    for seed in 0..LIVES {
        live(seed);
    }
}
