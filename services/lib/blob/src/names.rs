//! Where each object lies. One function a kind of object, and nothing else makes a name.
//!
//! ```text
//! <prefix>/tidelog.json                                              the marker
//! <prefix>/tidelog-preflight/<16 hex>                                scratch of the start-up check
//! <prefix>/<cluster>/meta/...                                        the embedded store
//! <prefix>/<cluster>/seg/<2 hex>/<incarnation>/<sequence>            segments
//! <prefix>/<cluster>/backup/<name>/{begin, <8 digits>, end}          backups of metadata
//! <prefix>/<cluster>/restore/<10 digits>                             generations that restores have taken
//! <prefix>/<cluster>/accept/<10 digits>                              those of them that operators have accepted
//! <prefix>/<cluster>/bucket/<5 digits>[.<what>]                      buckets beside this one
//! ```
//!
//! A bucket beside the main one has a prefix, a marker and segments of its own, under the same names. Here they are
//! called `<prefix>/<cluster>/seg@<number>/...`, with the prefix of the main bucket: so one name says both the bucket and
//! the object, and [`Routed`](crate::buckets::Routed) finds the way. No object lies under such a name.
//!
//! Incarnation and sequence are 16 lower-case hex digits, so that a listing is in their order. The two hex
//! digits before them are the most significant byte of the CRC-32C of both numbers in big-endian order:
//! S3 spreads load by prefix, and this byte takes all 256 values over any 256 sequences that share
//! everything but their last byte. These layouts must not change: objects are found by computing their
//! names.

use std::sync::Arc;

use object_store::path::Path;
use thiserror::Error;
use tidelog_types::{
    BucketId, ClusterGeneration, ClusterId, Incarnation, SegmentName, SegmentSequence,
};

use crate::backup_name::{BackupName, BackupPart};

pub(crate) const MARKER: &str = "tidelog.json";
pub(crate) const SCRATCH: &str = "tidelog-preflight";
pub(crate) const SEGMENTS: &str = "seg";
pub(crate) const STORE: &str = "meta";
pub(crate) const BACKUPS: &str = "backup";
pub(crate) const RESTORES: &str = "restore";
pub(crate) const ACCEPTS: &str = "accept";
pub(crate) const BUCKETS: &str = "bucket";
/// The bucket that a cluster began with.
pub const MAIN: BucketId = BucketId::new(0);
/// Hex digits of a `u64`.
const NUMBER_DIGITS: usize = 16;

/// Names in a bucket before its cluster is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketLayout {
    prefix: Path,
}

impl BucketLayout {
    /// The layout below `prefix`, which may be empty.
    pub const fn new(prefix: Path) -> Self {
        Self { prefix }
    }

    /// The marker that says whose bucket this is.
    pub fn marker(&self) -> Path {
        self.prefix.clone().join(MARKER)
    }

    /// A key that the start-up check may write and delete.
    pub fn scratch(&self, nonce: u64) -> Path {
        self.scratch_root().join(number(nonce))
    }

    /// What comes before all scratch keys.
    pub fn scratch_root(&self) -> Path {
        self.prefix.clone().join(SCRATCH)
    }

    /// What comes before everything of this bucket.
    pub const fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The layout of one cluster.
    pub fn cluster(&self, cluster: ClusterId) -> ClusterLayout {
        ClusterLayout {
            root: self.prefix.clone().join(cluster.to_string()),
            beside: Arc::default(),
        }
    }
}

/// Names of one cluster's objects. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLayout {
    root: Path,
    /// The buckets beside the main one.
    beside: Arc<[BucketId]>,
}

/// What an object of [`ClusterLayout::bucket`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketPart {
    /// What the bucket is called, and where it is.
    Name,
    /// That its marker was seen, and which.
    Entered,
    /// Where it is since it has moved for the so-many-th time.
    Moved(u32),
    /// That nothing is in it any more.
    Gone,
}

/// A path that names no segment of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not the path of a segment of this cluster")]
pub struct NotASegment(pub Path);

impl ClusterLayout {
    /// What comes before all objects of the cluster.
    pub const fn root(&self) -> &Path {
        &self.root
    }

    /// The same names, of a cluster that has these buckets beside its main one.
    #[must_use]
    pub fn with_buckets(&self, beside: impl IntoIterator<Item = BucketId>) -> Self {
        Self {
            root: self.root.clone(),
            beside: beside.into_iter().filter(|id| *id != MAIN).collect(),
        }
    }

    /// All buckets of the cluster, the main one first.
    pub fn buckets(&self) -> impl Iterator<Item = BucketId> + Clone + Send + '_ {
        std::iter::once(MAIN).chain(self.beside.iter().copied())
    }

    /// The folders below [`root`](Self::root) in which a cluster has objects.
    pub fn roots(&self) -> [Path; 6] {
        [SEGMENTS, STORE, BACKUPS, RESTORES, ACCEPTS, BUCKETS]
            .map(|folder| self.root.clone().join(folder))
    }

    /// What comes before all segments of one bucket.
    pub fn segments_root(&self, bucket: BucketId) -> Path {
        let root = self.root.clone();
        if bucket == MAIN {
            root.join(SEGMENTS)
        } else {
            root.join(format!("{SEGMENTS}@{bucket}"))
        }
    }

    /// What comes before all segments of one [`spread`] in a bucket.
    pub fn segments_of(&self, bucket: BucketId, spread: u8) -> Path {
        self.segments_root(bucket).join(format!("{spread:02x}"))
    }

    /// The bucket whose segments lie below a path, as [`ClusterLayout::segments_root`] says it, and what stands behind that.
    pub(crate) fn split_segments(&self, path: &Path) -> Option<(BucketId, Path)> {
        let mut parts = path.prefix_match(&self.root)?;
        let folder = parts.next()?;
        let bucket = match folder.as_ref().split_once('@') {
            None => MAIN,
            Some((_, number)) => BucketId::new(number.parse().ok()?),
        };
        let root = self.segments_root(bucket);
        let rest = path.prefix_match(&root)?;
        Some((bucket, rest.collect()))
    }

    /// What comes before everything that says which buckets there are beside the main one.
    pub fn buckets_root(&self) -> Path {
        self.root.clone().join(BUCKETS)
    }

    /// What says something of the bucket that has a number.
    pub fn bucket(&self, number: BucketId, part: BucketPart) -> Path {
        let number = number.get();
        self.buckets_root().join(match part {
            BucketPart::Name => format!("{number:05}"),
            BucketPart::Entered => format!("{number:05}.entered"),
            BucketPart::Moved(turn) => format!("{number:05}.moved-{turn:04}"),
            BucketPart::Gone => format!("{number:05}.gone"),
        })
    }

    /// The number in a path of [`ClusterLayout::bucket`], and what the object there says.
    pub fn parse_bucket(&self, path: &Path) -> Option<(BucketId, BucketPart)> {
        let name = path.filename()?;
        let (number, what) = name.split_once('.').unwrap_or((name, ""));
        let part = match what {
            "" => BucketPart::Name,
            "entered" => BucketPart::Entered,
            "gone" => BucketPart::Gone,
            moved => BucketPart::Moved(moved.strip_prefix("moved-")?.parse().ok()?),
        };
        let number = BucketId::new(number.parse().ok()?);
        (self.bucket(number, part) == *path).then_some((number, part))
    }

    /// What comes before everything that the embedded store writes.
    pub fn store_root(&self) -> Path {
        self.root.clone().join(STORE)
    }

    /// What comes before all backups of metadata.
    pub fn backups_root(&self) -> Path {
        self.root.clone().join(BACKUPS)
    }

    /// Where a part of a backup lies.
    pub fn backup(&self, name: &BackupName, part: BackupPart) -> Path {
        let root = self.backups_root().join(name.as_str());
        root.join(part.to_string())
    }

    /// The backup whose folder is at `path`.
    pub fn parse_backup(&self, path: &Path) -> Option<BackupName> {
        let mut parts = path.prefix_match(&self.backups_root())?;
        let name = BackupName::new(parts.next()?.as_ref()).ok()?;
        parts.next().is_none().then_some(name)
    }

    /// What comes before everything that says which generations are taken.
    pub fn restores_root(&self) -> Path {
        self.root.clone().join(RESTORES)
    }

    /// What says that a restore has taken a generation.
    pub fn restore(&self, generation: ClusterGeneration) -> Path {
        let number = generation.get();
        self.restores_root().join(format!("{number:010}"))
    }

    /// The generation in a path of [`ClusterLayout::restore`].
    pub fn parse_restore(&self, path: &Path) -> Option<ClusterGeneration> {
        let number = path.filename()?.parse().ok()?;
        let generation = ClusterGeneration::new(number);
        (self.restore(generation) == *path).then_some(generation)
    }

    /// What says that an operator has accepted the restore that began a generation.
    pub fn accept(&self, generation: ClusterGeneration) -> Path {
        let number = generation.get();
        self.root
            .clone()
            .join(ACCEPTS)
            .join(format!("{number:010}"))
    }

    /// Where a segment lies.
    pub fn segment(&self, bucket: BucketId, name: SegmentName) -> Path {
        self.segments_of(bucket, spread(name))
            .join(number(name.incarnation.get()))
            .join(number(name.sequence.get()))
    }

    /// The segment that lies at `path`, and in which bucket: the inverse of [`ClusterLayout::segment`], exact to the
    /// byte.
    pub fn parse_segment(&self, path: &Path) -> Result<(BucketId, SegmentName), NotASegment> {
        self.segment_parts(path)
            .filter(|(bucket, name)| self.segment(*bucket, *name) == *path)
            .ok_or_else(|| NotASegment(path.clone()))
    }

    fn segment_parts(&self, path: &Path) -> Option<(BucketId, SegmentName)> {
        let (bucket, below) = self.split_segments(path)?;
        let mut parts = below.parts();
        let _spread = parts.next()?;
        let incarnation = parse_number(parts.next()?.as_ref())?;
        let sequence = parse_number(parts.next()?.as_ref())?;
        let name = SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        );
        Some((bucket, name))
    }
}

/// Where the next segment of the same writer will lie, if `path` is that of a segment of any cluster.
pub(crate) fn next_segment(path: &Path) -> Option<Path> {
    let mut parts = path.as_ref().rsplitn(5, '/');
    let sequence = parse_number(parts.next()?)?;
    let incarnation = Incarnation::new(parse_number(parts.next()?)?);
    let (_spread, _segments) = (parts.next()?, parts.next()?);
    let root = Path::parse(parts.next()?).ok()?;
    let layout = ClusterLayout {
        root,
        beside: Arc::default(),
    };
    let at = |sequence| {
        let name = SegmentName::new(incarnation, SegmentSequence::new(sequence));
        layout.segment(MAIN, name)
    };
    if at(sequence) != *path {
        return None;
    }
    sequence.checked_add(1).map(at)
}

fn number(raw: u64) -> String {
    format!("{raw:0NUMBER_DIGITS$x}")
}

fn parse_number(text: &str) -> Option<u64> {
    // `from_str_radix` alone would take a sign; the comparison in `parse_segment` refuses the rest.
    (text.len() == NUMBER_DIGITS && !text.starts_with('+'))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// The byte that spreads segments over folders: the two hex digits in their names.
pub fn spread(name: SegmentName) -> u8 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&name.incarnation.get().to_be_bytes());
    bytes[8..].copy_from_slice(&name.sequence.get().to_be_bytes());
    tidelog_crc32c::crc32c(&bytes).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn cluster(prefix: &str) -> ClusterLayout {
        let id = "0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a".parse().unwrap();
        BucketLayout::new(Path::from(prefix)).cluster(id)
    }

    fn name(incarnation: u64, sequence: u64) -> SegmentName {
        SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        )
    }

    #[test]
    fn the_next_segment_follows_from_a_path_and_from_nothing_else() {
        for prefix in ["", "a", "a/b"] {
            let layout = cluster(prefix);
            let last = name(3, u64::MAX);
            assert_eq!(
                next_segment(&layout.segment(MAIN, name(3, 9))),
                Some(layout.segment(MAIN, name(3, 10)))
            );
            assert_eq!(next_segment(&layout.segment(MAIN, last)), None);
            assert_eq!(next_segment(&layout.store_root().join("wal")), None);
        }
        let right = cluster("").segment(MAIN, name(3, 9));
        let wrong = right.as_ref().replace("/seg/", "/gas/");
        assert_eq!(next_segment(&Path::from(wrong)), None);
        assert_eq!(next_segment(&Path::from("tidelog.json")), None);
    }

    #[test]
    fn names_are_the_golden_ones() {
        let bucket = BucketLayout::new(Path::from("a/b"));
        assert_eq!(bucket.marker().as_ref(), "a/b/tidelog.json");
        assert_eq!(
            bucket.scratch(0xab).as_ref(),
            "a/b/tidelog-preflight/00000000000000ab"
        );
        assert_eq!(
            BucketLayout::new(Path::default()).marker().as_ref(),
            "tidelog.json"
        );
        let cluster = cluster("a/b");
        let root = "a/b/0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a";
        assert_eq!(cluster.store_root().as_ref(), format!("{root}/meta"));
        for (incarnation, sequence, tail) in [
            (0, 0, "42/0000000000000000/0000000000000000"),
            (1, 1, "44/0000000000000001/0000000000000001"),
            (
                0x2a,
                0x0123_4567_89ab_cdef,
                "5e/000000000000002a/0123456789abcdef",
            ),
            (u64::MAX, u64::MAX, "ef/ffffffffffffffff/ffffffffffffffff"),
        ] {
            let path = cluster.segment(MAIN, name(incarnation, sequence));
            assert_eq!(path.as_ref(), format!("{root}/seg/{tail}"));
        }
    }

    #[test]
    fn backups_and_restores_have_their_golden_names_and_are_found_again() {
        let cluster = cluster("a/b");
        let root = "a/b/0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a";
        let name = BackupName::new("nightly-7").unwrap();
        for (part, tail) in [
            (BackupPart::Begin, "begin"),
            (BackupPart::Rows(12), "00000012"),
            (BackupPart::End, "end"),
        ] {
            let path = cluster.backup(&name, part);
            assert_eq!(path.as_ref(), format!("{root}/backup/nightly-7/{tail}"));
            assert_eq!(cluster.parse_backup(&path), None);
        }
        let folder = cluster.backups_root().join("nightly-7");
        assert_eq!(cluster.parse_backup(&folder), Some(name));
        let generation = ClusterGeneration::new(2);
        let path = cluster.restore(generation);
        assert_eq!(path.as_ref(), format!("{root}/restore/0000000002"));
        assert_eq!(cluster.parse_restore(&path), Some(generation));
        let other = cluster.restores_root().join("2");
        assert_eq!(cluster.parse_restore(&other), None);
        let path = cluster.accept(generation);
        assert_eq!(path.as_ref(), format!("{root}/accept/0000000002"));
    }

    #[test]
    fn buckets_beside_the_main_one_have_names_of_their_own() {
        let root = "a/b/0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a";
        let cluster = cluster("a/b").with_buckets([BucketId::new(2), MAIN, BucketId::new(7)]);
        let buckets: Vec<u16> = cluster.buckets().map(BucketId::get).collect();
        assert_eq!(buckets, [0, 2, 7]);
        let path = cluster.segment(BucketId::new(7), name(1, 1));
        let tail = "44/0000000000000001/0000000000000001";
        assert_eq!(path.as_ref(), format!("{root}/seg@7/{tail}"));
        let split = cluster.split_segments(&path);
        assert_eq!(split, Some((BucketId::new(7), Path::from(tail))));
        let bare = Path::from(format!("{root}/seg@7"));
        let split = cluster.split_segments(&bare);
        assert_eq!(split, Some((BucketId::new(7), Path::default())));
        for other in ["seg@", "seg@x", "seg@07", "seg@65536", "gas@7", "meta"] {
            let path = Path::from(format!("{root}/{other}/{tail}"));
            assert_eq!(cluster.split_segments(&path), None, "{other}");
        }
        for (part, name) in [
            (BucketPart::Name, "00007"),
            (BucketPart::Entered, "00007.entered"),
            (BucketPart::Moved(2), "00007.moved-0002"),
            (BucketPart::Gone, "00007.gone"),
        ] {
            let path = cluster.bucket(BucketId::new(7), part);
            assert_eq!(path.as_ref(), format!("{root}/bucket/{name}"));
            let parsed = cluster.parse_bucket(&path);
            assert_eq!(parsed, Some((BucketId::new(7), part)));
        }
        for other in ["7", "00007.", "00007.moved-2", "00007.else", "x.gone"] {
            let path = cluster.buckets_root().join(other);
            assert_eq!(cluster.parse_bucket(&path), None, "{other}");
        }
    }

    #[test]
    fn any_256_neighbours_spread_over_all_256_folders() {
        for first in [0, 256, 0xdead_be00] {
            let folders: BTreeSet<u8> = (first..first + 256).map(|s| spread(name(7, s))).collect();
            assert_eq!(folders.len(), 256);
        }
    }

    #[test]
    fn other_paths_are_not_taken_for_segments() {
        let cluster = cluster("");
        let good = cluster.segment(MAIN, name(5, 9)).to_string();
        let folder = good.split('/').nth(2).unwrap();
        for bad in [
            format!("{good}/x"),
            format!("x/{good}"),
            good.replace("/seg/", "/meta/"),
            good.replace(&format!("/{folder}/"), "/zz/"),
            good.replace("0000000000000009", "9"),
            good.replace("0000000000000009", "+000000000000009"),
            good.replace("0000000000000009", "000000000000000A"),
            good.replace("0191d3a8", "0191d3a9"),
        ] {
            assert_ne!(bad, good);
            let path = Path::from(bad);
            assert_eq!(cluster.parse_segment(&path), Err(NotASegment(path)));
        }
    }

    proptest! {
        #[test]
        fn a_segment_is_found_again_from_its_path(bucket: u16, incarnation: u64, sequence: u64) {
            let cluster = cluster("p");
            let (bucket, name) = (BucketId::new(bucket), name(incarnation, sequence));
            let path = cluster.segment(bucket, name);
            prop_assert_eq!(cluster.parse_segment(&path), Ok((bucket, name)));
        }
    }
}
