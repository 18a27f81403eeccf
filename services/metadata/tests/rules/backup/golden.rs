//! The objects of one backup, byte for byte as `docs/format/backup.md` lays them out. What was written once
//! must be readable for ever, so the file changes only with a new version.

use std::fmt::Write as _;
use std::path::PathBuf;

use tidelog_blob::BackupPart;
use tidelog_blob::object_store::ObjectStoreExt as _;
use tidelog_env::{Clock as _, Env, ManualClock, SeededRng, Supervisor};
use tidelog_metadata::backup::TakeOptions;

use super::{Bucket, name};
use crate::manifests::{one, sent};
use crate::world::{World, partition, settings};

const PARTS: [BackupPart; 4] = [
    BackupPart::Begin,
    BackupPart::Rows(1),
    BackupPart::Rows(2),
    BackupPart::End,
];

/// What this version of the program writes.
const BACKUP: &str = "backup.txt";
/// What was written before counters came first, too.
const BACKUP_WITHOUT_FIRST_COUNTERS: &str = "backup-3.txt";
/// What was written before sizes were counted.
const BACKUP_WITHOUT_SIZES: &str = "backup-2.txt";
/// What was written before there were transactions.
const BACKUP_WITHOUT_TRANSACTIONS: &str = "backup-1.txt";

fn file(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read_to_string(folder.join(name)).expect("the file is part of the crate")
}

/// A bucket with the backup of a small fixed history.
async fn bucket() -> Bucket {
    let world = World::fixed(settings(1));
    let process = world.open().await;
    for sequence in 1..=2 {
        let batch = sent(3, 2 * i32::try_from(sequence).expect("small") - 2, 2);
        let commit = one(sequence, partition(0), batch);
        process.send_until_answered(&commit).await;
    }
    let clock = ManualClock::default();
    assert_eq!(clock.wall().as_millis(), 0);
    let bucket = Bucket {
        env: Env {
            clock: std::sync::Arc::new(clock),
            rng: std::sync::Arc::new(SeededRng::new(5)),
            supervisor: Supervisor::new(),
        },
        ..Bucket::new()
    };
    let options = TakeOptions {
        part_bytes: 600,
        ..TakeOptions::default()
    };
    let store = &world.store.memory;
    let taken = bucket.try_take(store, "golden", options);
    assert_eq!(taken.await.expect("it answers").parts, 2);
    bucket
}

#[tokio::test(start_paused = true)]
async fn objects_are_written_as_the_file_says() {
    let bucket = bucket().await;
    let mut text = String::new();
    for part in PARTS {
        let path = bucket.layout.backup(&name("golden"), part);
        let object = bucket.objects.get(&path).await.expect("it is there");
        let bytes = object.bytes().await.expect("it is there");
        let _ = write!(text, "{part} ");
        for byte in &bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    assert_eq!(text, file(BACKUP));
}

#[tokio::test(start_paused = true)]
async fn the_objects_of_the_files_are_restored() {
    restores(&file(BACKUP)).await;
    restores(&file(BACKUP_WITHOUT_FIRST_COUNTERS)).await;
    restores(&file(BACKUP_WITHOUT_SIZES)).await;
    restores(&file(BACKUP_WITHOUT_TRANSACTIONS)).await;
}

async fn restores(text: &str) {
    let bucket = Bucket::new();
    for (line, part) in text.lines().zip(PARTS) {
        let (found, hex) = line.split_once(' ').expect("two words");
        assert_eq!(found, part.to_string());
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("two hex digits")
        };
        let bytes: Vec<u8> = hex.as_bytes().chunks_exact(2).map(byte).collect();
        let path = bucket.layout.backup(&name("golden"), part);
        let put = bucket.objects.put(&path, bytes.into()).await;
        put.expect("it answers");
    }
    let (store, _) = bucket.restored("golden").await;
    let process = World::on(store).open().await;
    assert_eq!(process.high_watermark(partition(0)).await, 4);
    assert_eq!(process.log_of(partition(0)).await.len(), 2);
}
