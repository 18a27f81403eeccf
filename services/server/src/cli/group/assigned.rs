//! Which partitions members have.

use std::collections::BTreeMap;

use tidelog_client::v1;
use tidelog_kafka_codec::messages::ConsumerProtocolAssignment;
use tidelog_kafka_codec::{Budget, Embedded as _};

/// Memory for what one member has.
const ASSIGNMENT_BYTES_MAX: usize = 16 << 20;

/// Partitions by topic.
pub(super) type Assigned = BTreeMap<String, Vec<u32>>;

/// What a member has, as far as that can be read.
pub(super) fn assigned(protocol_type: &str, member: &v1::GroupMember) -> Assigned {
    if !member.assigned.is_empty() {
        let topics = member.assigned.iter();
        return topics
            .map(|it| (it.topic.clone(), it.partitions.clone()))
            .collect();
    }
    // Other types of protocol, such as that of Kafka Connect, say something else in their bytes.
    if protocol_type != "consumer" || member.classic_assignment.is_empty() {
        return Assigned::new();
    }
    let bytes = member.classic_assignment.clone();
    let budget = &mut Budget::bytes(ASSIGNMENT_BYTES_MAX);
    let Ok((_, assignment)) = ConsumerProtocolAssignment::decode_embedded(bytes, budget) else {
        return Assigned::new();
    };
    let mut all = Assigned::new();
    for topic in assignment.assigned_partitions {
        let partitions = topic.partitions.into_iter();
        let known = all.entry(topic.topic.to_string()).or_default();
        known.extend(partitions.filter_map(|index| u32::try_from(index).ok()));
        known.sort_unstable();
    }
    all
}

#[cfg(test)]
mod tests {
    use tidelog_kafka_codec::messages::consumer_protocol_assignment::TopicPartition;

    use super::*;

    #[test]
    fn what_a_member_of_the_classic_protocol_has_is_read_if_it_can_be() {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".into(),
                partitions: vec![2, 0],
            }],
            ..ConsumerProtocolAssignment::default()
        };
        let bytes = assignment.encode_embedded(0).unwrap();
        let member = |classic_assignment| v1::GroupMember {
            classic_assignment,
            ..v1::GroupMember::default()
        };
        let expected = Assigned::from([("t".to_owned(), vec![0, 2])]);
        assert_eq!(assigned("consumer", &member(bytes.clone())), expected);
        assert!(assigned("connect", &member(bytes)).is_empty());
        assert!(assigned("consumer", &member("?".into())).is_empty());
    }
}
