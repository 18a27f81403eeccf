//! Which backups there are, what they pin, and how one goes.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_blob::object_store::ObjectStore as _;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::{BackupName, BackupPart};
use tidelog_types::{ClusterGeneration, Incarnation, SegmentName, SegmentSequence, Timestamp};

use super::Backups;
use super::format::{Begin, End, FormatError, ObjectKind, Origin, unseal};
use super::objects::{ObjectError, delete, get, names_below};

/// An object that says that a backup has begun is small.
const BEGIN_BYTES_MAX: u64 = 4 * 1024;
/// One that completes it has 16 bytes for each writer that there ever was.
const END_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a complete backup has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// Its name.
    pub name: BackupName,
    /// The generation of the cluster when it was taken.
    pub generation: ClusterGeneration,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was complete.
    pub ended_at: Timestamp,
    /// Its objects with rows.
    pub parts: u32,
    /// Its rows.
    pub keys: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

impl BackupSummary {
    pub(super) fn of(end: &End, generation: ClusterGeneration) -> Self {
        Self {
            name: end.name.clone(),
            generation,
            begun_at: end.begun_at,
            ended_at: end.ended_at,
            parts: end.parts,
            keys: end.keys,
            bytes: end.bytes,
        }
    }
}

/// How far a backup has come.
#[derive(Debug)]
pub enum BackupState {
    /// It is complete. Its parts have not been looked at.
    Complete(BackupSummary),
    /// It is being taken, or who took it has died. It pins every segment.
    Incomplete {
        /// When it was begun, if its first object is there.
        begun_at: Option<Timestamp>,
    },
    /// What it says of itself cannot be read. It pins every segment.
    Damaged(ObjectError),
}

/// A backup.
#[derive(Debug)]
pub struct BackupEntry {
    /// Its name.
    pub name: BackupName,
    /// How far it has come.
    pub state: BackupState,
    pins: Pin,
}

/// What one backup pins.
#[derive(Debug)]
enum Pin {
    All,
    UpTo {
        begun_at: Timestamp,
        writers: BTreeMap<Incarnation, SegmentSequence>,
    },
}

/// As far apart the clocks of two processes may be, and more: a backup that began so long after a segment was
/// dead on somebody else's clock began after it.
const SKEW: Duration = Duration::from_hours(1);

/// What all backups together pin.
#[derive(Debug)]
pub struct Pins(Vec<Pin>);

impl Pins {
    /// Whether a backup names this segment, or may have needed it once.
    pub fn name(&self, segment: SegmentName) -> bool {
        self.0.iter().any(|pin| pin.names(segment))
    }

    /// Whether a backup is being taken, or may be: it may yet read what lies in the store. One that is complete has a copy
    /// of that.
    pub fn are_under_way(&self) -> bool {
        self.0.iter().any(|pin| matches!(pin, Pin::All))
    }

    /// Whether a backup needs this segment, of which nothing was named any more at `dead_since`, so that it must
    /// not be deleted. To be asked after it was seen to be dead: `docs/format/backup.md` says why.
    pub fn need(&self, segment: SegmentName, dead_since: Timestamp) -> bool {
        let skew = i64::try_from(SKEW.as_millis()).unwrap_or(i64::MAX);
        let safe = dead_since.as_millis().saturating_add(skew);
        let may_need = |pin: &&Pin| match pin {
            Pin::All => true,
            Pin::UpTo { begun_at, .. } => begun_at.as_millis() < safe,
        };
        let mut pins = self.0.iter().filter(may_need);
        pins.any(|pin| pin.names(segment))
    }
}

impl Pin {
    fn names(&self, segment: SegmentName) -> bool {
        match self {
            Self::All => true,
            Self::UpTo { writers, .. } => {
                let highest = writers.get(&segment.incarnation);
                highest.is_some_and(|highest| segment.sequence <= *highest)
            }
        }
    }
}

impl Backups {
    /// All backups, by name.
    pub async fn list(&self) -> Result<Vec<BackupEntry>, ObjectError> {
        let root = self.layout.backups_root();
        let listed = self.objects.list_with_delimiter(Some(&root)).await;
        let listed = listed.map_err(ObjectError::bucket(&root, "listed"))?;
        let folders = listed.common_prefixes.iter();
        let mut names: Vec<BackupName> = folders
            .filter_map(|folder| self.layout.parse_backup(folder))
            .collect();
        names.sort_unstable();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            entries.extend(self.entry(name).await?);
        }
        Ok(entries)
    }

    /// What the backups pin now.
    pub async fn pins(&self) -> Result<Pins, ObjectError> {
        let entries = self.list().await?;
        Ok(Pins(entries.into_iter().map(|entry| entry.pins).collect()))
    }

    /// A backup, if there is one: of a deleted one a folder may be left.
    async fn entry(&self, name: BackupName) -> Result<Option<BackupEntry>, ObjectError> {
        let (state, pins) = match self.end(&name).await {
            Ok((origin, end)) => {
                let summary = BackupSummary::of(&end, origin.generation);
                let pin = Pin::UpTo {
                    begun_at: end.begun_at,
                    writers: end.writers,
                };
                (BackupState::Complete(summary), pin)
            }
            Err(ObjectError::Missing(_)) => match self.incomplete(&name).await? {
                Some(state) => (state, Pin::All),
                None => return Ok(None),
            },
            Err(error @ ObjectError::Bucket { .. }) => return Err(error),
            Err(error) => (BackupState::Damaged(error), Pin::All),
        };
        Ok(Some(BackupEntry { name, state, pins }))
    }

    async fn incomplete(&self, name: &BackupName) -> Result<Option<BackupState>, ObjectError> {
        let begun_at = match self.begin(name).await {
            Ok((_, begin)) => Some(begin.begun_at),
            Err(error @ ObjectError::Bucket { .. }) => return Err(error),
            Err(ObjectError::Missing(_)) if self.objects_of(name).await?.is_empty() => {
                return Ok(None);
            }
            Err(_) => None,
        };
        Ok(Some(BackupState::Incomplete { begun_at }))
    }

    async fn objects_of(&self, name: &BackupName) -> Result<Vec<Path>, ObjectError> {
        let folder = self.layout.backups_root().join(name.as_str());
        names_below(self.objects.as_ref(), &folder).await
    }

    pub(super) async fn begin(&self, name: &BackupName) -> Result<(Origin, Begin), ObjectError> {
        let path = self.layout.backup(name, BackupPart::Begin);
        let object = get(self.objects.as_ref(), &path, BEGIN_BYTES_MAX).await?;
        let decode = || {
            let (origin, number, body) = unseal(&object, ObjectKind::Begin)?;
            self.check(&origin)?;
            check_number(0, number)?;
            Ok((origin, Begin::decode(body, name)?))
        };
        decode().map_err(ObjectError::format(&path))
    }

    pub(super) async fn end(&self, name: &BackupName) -> Result<(Origin, End), ObjectError> {
        let path = self.layout.backup(name, BackupPart::End);
        let object = get(self.objects.as_ref(), &path, END_BYTES_MAX).await?;
        let decode = || {
            let (origin, number, body) = unseal(&object, ObjectKind::End)?;
            self.check(&origin)?;
            let end = End::decode(body, name)?;
            check_number(end.parts.saturating_add(1), number)?;
            Ok((origin, end))
        };
        decode().map_err(ObjectError::format(&path))
    }

    fn check(&self, origin: &Origin) -> Result<(), FormatError> {
        if origin.cluster == self.cluster {
            return Ok(());
        }
        Err(FormatError::Cluster {
            expected: self.cluster,
            found: origin.cluster,
        })
    }

    /// Deletes a backup and with it what it pins. Says whether there was one.
    pub async fn delete(&self, name: &BackupName) -> Result<bool, ObjectError> {
        let objects = self.objects.as_ref();
        let at = |part| self.layout.backup(name, part);
        let (begin, end) = (at(BackupPart::Begin), at(BackupPart::End));
        let there = self.objects_of(name).await?;
        // The end first: half a backup must not look whole. The begin last: it pins until all has gone.
        delete(objects, &end).await?;
        for path in there.iter().filter(|path| **path != begin && **path != end) {
            delete(objects, path).await?;
        }
        delete(objects, &begin).await?;
        Ok(!there.is_empty())
    }
}

pub(super) const fn check_number(expected: u32, found: u32) -> Result<(), FormatError> {
    if expected == found {
        Ok(())
    } else {
        Err(FormatError::Number { expected, found })
    }
}
