//! Fetches that wait hear of every commit, whatever else is read.

use std::time::Duration;

use tidelog_blob::Operation;
use tidelog_blob::faulty::{Fault, FaultRule};
use tidelog_broker_engine::{FetchRequest, Isolation};
use tidelog_metadata_api::{Catalogue as _, NewTopic};
use tidelog_types::TopicName;

use crate::batches::batch;
use crate::world::{World, soon};

const WAIT: Duration = Duration::from_secs(20);
const GET: Duration = Duration::from_secs(1);
/// More than the engine remembers of those for whom nobody waits.
const PARTITIONS: u32 = 10_050;

/// The commit comes when the partition was looked at and forgotten again, before anybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_commit_is_not_missed_however_many_partitions_are_read_at_once() {
    let mut world = World::new().await;
    let topic = NewTopic {
        name: TopicName::new("wide").expect("a good name"),
        partitions: PARTITIONS,
        config: std::collections::BTreeMap::new(),
        validate_only: false,
    };
    let created = world.metadata.create_topic(topic).await;
    world.topic = created.expect("a new topic");
    let size = u64::from(batch(&["read slowly"]).size());
    world.send(0, "read slowly").offset().await;
    let slowly = FaultRule::new(Fault::Delay(GET)).on(Operation::Get);
    world.way.inject(slowly);
    let wanted = (0..PARTITIONS).map(|index| world.want(index, 0, u64::MAX));
    let request = FetchRequest {
        partitions: wanted.collect(),
        bytes_max: u64::MAX,
        bytes_min: size + 1,
        wait_max: WAIT,
        isolation: Isolation::Uncommitted,
    };
    let start = world.env.clock.now();
    let send = async {
        world.pass(GET / 2).await;
        world.send(1, "not missed").offset().await;
    };
    let (fetched, ()) = tokio::join!(soon(&world.env, world.engine.fetch(&request)), send);
    let took = world.env.clock.now() - start;
    assert!((GET..WAIT / 2).contains(&took), "{took:?}");
    assert!(fetched.bytes() > size);
}
