//! New producer ids are taken when they are needed, and not before.

use tidelog_metadata::keyspace::{KeyKind, Keyspace, TransactionRow};
use tidelog_metadata_api::{Decision, Log as _, TransactionVersion, transaction_shard};
use tidelog_store::Store as _;

use super::{Client, at, id, open, opened, producer, soon};
use crate::world::World;

/// Sets the epoch of the producer that an id is with.
async fn at_epoch(world: &World, text: &str, epoch: i16) {
    let rows = world.store.rows(KeyKind::Transaction);
    let [(_, value)] = &rows[..] else {
        panic!("one id, not {rows:?}");
    };
    let mut row = TransactionRow::decode(value.clone()).expect("it was just written");
    row.0.producer = producer(row.0.producer.id.get(), epoch);
    let shard = transaction_shard(&id(text), world.shards);
    let mut transaction = world.store.begin().await.expect("the store answers");
    let key = Keyspace::default().transaction(shard, &id(text));
    transaction.put(key, row.encode());
    transaction.commit().await.expect("no conflict");
}

#[tokio::test(start_paused = true)]
async fn each_new_id_has_a_producer_id_that_nobody_else_has() {
    let (_, process, _) = opened().await;
    for number in 1..=3 {
        let name = format!("t{number}");
        let client = Client::new(&process.service, &name);
        assert_eq!(client.init(None).await, Ok(producer(number, 0)));
    }
    // Producers without a transactional id have theirs from the same counter.
    let other = process.init_producer().await.expect("it answers");
    assert_eq!(other, producer(4, 0));
    let client = Client::new(&process.service, "t1");
    assert_eq!(client.init(None).await, Ok(producer(1, 1)));
    let other = process.init_producer().await.expect("it answers");
    assert_eq!(other, producer(5, 0), "nothing was wasted");
}

#[tokio::test(start_paused = true)]
async fn a_producer_whose_epochs_are_used_up_goes_on_with_another_id() {
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        let (world, old, told) = opened().await;
        open(&old.service, "t").await;
        old.stop().await;
        at_epoch(&world, "t", i16::MAX - 1).await;
        let new = world.open_on(&world.store.sibling()).await;
        let client = Client::new(&new.service, "t");
        let last = producer(1, i16::MAX - 1);
        client
            .add(last, &[at(1)])
            .await
            .expect("it is the producer's");
        let next = client.end(last, Decision::Commit, version).await;
        soon().await;
        let markers = told.markers();
        assert_eq!(markers.len(), 2);
        if version == TransactionVersion::Two {
            // The markers fence it with the epoch that nobody is given.
            assert_eq!(next, Ok(producer(1_001, 0)));
            assert_eq!(markers[0].producer, producer(1, i16::MAX));
        } else {
            assert_eq!(next, Ok(last));
            assert_eq!(markers[0].producer, last);
            assert_eq!(client.init(Some(last)).await, Ok(producer(1_001, 0)));
        }
        assert_eq!(client.add(producer(1_001, 0), &[at(0)]).await, Ok(2));
    }
}
