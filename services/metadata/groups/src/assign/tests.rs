//! What every assignment must be, and what each assignor promises.

use proptest::prelude::*;

use super::*;

fn topic(number: u64) -> TopicNumber {
    TopicNumber::new(number)
}

fn at(number: u64, partition: u32) -> TopicPartition {
    TopicPartition::new(topic(number), PartitionIndex::new(partition))
}

/// A question of members that want topics by number, and have had nothing.
fn question<'a>(members: &[(&'a str, &[u64])], topics: &[(u64, u32)]) -> Question<'a> {
    let members = members.iter().map(|(id, topics)| {
        let wanted = Wanted {
            instance: None,
            topics: topics.iter().copied().map(topic).collect(),
            before: None,
        };
        (*id, wanted)
    });
    Question {
        members: members.collect(),
        topics: topics
            .iter()
            .map(|(number, count)| (topic(*number), *count))
            .collect(),
    }
}

#[test]
fn ranges_of_two_topics_lie_side_by_side() {
    let all: &[u64] = &[1, 2];
    let question = question(&[("a", all), ("b", all), ("c", all)], &[(1, 5), (2, 5)]);
    let answer = Assignor::Range.assign(&question);
    for (id, range) in [("a", 0..2), ("b", 2..4), ("c", 4..5)] {
        let expected: Partitions = (1..=2)
            .flat_map(|topic| range.clone().map(move |index| at(topic, index)))
            .collect();
        assert_eq!(answer[id], expected, "{id}");
    }
}

#[test]
fn a_static_member_keeps_its_range_under_another_id() {
    let all: &[u64] = &[1];
    let mut question = question(&[("x", all), ("m", all)], &[(1, 2)]);
    question.members.get_mut("x").unwrap().instance = Some("first");
    question.members.get_mut("m").unwrap().instance = Some("second");
    let before = Assignor::Range.assign(&question);
    let wanted = question.members.remove("x").unwrap();
    question.members.insert("a", wanted);
    let after = Assignor::Range.assign(&question);
    assert_eq!(before["x"], after["a"]);
    assert_eq!(before["m"], after["m"]);
}

#[test]
fn one_more_member_takes_only_what_is_its_share() {
    let all: &[u64] = &[1];
    let two = question(&[("a", all), ("b", all)], &[(1, 9)]);
    let before = Assignor::Uniform.assign(&two);
    let mut three = question(&[("a", all), ("b", all), ("c", all)], &[(1, 9)]);
    for (id, had) in &before {
        three.members.get_mut(id.as_str()).unwrap().before = Some(had);
    }
    let after = Assignor::Uniform.assign(&three);
    assert_eq!(after["c"].len(), 3);
    for (id, had) in &before {
        assert!(
            after[id].is_subset(had),
            "nothing moves between those who stay"
        );
    }
}

#[test]
fn who_alone_wants_a_topic_gets_less_of_the_others() {
    let question = question(&[("a", &[1, 2]), ("b", &[1])], &[(1, 4), (2, 4)]);
    let answer = Assignor::Uniform.assign(&question);
    assert_eq!((answer["a"].len(), answer["b"].len()), (4, 4));
    assert!(answer["a"].iter().all(|one| one.topic == topic(2)));
}

proptest! {
    #[test]
    fn every_partition_goes_to_one_who_wants_it(
        wants in prop::collection::vec(prop::collection::btree_set(0..5_u64, 0..5), 0..8),
        before in prop::collection::vec(prop::collection::btree_set((0..6_u64, 0..9_u32), 0..20), 8),
        counts in prop::collection::vec(0..7_u32, 5),
    ) {
        let ids: Vec<String> = (0..wants.len()).map(|index| format!("m{index}")).collect();
        let before: Vec<Partitions> = before
            .into_iter()
            .map(|had| had.into_iter().map(|(number, index)| at(number, index)).collect())
            .collect();
        let members = ids.iter().zip(&wants).zip(&before).map(|((id, wants), before)| {
            let topics = wants.iter().copied().map(topic).collect();
            (id.as_str(), Wanted { instance: None, topics, before: Some(before) })
        });
        let question = Question {
            members: members.collect(),
            topics: (0..).map(topic).zip(counts.iter().copied()).collect(),
        };
        for assignor in Assignor::ALL {
            let answer = assignor.assign(&question);
            prop_assert_eq!(answer.len(), ids.len());
            let mut seen = Partitions::new();
            for (id, partitions) in &answer {
                for one in partitions {
                    prop_assert!(question.members[id.as_str()].topics.contains(&one.topic));
                    prop_assert!(seen.insert(*one), "{} is given out twice", one);
                }
            }
            let wanted: Partitions = question
                .topics
                .iter()
                .filter(|(topic, _)| !question.subscribers(**topic).is_empty())
                .flat_map(|(topic, count)| partitions(*topic, *count))
                .collect();
            prop_assert_eq!(seen, wanted);
        }
        // Whoever wants the same has as much, but for one.
        let uniform = Assignor::Uniform.assign(&question);
        for (one, wants) in ids.iter().zip(&wants) {
            for (other, others) in ids.iter().zip(&wants_of(&question)) {
                if wants == others {
                    let (one, other) = (uniform[one].len(), uniform[other].len());
                    prop_assert!(one.abs_diff(other) <= 1, "{} and {}", one, other);
                }
            }
        }
    }
}

fn wants_of(question: &Question<'_>) -> Vec<BTreeSet<u64>> {
    let members = question.members.values();
    let wants = members.map(|wanted| wanted.topics.iter().map(|topic| topic.get()).collect());
    wants.collect()
}
