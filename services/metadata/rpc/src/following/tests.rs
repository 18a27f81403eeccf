//! When a shard is followed, when news counts as missed, and which bounds are current.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tidelog_env::SystemClock;
use tidelog_metadata_api::{
    LogError, Member, MemberState, PartitionAdvance, PartitionBounds, ShardOwner,
};
use tidelog_types::{
    ClusterId, Offset, PartitionIndex, RoleSet, Timestamp, TopicNumber, TopicPartition,
};

use super::*;

const SHARD: ShardId = ShardId::new(0);
const A: MemberId = MemberId::from_bytes([1; 16]);
const B: MemberId = MemberId::from_bytes([2; 16]);
const GENERATION: ClusterGeneration = ClusterGeneration::new(1);

fn at() -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0))
}

fn upto(offset: u64) -> PartitionBounds {
    PartitionBounds {
        high_watermark: Offset::new(offset),
        ..PartitionBounds::default()
    }
}

fn member(id: MemberId) -> Member {
    Member {
        id,
        name: String::new(),
        roles: RoleSet::default().with(Role::Metadata),
        zone: String::new(),
        version: String::new(),
        internal_address: String::new(),
        grpc_address: String::new(),
        incarnation: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

fn view(owner: MemberId, members: &[MemberId]) -> ClusterView {
    ClusterView {
        members: members.iter().copied().map(member).collect(),
        shards: vec![ShardOwner {
            shard: SHARD,
            owner: Some(owner),
            epoch: 1,
        }],
        ..ClusterView::empty(ClusterId::from_bytes([0; 16]), GENERATION)
    }
}

fn token(group: u64) -> ReadToken {
    ReadToken {
        generation: GENERATION,
        shard: SHARD,
        group: GroupNumber::new(group),
    }
}

fn positions(group: u64) -> Event {
    Event::Positions(vec![token(group)])
}

fn commit(group: u64, high_watermark: u64) -> Event {
    Event::Notice(Notice::Commit(Arc::new(CommitNotice {
        shard: SHARD,
        group: GroupNumber::new(group),
        advances: vec![PartitionAdvance {
            partition: at(),
            bounds: upto(high_watermark),
            extents: Vec::new(),
        }],
    })))
}

fn following() -> Following {
    let metrics = RpcMetrics::new(&mut Registry::default());
    let following = Following::new(Rule::Owner, GENERATION, metrics);
    following.on_view(&view(A, &[A, B]));
    following
}

fn missed(following: &Following) -> u64 {
    following.inner.metrics.notices_missed.get()
}

/// Asks the owner, who answers with these bounds.
fn ask(following: &Following, owner: MemberId, answer: u64) {
    if let Known::Ask { session, .. } = following.bounds(SHARD, at(), Some(owner)) {
        following.learnt(SHARD, at(), upto(answer), session);
    }
}

fn current(following: &Following) -> Option<u64> {
    match following.bounds(SHARD, at(), None) {
        Known::Current(bounds) => Some(bounds.high_watermark.get()),
        Known::Ask { .. } => None,
    }
}

#[test]
fn bounds_are_current_while_the_owner_is_followed_and_news_raises_them() {
    let following = following();
    ask(&following, A, 5);
    assert_eq!(current(&following), None);
    following.on_event(A, positions(7));
    ask(&following, A, 5);
    assert_eq!(current(&following), Some(5));
    following.on_event(A, commit(8, 9));
    assert_eq!(current(&following), Some(9));
    assert_eq!(following.seen(), [token(8)]);
    following.on_broken(A);
    assert_eq!(current(&following), None);
    // Still the floor of what may be shown.
    let known = following.bounds(SHARD, at(), Some(A));
    assert!(matches!(known, Known::Ask { floor, .. } if floor == upto(9)));
}

#[test]
fn an_answer_of_another_than_the_source_is_not_current() {
    let following = following();
    following.on_event(A, positions(7));
    ask(&following, B, 5);
    assert_eq!(current(&following), None);
}

#[test]
fn an_answer_that_a_break_has_overtaken_is_not_current() {
    let following = following();
    following.on_event(A, positions(7));
    let Known::Ask { session, .. } = following.bounds(SHARD, at(), Some(A)) else {
        panic!("nothing is known yet");
    };
    following.on_broken(A);
    following.on_event(A, positions(8));
    following.learnt(SHARD, at(), upto(5), session);
    assert_eq!(current(&following), None);
}

#[test]
fn a_shard_that_moves_without_a_gap_is_no_reason_to_forget() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_event(A, commit(8, 9));
    // The new owner speaks first, then the view names it.
    following.on_event(B, positions(8));
    assert_eq!(following.seen(), [token(8)]);
    following.on_view(&view(B, &[A, B]));
    assert_eq!(missed(&following), 0);
    following.on_event(B, commit(9, 10));
    assert_eq!(following.seen(), [token(9)]);
    assert_eq!(current(&following), None, "it was never asked");
}

#[test]
fn a_new_owner_that_is_further_says_that_news_was_missed() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_view(&view(B, &[B]));
    following.on_event(B, positions(9));
    assert_eq!(missed(&following), 1);
    assert_eq!(following.seen(), [token(9)]);
}

#[test]
fn news_of_a_former_owner_reaches_nothing() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_event(B, positions(7));
    following.on_view(&view(B, &[A, B]));
    following.on_event(A, commit(8, 9));
    assert_eq!(following.seen(), [token(7)]);
}

#[test]
fn a_break_is_told_when_the_process_is_back_or_gone_for_good() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_broken(A);
    assert_eq!(missed(&following), 0);
    // Nothing was committed, but news of topics may be lost.
    following.on_event(A, positions(7));
    assert_eq!(missed(&following), 1);
    following.on_broken(A);
    following.on_view(&view(B, &[B]));
    assert_eq!(missed(&following), 2);
}

#[test]
fn a_deleted_topic_is_asked_for_anew() {
    let following = following();
    following.on_event(A, positions(7));
    ask(&following, A, 5);
    following.on_event(A, Event::Notice(Notice::Topic(at().topic)));
    assert_eq!(current(&following), None);
}

#[test]
fn another_life_of_the_cluster_begins_with_nothing() {
    let following = following();
    following.on_event(A, positions(7));
    ask(&following, A, 5);
    let restored = ClusterView {
        generation: ClusterGeneration::new(2),
        ..view(A, &[A])
    };
    following.on_view(&restored);
    assert_eq!(following.seen(), []);
    let known = following.bounds(SHARD, at(), Some(A));
    assert!(matches!(known, Known::Ask { floor, .. } if floor == upto(0)));
}

#[tokio::test]
async fn a_token_is_reached_with_its_group_and_given_up_when_time_is_up() {
    let following = following();
    following.on_event(A, positions(7));
    let clock = SystemClock::new();
    let reach = async |group, within| following.reached(&clock, within, token(group)).await;
    assert_eq!(reach(7, Duration::from_mins(1)).await, Ok(()));
    assert_eq!(
        reach(8, Duration::from_millis(1)).await,
        Err(LogError::Behind)
    );
    let (reached, ()) = tokio::join!(reach(8, Duration::from_mins(1)), async {
        following.on_event(A, commit(8, 9));
    });
    assert_eq!(reached, Ok(()));
    let elsewhere = ReadToken {
        shard: ShardId::new(u32::MAX),
        ..token(1)
    };
    let asked = following.reached(&clock, Duration::from_millis(1), elsewhere);
    assert_eq!(asked.await, Err(LogError::Behind));
    assert_eq!(following.inner.state.lock().shards.len(), 1);
}
