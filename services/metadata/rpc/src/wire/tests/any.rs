//! Any value of each word that crosses the wire.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use smallvec::smallvec;
use tidelog_format::location::Location;
use tidelog_format::manifest::{BatchEntry, Manifest, Outcome, RefusalDetail, SliceEntry};
use tidelog_format::marker::EndMarker;
use tidelog_metadata_api::*;
use tidelog_types::*;

pub(super) fn an_offset() -> impl Strategy<Value = Offset> {
    prop_oneof![
        Just(Offset::ZERO),
        Just(Offset::MAX),
        any::<u64>().prop_map(Offset::new)
    ]
}

pub(super) fn a_partition() -> impl Strategy<Value = TopicPartition> {
    (any::<u64>(), any::<u32>()).prop_map(|(topic, index)| {
        TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(index))
    })
}

pub(super) fn a_segment() -> impl Strategy<Value = SegmentName> {
    (any::<u64>(), any::<u64>()).prop_map(|(incarnation, sequence)| {
        SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        )
    })
}

pub(super) fn a_time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

pub(super) fn some_bounds() -> impl Strategy<Value = PartitionBounds> {
    (an_offset(), an_offset(), an_offset()).prop_map(|(log_start, last_stable, high_watermark)| {
        PartitionBounds {
            log_start,
            last_stable,
            high_watermark,
            aborted_below: log_start,
        }
    })
}

pub(super) fn a_location() -> impl Strategy<Value = Location> {
    let segment = (any::<u16>(), a_segment(), any::<u32>(), any::<u32>());
    prop_oneof![
        segment.prop_map(|(bucket, segment, position, length)| Location::Segment {
            bucket: BucketId::new(bucket),
            segment,
            position: position / 2,
            length: length / 2,
        }),
        any::<u64>().prop_map(|row| Location::Inline { row }),
        an_end_marker().prop_map(Location::Marker),
    ]
}

fn an_end_marker() -> impl Strategy<Value = EndMarker> {
    let decision = prop_oneof![Just(Decision::Abort), Just(Decision::Commit)];
    (any::<i64>(), any::<i16>(), any::<i32>(), decision).prop_map(
        |(id, epoch, coordinator_epoch, decision)| EndMarker {
            producer_id: ProducerId::new(id),
            producer_epoch: ProducerEpoch::new(epoch),
            coordinator_epoch,
            decision,
        },
    )
}

pub(super) fn an_extent() -> impl Strategy<Value = Extent> {
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

pub(super) fn a_token() -> impl Strategy<Value = ReadToken> {
    (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(generation, shard, group)| ReadToken {
        generation: ClusterGeneration::new(generation),
        shard: ShardId::new(shard),
        group: GroupNumber::new(group),
    })
}

pub(super) fn a_fencing_token() -> impl Strategy<Value = FencingToken> {
    vec(any::<u8>(), 0..=36).prop_map(|bytes| FencingToken::new(bytes.into()).unwrap())
}

pub(super) fn a_text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

pub(super) fn a_name() -> impl Strategy<Value = TopicName> {
    "[a-z0-9_-]{1,20}".prop_map(|text| TopicName::new(&text).unwrap())
}

pub(super) fn a_batch() -> BatchEntry {
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

pub(super) fn a_manifest() -> impl Strategy<Value = Manifest> {
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

pub(super) fn a_commit() -> impl Strategy<Value = ShardCommit> {
    let at = || (any::<u32>(), any::<u32>());
    let at = || at().prop_map(|(slice, batch)| BatchPosition { slice, batch });
    let token = || option::of(a_fencing_token());
    let condition = (option::of(an_offset()), token(), token());
    let condition = condition.prop_map(|(expected_next, fencing_token, set)| BatchCondition {
        transaction: expected_next
            .map(|offset| tidelog_metadata_api::TransactionNumber(offset.get())),
        expected_next,
        fencing_token,
        set_fencing_token: set,
    });
    let conditions = vec((at(), condition), 0..4);
    let orders = vec((at(), any::<u64>().prop_map(OrderKey)), 0..4);
    let inline = proptest::option::of(vec(any::<u8>(), 0..200).prop_map(bytes::Bytes::from));
    let rest = (
        vec(at(), 0..4),
        vec(a_segment(), 0..4),
        any::<u64>(),
        inline,
    );
    (a_manifest(), conditions, orders, rest).prop_map(
        |(manifest, conditions, orders, (dropped, after, done_below, inline))| ShardCommit {
            manifest,
            conditions,
            orders,
            dropped,
            after,
            done_below: SegmentSequence::new(done_below),
            inline,
        },
    )
}

pub(super) fn a_commit_error() -> impl Strategy<Value = CommitError> {
    prop_oneof![
        any::<u64>().prop_map(|floor| CommitError::BelowFloor {
            floor: SegmentSequence::new(floor)
        }),
        a_segment().prop_map(|after| CommitError::Early { after }),
        Just(CommitError::WriterEnded),
        Just(CommitError::NotOwner),
        Just(CommitError::NotInline),
        Just(CommitError::Unknown),
        a_text().prop_map(|reason| CommitError::Unavailable { reason }),
        a_text().prop_map(|reason| CommitError::Malformed { reason }),
    ]
}

pub(super) fn a_log_error() -> impl Strategy<Value = LogError> {
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
        any::<i64>().prop_map(|id| LogError::NoTransaction(ProducerId::new(id))),
        any::<i16>().prop_map(|epoch| LogError::ProducerFenced(ProducerEpoch::new(epoch))),
        any::<i32>().prop_map(LogError::CoordinatorFenced),
    ]
}

pub(super) fn a_catalogue_error() -> impl Strategy<Value = CatalogueError> {
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

pub(super) fn a_cluster_error() -> impl Strategy<Value = ClusterError> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|id| ClusterError::UnknownMember(MemberId::from_bytes(id))),
        a_text().prop_map(|reason| ClusterError::InvalidMember { reason }),
        a_text().prop_map(|reason| ClusterError::Unavailable { reason }),
        a_text().prop_map(|reason| ClusterError::Corrupt { reason }),
    ]
}

pub(super) fn an_outcome() -> impl Strategy<Value = Outcome> {
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

pub(super) fn a_topic() -> impl Strategy<Value = TopicInfo> {
    let state = prop_oneof![
        Just(TopicState::Live),
        (a_time(), a_time()).prop_map(|(at, purge_after)| TopicState::Deleted { at, purge_after }),
        (a_time(), a_time()).prop_map(|(at, purge_after)| TopicState::Purging { at, purge_after }),
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

fn a_kafka_address() -> impl Strategy<Value = KafkaAddress> {
    (a_text(), a_text(), any::<u16>()).prop_map(|(listener, host, port)| KafkaAddress {
        listener,
        host,
        port,
    })
}

pub(super) fn a_member() -> impl Strategy<Value = Member> {
    let texts = (a_text(), a_text(), a_text(), a_text(), a_text());
    let kafka = vec(a_kafka_address(), 0..3);
    let writers = (option::of(any::<u64>()), option::of(any::<u64>()));
    let rest = (writers, any::<bool>(), a_time());
    (any::<[u8; 16]>(), texts, kafka, any::<u32>(), rest).prop_map(
        |(id, texts, kafka_addresses, roles, ((incarnation, merger), draining, joined_at))| {
            let (name, zone, version, internal_address, grpc_address) = texts;
            Member {
                id: MemberId::from_bytes(id),
                name,
                roles: RoleSet::from_bits(roles),
                zone,
                version,
                internal_address,
                grpc_address,
                kafka_addresses,
                incarnation: incarnation.map(Incarnation::new),
                merger: merger.map(Incarnation::new),
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

pub(super) fn a_view() -> impl Strategy<Value = ClusterView> {
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

pub(super) fn a_producer() -> impl Strategy<Value = ProducerIdentity> {
    (any::<i64>(), any::<i16>()).prop_map(|(id, epoch)| {
        ProducerIdentity::new(ProducerId::new(id), ProducerEpoch::new(epoch))
    })
}

pub(super) fn a_marker() -> impl Strategy<Value = TransactionMarker> {
    let number = option::of(any::<u64>().prop_map(TransactionNumber));
    let decision = prop_oneof![Just(Decision::Commit), Just(Decision::Abort)];
    (a_partition(), a_producer(), number, any::<i32>(), decision).prop_map(
        |(partition, producer, number, coordinator_epoch, decision)| TransactionMarker {
            partition,
            producer,
            number,
            coordinator_epoch,
            decision,
        },
    )
}

pub(super) fn an_aborted_transaction() -> impl Strategy<Value = AbortedTransaction> {
    (any::<i64>(), an_offset(), an_offset()).prop_map(|(id, first, last)| AbortedTransaction {
        producer: ProducerId::new(id),
        first,
        last,
    })
}

pub(super) fn an_active_producer() -> impl Strategy<Value = ActiveProducer> {
    let epoch = option::of(any::<i32>());
    let sequence = option::of(any::<i32>());
    (
        a_producer(),
        sequence,
        a_time(),
        epoch,
        option::of(an_offset()),
    )
        .prop_map(
            |(producer, last_sequence, last_used, coordinator_epoch, open_from)| ActiveProducer {
                producer,
                last_sequence,
                last_used,
                coordinator_epoch,
                open_from,
            },
        )
}
