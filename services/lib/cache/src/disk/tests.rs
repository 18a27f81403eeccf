//! What the disk gives back, and what becomes of a cache whose disk fails.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use tempfile::TempDir;
use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

use super::*;
use crate::metrics::CacheMetrics;

const BLOCK: usize = 1024 * 1024;
const PAGE: usize = 100_000;

fn key(sequence: u64) -> PageKey {
    let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence));
    PageKey::new(BucketId::new(0), segment, 0)
}

fn page(sequence: u64) -> Page {
    Page::unproven(Bytes::from(vec![
        u8::try_from(sequence % 251).unwrap();
        PAGE
    ]))
}

fn settings(folder: &Path) -> DiskSettings {
    DiskSettings {
        folder: folder.to_owned(),
        bytes: (BLOCK * 32) as u64,
    }
}

async fn open(folder: &Path, metrics: &CacheMetrics) -> Result<Disk, DiskError> {
    Disk::open_with(&settings(folder), BLOCK, &Env::system(), |pool| {
        metrics.counters(pool)
    })
    .await
}

async fn read(disk: &Disk, sequence: u64) -> Option<Bytes> {
    Some(disk.load(&key(sequence)).await?.into_bytes())
}

/// Ends a disk as the end of its process would.
async fn close(disk: Disk) {
    disk.settle().await;
    drop(disk);
}

fn files(folder: &Path, pool: Pool) -> Vec<PathBuf> {
    let folder = folder.join(Shape::of(pool, 0, BLOCK).folder());
    let listed = std::fs::read_dir(folder).unwrap();
    listed.map(|file| file.unwrap().path()).collect()
}

/// Turns one bit of each occurrence of ten equal bytes of the page.
fn damage(folder: &Path, sequence: u64) {
    let wanted = [u8::try_from(sequence % 251).unwrap(); 10];
    for path in files(folder, Pool::CatchUp) {
        let mut file = File::options().read(true).write(true).open(path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let place = bytes.windows(10).position(|window| window == wanted);
        if let Some(place) = place {
            file.seek(SeekFrom::Start(place as u64)).unwrap();
            file.write_all(&[wanted[0] ^ 1]).unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_put_is_found_also_by_the_next_process() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let disk = open(folder.path(), &metrics).await.unwrap();
    for sequence in 1..=5 {
        disk.catch_up.put(key(sequence), &page(sequence));
        disk.settle().await;
    }
    disk.tail.put(key(6), &page(6));
    close(disk).await;
    let disk = open(folder.path(), &metrics).await.unwrap();
    for sequence in 1..=6 {
        let found = read(&disk, sequence).await;
        assert_eq!(found, Some(page(sequence).into_bytes()), "{sequence}");
    }
    assert_eq!(read(&disk, 7).await, None);
    assert_eq!(metrics.counters(Pool::CatchUp).snapshot().disk_hits, 5);
    assert_eq!(metrics.counters(Pool::Tail).snapshot().disk_hits, 1);
}

#[tokio::test]
async fn a_page_that_was_damaged_on_disk_is_a_miss_and_counted() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let disk = open(folder.path(), &metrics).await.unwrap();
    for sequence in 1..=2 {
        disk.catch_up.put(key(sequence), &page(sequence));
        disk.settle().await;
    }
    damage(folder.path(), 1);
    assert_eq!(read(&disk, 1).await, None);
    assert_eq!(read(&disk, 2).await, Some(page(2).into_bytes()));
    let seen = metrics.counters(Pool::CatchUp).snapshot();
    assert_eq!((seen.disk_lost, seen.disk_errors), (1, 0));
    // It can be put again.
    disk.catch_up.put(key(1), &page(1));
    disk.settle().await;
    assert_eq!(read(&disk, 1).await, Some(page(1).into_bytes()));
}

#[tokio::test]
async fn old_data_leaves_in_the_order_in_which_it_came_and_the_tail_stays() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let disk = open(folder.path(), &metrics).await.unwrap();
    disk.tail.put(key(1_000), &page(1_000));
    for sequence in 1..=400 {
        disk.catch_up.put(key(sequence), &page(sequence));
        disk.settle().await;
    }
    assert_eq!(read(&disk, 1).await, None);
    assert_eq!(read(&disk, 400).await, Some(page(400).into_bytes()));
    assert_eq!(read(&disk, 1_000).await, Some(page(1_000).into_bytes()));
    let sizes = files(folder.path(), Pool::CatchUp).into_iter();
    let bytes: u64 = sizes.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= settings(folder.path()).bytes / 4 * 3, "{bytes}");
}

#[tokio::test]
async fn a_page_that_was_removed_is_gone() {
    let folder = TempDir::new().unwrap();
    let disk = open(folder.path(), &CacheMetrics::default()).await.unwrap();
    disk.catch_up.put(key(1), &page(1));
    disk.settle().await;
    disk.remove(&key(1));
    assert_eq!(read(&disk, 1).await, None);
}

#[tokio::test]
async fn a_smaller_disk_gives_back_what_it_took() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    close(open(folder.path(), &metrics).await.unwrap()).await;
    assert_eq!(files(folder.path(), Pool::CatchUp).len(), 24);
    let smaller = DiskSettings {
        bytes: (BLOCK * 16) as u64,
        ..settings(folder.path())
    };
    let disk = Disk::open_with(&smaller, BLOCK, &Env::system(), |pool| {
        metrics.counters(pool)
    })
    .await;
    assert_eq!(files(folder.path(), Pool::CatchUp).len(), 12);
    drop(disk.unwrap());
}

#[test]
fn blocks_grow_with_the_disk_so_that_their_files_stay_few() {
    const GIB: usize = 1024 * 1024 * 1024;
    for (bytes, blocks) in [(0, 4), (GIB, 16), (100 * GIB, 133), (200 * GIB, 128)] {
        let shape = Shape::of(Pool::Tail, bytes, BLOCK_BYTES_MIN);
        assert_eq!(shape.blocks, blocks, "{shape:?}");
        assert!(
            shape.block_bytes * blocks <= bytes.max(GIB / 4),
            "{shape:?}"
        );
    }
}

#[tokio::test]
async fn what_was_cut_in_another_way_is_removed() {
    let folder = TempDir::new().unwrap();
    let other = folder.path().join("pages-0-tail");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(folder.path().join("mine"), b"").unwrap();
    drop(open(folder.path(), &CacheMetrics::default()).await.unwrap());
    assert!(!other.exists());
    assert!(folder.path().join("mine").exists());
}

#[tokio::test]
async fn a_folder_has_one_process() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let first = open(folder.path(), &metrics).await.unwrap();
    let second = open(folder.path(), &metrics).await;
    assert!(matches!(second.err(), Some(DiskError::Taken(_))));
    drop(first);
    assert!(open(folder.path(), &metrics).await.is_ok());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    let opened = open(&file, &CacheMetrics::default()).await;
    assert!(matches!(opened.err(), Some(DiskError::Folder { .. })));
    // What stands where the pages should be is no error of foyer's to die of, either.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(
        taken.join(Shape::of(Pool::Tail, 0, BLOCK).folder()),
        b"no folder",
    )
    .unwrap();
    assert!(open(&taken, &CacheMetrics::default()).await.is_err());
    let shut = folder.path().join("shut");
    std::fs::create_dir(&shut).unwrap();
    std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o500)).unwrap();
    // Who may write everywhere can write here, too.
    let may_write = std::fs::write(shut.join("probe"), b"").is_ok();
    let opened = open(&shut, &CacheMetrics::default()).await;
    assert_eq!(opened.is_ok(), may_write);
}

#[tokio::test]
async fn garbage_in_the_files_is_no_page() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let disk = open(folder.path(), &metrics).await.unwrap();
    disk.catch_up.put(key(1), &page(1));
    close(disk).await;
    for path in files(folder.path(), Pool::CatchUp) {
        let garbage: Vec<u8> = (0..BLOCK).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
        std::fs::write(path, garbage).unwrap();
    }
    let disk = open(folder.path(), &metrics).await.unwrap();
    assert_eq!(read(&disk, 1).await, None);
    disk.catch_up.put(key(2), &page(2));
    disk.settle().await;
    assert_eq!(read(&disk, 2).await, Some(page(2).into_bytes()));
}

/// A file system of two mebibytes, if this user may mount one.
fn small_disk(folder: &Path) -> bool {
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(folder)
        .stderr(std::process::Stdio::null())
        .status();
    mounted.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_disk_without_room_for_all_is_not_used_at_all() {
    let folder = TempDir::new().unwrap();
    if !small_disk(folder.path()) {
        return;
    }
    let opened = open(folder.path(), &CacheMetrics::default()).await;
    // What was taken before it turned out is given back.
    let left = files(folder.path(), Pool::Tail).len();
    let unmounted = std::process::Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status();
    assert!(unmounted.unwrap().success());
    let error = opened.err().unwrap();
    assert!(matches!(error, DiskError::Folder { .. }), "{error}");
    assert_eq!(left, 0);
}

/// Two reads that hang, as on a disk that does not answer.
#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_for_the_disk_goes_elsewhere() {
    let folder = TempDir::new().unwrap();
    let metrics = CacheMetrics::default();
    let disk = open(folder.path(), &metrics).await.unwrap();
    disk.catch_up.put(key(1), &page(1));
    disk.settle().await;
    let reads = Arc::clone(&disk.catch_up.reads);
    let hanging = reads.acquire_many(u32::try_from(READS_MAX).unwrap()).await;
    assert_eq!(read(&disk, 1).await, None);
    assert_eq!(metrics.counters(Pool::CatchUp).disk_errors.get(), 1);
    drop(hanging);
    assert!(read(&disk, 1).await.is_some(), "it is well again");
    let hanging = reads.acquire_many(u32::try_from(READS_MAX).unwrap()).await;
    for _ in 0..ERRORS_MAX {
        assert_eq!(read(&disk, 1).await, None);
    }
    drop(hanging);
    assert_eq!(read(&disk, 1).await, None, "it is asked no more");
}
