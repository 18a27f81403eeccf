//! Groups, asked from another process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{ClientSettings, ServerSettings, Standing};
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;

use crate::fake::Fake;
use crate::world::*;

fn name(text: &str) -> GroupName {
    GroupName::new(text).expect("a good name")
}

pub(crate) fn newcomer(group: &str) -> JoinGroup {
    JoinGroup {
        group: name(group),
        member_id: String::new(),
        instance: None,
        client: GroupClient {
            id: "client".to_owned(),
            host: "/127.0.0.1".to_owned(),
        },
        session: Duration::from_secs(10),
        rebalance: Duration::from_mins(1),
        protocol_type: "consumer".to_owned(),
        protocols: vec![GroupProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"me"),
        }],
        id_first: false,
        may_skip_assignment: true,
        reason: None,
    }
}

fn heartbeat(group: &str, member_id: &str) -> GroupHeartbeat {
    GroupHeartbeat {
        group: name(group),
        member_id: member_id.to_owned(),
        instance: None,
        generation: 1,
    }
}

pub(crate) fn at(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
}

pub(crate) fn commit_of(group: &str, offset: u64) -> CommitOffsets {
    CommitOffsets {
        group: name(group),
        member: CommittingMember::nobody(),
        offsets: vec![(
            at(0),
            GroupOffset {
                offset: Offset::new(offset),
                leader_epoch: None,
                metadata: String::new(),
            },
        )],
        transaction: None,
    }
}

pub(crate) async fn fetched(groups: &impl Groups, group: &str) -> Option<u64> {
    let request = FetchOffsets {
        group: name(group),
        member: None,
        partitions: Some(vec![at(0)]),
        only_stable: false,
    };
    let mut answers = groups.fetch_offsets(vec![request]).await;
    let answer = answers.pop().expect("one for one").expect("an answer");
    let found = answer[0].1.clone().expect("no transaction is open");
    found.map(|found| found.offset.offset.get())
}

/// Everything that a member and an operator ask of a classic group.
#[tokio::test]
async fn a_group_is_the_same_from_another_process() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let joins = [0, 1, 2].map(|_| Groups::join(&node, newcomer("g")));
    let joined = join_all(joins).await;
    let joined: Vec<JoinedGroup> = joined.into_iter().map(|one| one.expect("joins")).collect();
    let syncs = joined.iter().map(|one| {
        let members = one.members.iter();
        node.sync(SyncGroup {
            group: name("g"),
            member_id: one.member_id.clone(),
            instance: None,
            generation: one.generation,
            protocol_type: one.protocol_type.clone(),
            protocol: one.protocol.clone(),
            assignments: members
                .map(|member| (member.member_id.clone(), member.member_id.clone().into()))
                .collect(),
        })
    });
    for (synced, one) in join_all(syncs).await.into_iter().zip(&joined) {
        assert_eq!(synced.expect("stable").assignment, one.member_id.as_bytes());
        assert_eq!(node.heartbeat(heartbeat("g", &one.member_id)).await, Ok(()));
    }
    let stranger = node.heartbeat(heartbeat("g", "somebody")).await;
    assert_eq!(stranger, Err(GroupsError::UnknownMember));
    let known = service.describe_groups(&[name("g")]).await;
    assert_eq!(node.describe_groups(&[name("g")]).await, known);
    let leave = LeaveGroup {
        group: name("g"),
        members: joined
            .iter()
            .map(|one| LeavingMember {
                member_id: one.member_id.clone(),
                instance: None,
                reason: Some("enough".to_owned()),
            })
            .collect(),
    };
    let left = Groups::leave(&node, leave).await;
    assert_eq!(left, Ok(vec![Ok(()); 3]));
    let page = node.list_groups(&GroupFilter::default(), &[], 10).await;
    assert_eq!(page.expect("an answer").groups[0].state, GroupState::Empty);

    let outcomes = node.commit_offsets(commit_of("g", 7)).await;
    assert_eq!(outcomes, Ok(vec![Ok(())]));
    assert_eq!(fetched(&node, "g").await, Some(7));
    let delete = DeleteOffsets {
        group: name("g"),
        partitions: vec![at(0)],
    };
    assert_eq!(node.delete_offsets(delete).await, Ok(vec![Ok(())]));
    assert_eq!(fetched(&node, "g").await, None);
    let missing = Err(GroupsError::GroupNotFound);
    let groups = [name("g"), name("other")];
    assert_eq!(node.delete_groups(&groups).await, [Ok(()), missing.clone()]);
    assert_eq!(
        node.describe_groups(&groups[..1]).await.pop(),
        Some(Err(GroupsError::GroupNotFound))
    );
}

/// What a producer and its coordinator ask, and what a consumer hears meanwhile.
#[tokio::test]
async fn a_transaction_is_the_same_from_another_process() {
    let service = real(&MemoryStore::new()).await;
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let open = OpenTransaction {
        producer: ProducerIdentity::new(ProducerId::new(7), ProducerEpoch::new(3)),
        number: TransactionNumber(1),
    };
    let commit = || CommitOffsets {
        transaction: Some(open),
        ..commit_of("g", 7)
    };
    let outcomes = node.commit_offsets(commit()).await;
    assert_eq!(outcomes, Ok(vec![Ok(())]));
    assert_eq!(fetched(&node, "g").await, None);
    let request = FetchOffsets {
        group: name("g"),
        member: None,
        partitions: Some(vec![at(0)]),
        only_stable: true,
    };
    let found = node.fetch_offsets(vec![request]).await.remove(0);
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(found, Ok(vec![(at(0), unstable)]));
    let end = end_of("g", Decision::Commit);
    let ended = node.end_group_transactions(vec![end]).await;
    assert_eq!(ended, [Ok(())]);
    assert_eq!(fetched(&node, "g").await, Some(7));
    let late = node.commit_offsets(commit()).await;
    assert_eq!(late, Err(GroupsError::TransactionEnded));
}

fn end_of(group: &str, decision: Decision) -> EndGroupTransaction {
    EndGroupTransaction {
        group: name(group),
        producer: ProducerIdentity::new(ProducerId::new(7), ProducerEpoch::new(3)),
        number: TransactionNumber(1),
        decision,
    }
}

/// As calls of their own they would take all the places that the connection has.
#[tokio::test]
async fn thousands_who_wait_to_join_keep_nobody_else_waiting() {
    let fake = Fake::owning(&[0, 1]);
    fake.gate.send_replace(false);
    let server = active(&fake).await;
    fake.view.send_replace(view(&[&server.address], &[1, 1], 1));
    let node = Arc::new(remote(&server.address).await);
    let joins: Vec<_> = (0..2_000)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { Groups::join(node.as_ref(), newcomer("g")).await })
        })
        .collect();
    let mut joined = fake.joins.subscribe();
    let waiting = joined.wait_for(|joins| *joins == 2_000);
    drop(tokio::time::timeout(LONG, waiting).await.expect("all wait"));
    assert_eq!(node.heartbeat(heartbeat("g", "m")).await, Ok(()));
    node.register_writer().await.expect("another call");
    fake.gate.send_replace(true);
    for join in joins {
        assert_eq!(join.await.expect("it ends").expect("joins").generation, 1);
    }
}

/// Of four requests three may be such that wait for other members, wherever the limit is.
async fn the_fourth_join_is_refused(server: ServerSettings, client: ClientSettings) {
    let fake = Fake::owning(&[0, 1]);
    fake.gate.send_replace(false);
    let standing = Standing::Active(tidelog_metadata_rpc::Parts::of(Arc::clone(&fake)));
    let access = Arc::new(tidelog_metadata_rpc::AllowPeers);
    let server = served_with(standing, server, access).await;
    fake.view.send_replace(view(&[&server.address], &[1, 1], 1));
    let node = Arc::new(remote_with(&server.address, client).await);
    let join = || {
        let node = Arc::clone(&node);
        tokio::spawn(async move { Groups::join(node.as_ref(), newcomer("g")).await })
    };
    let waiting = [join(), join(), join()];
    let mut joined = fake.joins.subscribe();
    let all = joined.wait_for(|joins| *joins == 3);
    drop(tokio::time::timeout(LONG, all).await.expect("all wait"));
    let refused = Groups::join(node.as_ref(), newcomer("g")).await;
    assert!(
        matches!(refused, Err(GroupsError::Unavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(node.heartbeat(heartbeat("g", "m")).await, Ok(()));
    fake.gate.send_replace(true);
    for join in waiting {
        join.await.expect("it ends").expect("it joins");
    }
}

#[tokio::test]
async fn joins_beyond_their_part_are_refused_at_the_coordinator_and_others_go_on() {
    let server = ServerSettings {
        asks_open_max: 4,
        ..ServerSettings::default()
    };
    the_fourth_join_is_refused(server, ClientSettings::default()).await;
}

#[tokio::test]
async fn joins_beyond_their_part_are_refused_before_they_are_sent_and_others_go_on() {
    let client = ClientSettings {
        asks_open_max: 4,
        ..ClientSettings::default()
    };
    the_fourth_join_is_refused(ServerSettings::default(), client).await;
}

#[tokio::test]
async fn of_requests_that_wait_when_the_connection_breaks_nothing_is_known() {
    let fake = Fake::owning(&[0, 1]);
    fake.gate.send_replace(false);
    let server = active(&fake).await;
    fake.view.send_replace(view(&[&server.address], &[1, 1], 1));
    let node = remote(&server.address).await;
    let joining = Groups::join(&node, newcomer("g"));
    let breaking = async {
        let mut joined = fake.joins.subscribe();
        let waiting = joined.wait_for(|joins| *joins == 1);
        drop(tokio::time::timeout(LONG, waiting).await.expect("it waits"));
        server.stop.cancel();
    };
    let (told, ()) = tokio::join!(joining, breaking);
    assert_eq!(told, Err(GroupsError::Unknown));
    // Nobody is there any more: nothing was done.
    let refused = node.heartbeat(heartbeat("g", "m")).await;
    assert!(
        matches!(refused, Err(GroupsError::Unavailable { .. })),
        "{refused:?}"
    );
}

/// The group of a shard that moves is found at its next owner, also by who waits at the one before.
#[tokio::test]
async fn a_router_asks_the_coordinator_and_the_next_one() {
    let (a, b) = (Fake::owning(&[0]), Fake::owning(&[1]));
    let servers = [active(&a).await, active(&b).await];
    let owners = |owners: &[u8], epoch| {
        let seen = view(&[&servers[0].address, &servers[1].address], owners, epoch);
        a.view.send_replace(Arc::clone(&seen));
        b.view.send_replace(seen);
    };
    owners(&[1, 2], 1);
    let router = Arc::new(router(&[&servers[0]], None).await);
    let in_shard = |shard| {
        let names = (0..).map(|number| format!("g{number}"));
        let is_in = |text: &String| group_shard(&name(text), 2) == ShardId::new(shard);
        names.into_iter().find(is_in).expect("names spread")
    };
    for shard in [0, 1] {
        let beat = heartbeat(&in_shard(shard), "m");
        assert_eq!(router.heartbeat(beat).await, Ok(()));
    }
    let ends = || [0, 1].map(|shard| end_of(&in_shard(shard), Decision::Abort));
    let ended = router.end_group_transactions(ends().into()).await;
    assert_eq!(ended, [Ok(()), Ok(())]);
    // Who joins waits at the first one, which then loses the shard.
    a.gate.send_replace(false);
    let waiting = Arc::clone(&router);
    let request = newcomer(&in_shard(0));
    let waiting = tokio::spawn(async move { Groups::join(waiting.as_ref(), request).await });
    let mut joined = a.joins.subscribe();
    let one = joined.wait_for(|joins| *joins == 1);
    drop(tokio::time::timeout(LONG, one).await.expect("it waits"));
    b.said.lock().groups.insert(ShardId::new(0), 1);
    a.said.lock().groups.remove(&ShardId::new(0));
    owners(&[2, 2], 2);
    let joined = tokio::time::timeout(LONG, waiting).await.expect("soon");
    assert_eq!(joined.expect("it ends").expect("at the next").generation, 1);
    let beat = heartbeat(&in_shard(0), "m");
    assert_eq!(router.heartbeat(beat).await, Ok(()));
    let ended = router.end_group_transactions(ends().into()).await;
    assert_eq!(ended, [Ok(()), Ok(())]);
}

fn beat(group: &str, member_id: &str, owned: Option<Vec<TopicPartition>>) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: name(group),
        member_id: member_id.to_owned(),
        epoch: 3,
        instance: None,
        rack: None,
        client: newcomer(group).client,
        rebalance: None,
        topics: None,
        pattern: None,
        assignor: None,
        owned,
    }
}

/// A heartbeat that does not say what the member has may move it to its next epoch: asked again it would be fenced. One
/// that joins without an id would leave a member behind that nobody is.
#[tokio::test]
async fn a_heartbeat_that_may_have_been_taken_is_not_asked_again() {
    let joining = ConsumerHeartbeat {
        epoch: 0,
        ..beat("g", "", Some(Vec::new()))
    };
    let whole = beat("g", "m", Some(vec![at(0)]));
    let heard = [
        (beat("g", "m", None), Err(GroupsError::Unknown)),
        (joining, Err(GroupsError::Unknown)),
        (whole, Ok(4)),
    ];
    for (request, expected) in heard {
        let all = [ShardId::new(0), ShardId::new(1)];
        let (a, b) = (Fake::owning(&[0, 1]), Fake::owning(&[]));
        let servers = [active(&a).await, active(&b).await];
        let owners = |owners: &[u8], epoch| {
            let seen = view(&[&servers[0].address, &servers[1].address], owners, epoch);
            a.view.send_replace(Arc::clone(&seen));
            b.view.send_replace(seen);
        };
        owners(&[1, 1], 1);
        let router = Arc::new(router(&[&servers[0]], None).await);
        a.gate.send_replace(false);
        let asking = Arc::clone(&router);
        let asking = tokio::spawn(async move { asking.consumer_heartbeat(request).await });
        let mut taken = a.joins.subscribe();
        let one = taken.wait_for(|taken| *taken == 1);
        drop(tokio::time::timeout(LONG, one).await.expect("it is taken"));
        b.said.lock().groups.extend(all.map(|shard| (shard, 1)));
        a.said.lock().groups.clear();
        owners(&[2, 2], 2);
        let told = tokio::time::timeout(LONG, asking).await.expect("soon");
        let told = told.expect("it ends").map(|answer| answer.epoch);
        let is_asked_again = expected.is_ok();
        assert_eq!(told, expected);
        assert_eq!(*b.joins.borrow(), usize::from(is_asked_again));
    }
}
