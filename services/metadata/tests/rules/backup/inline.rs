//! Segments that lie in the store are in a backup of it.

use crate::manifests::{plain, segment};
use crate::world::{World, partition};
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::Log as _;
use tidelog_store::Store as _;

use super::{Bucket, rows_of};
use crate::inline::put_some_row;
use crate::manifests::name;

#[tokio::test(start_paused = true)]
async fn a_restore_brings_back_what_lies_in_the_store() {
    let (world, process) = World::opened().await;
    let bucket = Bucket::new();
    let draft = |sequence| {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        draft.in_store().done()
    };
    for sequence in 1..=3 {
        process.send_until_answered(&draft(sequence)).await;
    }
    // One of a group that the backup does not reach, as it would be if it came while the backup is taken.
    let mut transaction = world.store.begin().await.expect("the store answers");
    put_some_row(transaction.as_mut());
    transaction.commit().await.expect("no conflict");
    assert_eq!(world.store.rows(KeyKind::Inline).len(), 4);
    bucket.take(&world.store.memory, "some").await;
    let (store, _) = bucket.restored("some").await;
    let rows = rows_of(&store, KeyKind::Inline);
    assert_eq!(rows.len(), 3, "nothing would ever delete the other one");
    let restored = World::on(store);
    let process = restored.open().await;
    assert_eq!(process.log_of(partition(0)).await.len(), 3);
    for sequence in 1..=3 {
        let read = process.inline_segment(name(sequence)).await;
        assert_eq!(read.expect("the store answers"), draft(sequence).inline);
    }
}
