//! Backups that are not whole, or not ours, are refused before a row is written.

use std::sync::Arc;

use futures::TryStreamExt as _;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{ObjectStore, ObjectStoreExt as _};
use tidelog_blob::{BackupPart, BucketLayout};
use tidelog_metadata::backup::{Backups, FormatError, ObjectError, RestoreError, TakeOptions};
use tidelog_store::memory::MemoryStore;
use tidelog_types::ClusterId;

use super::{Bucket, name};
use crate::manifests::{one, plain};
use crate::world::{World, partition};

/// A bucket with a backup of several parts.
async fn bucket() -> Bucket {
    let (world, process) = World::opened().await;
    for sequence in 1..20 {
        let commit = one(sequence, partition(0), plain(1));
        process.send_until_answered(&commit).await;
    }
    let bucket = Bucket::new();
    let options = TakeOptions {
        part_bytes: 1_000,
        ..TakeOptions::default()
    };
    let taken = bucket.try_take(&world.store.memory, "b", options).await;
    assert!(taken.expect("it answers").parts > 3);
    bucket
}

impl Bucket {
    async fn object(&self, part: BackupPart) -> (Path, Vec<u8>) {
        let path = self.layout.backup(&name("b"), part);
        let found = self.objects.get(&path).await.expect("it is there");
        (path, found.bytes().await.expect("it is there").to_vec())
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) {
        let put = self.objects.put(path, bytes.into()).await;
        put.expect("it answers");
    }

    /// Why the backup is refused; nothing was written.
    async fn refusal(&self) -> FormatError {
        let store = MemoryStore::new();
        let error = self.try_restore(&store, "b", false).await;
        assert!(store.dump().is_empty(), "rows were written");
        match error.expect_err("it is damaged") {
            RestoreError::Backup { source, .. } => match *source {
                ObjectError::Format { source, .. } => source,
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
    }
}

/// An object with a changed field of its header, or of its body, and the CRCs made right again.
fn forged(mut object: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    object[at..at + bytes.len()].copy_from_slice(bytes);
    let body = tidelog_crc32c::crc32c(&object[72..]);
    object[64..68].copy_from_slice(&body.to_be_bytes());
    let header = tidelog_crc32c::crc32c(&object[..68]);
    object[68..72].copy_from_slice(&header.to_be_bytes());
    object
}

#[tokio::test(start_paused = true)]
async fn a_truncated_or_flipped_object_is_refused() {
    let bucket = bucket().await;
    for part in [BackupPart::Begin, BackupPart::Rows(2), BackupPart::End] {
        let (path, whole) = bucket.object(part).await;
        for cut in [0, 71, 72, whole.len() - 1] {
            bucket.put(&path, whole[..cut].to_vec()).await;
            let error = bucket.refusal().await;
            assert!(matches!(error, FormatError::Truncated { .. }), "{error}");
        }
        for at in [0, 30, 60, 70, 72, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            bucket.put(&path, flipped).await;
            bucket.refusal().await;
        }
        bucket.put(&path, whole).await;
    }
    bucket.restored("b").await;
}

#[tokio::test(start_paused = true)]
async fn counts_that_differ_are_refused() {
    let bucket = bucket().await;
    let (path, whole) = bucket.object(BackupPart::End).await;
    // After the header, the name, two times and the number of parts.
    let keys = 72 + 2 + 16 + 4;
    for (at, expected) in [
        (keys, "keys"),
        (keys + 8, "bytes"),
        (keys + 16, "a checksum of"),
    ] {
        let mut wrong = whole[at..at + 4].to_vec();
        wrong[3] ^= 1;
        bucket.put(&path, forged(whole.clone(), at, &wrong)).await;
        match bucket.refusal().await {
            FormatError::Total { what, .. } => assert_eq!(what, expected),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_and_an_unknown_feature_are_refused() {
    let bucket = bucket().await;
    for part in [BackupPart::Begin, BackupPart::Rows(1), BackupPart::End] {
        let (path, whole) = bucket.object(part).await;
        bucket.put(&path, forged(whole.clone(), 8, &[0, 2])).await;
        assert_eq!(bucket.refusal().await, FormatError::Version(2));
        bucket.put(&path, forged(whole.clone(), 12, &[1])).await;
        let error = bucket.refusal().await;
        assert!(matches!(error, FormatError::Features(_)), "{error}");
        bucket.put(&path, whole).await;
    }
}

#[tokio::test(start_paused = true)]
async fn parts_of_another_backup_or_out_of_their_place_are_refused() {
    let bucket = bucket().await;
    let (first_path, first) = bucket.object(BackupPart::Rows(1)).await;
    let (second_path, second) = bucket.object(BackupPart::Rows(2)).await;
    bucket.put(&first_path, second.clone()).await;
    let number = FormatError::Number {
        expected: 1,
        found: 2,
    };
    assert_eq!(bucket.refusal().await, number);
    bucket
        .put(&first_path, forged(first.clone(), 36, &[0; 16]))
        .await;
    assert_eq!(bucket.refusal().await, FormatError::Nonce);
    bucket.put(&first_path, first).await;

    bucket
        .objects
        .delete(&second_path)
        .await
        .expect("it answers");
    let store = MemoryStore::new();
    let error = bucket.try_restore(&store, "b", false).await;
    let text = format!("{:?}", error.expect_err("a part is missing"));
    assert!(text.contains("Missing"), "{text}");
    assert!(store.dump().is_empty());
    bucket.put(&second_path, second).await;
    bucket.restored("b").await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_another_cluster_or_name_is_refused() {
    let bucket = bucket().await;
    let other = ClusterId::from_bytes([8; 16]);
    let layout = BucketLayout::new(Path::default()).cluster(other);
    let objects: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&bucket.objects);
    let listed = objects.list(Some(&bucket.layout.backups_root()));
    let listed: Vec<_> = listed.try_collect().await.expect("it answers");
    for object in listed {
        let part = object.location.filename().expect("a name").to_owned();
        let to = layout.backups_root().join("b").join(part.as_str());
        bucket
            .objects
            .copy(&object.location, &to)
            .await
            .expect("ok");
        let renamed = bucket.layout.backups_root().join("c").join(part.as_str());
        let copied = bucket.objects.copy(&object.location, &renamed).await;
        copied.expect("ok");
    }
    let store = MemoryStore::new();
    let error = bucket.try_restore(&store, "c", false).await;
    let text = format!("{:?}", error.expect_err("it is `b`"));
    assert!(text.contains("Name"), "{text}");
    let elsewhere = Bucket {
        backups: Backups::new(objects, layout.clone(), other),
        layout,
        objects: Arc::clone(&bucket.objects),
        env: tidelog_env::Env::seeded(3),
    };
    let error = elsewhere.refusal().await;
    let expected = FormatError::Cluster {
        expected: other,
        found: super::CLUSTER,
    };
    assert_eq!(error, expected);
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_never_written_over_another() {
    let bucket = bucket().await;
    let before = bucket.object(BackupPart::End).await;
    let (world, _process) = World::opened().await;
    let options = TakeOptions::default();
    let again = bucket.try_take(&world.store.memory, "b", options).await;
    assert!(again.is_err());
    assert_eq!(bucket.object(BackupPart::End).await, before);
    bucket.restored("b").await;
    let empty: MemoryStore = MemoryStore::new();
    let nothing = bucket.try_take(&empty, "empty", options).await;
    assert!(nothing.is_err());
}
