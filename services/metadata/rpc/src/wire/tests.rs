//! What crosses the wire comes back as it was, and what makes no sense is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use smallvec::smallvec;
use tidelog_api::internal::v1;
use tidelog_format::location::Location;
use tidelog_format::manifest::{BatchEntry, Manifest, Outcome, RefusalDetail, SliceEntry};
use tidelog_metadata_api::*;
use tidelog_types::*;

use super::*;
use crate::events::Event;

fn an_offset() -> impl Strategy<Value = Offset> {
    prop_oneof![
        Just(Offset::ZERO),
        Just(Offset::MAX),
        any::<u64>().prop_map(Offset::new)
    ]
}

fn a_partition() -> impl Strategy<Value = TopicPartition> {
    (any::<u64>(), any::<u32>()).prop_map(|(topic, index)| {
        TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(index))
    })
}

fn a_segment() -> impl Strategy<Value = SegmentName> {
    (any::<u64>(), any::<u64>()).prop_map(|(incarnation, sequence)| {
        SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        )
    })
}

fn a_time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn some_bounds() -> impl Strategy<Value = PartitionBounds> {
    (an_offset(), an_offset(), an_offset()).prop_map(|(log_start, last_stable, high_watermark)| {
        PartitionBounds {
            log_start,
            last_stable,
            high_watermark,
        }
    })
}

fn a_location() -> impl Strategy<Value = Location> {
    let segment = (any::<u16>(), a_segment(), any::<u32>(), any::<u32>());
    prop_oneof![
        segment.prop_map(|(bucket, segment, position, length)| Location::Segment {
            bucket: BucketId::new(bucket),
            segment,
            position: position / 2,
            length: length / 2,
        }),
        any::<u64>().prop_map(|row| Location::Inline { row }),
        any::<u64>().prop_map(|row| Location::Marker { row }),
    ]
}

fn an_extent() -> impl Strategy<Value = Extent> {
    let offsets = (an_offset(), an_offset());
    (offsets, a_location(), option::of(any::<u32>()), a_time()).prop_map(
        |((one, other), location, crc32c, max_timestamp)| Extent {
            offsets: OffsetRange {
                base: one.min(other),
                next: one.max(other),
            },
            location,
            crc32c,
            max_timestamp,
        },
    )
}

fn a_token() -> impl Strategy<Value = ReadToken> {
    (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(generation, shard, group)| ReadToken {
        generation: ClusterGeneration::new(generation),
        shard: ShardId::new(shard),
        group: GroupNumber::new(group),
    })
}

fn a_fencing_token() -> impl Strategy<Value = FencingToken> {
    vec(any::<u8>(), 0..=36).prop_map(|bytes| FencingToken::new(bytes.into()).unwrap())
}

fn a_text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn a_name() -> impl Strategy<Value = TopicName> {
    "[a-z0-9_-]{1,20}".prop_map(|text| TopicName::new(&text).unwrap())
}

fn a_batch() -> BatchEntry {
    BatchEntry {
        length: 80,
        record_count: 2,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(1),
        max_timestamp: Timestamp::from_millis(2),
        max_timestamp_offset_delta: 1,
        transactional: false,
        control: false,
    }
}

fn a_manifest() -> impl Strategy<Value = Manifest> {
    let slices = vec(a_partition(), 1..4);
    (a_segment(), any::<u16>(), any::<u32>(), slices).prop_map(|(segment, bucket, shard, at)| {
        let slices = (0_u32..).zip(at).map(|(index, partition)| SliceEntry {
            partition,
            position: 64 + index * 80,
            length: 80,
            crc32c: index,
            batches: smallvec![a_batch()],
        });
        Manifest {
            segment,
            bucket: BucketId::new(bucket),
            shard: ShardId::new(shard),
            slices: slices.collect(),
        }
    })
}

fn a_commit() -> impl Strategy<Value = ShardCommit> {
    let at = || (any::<u32>(), any::<u32>());
    let at = || at().prop_map(|(slice, batch)| BatchPosition { slice, batch });
    let token = || option::of(a_fencing_token());
    let condition = (option::of(an_offset()), token(), token());
    let condition = condition.prop_map(|(expected_next, fencing_token, set)| BatchCondition {
        expected_next,
        fencing_token,
        set_fencing_token: set,
    });
    let conditions = vec((at(), condition), 0..4);
    let orders = vec((at(), any::<u64>().prop_map(OrderKey)), 0..4);
    let rest = (vec(at(), 0..4), vec(a_segment(), 0..4), any::<u64>());
    (a_manifest(), conditions, orders, rest).prop_map(
        |(manifest, conditions, orders, (dropped, after, done_below))| ShardCommit {
            manifest,
            conditions,
            orders,
            dropped,
            after,
            done_below: SegmentSequence::new(done_below),
        },
    )
}

fn a_commit_error() -> impl Strategy<Value = CommitError> {
    prop_oneof![
        any::<u64>().prop_map(|floor| CommitError::BelowFloor {
            floor: SegmentSequence::new(floor)
        }),
        a_segment().prop_map(|after| CommitError::Early { after }),
        Just(CommitError::WriterEnded),
        Just(CommitError::NotOwner),
        Just(CommitError::Unknown),
        a_text().prop_map(|reason| CommitError::Unavailable { reason }),
        a_text().prop_map(|reason| CommitError::Malformed { reason }),
    ]
}

fn a_log_error() -> impl Strategy<Value = LogError> {
    let range = (an_offset(), an_offset(), an_offset());
    prop_oneof![
        a_partition().prop_map(LogError::UnknownPartition),
        range.prop_map(|(offset, base, next)| LogError::OffsetOutOfRange {
            offset,
            valid: OffsetRange { base, next },
        }),
        Just(LogError::Behind),
        Just(LogError::NotOwner),
        a_text().prop_map(|reason| LogError::Unavailable { reason }),
        a_text().prop_map(|reason| LogError::Corrupt { reason }),
        Just(LogError::FencingTokenMismatch),
    ]
}

fn a_catalogue_error() -> impl Strategy<Value = CatalogueError> {
    let key = (a_text(), option::of(a_text()));
    let value = (a_text(), a_text(), a_text());
    let names = prop_oneof![
        Just(TopicNameError::Empty),
        Just(TopicNameError::Dots),
        any::<u32>().prop_map(|length| TopicNameError::TooLong(length as usize)),
        any::<char>().prop_map(TopicNameError::Character),
    ];
    let rules = prop_oneof![
        Just("a topic has at least one"),
        Just("a topic has at most 100000"),
        Just("partitions can only be added"),
    ];
    prop_oneof![
        a_name().prop_map(CatalogueError::UnknownTopic),
        a_name().prop_map(CatalogueError::TopicExists),
        any::<[u8; 16]>().prop_map(|id| CatalogueError::UnknownTopicId(TopicId::from_bytes(id))),
        names.prop_map(CatalogueError::InvalidName),
        key.prop_map(|(key, nearest)| ConfigError::UnknownKey { key, nearest }.into()),
        value.prop_map(|(key, value, reason)| {
            ConfigError::InvalidValue { key, value, reason }.into()
        }),
        (any::<u32>(), rules)
            .prop_map(|(asked, reason)| CatalogueError::InvalidPartitions { asked, reason }),
        Just(CatalogueError::InvalidPageToken),
        Just(CatalogueError::NotOwner),
        a_text().prop_map(|reason| CatalogueError::Unavailable { reason }),
        Just(CatalogueError::Unknown),
        a_text().prop_map(|reason| CatalogueError::Corrupt { reason }),
    ]
}

fn a_cluster_error() -> impl Strategy<Value = ClusterError> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|id| ClusterError::UnknownMember(MemberId::from_bytes(id))),
        a_text().prop_map(|reason| ClusterError::Unavailable { reason }),
        a_text().prop_map(|reason| ClusterError::Corrupt { reason }),
    ]
}

fn an_outcome() -> impl Strategy<Value = Outcome> {
    let details = prop_oneof![
        Just(RefusalDetail::None),
        an_offset().prop_map(RefusalDetail::NextOffset),
        vec(any::<u8>(), 0..=36).prop_map(|token| RefusalDetail::FencingToken(token.into())),
        any::<i32>().prop_map(RefusalDetail::Sequence),
        any::<i16>().prop_map(|epoch| RefusalDetail::ProducerEpoch(ProducerEpoch::new(epoch))),
    ];
    prop_oneof![
        an_offset().prop_map(|base_offset| Outcome::Accepted { base_offset }),
        an_offset().prop_map(|first_offset| Outcome::Duplicate { first_offset }),
        (proptest::sample::select(ErrorCode::ALL.to_vec()), details)
            .prop_map(|(code, detail)| Outcome::Refused { code, detail }),
    ]
}

fn a_topic() -> impl Strategy<Value = TopicInfo> {
    let state = prop_oneof![
        Just(TopicState::Live),
        (a_time(), a_time()).prop_map(|(at, purge_after)| TopicState::Deleted { at, purge_after }),
    ];
    let shards = vec(any::<u32>(), 0..5);
    let counts = vec((any::<u32>(), a_time()), 0..3);
    let config = proptest::collection::btree_map(a_text(), a_text(), 0..3);
    let ids = (any::<[u8; 16]>(), any::<u64>(), a_name());
    (ids, shards, counts, config, state, a_time()).prop_map(
        |((id, number, name), shards, counts, config, state, created_at)| TopicInfo {
            id: TopicId::from_bytes(id),
            number: TopicNumber::new(number),
            name,
            partitions: shards
                .into_iter()
                .map(|shard| PartitionInfo {
                    shard: ShardId::new(shard),
                })
                .collect(),
            counts: counts
                .into_iter()
                .map(|(count, since)| PartitionCount { count, since })
                .collect(),
            config: TopicConfig::from_stored(config),
            state,
            created_at,
        },
    )
}

fn a_member() -> impl Strategy<Value = Member> {
    let texts = (a_text(), a_text(), a_text(), a_text(), a_text());
    let rest = (option::of(any::<u64>()), any::<bool>(), a_time());
    (any::<[u8; 16]>(), texts, any::<u32>(), rest).prop_map(
        |(id, (name, zone, version, internal, grpc), roles, (incarnation, draining, joined_at))| {
            Member {
                id: MemberId::from_bytes(id),
                name,
                roles: RoleSet::from_bits(roles),
                zone,
                version,
                internal_address: internal,
                grpc_address: grpc,
                incarnation: incarnation.map(Incarnation::new),
                state: if draining {
                    MemberState::Draining
                } else {
                    MemberState::Active
                },
                joined_at,
            }
        },
    )
}

fn a_view() -> impl Strategy<Value = ClusterView> {
    let owner = (any::<u32>(), option::of(any::<[u8; 16]>()), any::<u64>());
    let ids = (any::<[u8; 16]>(), any::<u32>());
    (ids, vec(a_member(), 0..4), vec(owner, 0..4)).prop_map(
        |((cluster, generation), mut members, owners)| {
            members.sort_by_key(|member| member.id);
            let owners: BTreeMap<u32, _> = owners
                .into_iter()
                .map(|(shard, owner, epoch)| (shard, (owner, epoch)))
                .collect();
            let shards = owners
                .into_iter()
                .map(|(shard, (owner, epoch))| ShardOwner {
                    shard: ShardId::new(shard),
                    owner: owner.map(MemberId::from_bytes),
                    epoch,
                });
            ClusterView {
                cluster: ClusterId::from_bytes(cluster),
                generation: ClusterGeneration::new(generation),
                members,
                shards: shards.collect(),
            }
        },
    )
}

/// Through the bytes of a message, as a peer would read it.
fn sent<M: prost::Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn commits_come_back(commit in a_commit()) {
        let back = commit_from(sent(&commit_to(&commit))).unwrap();
        prop_assert_eq!(format!("{back:?}"), format!("{commit:?}"));
    }

    #[test]
    fn answers_to_commits_come_back(
        outcomes in vec(an_outcome(), 0..6),
        token in a_token(),
        error in a_commit_error(),
    ) {
        let count = outcomes.len();
        let answers = vec![Ok(CommitAnswer { outcomes, token }), Err(error)];
        let told = format!("{answers:?}");
        let results = commits_to_results(answers).iter().map(sent).collect();
        prop_assert_eq!(format!("{:?}", results_from(results, &[count, 7])), told);
    }

    #[test]
    fn errors_come_back(
        log in a_log_error(),
        catalogue in a_catalogue_error(),
        cluster in a_cluster_error(),
    ) {
        prop_assert_eq!(log_failure_from(sent(&log_failure_to(&log))), log);
        let back = catalogue_failure_from(sent(&catalogue_failure_to(&catalogue)));
        prop_assert_eq!(back, catalogue);
        prop_assert_eq!(cluster_failure_from(sent(&cluster_failure_to(&cluster))), cluster);
    }

    #[test]
    fn lookups_and_their_answers_come_back(
        partition in a_partition(),
        offset in an_offset(),
        bytes_max in any::<u64>(),
        extents_max in any::<u32>(),
        bounds in some_bounds(),
        extents in vec(an_extent(), 0..4),
    ) {
        let extents_max = extents_max as usize;
        let request = LookupRequest { partition, offset, bytes_max, extents_max };
        let back = lookup_from(sent(&lookup_to(&request))).unwrap();
        prop_assert_eq!(format!("{back:?}"), format!("{request:?}"));
        let answer = LookupAnswer { bounds, extents };
        let back = located_from(&sent(&located_to(&answer))).unwrap();
        prop_assert_eq!((back.bounds, back.extents), (answer.bounds, answer.extents));
    }

    #[test]
    fn questions_for_offsets_and_their_answers_come_back(
        time in a_time(),
        offset in an_offset(),
        extent in an_extent(),
    ) {
        use OffsetQuery::{AtTime, Earliest, Latest, MaxTimestamp};
        for query in [Earliest, Latest, AtTime(time), MaxTimestamp] {
            let (position, timestamp) = query_to(query);
            prop_assert_eq!(query_from(position.into(), timestamp), Ok(query));
        }
        for answer in [OffsetAnswer::Offset(offset), OffsetAnswer::Within(extent), OffsetAnswer::None] {
            prop_assert_eq!(offset_answer_from(&sent(&offset_answer_to(&answer))), Ok(answer));
        }
    }

    #[test]
    fn news_comes_back(
        tokens in vec(a_token(), 0..4),
        shard in any::<u32>(),
        group in any::<u64>(),
        partition in a_partition(),
        bounds in some_bounds(),
        extents in vec(an_extent(), 0..3),
        topic in any::<u64>(),
    ) {
        let advances = vec![PartitionAdvance { partition, bounds, extents }];
        let (shard, group) = (ShardId::new(shard), GroupNumber::new(group));
        let commit = Arc::new(CommitNotice { shard, group, advances });
        for event in [
            Event::Positions(tokens),
            Event::Notice(Notice::Commit(commit)),
            Event::Notice(Notice::Topic(TopicNumber::new(topic))),
            Event::Notice(Notice::Missed),
        ] {
            let back = event_from(sent(&event_to(&event))).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{event:?}"));
        }
    }

    #[test]
    fn topics_come_back(topic in a_topic(), id in any::<[u8; 16]>(), deleted in vec(any::<u8>(), 0..9)) {
        let back = topic_from(Some(sent(&topic_to(&topic)))).unwrap();
        prop_assert_eq!(&*back, &topic);
        for selector in [
            TopicSelector::Name(topic.name.clone()),
            TopicSelector::Id(TopicId::from_bytes(id)),
            TopicSelector::Number(topic.number),
        ] {
            prop_assert_eq!(selector_from(Some(sent(&selector_to(&selector)))), Ok(selector));
        }
        let page = TopicPage { topics: vec![Arc::new(topic)], next: deleted };
        let told = format!("{page:?}");
        prop_assert_eq!(format!("{:?}", page_from(sent(&page_to(page))).unwrap()), told);
    }

    #[test]
    fn members_and_views_come_back(view in a_view()) {
        prop_assert_eq!(view_from(sent(&view_to(&view))), Ok(view));
    }

    #[test]
    fn bytes_of_a_peer_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes.as_slice();
        let commit = v1::ShardCommit { manifest: Bytes::copy_from_slice(bytes), ..Default::default() };
        prop_assert!(commit_from(commit).is_err());
        if let Ok(response) = v1::SubscribeResponse::decode(bytes) {
            let _ = event_from(response);
        }
        if let Ok(view) = v1::ClusterView::decode(bytes) {
            let _ = view_from(view);
        }
        if let Ok(located) = v1::Located::decode(&mut bytes) {
            let _ = located_from(&located);
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bounds = v1::PartitionBounds {
        high_watermark: u64::MAX,
        ..Default::default()
    };
    assert!(bounds_from(Some(bounds)).is_err());
    assert_eq!(bounds_from(None), Err(WireError::Missing("bounds")));
    assert_eq!(partition_from(None), Err(WireError::Missing("partition")));
    assert!(token_from(&[1; 16]).is_err());
    assert!(fencing_token(Bytes::from(vec![0; 37])).is_err());
    assert!(query_from(0, 0).is_err() && query_from(99, 0).is_err());
    assert!(selector_from(Some(v1::TopicSelector::default())).is_err());
    assert!(topic_from(Some(v1::Topic::default())).is_err());
    let backwards = v1::Extent {
        base_offset: 5,
        next_offset: 4,
        location: Location::Inline { row: 1 }.encode().into(),
        ..Default::default()
    };
    let located = v1::Located {
        bounds: Some(v1::PartitionBounds::default()),
        extents: vec![backwards],
    };
    assert!(located_from(&located).is_err());
    let member = v1::Member {
        member_id: vec![1; 16].into(),
        name: "n".repeat(257),
        ..Default::default()
    };
    assert!(member_from(member).is_err());
}

#[test]
fn an_answer_for_another_number_of_batches_leaves_the_commit_unknown() {
    let token = ReadToken::default();
    let outcomes = Vec::new();
    let results = commits_to_results(vec![Ok(CommitAnswer { outcomes, token })]);
    let answers = results_from(results, &[1, 1]);
    assert!(matches!(
        answers.as_slice(),
        [Err(CommitError::Unknown), Err(CommitError::Unknown)]
    ));
}

#[test]
fn errors_of_a_newer_version_are_the_careful_ones() {
    assert_eq!(
        commit_failure_from(v1::CommitFailure {
            reason: 99,
            ..Default::default()
        }),
        CommitError::Unknown
    );
    assert_eq!(
        catalogue_failure_from(v1::CatalogueFailure {
            reason: 99,
            ..Default::default()
        }),
        CatalogueError::Unknown
    );
    let newer = v1::LogFailure {
        reason: 99,
        ..Default::default()
    };
    assert!(matches!(
        log_failure_from(newer),
        LogError::Unavailable { .. }
    ));
}
