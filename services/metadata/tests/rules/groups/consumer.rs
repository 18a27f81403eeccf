//! Members of the consumer protocol (KIP-848).

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata_api::{
    Catalogue as _, CommittingMember, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets,
    FetchOffsets, GroupDescription, GroupState, Groups, GroupsError, NewTopic, TopicSelector,
};
use tidelog_types::{TopicName, TopicPartition};

use super::{commit, joins, lives, name};
use crate::world::{PARTITIONS, Process, World, partition};

async fn beat(
    process: &Process,
    request: ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
    process.consumer_heartbeat(request).await
}

fn all() -> Vec<TopicPartition> {
    (0..PARTITIONS).map(partition).collect()
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).expect("a good name")
}

async fn create(process: &Process, text: &str) -> u64 {
    let new = NewTopic {
        name: topic(text),
        partitions: 1,
        config: BTreeMap::new(),
        validate_only: false,
    };
    let created = process.create_topic(new).await.expect("a new one");
    created.number.get()
}

#[tokio::test(start_paused = true)]
async fn partitions_go_from_one_member_to_the_next_only_when_it_has_let_go_of_them() {
    let (world, process) = World::opened().await;
    let a = beat(&process, joins("g", "a")).await.expect("it joins");
    assert_eq!(a.assignment, Some(all()));
    let b = beat(&process, joins("g", "b")).await.expect("it joins");
    assert_eq!(b.assignment, Some(Vec::new()));
    let told = beat(&process, lives("g", &a, &all()))
        .await
        .expect("it lives");
    let kept = told.assignment.clone().expect("it is to let go of some");
    assert_eq!(kept.len(), 2);
    let waits = beat(&process, lives("g", &b, &[])).await.expect("it lives");
    assert_eq!(waits.assignment, None);
    // The next owner goes on where the one before was.
    let next = world.open_on(&world.store.sibling()).await;
    let a = beat(&next, lives("g", &told, &kept)).await.expect("it has");
    assert_eq!(a.epoch, 2);
    let b = beat(&next, lives("g", &waits, &[]))
        .await
        .expect("its turn");
    let taken = b.assignment.expect("what the other has let go of");
    let mut together = [kept, taken].concat();
    together.sort_unstable();
    assert_eq!(together, all());
    let descriptions = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Consumer(shown))] = &descriptions[..] else {
        panic!("{descriptions:?}");
    };
    assert_eq!((shown.state, shown.epoch), (GroupState::Stable, 2));
    assert_eq!(shown.assignor, "uniform");
    assert_eq!(shown.members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn new_partitions_and_topics_come_with_the_next_heartbeat() {
    let (_world, process) = World::opened().await;
    let request = ConsumerHeartbeat {
        pattern: Some("l.*".to_owned()),
        topics: None,
        ..joins("g", "a")
    };
    let a = beat(&process, request).await.expect("it joins");
    assert_eq!(a.assignment, Some(all()));
    let selector = TopicSelector::Name(topic("log"));
    let more = process.add_partitions(&selector, PARTITIONS + 1).await;
    more.expect("more");
    let number = create(&process, "later").await;
    create(&process, "other").await;
    // The first one may still be answered by what was known before.
    let early = beat(&process, lives("g", &a, &all())).await.expect("lives");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = beat(&process, lives("g", &early, &all())).await;
    let late = late.expect("it lives").assignment.or(early.assignment);
    let assigned = late.expect("it has more now");
    assert_eq!(assigned.len(), 6);
    assert!(assigned.iter().any(|at| at.topic.get() == number));
    let deleted = process.delete_topic(&selector).await;
    deleted.expect("it was there");
}

#[tokio::test(start_paused = true)]
async fn a_member_is_out_after_a_session_without_a_word_and_by_its_own_will() {
    let (_world, process) = World::opened().await;
    let a = beat(&process, joins("g", "a")).await.expect("it joins");
    tokio::time::sleep(Duration::from_secs(46)).await;
    let late = beat(&process, lives("g", &a, &all())).await;
    assert_eq!(late, Err(GroupsError::UnknownMember));
    let a = beat(&process, joins("g", "a")).await.expect("it joins");
    let fenced = ConsumerHeartbeat {
        epoch: a.epoch + 7,
        ..lives("g", &a, &all())
    };
    assert_eq!(beat(&process, fenced).await, Err(GroupsError::FencedEpoch));
    let leaves = ConsumerHeartbeat {
        epoch: -1,
        ..lives("g", &a, &[])
    };
    assert_eq!(beat(&process, leaves).await.expect("it goes").epoch, -1);
    let nowhere = beat(&process, lives("no group", &a, &[])).await;
    assert_eq!(nowhere, Err(GroupsError::GroupNotFound));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_goes_for_a_while_finds_what_it_had_also_under_a_new_owner() {
    let (world, process) = World::opened().await;
    let fixed = |id: &str| ConsumerHeartbeat {
        instance: Some("one".to_owned()),
        ..joins("g", id)
    };
    let a = beat(&process, fixed("a")).await.expect("it joins");
    let other = beat(&process, fixed("b")).await;
    assert_eq!(other, Err(GroupsError::UnreleasedInstance));
    let renamed = ConsumerHeartbeat {
        instance: Some("two".to_owned()),
        ..fixed("a")
    };
    let refused = beat(&process, renamed).await;
    assert!(matches!(refused, Err(GroupsError::InvalidRequest { .. })));
    let goes = ConsumerHeartbeat {
        epoch: -2,
        instance: Some("one".to_owned()),
        ..lives("g", &a, &[])
    };
    assert_eq!(beat(&process, goes).await.expect("it may").epoch, -2);
    let next = world.open_on(&world.store.sibling()).await;
    let back = beat(&next, fixed("b")).await.expect("its place is free");
    assert_eq!((back.epoch, back.assignment), (a.epoch, Some(all())));
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_and_asked_for_under_the_members_epoch() {
    let (_world, process) = World::opened().await;
    let a = beat(&process, joins("g", "a")).await.expect("it joins");
    let as_member = |epoch| CommittingMember {
        member_id: "a".to_owned(),
        instance: None,
        epoch,
    };
    let at = partition(0);
    let groups = &process.service;
    assert_eq!(commit(groups, "g", as_member(a.epoch), at, 1).await, Ok(()));
    let stale = commit(groups, "g", as_member(a.epoch - 1), at, 2).await;
    assert_eq!(stale, Err(GroupsError::StaleEpoch));
    let fetch = |group: &str, member: &str, epoch| FetchOffsets {
        group: name(group),
        member: Some((member.to_owned(), epoch)),
        partitions: None,
        only_stable: false,
    };
    let requests = vec![
        fetch("g", "a", a.epoch),
        fetch("g", "a", a.epoch + 1),
        fetch("g", "b", a.epoch),
        fetch("other", "a", 1),
    ];
    let answers = process.fetch_offsets(requests).await;
    assert_eq!(answers[0].as_ref().map(Vec::len), Ok(1));
    assert_eq!(answers[1], Err(GroupsError::StaleEpoch));
    assert_eq!(answers[2], Err(GroupsError::UnknownMember));
    assert_eq!(answers[3], Ok(Vec::new()));
    let delete = DeleteOffsets {
        group: name("g"),
        partitions: vec![at],
    };
    let refused = process.delete_offsets(delete).await;
    assert_eq!(refused, Ok(vec![Err(GroupsError::SubscribedToTopic)]));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_makes_no_sense_is_refused_and_leaves_no_group() {
    let (world, process) = World::opened().await;
    let with = |change: fn(&mut ConsumerHeartbeat)| {
        let mut request = joins("g", "a");
        change(&mut request);
        request
    };
    let refused = beat(
        &process,
        with(|beat| beat.assignor = Some("best".to_owned())),
    )
    .await;
    assert_eq!(
        refused,
        Err(GroupsError::UnsupportedAssignor("best".to_owned()))
    );
    let refused = beat(&process, with(|beat| beat.pattern = Some("(".to_owned()))).await;
    assert!(matches!(refused, Err(GroupsError::InvalidPattern { .. })));
    let changes: [fn(&mut ConsumerHeartbeat); 6] = [
        |beat| beat.rebalance = None,
        |beat| beat.topics = None,
        |beat| beat.owned = None,
        |beat| beat.epoch = -3,
        |beat| beat.epoch = -2,
        |beat| beat.member_id = "m".repeat(300),
    ];
    for change in changes {
        let refused = beat(&process, with(change)).await;
        assert!(
            matches!(refused, Err(GroupsError::InvalidRequest { .. })),
            "{refused:?}"
        );
    }
    for kind in super::durable::KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
}
