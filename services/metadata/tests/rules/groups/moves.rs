//! Groups move from one protocol to the other.

use tidelog_metadata_api::{
    CommittingMember, ConsumerHeartbeat, ConsumerHeartbeatAnswer, GroupDescription, GroupProtocol,
    GroupState, Groups, GroupsError, JoinGroup, JoinedGroup, LeaveGroup, LeavingMember, SyncGroup,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tidelog_groups::embedded::{decode_assignment, encode_assignment};
use tidelog_types::TopicPartition;

use super::{alone, commit, fetch, heartbeat, joins, known, leave, lives, name, newcomer, sync_of};
use crate::world::{PARTITIONS, Process, World, partition};

#[tokio::test(start_paused = true)]
async fn a_group_without_members_speaks_the_protocol_of_whoever_comes() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let classic = alone(groups, "g").await;
    let nobody = CommittingMember::nobody();
    let busy = groups.consumer_heartbeat(joins("g", "a")).await;
    assert_eq!(busy, Err(GroupsError::GroupNotFound));
    assert_eq!(leave(groups, "g", &classic.member_id).await, Ok(()));
    assert_eq!(commit(groups, "g", nobody, partition(0), 5).await, Ok(()));

    let a = groups.consumer_heartbeat(joins("g", "a")).await;
    let a = a.expect("nobody is there");
    // Epochs go on, so that nobody of before is taken for a member of now.
    assert!(a.epoch > classic.generation, "{a:?}");
    let busy = groups.join(newcomer("g")).await;
    assert_eq!(busy, Err(GroupsError::InconsistentProtocol));
    assert_eq!(fetch(groups, "g", partition(0)).await, Ok(Some(5)));
    let next = world.open_on(&world.store.sibling()).await;
    let shown = next.describe_groups(&[name("g")]).await;
    assert!(
        matches!(shown[..], [Ok(GroupDescription::Consumer(_))]),
        "{shown:?}"
    );
    let leaves = ConsumerHeartbeat {
        epoch: -1,
        ..lives("g", &a, &[])
    };
    next.consumer_heartbeat(leaves).await.expect("it may");
    let back = alone(&next.service, "g").await;
    assert!(back.generation > a.epoch, "{back:?}");
    assert_eq!(fetch(&next.service, "g", partition(0)).await, Ok(Some(5)));
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_members_out_of_either() {
    let (_world, process) = World::opened().await;
    let fixed = ConsumerHeartbeat {
        instance: Some("one".to_owned()),
        ..joins("g", "a")
    };
    process.consumer_heartbeat(fixed).await.expect("it joins");
    let request = LeaveGroup {
        group: name("g"),
        members: ["one", "two"].map(evicted).to_vec(),
    };
    let outcomes = Groups::leave(&process.service, request).await;
    assert_eq!(outcomes, Ok(vec![Ok(()), Err(GroupsError::UnknownMember)]));
    alone(&process.service, "g").await;
}

fn evicted(instance: &str) -> LeavingMember {
    LeavingMember {
        member_id: String::new(),
        instance: Some(instance.to_owned()),
        reason: None,
    }
}

/// A consumer of the classic protocol that reads the topic of every world, and lets go of what it has to when it
/// hears of it.
struct Classic {
    joined: JoinedGroup,
    owned: Vec<TopicPartition>,
}

/// What such a consumer says of itself: a subscription of version 1.
fn subscription(owned: &[TopicPartition]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    out.put_i32(1);
    out.put_i16(3);
    out.put_slice(b"log");
    out.put_i32(-1);
    out.put_i32(1);
    out.put_i16(3);
    out.put_slice(b"log");
    out.put_i32(i32::try_from(owned.len()).expect("few"));
    for one in owned {
        out.put_i32(i32::try_from(one.partition.get()).expect("few"));
    }
    out.freeze()
}

fn work(partitions: &[u32]) -> Bytes {
    let named = |index: &u32| ("log".to_owned(), i32::try_from(*index).expect("few"));
    let named: Vec<_> = partitions.iter().map(named).collect();
    encode_assignment(&named)
}

fn read(assignment: Bytes) -> Vec<TopicPartition> {
    let named = decode_assignment(assignment).expect("an assignment");
    let numbered = named.into_iter().map(|(topic, index)| {
        assert_eq!(topic, "log");
        partition(u32::try_from(index).expect("few"))
    });
    numbered.collect()
}

impl Classic {
    fn request(member_id: &str, owned: &[TopicPartition]) -> JoinGroup {
        JoinGroup {
            protocols: vec![GroupProtocol {
                name: "cooperative-sticky".to_owned(),
                metadata: subscription(owned),
            }],
            ..known("g", member_id)
        }
    }

    /// Joins again and does what it is told.
    async fn rejoin(&mut self, process: &Process) {
        let request = Self::request(&self.joined.member_id, &self.owned);
        self.joined = process.join(request).await.expect("it is a member");
        let synced = process.sync(sync_of("g", &self.joined)).await;
        self.owned = read(synced.expect("it has joined").assignment);
    }

    /// Lives, and joins again when it has to.
    async fn live(&mut self, process: &Process) {
        match heartbeat(&process.service, "g", &self.joined).await {
            Ok(()) => {}
            Err(GroupsError::RebalanceInProgress) => {
                let before = self.owned.clone();
                self.rejoin(process).await;
                if before.iter().any(|one| !self.owned.contains(one)) {
                    // It has let go, and says so.
                    self.rejoin(process).await;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Two classic members, each with two partitions.
async fn two(process: &Process) -> [Classic; 2] {
    two_with(process, [&[0, 1], &[2, 3]]).await
}

/// Two classic members, with what their leader gives them.
async fn two_with(process: &Process, given: [&[u32]; 2]) -> [Classic; 2] {
    let join = || process.join(Classic::request("", &[]));
    let (a, b) = tokio::join!(join(), join());
    let joined = [a, b].map(|joined| joined.expect("both have come"));
    let ids = [&joined[0].member_id, &joined[1].member_id];
    let assignments = vec![
        (ids[0].clone(), work(given[0])),
        (ids[1].clone(), work(given[1])),
    ];
    let sync = |joined: &JoinedGroup| {
        let is_leader = !joined.members.is_empty();
        process.sync(SyncGroup {
            assignments: assignments
                .clone()
                .into_iter()
                .filter(|_| is_leader)
                .collect(),
            ..sync_of("g", joined)
        })
    };
    let (a, b) = tokio::join!(sync(&joined[0]), sync(&joined[1]));
    let owned = [a, b].map(|synced| read(synced.expect("assigned").assignment));
    let [one, other] = joined;
    let [first, second] = owned;
    [(one, first), (other, second)].map(|(joined, owned)| Classic { joined, owned })
}

/// No partition is ever with two members, and in the end each is with one.
fn check(classic: &[Classic; 2], modern: &[TopicPartition]) -> bool {
    let mut all: Vec<_> = classic.iter().flat_map(|one| one.owned.clone()).collect();
    all.extend(modern);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a partition is with two: {all:?}");
    count == PARTITIONS as usize
}

async fn live(
    process: &Process,
    heard: &mut ConsumerHeartbeatAnswer,
    owned: &mut Vec<TopicPartition>,
) {
    let next = process.consumer_heartbeat(lives("g", heard, owned)).await;
    *heard = next.expect("it is a member");
    if let Some(assignment) = heard.assignment.clone() {
        *owned = assignment;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_with_members_moves_to_the_consumer_protocol_and_back_while_they_go_on() {
    let (world, process) = World::opened().await;
    let mut classic = two(&process).await;
    let generation = classic[0].joined.generation;
    let at = partition(0);
    let as_member = super::member(&classic[0].joined);
    assert_eq!(
        commit(&process.service, "g", as_member, at, 5).await,
        Ok(())
    );

    // The first consumer of the new protocol comes.
    let heard = process.consumer_heartbeat(joins("g", "new")).await;
    let mut heard = heard.expect("the group moves");
    assert!(heard.epoch > generation);
    let mut owned = heard.assignment.clone().expect("it is told");
    assert_eq!(owned, []);
    let told = heartbeat(&process.service, "g", &classic[0].joined).await;
    assert_eq!(told, Err(GroupsError::RebalanceInProgress));
    let next = world.open_on(&world.store.sibling()).await;
    for _ in 0..10 {
        for member in &mut classic {
            member.live(&next).await;
        }
        live(&next, &mut heard, &mut owned).await;
        check(&classic, &owned);
    }
    assert!(check(&classic, &owned));
    assert_eq!(owned.len(), 1);
    let shown = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Consumer(shown))] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(shown.state, GroupState::Stable);
    let speaks_classic = shown.members.iter().filter(|member| member.is_classic);
    assert_eq!(speaks_classic.count(), 2);
    let stale = CommittingMember {
        epoch: generation,
        ..super::member(&classic[0].joined)
    };
    let stale = commit(&next.service, "g", stale, at, 6).await;
    assert_eq!(stale, Err(GroupsError::IllegalGeneration));
    let as_member = super::member(&classic[0].joined);
    assert_eq!(commit(&next.service, "g", as_member, at, 7).await, Ok(()));

    // It leaves, and the others go on as before.
    let epoch = heard.epoch;
    let leaves = ConsumerHeartbeat {
        epoch: -1,
        ..lives("g", &heard, &[])
    };
    next.consumer_heartbeat(leaves).await.expect("it may");
    for member in &classic {
        let told = heartbeat(&next.service, "g", &member.joined).await;
        assert_eq!(told, Err(GroupsError::RebalanceInProgress));
    }
    let join = |one: &Classic| next.join(Classic::request(&one.joined.member_id, &one.owned));
    let (a, b) = tokio::join!(join(&classic[0]), join(&classic[1]));
    let [a, b] = [a, b].map(|joined| joined.expect("both have come"));
    assert!(a.generation > epoch);
    assert_eq!(a.leader, b.leader);
    assert_eq!(a.members.len() + b.members.len(), 2);
    assert_eq!(fetch(&next.service, "g", at).await, Ok(Some(7)));
}

/// Until they have joined again they are no members for the next owner.
#[tokio::test(start_paused = true)]
async fn members_of_a_group_that_has_just_moved_back_join_anew_under_a_new_owner() {
    let (world, process) = World::opened().await;
    let classic = two(&process).await;
    let heard = process.consumer_heartbeat(joins("g", "new")).await;
    heard.expect("the group moves");
    // The only one that speaks the new protocol is silent, the others are not.
    for _ in 0..10 {
        tokio::time::sleep(super::SESSION / 2).await;
        for member in &classic {
            let told = heartbeat(&process.service, "g", &member.joined).await;
            assert_eq!(told, Err(GroupsError::RebalanceInProgress));
        }
    }
    let shown = process.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Classic(shown))] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(shown.state, GroupState::PreparingRebalance);
    assert_eq!(shown.members.len(), 2);
    let next = world.open_on(&world.store.sibling()).await;
    let told = heartbeat(&next.service, "g", &classic[0].joined).await;
    assert_eq!(told, Err(GroupsError::UnknownMember));
}

/// Who does not join again in the time for a rebalance is out, however often it says that it lives.
#[tokio::test(start_paused = true)]
async fn a_classic_member_that_does_not_join_again_is_out() {
    let (_world, process) = World::opened().await;
    let [mut one, other] = two(&process).await;
    let heard = process.consumer_heartbeat(joins("g", "new")).await;
    let mut heard = heard.expect("the group moves");
    let mut owned = Vec::new();
    for _ in 0..25 {
        tokio::time::sleep(super::SESSION / 3).await;
        one.live(&process).await;
        live(&process, &mut heard, &mut owned).await;
        // It lives and does nothing.
        let _ = heartbeat(&process.service, "g", &other.joined).await;
    }
    let gone = heartbeat(&process.service, "g", &other.joined).await;
    assert_eq!(gone, Err(GroupsError::UnknownMember));
    assert_eq!(one.owned.len() + owned.len(), PARTITIONS as usize);
}

/// Where a partition is with two by the leader's word, nobody could say whose it is.
#[tokio::test(start_paused = true)]
async fn a_group_whose_assignment_makes_no_sense_stays_where_it_is() {
    let (_world, process) = World::opened().await;
    two_with(&process, [&[0, 1], &[1, 2]]).await;
    let refused = process.consumer_heartbeat(joins("g", "new")).await;
    assert_eq!(refused, Err(GroupsError::GroupNotFound));
}

/// Who is refused moves nobody: those who are members stay as they are, in the protocol that they speak.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_refused_leaves_a_classic_group_as_it_is() {
    let (_world, process) = World::opened().await;
    let request = JoinGroup {
        instance: Some("one".to_owned()),
        ..Classic::request("", &[])
    };
    let joined = process.join(request).await.expect("it is alone");
    let sync = SyncGroup {
        instance: Some("one".to_owned()),
        assignments: vec![(joined.member_id.clone(), work(&[0, 1]))],
        ..sync_of("g", &joined)
    };
    process.sync(sync).await.expect("it leads");
    let same = ConsumerHeartbeat {
        instance: Some("one".to_owned()),
        ..joins("g", "new")
    };
    let refused = process.consumer_heartbeat(same).await;
    assert_eq!(refused, Err(GroupsError::UnreleasedInstance));
    assert_eq!(heartbeat(&process.service, "g", &joined).await, Ok(()));
    let shown = process.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Classic(shown))] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(shown.state, GroupState::Stable);
    assert_eq!(shown.generation, joined.generation);
}

/// Partitions that there are not cannot be anybody's, whatever a leader says.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_none_does_not_move_with_its_group() {
    let (world, process) = World::opened().await;
    two_with(&process, [&[0, 1], &[2, 3, 4, 2_000_000]]).await;
    let heard = process.consumer_heartbeat(joins("g", "new")).await;
    heard.expect("the group moves");
    let next = world.open_on(&world.store.sibling()).await;
    let shown = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Consumer(shown))] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(shown.members.len(), 3);
    let held = shown.members.iter().flat_map(|member| &member.assigned);
    assert!(held.into_iter().all(|one| one.partition.get() < PARTITIONS));
}

/// The first commit of a group may come while its members are asked to join again, and some have not.
#[tokio::test(start_paused = true)]
async fn a_commit_between_two_generations_stores_no_members() {
    let (world, process) = World::opened().await;
    let classic = two(&process).await;
    let left = leave(&process.service, "g", &classic[1].joined.member_id).await;
    assert_eq!(left, Ok(()));
    let told = heartbeat(&process.service, "g", &classic[0].joined).await;
    assert_eq!(told, Err(GroupsError::RebalanceInProgress));
    let at = partition(0);
    let as_member = super::member(&classic[0].joined);
    let done = commit(&process.service, "g", as_member, at, 5).await;
    assert_eq!(done, Ok(()));
    let next = world.open_on(&world.store.sibling()).await;
    // As the generation was: whoever is gone is found to be gone, and what it had goes to others.
    let shown = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Classic(shown))] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(shown.members.len(), 2);
    assert_eq!(fetch(&next.service, "g", at).await, Ok(Some(5)));
    for _ in 0..3 {
        tokio::time::sleep(super::SESSION / 2).await;
        let _ = heartbeat(&next.service, "g", &classic[0].joined).await;
    }
    let told = heartbeat(&next.service, "g", &classic[0].joined).await;
    assert_eq!(told, Err(GroupsError::RebalanceInProgress));
    // And the group's row knows of its offsets.
    let left = leave(&next.service, "g", &classic[0].joined.member_id).await;
    assert_eq!(left, Ok(()));
    tokio::time::sleep(std::time::Duration::from_hours(1)).await;
    assert_eq!(fetch(&next.service, "g", at).await, Ok(Some(5)));
}

/// Members of a group that has just moved back read on until they hear of it: a consumer that comes before is given
/// nothing of theirs.
#[tokio::test(start_paused = true)]
async fn a_group_that_moves_back_and_forth_takes_nothing_from_those_who_still_read() {
    let (_world, process) = World::opened().await;
    let mut classic = two(&process).await;
    let heard = process.consumer_heartbeat(joins("g", "new")).await;
    let mut heard = heard.expect("the group moves");
    let mut owned = Vec::new();
    for _ in 0..10 {
        for member in &mut classic {
            member.live(&process).await;
        }
        live(&process, &mut heard, &mut owned).await;
    }
    assert!(check(&classic, &owned));
    let leaves = ConsumerHeartbeat {
        epoch: -1,
        ..lives("g", &heard, &[])
    };
    process.consumer_heartbeat(leaves).await.expect("it may");
    // The next one comes before the others have heard anything.
    let heard = process.consumer_heartbeat(joins("g", "next")).await;
    let heard = heard.expect("the group moves again");
    let owned = heard.assignment.expect("it is told");
    check(&classic, &owned);
}
