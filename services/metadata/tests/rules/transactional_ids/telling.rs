//! Partitions and groups are told how a transaction has ended: all of them, by shards, for as long as it takes.

use std::collections::BTreeSet;

use tidelog_metadata_api::{
    Catalogue as _, Decision, GroupName, TopicSelector, TransactionState, TransactionVersion,
    group_shard,
};
use tidelog_types::{ShardId, TopicName, TopicPartition};

use super::told::Refusal;
use super::{Client, ToldLog, at, group, open, opened, partitions_of, producer, soon};
use crate::world::{PARTITIONS, World, partition};

#[tokio::test(start_paused = true)]
async fn partitions_of_one_shard_are_told_together_and_each_shard_by_itself() {
    let mut world = World::new();
    world.shards = 2;
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    let client = Client::new(&process.service, "t");
    let one = client.init(None).await.expect("nobody has it");
    let all: Vec<_> = (0..PARTITIONS).map(at).chain([group("g")]).collect();
    client.add(one, &all).await.expect("they take part");
    client.commit(one).await.expect("it is decided");
    soon().await;
    let calls = told.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    let of_calls: Vec<BTreeSet<TopicPartition>> = calls
        .iter()
        .map(|call| call.iter().map(|marker| marker.partition).collect())
        .collect();
    let topic = TopicSelector::Name(TopicName::new("log").expect("a good name"));
    let topic = process.service.topic(&topic).await.expect("it is there");
    for call in &of_calls {
        let shard_of = |at: &TopicPartition| {
            let (_, info) = topic.partition(at.partition).expect("it is there");
            info.shard
        };
        let shards: BTreeSet<ShardId> = call.iter().map(shard_of).collect();
        assert_eq!(shards.len(), 1, "{call:?}");
    }
    assert!(of_calls[0].is_disjoint(&of_calls[1]));
    assert_eq!(of_calls[0].len() + of_calls[1].len(), 4);
    assert_eq!(told.ends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_could_not_be_told_is_told_again_and_the_others_are_not() {
    for refusal in [Refusal::Busy, Refusal::Lost] {
        let (_, process, told) = opened().await;
        let one = open(&process.service, "t").await;
        let client = Client::new(&process.service, "t");
        let more = [at(1), group("g"), group("h")];
        client.add(one, &more).await.expect("they take part");
        told.refuses(at(1), refusal);
        told.refuses(group("h"), refusal);
        client.commit(one).await.expect("it is decided");
        soon().await;
        assert_eq!(client.state().await, Ok(TransactionState::PrepareCommit));
        told.takes(&at(1));
        told.takes(&group("h"));
        soon().await;
        assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
        let partitions = partitions_of(&told);
        let count = |wanted| partitions.iter().filter(|one| **one == wanted).count();
        assert_eq!(count(partition(0)), 1, "{refusal:?}");
        assert!(count(partition(1)) >= 1);
        let ends = told.ends();
        let of = |name: &str| ends.iter().filter(|end| end.group.as_str() == name).count();
        assert_eq!(of("g"), 1);
        assert!(of("h") >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_does_not_answer_holds_no_other_back() {
    let mut world = World::new();
    world.shards = 2;
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    let client = Client::new(&process.service, "t");
    let one = client.init(None).await.expect("nobody has it");
    let all: Vec<_> = (0..PARTITIONS).map(at).collect();
    client.add(one, &all).await.expect("they take part");
    told.refuses(at(0), Refusal::Busy);
    client.commit(one).await.expect("it is decided");
    soon().await;
    let told_of: BTreeSet<_> = partitions_of(&told).into_iter().collect();
    assert_eq!(told_of.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_needs_no_end() {
    let (_, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    client.add(one, &[group("g")]).await.expect("it takes part");
    told.refuses(at(0), Refusal::Gone);
    told.refuses(group("g"), Refusal::Gone);
    client.commit(one).await.expect("it is decided");
    soon().await;
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
    assert_eq!((told.markers(), told.ends()), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_and_can_be_brought_back_is_told_too() {
    let (_, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    client.add(one, &[group("g")]).await.expect("it takes part");
    let topic = TopicSelector::Name(TopicName::new("log").expect("a good name"));
    let deleted = process.service.delete_topic(&topic).await;
    deleted.expect("it is there");
    client.commit(one).await.expect("it is decided");
    soon().await;
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
    assert_eq!(partitions_of(&told), [partition(0)]);
    assert_eq!(told.ends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ends_wait_until_the_process_knows_how_to_reach_the_cluster() {
    let world = World::new();
    let process = world.open().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    soon().await;
    assert_eq!(client.state().await, Ok(TransactionState::PrepareCommit));
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    soon().await;
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
    assert_eq!(told.markers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_without_participants_is_told_to_nobody() {
    let (_, process, told) = opened().await;
    let client = Client::new(&process.service, "t");
    let one = client.init(None).await.expect("nobody has it");
    let next = client.end(one, Decision::Abort, TransactionVersion::Two);
    assert_eq!(next.await, Ok(producer(1, 1)));
    assert_eq!(client.state().await, Ok(TransactionState::CompleteAbort));
    soon().await;
    assert_eq!(told.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn groups_of_many_shards_are_told() {
    let mut world = World::new();
    world.shards = 8;
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    let client = Client::new(&process.service, "t");
    let one = client.init(None).await.expect("nobody has it");
    let names: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
    let groups: Vec<_> = names.iter().map(|name| group(name)).collect();
    client.add(one, &groups).await.expect("they take part");
    client.commit(one).await.expect("it is decided");
    soon().await;
    let ends = told.ends();
    assert_eq!(ends.len(), 20);
    let shards: BTreeSet<_> = names
        .iter()
        .map(|name| group_shard(&GroupName::new(name).expect("a good name"), 8))
        .collect();
    assert!(shards.len() > 3);
}
