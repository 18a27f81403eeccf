//! What does not come back, and who goes on.

use tidelog_format::batch::ProducerStamp;
use tidelog_metadata_api::{Decision, Merges as _, TopicState};
use tidelog_types::ProducerEpoch;

use super::*;
use crate::purge;
use crate::transactional_ids::Client;
use crate::transactions::{end, with_epoch};

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_purged_before_the_backup_stays_away() {
    let ground = Ground::new(1).await;
    purge::create(&ground.process).await;
    let name = TopicName::new("gone").expect("it is good");
    let selector = TopicSelector::Name(name.clone());
    let topic = ground.process.topic(&selector).await.expect("it is there");
    let mut writer = tidelog_format::segment::SegmentWriter::new();
    let shard = topic.partitions[0].shard;
    writer
        .push(topic.id, purge::gone(0), shard, batch(0, 5, None))
        .expect("it is good");
    ground.commit(1, &writer).await;
    ground.fill(2..=2).await;
    // A merge that was never swapped: the backup does not know it.
    let task = ground.task().await.expect("there is something");
    ground.put_merged(1, &task).await;
    ground.process.finish(task.id).await.expect("nothing fails");
    ground.process.delete_topic(&selector).await.expect("live");
    purge::pass(&ground.world, 1_200_000).await;
    let number = TopicSelector::Number(topic.number);
    assert!(ground.process.topic(&number).await.is_err(), "it is purged");
    back_up(&ground, "b").await;
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!((rebuilt.topics, rebuilt.purged), (vec![], vec![name]));
    let (_world, process) = open(&store).await;
    assert!(process.topic(&number).await.is_err());
    assert!(process.topic(&selector).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn of_a_topic_that_is_being_purged_nothing_is_added() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    let row = rows_of(&ground, KeyKind::Topic).pop().expect("it is there");
    let mut topic = tidelog_metadata::keyspace::TopicRow::decode(row.1).expect("a good row");
    let at = ground.world.clock.wall();
    topic.set_state(TopicState::Purging {
        at,
        purge_after: at,
    });
    let source = ground.world.store.memory.dump();
    let changed = source.into_iter().map(|(key, value)| {
        let value = if key == row.0 { topic.encode() } else { value };
        (key, value)
    });
    let source = MemoryStore::with_rows(
        tidelog_store::memory::MemoryOptions::default(),
        changed.collect::<Vec<_>>(),
    );
    let taken = backups(&ground)
        .take(
            &source,
            &ground.env,
            &BackupName::new("b").expect("it is good"),
            TakeOptions::default(),
        )
        .await;
    taken.expect("the store answers");
    ground.fill(4..=6).await;
    ground.merge(1).await;
    let (_, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!(rebuilt.purged.len(), 1);
    assert!(rebuilt.partitions.is_empty());
}

fn rows_of(ground: &Ground, kind: KeyKind) -> Vec<(Bytes, Bytes)> {
    let rows = ground.world.store.memory.dump().into_iter();
    let rows = rows.filter(|(key, _)| key.get(4) == Some(&(kind as u8)));
    rows.collect()
}

#[tokio::test(start_paused = true)]
async fn transactional_ids_go_on_above_the_epochs_that_their_partitions_have_seen() {
    let ground = Ground::new(1).await;
    let client = Client::new(&ground.process.service, "id");
    let producer = client.init(None).await.expect("it is new");
    back_up(&ground, "b").await;
    // Each transaction has had an epoch of its own.
    for (sequence, epoch) in [(1, 3), (2, 5)] {
        let stamp = ProducerStamp {
            id: producer.id,
            epoch: ProducerEpoch::new(epoch),
            base_sequence: 0,
            transactional: true,
        };
        let sent = [(0, batch(0, 2, Some(stamp)), Some(sequence))];
        let commit = ground.put_numbered(sequence, &sent).await;
        ground.process.send_until_answered(&commit).await;
        let marker = end(partition(0), producer.id.get(), sequence, Decision::Commit);
        let marker = with_epoch(marker, epoch);
        let ended = ground.process.service.end_transactions(vec![marker]).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    }
    ground.merge(1).await;
    let (store, rebuilt) = try_rebuild(&ground, "b", Gaps::Refuse)
        .await
        .expect("it is whole");
    assert_eq!(rebuilt.raised_epochs, 1);
    let (_world, process) = open(&store).await;
    let client = Client::new(&process.service, "id");
    let next = client.init(None).await.expect("it begins anew");
    assert_eq!(next.id, producer.id);
    assert!(next.epoch > ProducerEpoch::new(5), "{next}");
}
