//! As much of each log is kept as its topic says, by time and by bytes, and nothing is looked at for no reason.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_format::manifest::BatchEntry;
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    Catalogue as _, Log as _, LogError, LookupRequest, Notice, TopicSelector,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_types::{Offset, Timestamp, TopicName};

use crate::manifests::{one, plain, segment};
use crate::transactions::{abort, inside, part};
use crate::world::{Process, World, partition, settings};

const MINUTE: i64 = 60_000;

fn log() -> TopicSelector {
    TopicSelector::Name(TopicName::new("log").expect("a good name"))
}

pub(crate) async fn configure(process: &Process, config: &[(&str, &str)]) {
    let set = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())));
    let set: BTreeMap<_, _> = set.collect();
    let altered = process.alter_topic_config(&log(), set, false).await;
    altered.expect("it is there");
}

/// A record of 71 bytes with this time.
fn at(millis: i64) -> BatchEntry {
    BatchEntry {
        max_timestamp: Timestamp::from_millis(millis),
        ..plain(1)
    }
}

/// Time passes on all clocks.
async fn pass(world: &World, millis: i64) {
    for _ in 0..10 {
        world.clock.jump_wall(millis / 10);
        let some = u64::try_from(millis / 10).expect("it goes on");
        tokio::time::sleep(Duration::from_millis(some)).await;
    }
}

async fn log_start(process: &Process, index: u32) -> u64 {
    process.bounds_of(partition(index)).await.log_start.get()
}

/// A record a minute, from now on.
async fn a_record_a_minute(world: &World, process: &Process, first: u64, count: u64) {
    for sequence in first..first + count {
        let now = 1_000_000 + i64::try_from(sequence).expect("small") * MINUTE;
        process
            .send_until_answered(&one(sequence, partition(0), at(now)))
            .await;
        pass(world, MINUTE).await;
    }
}

/// Memory for all extents, and for none.
fn memories() -> [SequencerSettings; 2] {
    let settings = settings(u32::MAX);
    [
        settings,
        SequencerSettings {
            extent_bytes: 0,
            partitions_in_memory: 0,
            ..settings
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn records_go_when_they_are_old_also_without_traffic() {
    for settings in memories() {
        let world = World::with(settings);
        let process = world.open().await;
        configure(&process, &[("retention.ms", "1200000")]).await;
        a_record_a_minute(&world, &process, 0, 19).await;
        assert_eq!(log_start(&process, 0).await, 0);
        // It is looked at once in five minutes.
        pass(&world, 5 * MINUTE).await;
        let first = log_start(&process, 0).await;
        assert!((1..=6).contains(&first), "{first}");
        pass(&world, 5 * MINUTE).await;
        let second = log_start(&process, 0).await;
        assert!((first + 4..=first + 6).contains(&second), "{second}");
        // Readers of what is gone hear so.
        let request = LookupRequest {
            partition: partition(0),
            offset: Offset::new(0),
            bytes_max: 100,
            extents_max: 10,
        };
        let gone = process.lookup(request).await;
        assert!(matches!(gone, Err(LogError::OffsetOutOfRange { .. })));
        assert_eq!(process.log_of(partition(0)).await[0].base, second);
        pass(&world, 20 * MINUTE).await;
        assert_eq!(log_start(&process, 0).await, 19);
        assert_eq!(process.high_watermark(partition(0)).await, 19);
        let moves = process.metric("log_starts_moved_total");
        assert!((4..=7).contains(&moves), "{moves}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_cut_to_the_bytes_that_are_kept() {
    for settings in memories() {
        let world = World::with(settings);
        let process = world.open().await;
        configure(
            &process,
            &[("retention.bytes", "710"), ("retention.ms", "-1")],
        )
        .await;
        for sequence in 1..=600 {
            process
                .send_until_answered(&one(sequence, partition(0), at(5)))
                .await;
        }
        pass(&world, 6 * MINUTE).await;
        assert_eq!(log_start(&process, 0).await, 590);
        assert_eq!(process.log_of(partition(0)).await.len(), 10);
        // Nothing else is due.
        let commits = world.store.commits();
        pass(&world, 60 * MINUTE).await;
        assert_eq!(world.store.commits(), commits);
        for sequence in 601..=605 {
            process
                .send_until_answered(&one(sequence, partition(0), at(5)))
                .await;
        }
        pass(&world, 6 * MINUTE).await;
        assert_eq!(log_start(&process, 0).await, 595);
    }
}

/// More pages than one step looks at.
#[tokio::test(start_paused = true)]
async fn what_goes_at_once_goes_in_steps() {
    let world = World::with(SequencerSettings {
        extent_bytes: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    for sequence in 1..=70 {
        let draft = (0..100).fold(segment(sequence), |draft, _| {
            draft.slice(partition(0), &[at(5)])
        });
        process.send_until_answered(&draft.done()).await;
    }
    configure(&process, &[("retention.bytes", "71000")]).await;
    pass(&world, 6 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 6_000);
    let moves = process.metric("log_starts_moved_total");
    assert!(moves >= 2, "{moves}");
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_that_is_compacted_or_deleted_or_kept_for_ever() {
    let world = World::new();
    let process = world.open().await;
    for config in [
        &[("cleanup.policy", "compact"), ("retention.ms", "1")][..],
        &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
    ] {
        configure(&process, config).await;
        let sequence = process.high_watermark(partition(0)).await + 1;
        process
            .send_until_answered(&one(sequence, partition(0), at(5)))
            .await;
        pass(&world, 30 * MINUTE).await;
        assert_eq!(log_start(&process, 0).await, 0, "{config:?}");
    }
    configure(&process, &[("retention.ms", "1")]).await;
    process.delete_topic(&log()).await.expect("it is there");
    pass(&world, 30 * MINUTE).await;
    assert_eq!(process.metric("log_starts_moved_total"), 0);
    process.undelete_topic(&log()).await.expect("it was there");
    pass(&world, 30 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 2);
}

/// Also of a log that was empty when its topic changed.
#[tokio::test(start_paused = true)]
async fn an_empty_log_goes_by_what_its_topic_says_when_it_is_written() {
    let world = World::new();
    let process = world.open().await;
    configure(
        &process,
        &[("retention.bytes", "1000000"), ("retention.ms", "-1")],
    )
    .await;
    process
        .send_until_answered(&one(1, partition(0), at(5)))
        .await;
    process
        .delete_records(partition(0), Offset::new(1))
        .await
        .expect("the owner");
    pass(&world, 6 * MINUTE).await;
    configure(&process, &[("retention.ms", "1000")]).await;
    pass(&world, 6 * MINUTE).await;
    process
        .send_until_answered(&one(2, partition(0), at(5)))
        .await;
    pass(&world, 6 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_finds_what_is_due_and_so_does_a_change_of_the_topic() {
    let world = World::new();
    let process = world.open().await;
    a_record_a_minute(&world, &process, 0, 10).await;
    let store = world.store.sibling();
    let process = world.open_on(&store).await;
    pass(&world, 60 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 0);
    configure(&process, &[("retention.ms", "3540000")]).await;
    pass(&world, 6 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 10);
    let commit = one(20, partition(1), at(5));
    process.send_until_answered(&commit).await;
    let process = world.open().await;
    pass(&world, 6 * MINUTE).await;
    assert_eq!(log_start(&process, 1).await, 1);
}

/// All partitions whose time has come are one group, and brokers hear of it.
#[tokio::test(start_paused = true)]
async fn what_is_due_at_one_time_goes_in_one_group() {
    let world = World::new();
    let process = world.open().await;
    configure(&process, &[("retention.ms", "1000")]).await;
    let draft = (0..4).fold(segment(1), |draft, index| {
        draft.slice(partition(index), &[at(5)])
    });
    process.send_until_answered(&draft.done()).await;
    let mut news = process.subscribe();
    pass(&world, 6 * MINUTE).await;
    let Some(Notice::Commit(notice)) = news.next().await else {
        panic!("a group is news");
    };
    assert_eq!(notice.advances.len(), 4);
    for advance in &notice.advances {
        assert_eq!(advance.bounds.log_start.get(), 1);
        assert!(advance.extents.is_empty());
    }
    assert_eq!(process.metric("log_starts_moved_total"), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stable_stays_until_its_transaction_ends() {
    let world = World::new();
    let process = world.open().await;
    configure(&process, &[("retention.ms", "1000")]).await;
    for sequence in 1..=2 {
        process
            .send_until_answered(&one(sequence, partition(0), at(5)))
            .await;
    }
    process
        .send_until_answered(&part(3, partition(0), inside(7, 0, 0, 1), 1))
        .await;
    pass(&world, 12 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 2);
    for ended in process
        .end_transactions(vec![abort(partition(0), 7, 1)])
        .await
    {
        ended.expect("the owner");
    }
    pass(&world, 12 * MINUTE).await;
    assert_eq!(log_start(&process, 0).await, 4);
}

#[tokio::test(start_paused = true)]
async fn a_move_whose_outcome_is_unknown_is_settled_like_any_group() {
    for fault in [
        CommitFault::Conflict,
        CommitFault::Unavailable,
        CommitFault::Unknown(Landing::Now),
        CommitFault::Unknown(Landing::Never),
        CommitFault::Unknown(Landing::Later { after_commits: 0 }),
    ] {
        let world = World::new();
        let process = world.open().await;
        configure(&process, &[("retention.ms", "1000")]).await;
        for index in 0..2 {
            let commit = one(1 + u64::from(index), partition(index), at(5));
            process.send_until_answered(&commit).await;
        }
        pass(&world, MINUTE).await;
        world.store.fail(KeyKind::Tail, fault);
        pass(&world, 6 * MINUTE).await;
        for index in 0..2 {
            assert_eq!(log_start(&process, index).await, 1, "{fault:?}");
        }
        let commit = one(9, partition(0), at(5));
        process.send_until_answered(&commit).await;
        assert_eq!(process.high_watermark(partition(0)).await, 2);
    }
}
