//! As even as the subscriptions allow, with as few moves as that takes.
//!
//! Everybody keeps what they had and may still have. What nobody has goes to whoever wants it and has least.
//! Then partitions move, one at a time, from those with most to those with least, while the difference is two or
//! more: each move makes the sum of the squares of the loads smaller, so it ends. Where all members want the
//! same topics, loads differ by one at most.
//!
//! A group may have thousands of members, and all groups of a shard wait while one is worked out: who has least, and
//! who has most, is found without a look at everybody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

use super::{Partitions, Question, partitions};

pub(super) fn assign(question: &Question<'_>) -> BTreeMap<String, Partitions> {
    let mut loads = kept(question);
    let mut topics: Vec<(TopicNumber, Vec<usize>)> = question
        .topics
        .keys()
        .map(|&topic| (topic, subscribers(question, topic)))
        .filter(|(_, subscribers)| !subscribers.is_empty())
        .collect();
    // What few want is given out first: the others can still make up for it.
    topics.sort_by_key(|(topic, subscribers)| (subscribers.len(), *topic));
    hand_out(question, &topics, &mut loads);
    even_out(&topics, &mut loads);
    let ids = question.members.keys().map(|id| (*id).to_owned());
    ids.zip(loads).collect()
}

/// How many partitions a member has, and which member it is.
type Counted = (usize, usize);

/// What each member has, in the order of their ids. A member is its place in that order.
type Loads = Vec<Partitions>;

/// The members that want a topic.
fn subscribers(question: &Question<'_>, topic: TopicNumber) -> Vec<usize> {
    let members = question.members.values().enumerate();
    let members = members.filter(|(_, wanted)| wanted.topics.contains(&topic));
    members.map(|(member, _)| member).collect()
}

/// What each member had and may still have.
fn kept(question: &Question<'_>) -> Loads {
    let mut taken = Partitions::new();
    let members = question.members.values();
    let loads = members.map(|wanted| {
        let before = wanted.before.into_iter().flatten().copied();
        let mut load = Partitions::new();
        for one in before {
            let count = question.topics.get(&one.topic).copied();
            let exists = one.partition.get() < count.unwrap_or_default();
            if exists && wanted.topics.contains(&one.topic) && taken.insert(one) {
                load.insert(one);
            }
        }
        load
    });
    loads.collect()
}

/// Gives what nobody has to those who have least, of several to the first.
fn hand_out(question: &Question<'_>, topics: &[(TopicNumber, Vec<usize>)], loads: &mut Loads) {
    let taken: Partitions = loads.iter().flatten().copied().collect();
    for (topic, subscribers) in topics {
        let count = question.topics.get(topic).copied().unwrap_or_default();
        let mut free = partitions(*topic, count)
            .filter(|one| !taken.contains(one))
            .peekable();
        if free.peek().is_none() {
            continue;
        }
        let sizes = subscribers.iter().map(|&id| Reverse((size(loads, id), id)));
        let mut least: BinaryHeap<_> = sizes.collect();
        for one in free {
            if let Some(mut first) = least.peek_mut()
                && let Some(load) = loads.get_mut(first.0.1)
            {
                load.insert(one);
                first.0.0 += 1;
            }
        }
    }
}

fn size(loads: &Loads, member: usize) -> usize {
    loads.get(member).map_or(0, Partitions::len)
}

/// Moves partitions from those with most to those with least.
fn even_out(topics: &[(TopicNumber, Vec<usize>)], loads: &mut Loads) {
    loop {
        let mut moved = false;
        for (topic, subscribers) in topics {
            moved |= even_out_one(*topic, subscribers, loads);
        }
        if !moved {
            return;
        }
    }
}

/// Moves partitions of one topic while that makes loads more even; returns whether any has moved.
fn even_out_one(topic: TopicNumber, subscribers: &[usize], loads: &mut Loads) -> bool {
    let sizes = || subscribers.iter().map(|&member| size(loads, member));
    if sizes().max().unwrap_or_default() < sizes().min().unwrap_or_default() + 2 {
        return false;
    }
    let mut by_size: BTreeSet<Counted> = sizes().zip(subscribers.iter().copied()).collect();
    let mut moved = false;
    while let Some((one, from, to)) = next_move(topic, &by_size, loads) {
        for (place, size) in [(from, from.0 - 1), (to, to.0 + 1)] {
            by_size.remove(&place);
            by_size.insert((size, place.1));
        }
        if let Some(load) = loads.get_mut(from.1) {
            load.remove(&one);
        }
        if let Some(load) = loads.get_mut(to.1) {
            load.insert(one);
        }
        moved = true;
    }
    moved
}

/// A partition of the topic whose move makes the loads more even, and who gives it to whom.
fn next_move(
    topic: TopicNumber,
    by_size: &BTreeSet<Counted>,
    loads: &Loads,
) -> Option<(TopicPartition, Counted, Counted)> {
    let last = |member: usize| {
        let (first, last) = (PartitionIndex::new(0), PartitionIndex::new(u32::MAX));
        let all = TopicPartition::new(topic, first)..=TopicPartition::new(topic, last);
        loads.get(member)?.range(all).next_back().copied()
    };
    let to = *by_size.first()?;
    let givers = by_size
        .iter()
        .rev()
        .take_while(|(size, _)| *size >= to.0 + 2);
    let mut givers = givers.filter_map(|from| last(from.1).map(|one| (one, *from)));
    let (one, from) = givers.next()?;
    Some((one, from, to))
}
