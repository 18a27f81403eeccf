//! Facts about `Subscribe`, with the coordinators that there are.

use tidelog_api::v1::subscribe_request::Kind;
use tidelog_api::v1::subscribe_response::Event;
use tidelog_api::{ApiError, v1};
use tidelog_client::{ErrorCode, prost_types};
use tidelog_metadata_api::{GroupDescription, GroupName};
use tidelog_runtime::access::Operation;
use tonic::Status;

use crate::subscriber::{Subscriber, commit, credit, join};
use crate::world::{World, entry, records};

/// A world whose topic `t` has the records `0`, `1` and so on in partition 0.
async fn world(partitions: u32, count: u64) -> World {
    let world = World::with_groups().await;
    world.topic("t", partitions).await;
    produce(&world, 0, 0..count).await;
    world
}

async fn produce(world: &World, partition: u32, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let entry = v1::ProduceEntry {
            partition: Some(partition),
            ..entry(&number.to_string())
        };
        world.produce(entry).await.unwrap();
    }
}

fn code(status: &Status) -> ErrorCode {
    ApiError::from_status(status).code
}

fn codes(failed: &[v1::SubscribeNotCommitted]) -> Vec<(u32, ErrorCode)> {
    let failed = failed.iter().map(|it| {
        let error = it.error.clone().unwrap();
        (it.partition, ApiError::from_proto(error).code)
    });
    failed.collect()
}

async fn described(world: &World) -> v1::Group {
    let names = ["g".to_owned()];
    let described = world.client.groups().describe(&names).await.unwrap();
    described[0].group.clone().unwrap()
}

/// How many members the group has.
async fn members(world: &World) -> usize {
    described(world).await.members.len()
}

#[tokio::test]
async fn a_member_reads_from_the_committed_offset_on_and_the_next_one_goes_on_there() {
    let world = world(1, 3).await;
    let mut first = Subscriber::new(&world, join()).await;
    assert_eq!(first.places(1).await, [(0, 0)]);
    assert_eq!(first.values(3).await, ["0", "1", "2"]);
    assert_eq!(first.commit(&[(0, 2)]).await, []);
    first.leave().await;
    assert_eq!(members(&world).await, 0, "it leaves at once");
    let mut next = Subscriber::new(&world, join()).await;
    assert_eq!(next.places(1).await, [(0, 2)]);
    assert_eq!(next.values(1).await, ["2"]);
    produce(&world, 0, 3..4).await;
    assert_eq!(next.values(1).await, ["3"]);
}

#[tokio::test]
async fn a_commit_before_the_end_of_the_stream_is_done() {
    let world = world(1, 3).await;
    let mut first = Subscriber::new(&world, join()).await;
    first.places(1).await;
    first.say(commit(1, &[(0, 1)]));
    first.say(commit(2, &[(0, 3)]));
    first.leave().await;
    let offsets = world.client.groups().offsets("g").await.unwrap();
    assert_eq!(offsets[0].committed_offset, 3);
}

#[tokio::test]
async fn a_partition_goes_to_the_next_member_only_when_the_first_has_let_go() {
    let world = world(2, 2).await;
    produce(&world, 1, 0..2).await;
    let mut first = Subscriber::new(&world, join()).await;
    assert_eq!(first.places(2).await, [(0, 0), (1, 0)]);
    first.values(4).await;
    let mut second = Subscriber::new(&world, join()).await;
    let revoked = first.revoked().await;
    assert_eq!(revoked.partitions[0].topic, "t");
    let taken = revoked.partitions[0].partitions.clone();
    assert_eq!(taken.len(), 1);
    let taken = taken[0];
    // What is taken away is still to be committed, and is sent no more.
    assert_eq!(first.commit(&[(taken, 1)]).await, []);
    // However often the member says that it lives: that is so every 50 ms.
    for _ in 0..100 {
        let group = described(&world).await;
        assert_eq!(group.state(), v1::GroupState::Reconciling);
        assert_eq!(group.members.len(), 2);
        let mut members = group.members.iter();
        assert!(members.all(|member| member.client_host == "/127.0.0.1"));
    }
    let before = second.seek(taken, 0).await.unwrap();
    assert_eq!(ApiError::from_proto(before).code, ErrorCode::Fenced);
    first.release(&revoked);
    assert_eq!(second.places(1).await, [(taken, 1)]);
    produce(&world, taken, 11..12).await;
    assert_eq!(second.values(2).await, ["1", "11"]);
    let failed = first.commit(&[(taken, 2), (1 - taken, 0)]).await;
    assert_eq!(codes(&failed), [(taken, ErrorCode::Fenced)]);
}

#[tokio::test]
async fn who_does_not_let_go_loses_the_partition_when_its_time_is_over() {
    let world = world(2, 0).await;
    let hasty = v1::SubscribeJoin {
        rebalance_timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 300_000_000,
        }),
        ..join()
    };
    let mut first = Subscriber::new(&world, hasty).await;
    first.places(2).await;
    let mut second = Subscriber::new(&world, join()).await;
    let revoked = first.revoked().await;
    assert!(revoked.time_left.unwrap().nanos <= 300_000_000);
    let taken = revoked.partitions[0].partitions[0];
    assert_eq!(second.places(1).await, [(taken, 0)]);
    let failed = first.commit(&[(taken, 0), (1 - taken, 0)]).await;
    assert_eq!(
        codes(&failed),
        [(taken, ErrorCode::Fenced)],
        "it is a member still, of the other partition"
    );
}

#[tokio::test]
async fn nothing_is_sent_beyond_the_credit() {
    let world = world(1, 5).await;
    let counted = v1::SubscribeJoin {
        credit: Some(credit(Some(2), None)),
        ..join()
    };
    let mut reader = Subscriber::new(&world, counted).await;
    let (values, used) = reader.data().await;
    assert_eq!(
        (values, used),
        (vec!["0".to_owned(), "1".to_owned()], credit(Some(2), None))
    );
    produce(&world, 0, 5..6).await;
    // What is said later is answered, and no record comes before.
    reader.say(commit(1, &[]));
    let next = loop {
        let next = reader.next().await;
        if !matches!(next.event, Some(Event::Assigned(_))) {
            break next;
        }
    };
    assert!(matches!(next.event, Some(Event::Committed(_))), "{next:?}");
    reader.say(Kind::Credit(credit(Some(1), None)));
    assert_eq!(reader.data().await.0, ["2"]);
    reader.say(Kind::Credit(credit(Some(9), None)));
    assert_eq!(reader.values(3).await, ["3", "4", "5"]);
}

#[tokio::test]
async fn a_record_larger_than_the_credit_waits_until_there_is_as_much() {
    let world = world(1, 0).await;
    world.produce(entry(&"x".repeat(1000))).await.unwrap();
    for format in [v1::RecordFormat::Records, v1::RecordFormat::Batches] {
        let counted = v1::SubscribeJoin {
            group: format!("{format:?}"),
            credit: Some(credit(None, Some(100))),
            record_format: format.into(),
            ..join()
        };
        let mut reader = Subscriber::new(&world, counted).await;
        let needed = reader.stalled().await.bytes.unwrap();
        assert!(needed > 1000);
        let more = needed - 100;
        reader.say(Kind::Credit(credit(None, Some(more - 1))));
        reader.say(Kind::Credit(credit(None, Some(1))));
        let message = loop {
            let message = reader.next().await;
            if !message.partitions.is_empty() {
                break message;
            }
        };
        assert_eq!(message.used_credit, Some(credit(None, Some(needed))));
    }
}

#[tokio::test]
async fn a_member_whose_stream_breaks_leaves_at_once() {
    let world = world(2, 0).await;
    let mut first = Subscriber::new(&world, join()).await;
    first.places(2).await;
    first.commit(&[(0, 0)]).await;
    let mut second = Subscriber::new(&world, join()).await;
    first.revoked().await;
    drop(first);
    assert_eq!(second.places(2).await, [(0, 0), (1, 0)]);
}

#[tokio::test]
async fn whoever_comes_back_with_its_member_id_takes_its_place_and_the_other_is_out() {
    let world = world(1, 1).await;
    let mut first = Subscriber::new(&world, join()).await;
    first.places(1).await;
    let again = v1::SubscribeJoin {
        member_id: first.member_id.clone(),
        ..join()
    };
    let mut second = Subscriber::new(&world, again).await;
    assert_eq!(second.member_id, first.member_id);
    assert_eq!(second.places(1).await, [(0, 0)]);
    assert_eq!(code(&first.broken().await), ErrorCode::Fenced);
    assert_eq!(second.values(1).await, ["0"]);
    assert_eq!(members(&world).await, 1);
}

#[tokio::test]
async fn a_static_member_has_its_partitions_when_it_comes_back_and_nobody_else_meanwhile() {
    let world = world(2, 0).await;
    let named = |name: &str| v1::SubscribeJoin {
        instance_id: name.to_owned(),
        ..join()
    };
    let mut first = Subscriber::new(&world, named("one")).await;
    first.places(2).await;
    let mut second = Subscriber::new(&world, named("two")).await;
    let revoked = first.revoked().await;
    first.release(&revoked);
    let of_second = second.places(1).await;
    first.leave().await;
    assert_eq!(members(&world).await, 2);
    let mut back = Subscriber::new(&world, named("one")).await;
    let of_first = back.places(1).await;
    assert_ne!(of_first, of_second);
    assert_eq!(members(&world).await, 2);
    let twin = Kind::Join(named("two"));
    let refused = Subscriber::open(&world, twin).await.broken().await;
    assert_eq!(code(&refused), ErrorCode::Fenced, "the name is in use");
}

#[tokio::test]
async fn who_begins_at_the_latest_begins_there_again_and_misses_nothing() {
    let world = world(1, 3).await;
    let latest = || v1::SubscribeJoin {
        offset_reset: v1::OffsetReset::Unspecified.into(),
        ..join()
    };
    let mut first = Subscriber::new(&world, latest()).await;
    assert_eq!(first.places(1).await, [(0, 3)]);
    drop(first);
    produce(&world, 0, 3..4).await;
    let mut next = Subscriber::new(&world, latest()).await;
    assert_eq!(next.places(1).await, [(0, 3)]);
    assert_eq!(next.values(1).await, ["3"]);
}

#[tokio::test]
async fn who_does_not_say_where_to_begin_hears_so_and_may_seek() {
    let world = world(1, 3).await;
    let nowhere = v1::SubscribeJoin {
        offset_reset: v1::OffsetReset::None.into(),
        ..join()
    };
    let mut reader = Subscriber::new(&world, nowhere).await;
    let assigned = reader.assigned().await;
    let error = ApiError::from_proto(assigned[0].error.clone().unwrap());
    assert_eq!(error.code, ErrorCode::OffsetOutOfRange);
    assert_eq!(error.metadata["high_watermark"], "3");
    assert_eq!(reader.seek(0, 1).await, None);
    assert_eq!(reader.values(2).await, ["1", "2"]);
    assert_eq!(reader.seek(0, 0).await, None);
    assert_eq!(reader.values(3).await, ["0", "1", "2"]);
    assert_eq!(reader.seek(0, 9).await, None);
    let message = reader.next().await;
    let error = message.partitions[0].error.clone().unwrap();
    assert_eq!(
        ApiError::from_proto(error).code,
        ErrorCode::OffsetOutOfRange
    );
}

#[tokio::test]
async fn whose_committed_offset_is_gone_begins_where_it_said() {
    let world = world(1, 3).await;
    let mut reader = Subscriber::new(&world, join()).await;
    reader.values(3).await;
    reader.commit(&[(0, 1)]).await;
    reader.leave().await;
    let before = v1::DeleteRecordsPartition {
        topic: "t".to_owned(),
        partition: 0,
        before_offset: Some(2),
    };
    world
        .client
        .log()
        .delete_records(vec![before])
        .await
        .unwrap();
    let mut next = Subscriber::new(&world, join()).await;
    assert_eq!(next.places(1).await, [(0, 1)]);
    assert_eq!(next.values(1).await, ["2"]);
}

#[tokio::test]
async fn a_topic_is_read_once_it_is_there() {
    let world = World::with_groups().await;
    let mut reader = Subscriber::new(&world, join()).await;
    world.topic("t", 1).await;
    produce(&world, 0, 0..1).await;
    assert_eq!(reader.values(1).await, ["0"]);
}

#[tokio::test]
async fn a_broker_that_goes_away_lets_clients_commit_and_keeps_their_places() {
    let world = world(1, 2).await;
    let mut reader = Subscriber::new(&world, join()).await;
    reader.values(2).await;
    world.stop.cancel();
    loop {
        if let Some(Event::Draining(_)) = reader.next().await.event {
            break;
        }
    }
    assert_eq!(reader.commit(&[(0, 2)]).await, []);
    reader.leave().await;
    let group = [GroupName::new("g").unwrap()];
    let described = world.engine.groups().describe_groups(&group).await;
    match &described[0] {
        Ok(GroupDescription::Consumer(group)) => {
            assert_eq!(group.members.len(), 1, "it is to come back elsewhere");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_does_not_end_its_side_does_not_hold_up_the_end() {
    let world = world(1, 0).await;
    let mut reader = Subscriber::new(&world, join()).await;
    world.stop.cancel();
    assert_eq!(code(&reader.broken().await), ErrorCode::Unavailable);
}

#[tokio::test]
async fn who_subscribes_is_asked_for_the_group_and_for_each_topic() {
    let world = world(1, 1).await;
    world.gate.asked.lock().clear();
    let mut by_name = Subscriber::new(&world, join()).await;
    let asked = std::mem::take(&mut *world.gate.asked.lock());
    for on in ["group `g`", "topic `t`"] {
        assert!(
            asked.contains(&(Operation::Read, on.to_owned())),
            "{asked:?}"
        );
    }
    by_name.places(1).await;
    by_name.leave().await;
    let by_pattern = v1::SubscribeJoin {
        topics: Vec::new(),
        topic_pattern: "t.*".to_owned(),
        group: "patterns".to_owned(),
        ..join()
    };
    let mut by_pattern = Subscriber::new(&world, by_pattern).await;
    *world.gate.denies.lock() = true;
    // It may have been assigned before that.
    let assigned = by_pattern.assigned().await;
    let asked = std::mem::take(&mut *world.gate.asked.lock());
    assert!(
        asked.contains(&(Operation::Read, "topic `t`".to_owned())),
        "{asked:?}"
    );
    if let Some(error) = assigned[0].error.clone() {
        assert_eq!(
            ApiError::from_proto(error).code,
            ErrorCode::PermissionDenied
        );
    }
}

#[tokio::test]
async fn batches_come_whole_and_as_they_are_stored() {
    let world = world(1, 2).await;
    let whole = v1::SubscribeJoin {
        record_format: v1::RecordFormat::Batches.into(),
        ..join()
    };
    let mut reader = Subscriber::new(&world, whole).await;
    let stored = world.fetch(0, 0, v1::RecordFormat::Batches).await.data;
    let message = loop {
        let message = reader.next().await;
        if !message.partitions.is_empty() {
            break message;
        }
    };
    let data = &message.partitions[0];
    assert_eq!((&*data.topic, data.next_offset), ("t", 2));
    assert_eq!(data.data, stored);
    assert_eq!(message.used_credit, None);
}

#[tokio::test]
async fn what_is_no_conversation_ends_the_stream() {
    let world = world(1, 0).await;
    let refused = Subscriber::open(&world, commit(1, &[]))
        .await
        .broken()
        .await;
    assert_eq!(code(&refused), ErrorCode::InvalidArgument);
    for wrong in [
        Kind::Join(join()),
        Kind::Credit(credit(Some(1), None)),
        commit(1, &[(0, 1), (0, 2)]),
        commit(1, &[(0, u64::MAX)]),
    ] {
        let mut reader = Subscriber::new(&world, join()).await;
        reader.say(wrong);
        assert_eq!(code(&reader.broken().await), ErrorCode::InvalidArgument);
    }
    let odd = v1::SubscribeJoin {
        assignor: "odd".to_owned(),
        ..join()
    };
    let refused = Subscriber::open(&world, Kind::Join(odd))
        .await
        .broken()
        .await;
    assert_eq!(code(&refused), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn records_come_decoded_with_their_place() {
    let world = world(1, 2).await;
    let mut reader = Subscriber::new(&world, join()).await;
    let message = loop {
        let message = reader.next().await;
        if !message.partitions.is_empty() {
            break message;
        }
    };
    let data = &message.partitions[0];
    assert_eq!(
        (&*data.topic, data.partition, data.high_watermark),
        ("t", 0, 2)
    );
    assert_eq!(records(data)[1].offset, 1);
}
