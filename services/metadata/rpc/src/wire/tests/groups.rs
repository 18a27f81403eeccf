//! Requests to coordinators and their answers come back as they were.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidelog_metadata_api::*;
use tidelog_types::*;

use super::any::{a_partition, a_time, an_offset};
use super::sent;
use crate::wire::*;

fn a_text() -> impl Strategy<Value = String> {
    "[a-z ]{0,8}"
}

fn a_name() -> impl Strategy<Value = GroupName> {
    "[a-z]{1,8}".prop_map(|name| GroupName::new(&name).unwrap())
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..9).prop_map(Bytes::from)
}

fn a_time_span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn a_client() -> impl Strategy<Value = GroupClient> {
    (a_text(), a_text()).prop_map(|(id, host)| GroupClient { id, host })
}

fn some_partitions() -> impl Strategy<Value = Vec<TopicPartition>> {
    vec(a_partition(), 0..4)
}

prop_compose! {
    fn a_join()(
        group in a_name(),
        texts in (a_text(), option::of(a_text()), a_text(), option::of(a_text())),
        client in a_client(),
        times in (a_time_span(), a_time_span()),
        protocols in vec((a_text(), some_bytes()), 0..4),
        flags in any::<(bool, bool)>(),
    ) -> JoinGroup {
        JoinGroup {
            group,
            member_id: texts.0,
            instance: texts.1,
            client,
            session: times.0,
            rebalance: times.1,
            protocol_type: texts.2,
            protocols: protocols
                .into_iter()
                .map(|(name, metadata)| GroupProtocol { name, metadata })
                .collect(),
            id_first: flags.0,
            may_skip_assignment: flags.1,
            reason: texts.3,
        }
    }
}

prop_compose! {
    fn a_beat()(
        group in a_name(),
        member_id in a_text(),
        epoch in any::<i32>(),
        options in vec(option::of(a_text()), 4),
        client in a_client(),
        rebalance in option::of(a_time_span()),
        topics in option::of(vec(a_text(), 0..3)),
        owned in option::of(some_partitions()),
    ) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            group,
            member_id,
            epoch,
            instance: options[0].clone(),
            rack: options[1].clone(),
            client,
            rebalance,
            topics,
            pattern: options[2].clone(),
            assignor: options[3].clone(),
            owned,
        }
    }
}

prop_compose! {
    fn a_group_offset()(
        offset in an_offset(),
        leader_epoch in option::of(any::<i32>()),
        metadata in a_text(),
    ) -> GroupOffset {
        GroupOffset {
            offset: Offset::new(offset.get() & Offset::MAX.get()),
            leader_epoch,
            metadata,
        }
    }
}

prop_compose! {
    fn a_transaction()(id in any::<i64>(), epoch in any::<i16>(), number in any::<u64>()) -> OpenTransaction {
        OpenTransaction {
            producer: ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch)),
            number: TransactionNumber(number),
        }
    }
}

fn a_state() -> impl Strategy<Value = GroupState> {
    prop_oneof![
        Just(GroupState::Empty),
        Just(GroupState::PreparingRebalance),
        Just(GroupState::CompletingRebalance),
        Just(GroupState::Assigning),
        Just(GroupState::Reconciling),
        Just(GroupState::Stable),
    ]
}

prop_compose! {
    fn a_classic()(
        state in a_state(),
        generation in any::<i32>(),
        texts in (a_text(), a_text()),
        members in vec(
            (a_text(), option::of(a_text()), a_client(), some_bytes(), some_bytes()),
            0..3,
        ),
    ) -> ClassicDescription {
        let members = members.into_iter();
        ClassicDescription {
            state,
            generation,
            protocol_type: texts.0,
            protocol: texts.1,
            members: members
                .map(|(member_id, instance, client, metadata, assignment)| ClassicMember {
                    member_id,
                    instance,
                    client,
                    metadata,
                    assignment,
                })
                .collect(),
        }
    }
}

prop_compose! {
    fn a_consumer_member()(
        member_id in a_text(),
        options in vec(option::of(a_text()), 3),
        client in a_client(),
        epoch in any::<i32>(),
        rebalance in a_time_span(),
        topics in vec(a_text(), 0..3),
        partitions in (some_partitions(), some_partitions()),
        is_classic in any::<bool>(),
    ) -> ConsumerMember {
        ConsumerMember {
            member_id,
            instance: options[0].clone(),
            rack: options[1].clone(),
            client,
            epoch,
            rebalance,
            topics,
            pattern: options[2].clone(),
            assigned: partitions.0,
            target: partitions.1,
            is_classic,
        }
    }
}

fn a_description() -> impl Strategy<Value = GroupDescription> {
    let consumer = (
        a_state(),
        any::<(i32, i32)>(),
        a_text(),
        vec(a_consumer_member(), 0..3),
    );
    prop_oneof![
        a_classic().prop_map(GroupDescription::Classic),
        consumer.prop_map(|(state, (epoch, target_epoch), assignor, members)| {
            GroupDescription::Consumer(ConsumerDescription {
                state,
                epoch,
                target_epoch,
                assignor,
                members,
            })
        }),
    ]
}

/// Every error, those with a text with a short one.
fn errors(text: &str) -> Vec<GroupsError> {
    let reason = text.to_owned();
    vec![
        GroupsError::Loading,
        GroupsError::NotCoordinator,
        GroupsError::Unavailable {
            reason: reason.clone(),
        },
        GroupsError::Unknown,
        GroupsError::InvalidRequest {
            reason: reason.clone(),
        },
        GroupsError::GroupNotFound,
        GroupsError::UnknownMember,
        GroupsError::IllegalGeneration,
        GroupsError::RebalanceInProgress,
        GroupsError::FencedInstance,
        GroupsError::UnreleasedInstance,
        GroupsError::InconsistentProtocol,
        GroupsError::MemberIdRequired(reason.clone()),
        GroupsError::GroupFull,
        GroupsError::InvalidSessionTimeout,
        GroupsError::FencedEpoch,
        GroupsError::StaleEpoch,
        GroupsError::UnsupportedAssignor(reason.clone()),
        GroupsError::InvalidPattern {
            reason: reason.clone(),
        },
        GroupsError::NotEmpty,
        GroupsError::SubscribedToTopic,
        GroupsError::UnstableOffset,
        GroupsError::FencedProducer,
        GroupsError::TransactionEnded,
        GroupsError::OffsetMetadataTooLarge { max: 7 },
        GroupsError::TooLarge {
            reason: reason.clone(),
        },
        GroupsError::Corrupt { reason },
    ]
}

#[test]
fn errors_of_groups_come_back() {
    for error in errors("why") {
        assert_eq!(group_failure_from(sent(&group_failure_to(&error))), error);
    }
    let outcomes: Vec<_> = errors("").into_iter().map(Err).chain([Ok(())]).collect();
    let back = outcomes_from(sent(&outcomes_to(outcomes.clone())), outcomes.len());
    assert_eq!(back, outcomes);
    // Of an item without an outcome nothing is known, and one too many is nobody's.
    let told = outcomes_to(vec![Ok(()), Ok(())]);
    let short = outcomes_from(sent(&told), 3);
    assert_eq!(short, [Ok(()), Ok(()), Err(GroupsError::Unknown)]);
    assert_eq!(outcomes_from(sent(&told), 1), [Ok(())]);
}

proptest! {
    #[test]
    fn requests_of_members_come_back(
        join in a_join(),
        beat in a_beat(),
        group in a_name(),
        member_id in a_text(),
        instance in option::of(a_text()),
        generation in any::<i32>(),
        assignments in vec((a_text(), some_bytes()), 0..3),
        reason in option::of(a_text()),
    ) {
        prop_assert_eq!(join_from(sent(&join_to(join.clone()))).unwrap(), join);
        prop_assert_eq!(beat_from(sent(&beat_to(beat.clone()))).unwrap(), beat);
        let sync = SyncGroup {
            group: group.clone(),
            member_id: member_id.clone(),
            instance: instance.clone(),
            generation,
            protocol_type: reason.clone(),
            protocol: instance.clone(),
            assignments,
        };
        prop_assert_eq!(sync_from(sent(&sync_to(sync.clone()))).unwrap(), sync);
        let heartbeat = GroupHeartbeat {
            group: group.clone(),
            member_id: member_id.clone(),
            instance: instance.clone(),
            generation,
        };
        let back = heartbeat_from(sent(&heartbeat_to(heartbeat.clone()))).unwrap();
        prop_assert_eq!(back, heartbeat);
        let leave = LeaveGroup {
            group,
            members: vec![LeavingMember { member_id, instance, reason }],
        };
        prop_assert_eq!(leave_from(sent(&leave_to(leave.clone()))).unwrap(), leave);
    }

    #[test]
    fn answers_to_members_come_back(
        texts in (a_text(), a_text(), option::of(a_text()), option::of(a_text())),
        generation in any::<i32>(),
        skip_assignment in any::<bool>(),
        metadata in some_bytes(),
        heartbeat in a_time_span(),
        assignment in option::of(some_partitions()),
    ) {
        let joined = JoinedGroup {
            generation,
            protocol_type: texts.2.clone(),
            protocol: texts.3.clone(),
            leader: texts.0.clone(),
            member_id: texts.1.clone(),
            skip_assignment,
            members: vec![JoinedMember {
                member_id: texts.0.clone(),
                instance: texts.2.clone(),
                metadata: metadata.clone(),
            }],
        };
        prop_assert_eq!(joined_from(sent(&joined_to(joined.clone()))), joined);
        let synced = SyncedGroup {
            protocol_type: texts.2,
            protocol: texts.3,
            assignment: metadata,
        };
        prop_assert_eq!(synced_from(sent(&synced_to(synced.clone()))), synced);
        let beaten = ConsumerHeartbeatAnswer {
            member_id: texts.0,
            epoch: generation,
            heartbeat,
            assignment,
        };
        prop_assert_eq!(beaten_from(sent(&beaten_to(beaten.clone()))).unwrap(), beaten);
    }

    #[test]
    fn offsets_come_back(
        group in a_name(),
        member in (a_text(), option::of(a_text()), any::<i32>()),
        offset in a_group_offset(),
        at in a_partition(),
        other in a_partition(),
        committed_at in a_time(),
        partitions in option::of(some_partitions()),
        flags in any::<(bool, bool)>(),
        transaction in option::of(a_transaction()),
        unstable in a_partition(),
    ) {
        let commit = CommitOffsets {
            group: group.clone(),
            member: CommittingMember {
                member_id: member.0.clone(),
                instance: member.1,
                epoch: member.2,
            },
            offsets: vec![(at, offset.clone())],
            transaction,
        };
        let back = commit_offsets_from(sent(&commit_offsets_to(commit.clone()))).unwrap();
        prop_assert_eq!(back, commit);
        let fetch = FetchOffsets {
            group: group.clone(),
            member: flags.0.then_some((member.0, member.2)),
            partitions: partitions.clone(),
            only_stable: flags.1,
        };
        prop_assert_eq!(fetch_from(sent(&fetch_to(&fetch))).unwrap(), fetch);
        if let Some(OpenTransaction { producer, number }) = transaction {
            let decision = if flags.0 { Decision::Commit } else { Decision::Abort };
            let end = EndGroupTransaction { group: group.clone(), producer, number, decision };
            let back = end_transaction_from(&sent(&end_transaction_to(&end))).unwrap();
            prop_assert_eq!(back, end);
        }
        let delete = DeleteOffsets { group, partitions: partitions.unwrap_or_default() };
        prop_assert_eq!(delete_offsets_from(sent(&delete_offsets_to(&delete))).unwrap(), delete);
        prop_assume!(at != other && unstable != at && unstable != other);
        let found = Some(CommittedOffset { offset, committed_at });
        let waits = (unstable, Err(GroupsError::UnstableOffset));
        let fetched = vec![(other, Ok(None)), waits.clone(), (at, Ok(found.clone()))];
        let told = fetched_to(fetched.clone());
        let back = fetched_from(sent(&told), Some(&[other, unstable, at])).unwrap();
        prop_assert_eq!(back, fetched);
        let mut all = vec![(at, Ok(found)), waits];
        all.sort_by_key(|(at, _)| *at);
        prop_assert_eq!(fetched_from(sent(&told), None).unwrap(), all);
    }

    #[test]
    fn what_operators_see_comes_back(
        description in a_description(),
        group in a_name(),
        state in a_state(),
        protocol_type in a_text(),
        next in vec(any::<u8>(), 0..5),
        count in any::<u32>(),
    ) {
        let back = description_from(sent(&description_to(description.clone()))).unwrap();
        prop_assert_eq!(back, description);
        let page = GroupPage {
            groups: vec![GroupListing { group, kind: GroupKind::Consumer, protocol_type, state }],
            next: next.clone(),
        };
        prop_assert_eq!(group_page_from(sent(&group_page_to(page.clone()))).unwrap(), page);
        let filter = GroupFilter { states: vec![state], kinds: vec![GroupKind::Classic] };
        let list = sent(&list_to(&filter, &next, count as usize));
        prop_assert_eq!(filter_from(&list).unwrap(), filter);
        prop_assert_eq!((list.after.to_vec(), list.count), (next, count));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    use tidelog_api::internal::v1;
    assert!(join_from(v1::JoinGroup::default()).is_err());
    assert!(description_from(v1::GroupDescription::default()).is_err());
    let list = v1::ListGroups {
        states: vec![0],
        ..v1::ListGroups::default()
    };
    assert!(filter_from(&list).is_err());
    let fetched = v1::FetchedOffsets {
        offsets: vec![v1::GroupOffset::default()],
        unstable: Vec::new(),
    };
    assert!(fetched_from(fetched, None).is_err());
    assert!(end_transaction_from(&v1::EndGroupTransaction::default()).is_err());
    let transaction = Some(v1::GroupTransaction {
        producer_epoch: 1 << 15,
        ..v1::GroupTransaction::default()
    });
    let commit = v1::CommitOffsets {
        group: "g".to_owned(),
        transaction,
        ..v1::CommitOffsets::default()
    };
    assert!(commit_offsets_from(commit).is_err());
}
