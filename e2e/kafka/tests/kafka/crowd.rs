//! A group of a thousand members beside one of a single member.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tidelog_kafka_codec::messages::ConsumerGroupHeartbeatRequest;
use tidelog_kafka_codec::messages::consumer_group_heartbeat_request::TopicPartitions;
use tokio::sync::watch;

use crate::conformance::peer::Peer;
use crate::support::World;

const MEMBERS: usize = 1_000;
const LEAVERS: usize = 100;
const PARTITIONS: i32 = 2_000;
/// Members of one connection, which heartbeat in turn.
const EACH: usize = 50;
/// Rounds of heartbeats after which all must have what they are to have.
const ROUNDS_MAX: usize = 50;
/// The longest that a member of another group may wait, on a busy machine: a tenth of its session.
const OTHERS_WAIT_MAX: Duration = Duration::from_millis(4_500);

/// A member as its client sees it.
struct Member {
    id: String,
    epoch: i32,
    owned: Vec<TopicPartitions>,
}

impl Member {
    fn new(id: String) -> Self {
        Self {
            id,
            epoch: 0,
            owned: Vec::new(),
        }
    }

    /// Tells the coordinator of itself, and takes over what it is told. Returns whether that was news.
    async fn beat(&mut self, peer: &mut Peer, group: &str, leaves: bool) -> Result<bool> {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: group.into(),
            member_id: self.id.as_str().into(),
            member_epoch: if leaves { -1 } else { self.epoch },
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec!["crowded".into()]),
            topic_partitions: Some(self.owned.clone()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let answer = peer.answer(&request, 1).await?;
        ensure!(answer.error_code == 0, "{}: {answer:?}", self.id);
        let mut is_news = self.epoch != answer.member_epoch;
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let owned = assignment.topic_partitions.into_iter();
            let owned = owned.map(|it| TopicPartitions {
                topic_id: it.topic_id,
                partitions: it.partitions,
            });
            let owned: Vec<_> = owned.collect();
            is_news |= owned != self.owned;
            self.owned = owned;
        }
        Ok(is_news)
    }

    fn partitions(&self) -> impl Iterator<Item = i32> {
        self.owned.iter().flat_map(|it| &it.partitions).copied()
    }
}

/// Members that share a connection.
struct Bench {
    peer: Peer,
    members: Vec<Member>,
}

impl Bench {
    async fn beat(&mut self) -> Result<bool> {
        let mut is_news = false;
        for member in &mut self.members {
            is_news |= member.beat(&mut self.peer, "crowd", false).await?;
        }
        Ok(is_news)
    }

    async fn leave(&mut self, count: usize) -> Result<()> {
        for mut member in self.members.drain(..count) {
            member.beat(&mut self.peer, "crowd", true).await?;
        }
        Ok(())
    }
}

/// Lets all beat until nobody hears anything new; then each partition is with exactly one of them.
async fn settle(benches: &mut [Bench]) -> Result<usize> {
    for round in 1..=ROUNDS_MAX {
        let news = try_join_all(benches.iter_mut().map(Bench::beat)).await?;
        if news.contains(&true) {
            continue;
        }
        let members = || benches.iter().flat_map(|bench| &bench.members);
        let all: Vec<i32> = members().flat_map(Member::partitions).collect();
        let different: BTreeSet<i32> = all.iter().copied().collect();
        let count = usize::try_from(PARTITIONS)?;
        ensure!(different.len() == count, "{} partitions", different.len());
        ensure!(all.len() == count, "{} are with two", all.len() - count);
        let sizes = members().map(|member| member.partitions().count());
        let (least, most) = (sizes.clone().min(), sizes.max());
        let (least, most) = least.zip(most).context("members")?;
        ensure!(most <= least + 1, "between {least} and {most} each");
        return Ok(round);
    }
    anyhow::bail!("no rest after {ROUNDS_MAX} rounds")
}

/// Beats alone in another group until it is told to stop; returns the longest wait for an answer.
async fn bystander(mut peer: Peer, stop: watch::Receiver<bool>) -> Result<Duration> {
    let mut member = Member::new("bystander".to_owned());
    let mut longest = Duration::ZERO;
    while !*stop.borrow() {
        let asked = Instant::now();
        member.beat(&mut peer, "alone", false).await?;
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(longest)
}

#[tokio::test]
async fn a_thousand_members_come_to_rest_and_keep_no_other_group_waiting() -> Result<()> {
    let world = World::new(1).await?;
    let address = world.server.kafka();
    let mut admin = Peer::connect(address).await?;
    admin.create_topic("crowded", PARTITIONS).await?;
    let mut benches = Vec::new();
    for bench in 0..MEMBERS / EACH {
        let numbers = bench * EACH..(bench + 1) * EACH;
        benches.push(Bench {
            peer: Peer::connect(address).await?,
            members: numbers
                .map(|number| Member::new(format!("member {number}")))
                .collect(),
        });
    }
    let (stop, stopped) = watch::channel(false);
    let beside = tokio::spawn(bystander(Peer::connect(address).await?, stopped));
    let began = Instant::now();
    let joining = settle(&mut benches).await?;
    let joined = began.elapsed();
    let each = LEAVERS / benches.len();
    try_join_all(benches.iter_mut().map(|bench| bench.leave(each))).await?;
    let leaving = settle(&mut benches).await?;
    stop.send_replace(true);
    let longest = beside.await??;
    println!(
        "{MEMBERS} members: {joining} rounds and {joined:?} to join, {leaving} rounds after {LEAVERS} have left in \
         {:?} altogether; another group waited {longest:?} at most",
        began.elapsed()
    );
    ensure!(longest < OTHERS_WAIT_MAX, "{longest:?}");
    Ok(())
}
