//! What crosses the wire comes back as it was, and what makes no sense is refused.

mod any;
mod groups;
mod merges;
mod transactions;

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_format::location::Location;
use tidelog_metadata_api::*;
use tidelog_types::*;

use any::*;

use super::*;
use crate::events::Event;

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
    fn markers_and_their_outcomes_come_back(marker in a_marker(), error in a_log_error()) {
        prop_assert_eq!(marker_from(sent(&marker_to(&marker))), Ok(marker));
        let outcomes = vec![Ok(()), Err(error), Ok(())];
        let results: Vec<_> = marker_results_to(&outcomes).iter().map(sent).collect();
        prop_assert_eq!(&marker_results_from(results.clone(), 3), &outcomes);
        let more = marker_results_from(results, 4);
        prop_assert!(more[3].is_err(), "nobody has said what became of it");
    }

    #[test]
    fn aborted_transactions_and_producers_come_back(
        aborted in an_aborted_transaction(),
        producer in an_active_producer(),
    ) {
        prop_assert_eq!(aborted_from(sent(&aborted_to(&aborted))), Ok(aborted));
        prop_assert_eq!(active_from(sent(&active_to(&producer))), Ok(producer));
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
        use OffsetQuery::{AtTime, Earliest, LastStable, Latest, MaxTimestamp};
        for query in [Earliest, Latest, LastStable, AtTime(time), MaxTimestamp] {
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
    let reached_at = |ports: &[u32]| v1::Member {
        member_id: vec![1; 16].into(),
        kafka_addresses: ports
            .iter()
            .map(|port| v1::KafkaAddress {
                port: *port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    assert!(member_from(reached_at(&[65_535; 16])).is_ok());
    assert!(member_from(reached_at(&[65_536])).is_err());
    assert!(member_from(reached_at(&[1; 17])).is_err());
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
