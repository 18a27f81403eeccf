//! What an object is for, told from its name: what requests are counted by.

use object_store::path::Path;
use tidelog_types::ClusterId;

use crate::names::{ACCEPTS, BACKUPS, BUCKETS, MARKER, RESTORES, SCRATCH, SEGMENTS, STORE};

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Segments: of brokers, and those that the janitor has merged; the role tells them apart.
    Segment,
    /// The log of the embedded store: one object a group of commits.
    StoreLog,
    /// Tables of the embedded store.
    StoreTable,
    /// What the embedded store says of its log and tables.
    StoreManifest,
    /// Backups of metadata.
    Backup,
    /// Whose bucket this is, which others there are, and which restores it has seen.
    Marker,
    /// The check at the start.
    Preflight,
    /// Anything else.
    Other,
}

impl Purpose {
    /// All purposes, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Segment,
        Self::StoreLog,
        Self::StoreTable,
        Self::StoreManifest,
        Self::Backup,
        Self::Marker,
        Self::Preflight,
        Self::Other,
    ];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::StoreLog => "store_log",
            Self::StoreTable => "store_table",
            Self::StoreManifest => "store_manifest",
            Self::Backup => "backup",
            Self::Marker => "marker",
            Self::Preflight => "preflight",
            Self::Other => "other",
        }
    }

    /// What the object or folder at `path` is for. The prefix of the bucket need not be known: what is of a
    /// cluster lies below its id.
    pub fn of(path: &Path) -> Self {
        let mut parts = path.as_ref().rsplit('/');
        let (mut kind, mut below) = (parts.next(), None);
        match kind {
            Some(MARKER) => return Self::Marker,
            Some(SCRATCH) => return Self::Preflight,
            _ => {}
        }
        for part in parts {
            if part.parse::<ClusterId>().is_ok() {
                return kind.map_or(Self::Other, |kind| Self::of_kind(kind, below));
            }
            if part == SCRATCH {
                return Self::Preflight;
            }
            (kind, below) = (Some(part), kind);
        }
        Self::Other
    }

    /// `kind` is the folder below that of the cluster, `below` what stands behind it.
    fn of_kind(kind: &str, below: Option<&str>) -> Self {
        match (kind, below) {
            (SEGMENTS, _) => Self::Segment,
            (STORE, Some("wal")) => Self::StoreLog,
            (STORE, Some("compacted")) => Self::StoreTable,
            (STORE, _) => Self::StoreManifest,
            (BACKUPS, _) => Self::Backup,
            (RESTORES | ACCEPTS | BUCKETS, _) => Self::Marker,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{ClusterGeneration, Incarnation, SegmentName, SegmentSequence};

    use super::*;
    use crate::backup_name::{BackupName, BackupPart};
    use crate::names::{BucketLayout, MAIN};

    #[test]
    fn purposes_are_numbered_in_their_order() {
        for (number, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, number);
        }
    }

    #[test]
    fn every_name_that_we_make_has_its_purpose() {
        let id = ClusterId::from_bytes([7; 16]);
        // A prefix may look like anything, also like another cluster.
        for prefix in [
            "",
            "logs",
            "a/seg",
            "0191d3a8-0000-7000-8000-000000000001/meta",
        ] {
            let bucket = BucketLayout::new(Path::from(prefix));
            let cluster = bucket.cluster(id);
            let name = SegmentName::new(Incarnation::new(3), SegmentSequence::new(9));
            let backup = BackupName::new("nightly").unwrap();
            let store = |part: &str| Path::from(format!("{}/{part}", cluster.store_root()));
            for (path, purpose) in [
                (bucket.marker(), Purpose::Marker),
                (bucket.scratch(7), Purpose::Preflight),
                (bucket.scratch_root(), Purpose::Preflight),
                (cluster.segment(MAIN, name), Purpose::Segment),
                (cluster.segments_root(MAIN), Purpose::Segment),
                (store("wal/00000000000000000001.sst"), Purpose::StoreLog),
                (store("wal"), Purpose::StoreLog),
                (store("compacted/01K.sst"), Purpose::StoreTable),
                (store("manifest/1.manifest"), Purpose::StoreManifest),
                (store("compactions/1.compactions"), Purpose::StoreManifest),
                (store("gc/manifest.boundary"), Purpose::StoreManifest),
                (cluster.store_root(), Purpose::StoreManifest),
                (cluster.backup(&backup, BackupPart::Begin), Purpose::Backup),
                (cluster.restore(ClusterGeneration::new(2)), Purpose::Marker),
                (cluster.accept(ClusterGeneration::new(2)), Purpose::Marker),
                (Path::from("x/y"), Purpose::Other),
                (Path::default(), Purpose::Other),
            ] {
                assert_eq!(Purpose::of(&path), purpose, "{path}");
            }
        }
    }
}
