//! When a shard is followed, when news counts as missed, and which bounds are current.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tidelog_env::{Clock, SystemClock};
use tidelog_metadata_api::{
    LogError, Member, MemberState, PartitionAdvance, PartitionBounds, ShardOwner,
};
use tidelog_types::{
    ClusterId, Offset, PartitionIndex, RoleSet, Timestamp, TopicNumber, TopicPartition,
};

use super::gaps::GATHER;
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
        aborted_below: Offset::ZERO,
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
        kafka_addresses: Vec::new(),
        incarnation: None,
        merger: None,
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

fn other_token(shard: u32, group: u64) -> ReadToken {
    ReadToken {
        shard: ShardId::new(shard),
        ..token(group)
    }
}

fn owned(shard: u32, owner: MemberId, epoch: u64) -> ShardOwner {
    ShardOwner {
        shard: ShardId::new(shard),
        owner: Some(owner),
        epoch,
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
    let following = Following::new(Rule::Owner, GENERATION, metrics, 1);
    following.on_view(&view(A, &[A, B]));
    following
}

/// How often whoever caches was told, once the time for what may still come has passed.
fn missed(following: &Following) -> u64 {
    following.close_gaps();
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
    assert_eq!(following.seen(), [token(7)]);
    assert_eq!(missed(&following), 1);
    assert_eq!(following.seen(), [token(9)]);
}

#[test]
fn news_counts_whoever_tells_of_it_and_only_without_a_gap() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_event(B, positions(7));
    following.on_view(&view(B, &[A, B]));
    following.on_event(A, commit(9, 10));
    assert_eq!(following.seen(), [token(7)]);
    following.on_event(A, commit(8, 9));
    assert_eq!(following.seen(), [token(8)]);
    following.on_event(B, commit(9, 10));
    assert_eq!(following.seen(), [token(9)]);
    assert_eq!(missed(&following), 0);
}

#[test]
fn news_of_a_process_that_does_not_tell_how_far_it_is_counts_for_nothing() {
    let following = following();
    following.on_event(A, positions(7));
    following.on_event(B, commit(8, 9));
    assert_eq!(following.seen(), [token(7)]);
}

/// A process reads how far its shards are before it has told all news of them.
#[test]
fn positions_that_are_ahead_of_the_news_are_no_gap_when_the_news_comes() {
    let following = following();
    following.on_event(A, positions(7));
    ask(&following, A, 5);
    following.on_event(A, positions(9));
    assert_eq!(following.seen(), [token(7)], "its news has not come");
    following.on_event(A, commit(8, 9));
    following.on_event(A, commit(9, 10));
    assert_eq!(following.seen(), [token(9)]);
    assert_eq!(missed(&following), 0);
    assert_eq!(current(&following), Some(10));
}

#[test]
fn whoever_caches_is_told_before_what_was_missed_counts_as_reached() {
    let following = following();
    following.on_event(A, positions(7));
    ask(&following, A, 5);
    let mut news = following.inner.news.subscribe();
    // The shard was elsewhere meanwhile, and is back before anybody has seen that.
    following.on_event(A, positions(9));
    assert!(news.try_recv().is_err());
    assert_eq!(following.seen(), [token(7)]);
    following.close_gaps();
    assert!(matches!(news.try_recv(), Ok(Notice::Missed)));
    assert_eq!(following.seen(), [token(9)]);
    assert_eq!(current(&following), None, "it is asked for anew");
    following.on_event(A, commit(11, 12));
    assert_eq!(following.seen(), [token(9)]);
    assert_eq!(missed(&following), 2, "one lies between");
    assert_eq!(following.seen(), [token(11)]);
}

#[test]
fn a_shard_that_moves_leaves_what_is_known_of_others_and_of_topics() {
    let following = following();
    let (other, both) = (ShardId::new(1), [token(7), other_token(1, 7)]);
    let elsewhere = TopicPartition::new(TopicNumber::new(2), PartitionIndex::new(0));
    let owners = |owner, epoch| ClusterView {
        shards: vec![owned(0, owner, epoch), owned(1, A, 1)],
        ..view(A, &[A, B])
    };
    following.on_view(&owners(A, 1));
    following.on_event(A, Event::Positions(both.to_vec()));
    if let Known::Ask { session, .. } = following.bounds(other, elsewhere, Some(A)) {
        following.learnt(other, elsewhere, upto(5), session);
    }
    let version = following.topics().version();
    following.on_event(B, positions(9));
    following.on_view(&owners(B, 2));
    assert_eq!(missed(&following), 1);
    assert_eq!(following.topics().version(), version);
    let known = following.bounds(other, elsewhere, Some(A));
    assert!(matches!(known, Known::Current(bounds) if bounds == upto(5)));
}

/// A process dies, and others take its 32 shards one after the other, each a little further than its news.
#[tokio::test(start_paused = true)]
async fn shards_that_move_together_are_told_of_once() {
    let following = following();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut telling = Box::pin(following.clone().tell_gaps(Arc::clone(&clock)));
    let tokens = |group| Event::Positions((0..32).map(|at| other_token(at, group)).collect());
    let owners = |moved| ClusterView {
        shards: (0..32)
            .map(|at| {
                owned(
                    at,
                    if at < moved { B } else { A },
                    if at < moved { 2 } else { 1 },
                )
            })
            .collect(),
        ..view(A, &[A, B])
    };
    following.on_view(&owners(0));
    following.on_event(A, tokens(7));
    let mut news = following.subscribe();
    for moved in 1..=32 {
        following.on_event(
            B,
            Event::Positions((0..moved).map(|at| other_token(at, 9)).collect()),
        );
        following.on_view(&owners(moved));
        assert!(futures::poll!(&mut telling).is_pending());
        tokio::time::advance(GATHER / 40).await;
    }
    tokio::time::advance(GATHER).await;
    assert!(futures::poll!(&mut telling).is_pending());
    assert!(matches!(news.next().await, Some(Notice::Missed)));
    assert_eq!(missed(&following), 1);
    assert!(
        following
            .seen()
            .iter()
            .all(|seen| seen.group == GroupNumber::new(9))
    );
    assert_eq!(following.seen().len(), 32);
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

/// Of a partition whose bounds were shown and forgotten, an owner is believed that has told of whatever
/// there was news of.
#[test]
fn what_was_shown_and_forgotten_is_asked_of_one_who_knows() {
    let following = following();
    let trust = |asked| match following.bounds(SHARD, at(), asked) {
        Known::Ask { trust, .. } => trust,
        Known::Current(bounds) => panic!("{bounds:?}"),
    };
    assert_eq!(trust(Some(A)), Trust::Floor);
    let forget = || {
        for topic in 2..5 {
            let other = TopicPartition::new(TopicNumber::new(topic), at().partition);
            following.bounds(ShardId::new(1), other, None);
        }
    };
    forget();
    assert_eq!(trust(Some(A)), Trust::Owner, "there was no news");
    following.on_event(A, positions(7));
    following.on_event(A, commit(8, 9));
    assert_eq!(trust(Some(A)), Trust::Owner);
    assert_eq!(trust(Some(B)), Trust::Proof);
    assert_eq!(trust(None), Trust::Proof);
    // The view does not know it yet, but B is the owner.
    following.on_event(B, positions(8));
    following.on_event(B, commit(9, 10));
    assert_eq!(trust(Some(A)), Trust::Proof);
    following.on_view(&view(B, &[A, B]));
    assert_eq!(trust(Some(B)), Trust::Owner);
    following.on_broken(B);
    assert_eq!(trust(Some(B)), Trust::Proof);
    following.learnt(SHARD, at(), upto(10), None);
    assert_eq!(trust(Some(B)), Trust::Floor);
    forget();
    assert_eq!(trust(Some(B)), Trust::Proof);
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
