//! Real metadata processes on one store: shards move between them, and the router follows.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_env::Env;
use tidelog_format::manifest::Outcome;
use tidelog_metadata::{
    ClassBuckets, ClusterOptions, ClusterSettings, GroupSettings, MetadataService, OpenOptions,
    Ownership, Reach, SequencerMetrics, SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{Parts, Standing};
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;

use crate::groups::{commit_of, fetched, newcomer};
use crate::world::*;

const SHARDS: u32 = 4;
const PARTITIONS: u32 = 16;

/// A process and its server, which was bound before the process knew its own address.
async fn process(store: &MemoryStore, number: u8) -> (Arc<MetadataService>, Served) {
    let starting = Standing::Standby {
        active: None,
        reason: "starting".to_owned(),
    };
    let server = served(starting).await;
    let options = OpenOptions {
        env: Env::seeded(u64::from(number)),
        store: Arc::new(store.clone()),
        cluster: CLUSTER,
        shards: SHARDS,
        classes: ClassBuckets::default(),
        sequencer: SequencerSettings::default(),
        groups: GroupSettings::default(),
        transactions: TransactionSettings::default(),
        reach: Reach::default(),
        metrics: SequencerMetrics::new(&mut Registry::default()),
    };
    let place = ClusterOptions {
        member: member(number, Role::Metadata, &server.address),
        ownership: Ownership::Shared,
        settings: ClusterSettings::default(),
        probe: None,
    };
    let service = MetadataService::open_in(options, place).await;
    let service = Arc::new(service.expect("the store answers"));
    let parts = Parts::of(Arc::clone(&service));
    server.standing.send_replace(Standing::Active(parts));
    (service, server)
}

async fn until_view(log: &impl Cluster, wanted: impl FnMut(&Arc<ClusterView>) -> bool) {
    let mut views = log.watch();
    let seen = tokio::time::timeout(LONG, views.wait_for(wanted)).await;
    drop(seen.expect("it comes").expect("views go on"));
}

fn is_owned_by(view: &ClusterView, members: usize) -> bool {
    let owners = (0..SHARDS).map(|shard| Some(view.owner(ShardId::new(shard))?.id));
    let owners: Option<std::collections::BTreeSet<_>> = owners.collect();
    owners.is_some_and(|owners| owners.len() == members)
}

/// Commits two records to each partition, asking as often as a broker would.
async fn write(log: &dyn Log, topic: &TopicInfo, writer: u64, sequence: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    for (index, info) in (0..).zip(&topic.partitions) {
        let sequence = sequence + u64::from(index);
        let asking = async {
            loop {
                let one = commit(writer, sequence, info.shard.get(), index);
                match committed(log, one).await {
                    Ok(answer) => return answer,
                    Err(error) => assert!(error.may_ask_again(), "{error}"),
                }
                tokio::task::yield_now().await;
            }
        };
        let answer = tokio::time::timeout(LONG, asking).await;
        let answer = answer.expect("an answer comes");
        log.reached(answer.token).await.expect("news of it comes");
        match answer.outcomes.as_slice() {
            [Outcome::Accepted { base_offset }] => offsets.push(base_offset.get()),
            other => panic!("{other:?}"),
        }
    }
    offsets
}

#[tokio::test]
async fn shards_of_a_process_that_leaves_go_on_at_another_and_offsets_stay_dense() {
    let store = MemoryStore::new();
    let (one, first) = process(&store, 1).await;
    let router = router(&[&first], None).await;
    until_view(&router, |view| is_owned_by(view, 1)).await;
    let topic = router
        .create_topic(new_topic("log", PARTITIONS))
        .await
        .unwrap();
    let writer = router.register_writer().await.unwrap().get();
    let count = u64::from(PARTITIONS);
    assert_eq!(write(&router, &topic, writer, 0).await, [0; 16]);

    // A second process takes its part.
    let (_two, second) = process(&store, 2).await;
    until_view(&router, |view| is_owned_by(view, 2)).await;
    assert_eq!(write(&router, &topic, writer, count).await, [2; 16]);

    // The first one leaves: the view comes from the other from then on.
    let leaving = async {
        one.leave().await;
        first.stop.cancel();
    };
    let (offsets, ()) = tokio::join!(write(&router, &topic, writer, 2 * count), leaving);
    assert_eq!(offsets, [4; 16]);
    until_view(&router, |view| {
        let owner = view.owner(ShardId::new(0));
        is_owned_by(view, 1) && owner.is_some_and(|owner| owner.internal_address == second.address)
    })
    .await;
    assert_eq!(write(&router, &topic, writer, 3 * count).await, [6; 16]);

    // What was committed at the first is found at the second, piece by piece.
    for index in 0..PARTITIONS {
        let partition = TopicPartition::new(topic.number, PartitionIndex::new(index));
        let mut offset = Offset::ZERO;
        while offset < Offset::new(8) {
            let request = LookupRequest {
                partition,
                offset,
                bytes_max: 1_000_000,
                extents_max: 100,
            };
            let answer = router.lookup(request).await.unwrap();
            assert_eq!(answer.bounds.high_watermark, Offset::new(8));
            for extent in answer.extents {
                assert_eq!(extent.offsets.base, offset);
                offset = extent.offsets.next;
            }
        }
    }
}

/// Offsets of groups follow their shards from process to process.
#[tokio::test]
async fn groups_of_a_process_that_leaves_go_on_at_another() {
    let store = MemoryStore::new();
    let (one, first) = process(&store, 1).await;
    let router = router(&[&first], None).await;
    until_view(&router, |view| is_owned_by(view, 1)).await;
    let groups: Vec<String> = (0..12).map(|number| format!("group-{number}")).collect();
    let commit = async |offset: u64| {
        for group in &groups {
            let outcomes = router.commit_offsets(commit_of(group, offset)).await;
            assert_eq!(outcomes, Ok(vec![Ok(())]), "{group}");
        }
    };
    let check = async |offset: u64| {
        for group in &groups {
            assert_eq!(fetched(&router, group).await, Some(offset), "{group}");
        }
    };
    commit(1).await;
    let (_two, second) = process(&store, 2).await;
    until_view(&router, |view| is_owned_by(view, 2)).await;
    check(1).await;
    commit(2).await;
    let leaving = async {
        one.leave().await;
        first.stop.cancel();
    };
    let both = async {
        commit(3).await;
        check(3).await;
    };
    tokio::join!(both, leaving);
    let joined = Groups::join(&router, newcomer("group-1")).await;
    assert_eq!(joined.expect("it is alone").generation, 1);
    let mut listed = Vec::new();
    let mut after = Vec::new();
    loop {
        let filter = GroupFilter::default();
        let page = router.list_groups(&filter, &after, 5).await;
        let page = page.expect("an answer");
        listed.extend(page.groups);
        if page.next.is_empty() {
            break;
        }
        after = page.next;
    }
    assert_eq!(listed.len(), groups.len());
    drop(second);
}
