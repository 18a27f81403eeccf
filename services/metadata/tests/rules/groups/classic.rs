//! Members of the classic protocol.

use tidelog_metadata_api::{
    ClassicDescription, CommittingMember, GroupDescription, GroupFilter, GroupHeartbeat,
    GroupState, Groups, GroupsError, JoinGroup, JoinedGroup, SyncGroup,
};

use super::{
    SESSION, alone, assignment, commit, heartbeat, known, leave, member, name, newcomer, sync,
    sync_of,
};
use crate::world::{Process, World, partition};

async fn describe(process: &Process, group: &str) -> ClassicDescription {
    let mut answers = process.describe_groups(&[name(group)]).await;
    match answers.pop().expect("one for one").expect("it is there") {
        GroupDescription::Classic(description) => description,
        GroupDescription::Consumer(other) => panic!("not classic: {other:?}"),
    }
}

/// Lets members sync, the leader as well as the others.
async fn sync_all(process: &Process, group: &str, joined: [&JoinedGroup; 3]) {
    let synced = joined.map(|joined| sync(&process.service, group, joined));
    for (synced, joined) in futures::future::join_all(synced).await.iter().zip(joined) {
        let synced = synced.as_ref().expect("the leader has assigned");
        assert_eq!(synced.assignment, assignment(&joined.member_id));
    }
}

#[tokio::test(start_paused = true)]
async fn three_members_join_are_assigned_and_rebalance_when_one_leaves() {
    let (_world, process) = World::opened().await;
    let join = || process.join(newcomer("g"));
    let (a, b, c) = tokio::join!(join(), join(), join());
    let [a, b, c] = [a, b, c].map(|joined| joined.expect("all have come"));
    assert_eq!([a.generation, b.generation, c.generation], [1, 1, 1]);
    let leaders = [&a, &b, &c].into_iter();
    let leaders: Vec<_> = leaders.filter(|one| !one.members.is_empty()).collect();
    assert_eq!(leaders.len(), 1);
    assert_eq!(leaders[0].members.len(), 3);
    assert_eq!(leaders[0].leader, leaders[0].member_id);
    sync_all(&process, "g", [&a, &b, &c]).await;
    for joined in [&a, &b, &c] {
        assert_eq!(heartbeat(&process.service, "g", joined).await, Ok(()));
    }
    assert_eq!(describe(&process, "g").await.state, GroupState::Stable);

    assert_eq!(leave(&process.service, "g", &c.member_id).await, Ok(()));
    let stale = heartbeat(&process.service, "g", &a).await;
    assert_eq!(stale, Err(GroupsError::RebalanceInProgress));
    let join = |id| process.join(known("g", id));
    let (again_a, again_b) = tokio::join!(join(&a.member_id), join(&b.member_id));
    let [again_a, again_b] = [again_a, again_b].map(|joined| joined.expect("both have come"));
    assert_eq!([again_a.generation, again_b.generation], [2, 2]);
    let gone = heartbeat(&process.service, "g", &c).await;
    assert_eq!(gone, Err(GroupsError::UnknownMember));
    let old = heartbeat(&process.service, "g", &a).await;
    assert_eq!(old, Err(GroupsError::IllegalGeneration));
}

#[tokio::test(start_paused = true)]
async fn a_member_learns_its_id_before_it_joins_if_it_can() {
    let (_world, process) = World::opened().await;
    let request = JoinGroup {
        id_first: true,
        ..newcomer("g")
    };
    let Err(GroupsError::MemberIdRequired(id)) = process.join(request).await else {
        panic!("it is to join again");
    };
    assert!(id.starts_with("client-"), "{id}");
    let joined = process.join(known("g", &id)).await.expect("it is alone");
    assert_eq!(joined.member_id, id);
    let other = process.join(known("g", "somebody")).await;
    assert_eq!(other, Err(GroupsError::UnknownMember));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_silent_for_a_session_is_out() {
    let (_world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    tokio::time::sleep(SESSION.mul_f32(0.9)).await;
    assert_eq!(heartbeat(&process.service, "g", &joined).await, Ok(()));
    tokio::time::sleep(SESSION.mul_f32(0.9)).await;
    assert_eq!(describe(&process, "g").await.members.len(), 1);
    tokio::time::sleep(SESSION / 5).await;
    let description = describe(&process, "g").await;
    assert_eq!(description.state, GroupState::Empty);
    assert!(description.members.is_empty());
    let late = heartbeat(&process.service, "g", &joined).await;
    assert_eq!(late, Err(GroupsError::UnknownMember));
}

/// The new owner hears of a member that lives, and takes out one that does not.
#[tokio::test(start_paused = true)]
async fn members_live_on_under_a_new_owner_and_the_dead_are_found_without_being_asked_for() {
    let (world, process) = World::opened().await;
    let living = alone(&process.service, "living").await;
    let dead = alone(&process.service, "dead").await;
    let next = world.open_on(&world.store.sibling()).await;
    assert_eq!(heartbeat(&next.service, "living", &living).await, Ok(()));
    let description = describe(&next, "living").await;
    assert_eq!(description.generation, living.generation);
    assert_eq!(
        description.members[0].assignment,
        assignment(&living.member_id)
    );
    let old = heartbeat(&process.service, "living", &living).await;
    // Until it has tried to store something it does not know that it was replaced.
    assert!(matches!(old, Ok(()) | Err(GroupsError::NotCoordinator)));
    for _ in 0..3 {
        tokio::time::sleep(SESSION / 2).await;
        assert_eq!(heartbeat(&next.service, "living", &living).await, Ok(()));
    }
    let page = next.list_groups(&GroupFilter::default(), &[], 10).await;
    let listed = page.expect("the owner").groups;
    let state = |group: &str| {
        let found = listed.iter().find(|listing| listing.group == name(group));
        found.expect("it is listed").state
    };
    assert_eq!(state("living"), GroupState::Stable);
    assert_eq!(state("dead"), GroupState::Empty);
    let late = heartbeat(&next.service, "dead", &dead).await;
    assert_eq!(late, Err(GroupsError::UnknownMember));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_comes_back_keeps_its_place_and_fences_the_one_before() {
    let (world, process) = World::opened().await;
    let request = || JoinGroup {
        instance: Some("one".to_owned()),
        ..newcomer("g")
    };
    let first = process.join(request()).await.expect("it is alone");
    let with_instance = |joined: &JoinedGroup| SyncGroup {
        instance: Some("one".to_owned()),
        ..sync_of("g", joined)
    };
    process.sync(with_instance(&first)).await.expect("it leads");
    let back = process.join(request()).await.expect("at once");
    assert_eq!(back.generation, first.generation);
    assert!(back.skip_assignment);
    assert_ne!(back.member_id, first.member_id);
    let beat = |joined: &JoinedGroup| GroupHeartbeat {
        group: name("g"),
        member_id: joined.member_id.clone(),
        instance: Some("one".to_owned()),
        generation: joined.generation,
    };
    let mut owner = process;
    for _ in 0..2 {
        let fenced = owner.heartbeat(beat(&first)).await;
        assert_eq!(fenced, Err(GroupsError::FencedInstance));
        assert_eq!(owner.heartbeat(beat(&back)).await, Ok(()));
        let synced = owner.sync(SyncGroup {
            member_id: back.member_id.clone(),
            ..with_instance(&first)
        });
        let synced = synced.await.expect("it is stable");
        assert_eq!(synced.assignment, assignment(&first.member_id));
        owner = world.open_on(&world.store.sibling()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_members_of_the_generation_commit() {
    let (_world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    let groups = &process.service;
    let at = partition(0);
    assert_eq!(commit(groups, "g", member(&joined), at, 5).await, Ok(()));
    let old = CommittingMember {
        epoch: joined.generation - 1,
        ..member(&joined)
    };
    let refused = commit(groups, "g", old, at, 6).await;
    assert_eq!(refused, Err(GroupsError::IllegalGeneration));
    let stranger = CommittingMember {
        member_id: "somebody".to_owned(),
        ..member(&joined)
    };
    let refused = commit(groups, "g", stranger, at, 6).await;
    assert_eq!(refused, Err(GroupsError::UnknownMember));
    let nobody = commit(groups, "g", CommittingMember::nobody(), at, 6).await;
    assert_eq!(nobody, Err(GroupsError::UnknownMember));
    let nowhere = commit(groups, "other", member(&joined), at, 6).await;
    assert_eq!(nowhere, Err(GroupsError::GroupNotFound));
    assert_eq!(super::fetch(groups, "g", at).await, Ok(Some(5)));
}
