//! As even as the subscriptions allow, with as few moves as that takes.
//!
//! Everybody keeps what they had and may still have. What nobody has goes to whoever wants it and has least.
//! Then partitions move, one at a time, from those with most to those with least, while the difference is two or
//! more: each move makes the sum of the squares of the loads smaller, so it ends. Where all members want the
//! same topics, loads differ by one at most.

use std::collections::BTreeMap;

use tidelog_types::{TopicNumber, TopicPartition};

use super::{Partitions, Question, partitions};

pub(super) fn assign(question: &Question<'_>) -> BTreeMap<String, Partitions> {
    let mut loads = kept(question);
    let mut topics: Vec<(TopicNumber, Vec<&str>)> = question
        .topics
        .keys()
        .map(|&topic| (topic, question.subscribers(topic)))
        .filter(|(_, subscribers)| !subscribers.is_empty())
        .collect();
    // What few want is given out first: the others can still make up for it.
    topics.sort_by_key(|(topic, subscribers)| (subscribers.len(), *topic));
    hand_out(question, &topics, &mut loads);
    even_out(&topics, &mut loads);
    loads
        .into_iter()
        .map(|(id, load)| (id.to_owned(), load))
        .collect()
}

type Loads<'a> = BTreeMap<&'a str, Partitions>;

/// What each member had and may still have.
fn kept<'a>(question: &Question<'a>) -> Loads<'a> {
    let mut taken = Partitions::new();
    let members = question.members.iter();
    let loads = members.map(|(id, wanted)| {
        let before = wanted.before.into_iter().flatten().copied();
        let mut load = Partitions::new();
        for one in before {
            let count = question.topics.get(&one.topic).copied();
            let exists = one.partition.get() < count.unwrap_or_default();
            if exists && wanted.topics.contains(&one.topic) && taken.insert(one) {
                load.insert(one);
            }
        }
        (*id, load)
    });
    loads.collect()
}

/// Gives what nobody has to those who have least.
fn hand_out<'a>(
    question: &Question<'a>,
    topics: &[(TopicNumber, Vec<&'a str>)],
    loads: &mut Loads<'a>,
) {
    let taken: Partitions = loads.values().flatten().copied().collect();
    for (topic, subscribers) in topics {
        let count = question.topics.get(topic).copied().unwrap_or_default();
        for one in partitions(*topic, count).filter(|one| !taken.contains(one)) {
            let least = least(subscribers, loads);
            if let Some(load) = least.and_then(|id| loads.get_mut(id)) {
                load.insert(one);
            }
        }
    }
}

fn size(loads: &Loads<'_>, id: &str) -> usize {
    loads.get(id).map_or(0, Partitions::len)
}

/// Who of the subscribers has least; of several the first.
fn least<'a>(subscribers: &[&'a str], loads: &Loads<'_>) -> Option<&'a str> {
    let subscribers = subscribers.iter().copied();
    subscribers.min_by_key(|id| size(loads, id))
}

/// Moves partitions from those with most to those with least.
fn even_out(topics: &[(TopicNumber, Vec<&str>)], loads: &mut Loads<'_>) {
    loop {
        let mut moved = false;
        for (topic, subscribers) in topics {
            while let Some((one, from, to)) = next_move(*topic, subscribers, loads) {
                if let Some(load) = loads.get_mut(from) {
                    load.remove(&one);
                }
                if let Some(load) = loads.get_mut(to) {
                    load.insert(one);
                }
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

/// A partition of the topic whose move makes the loads more even.
fn next_move<'a>(
    topic: TopicNumber,
    subscribers: &[&'a str],
    loads: &Loads<'_>,
) -> Option<(TopicPartition, &'a str, &'a str)> {
    let last = |id: &str| {
        let load = loads.get(id)?;
        load.iter().rev().find(|one| one.topic == topic).copied()
    };
    let to = least(subscribers, loads)?;
    let enough = size(loads, to) + 2;
    let givers = subscribers.iter().copied();
    let givers = givers.filter(|id| size(loads, id) >= enough);
    let givers = givers.filter_map(|id| last(id).map(|one| (one, id)));
    let (one, from) = givers.max_by_key(|(_, id)| size(loads, id))?;
    Some((one, from, to))
}
