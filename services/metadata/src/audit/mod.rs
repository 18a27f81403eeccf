//! Compares the bucket with the metadata store, and says in what they differ.
//!
//! ```text
//!   list segments --> floors, live bytes, pages, tails --> compare --> prove --> what is suspicious once more --> report
//! ```
//!
//! The cluster works meanwhile: segments come, are merged and go. So whatever looks wrong is looked at again, by itself
//! and against rows that are read anew, and only what is found again is reported. Nothing is asked of the processes of the
//! cluster. All objects are listed, which no other part of Tidelog does.
//!
//! Memory is bounded: segments are spread over 256 folders by their names; if those of all are too many, half of the
//! folders are looked at first, and so on. Metadata is read once for each part.

mod compare;
mod difference;
mod known;
mod mend;
mod picture;
mod reader;
mod scope;
mod tails;
mod verify;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tidelog_blob::{ClusterLayout, ErrorKind, MAIN, classify};
use tidelog_env::Env;
use tidelog_store::{RowSource, ScanOptions, StoreError};
use tidelog_types::{BucketId, ClusterId, SegmentName, TopicName, TopicNumber};

use crate::backup::{Backups, ObjectError, Pages};
use crate::keyspace::{ClusterRow, Counter, Keyspace};
use compare::{Compared, Comparison, Stored};
pub use difference::{Difference, LogFault, Part};
use known::Picture;
pub use mend::{MendError, Mended, OrphansOf, mend_orphans, mend_rows};
use picture::{Painter, Unread};
pub(crate) use reader::{Reader, Unreadable};
use scope::{SPREADS, Scope};
use verify::Proof;
pub(crate) use verify::{Index, NoIndex, read_index};

/// How often what is suspicious is looked at again.
const LOOKS: u32 = 2;
/// Differences that are reported at most.
const DIFFERENCES_MAX: usize = 10_000;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verify {
    /// Which segments there are, and how long they are.
    Lengths,
    /// Also what each says of itself.
    Indexes,
    /// Also every byte that an extent names.
    Bytes,
}

/// How to audit.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// How much is looked at.
    pub verify: Verify,
    /// What was put less long ago may still be on its way, and is no orphan.
    pub grace: Duration,
    /// The same for what writers have put that no row knows of: they may be newer than the rows.
    pub unknown_grace: Duration,
    /// How long it waits before it looks again: longer than what it sees of the rows may be behind the bucket.
    pub pause: Duration,
    /// How fast objects are read.
    pub bytes_per_second: Option<u64>,
    /// Objects that are read at once.
    pub reads_at_once: usize,
    /// Segments and extents that memory holds at once, about a hundred bytes each.
    pub entries_max: usize,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            verify: Verify::Indexes,
            grace: Duration::from_mins(10),
            unknown_grace: Duration::from_hours(1),
            pause: Duration::from_secs(1),
            bytes_per_second: None,
            reads_at_once: 8,
            entries_max: 2_000_000,
        }
    }
}

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The metadata store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[from] StoreError),
    /// The bucket cannot be read.
    #[error("the bucket cannot be read")]
    Bucket(#[from] object_store::Error),
    /// The metadata store is not that of this bucket, or has been emptied: by it all segments would be orphans.
    #[error(
        "the metadata store does not have the cluster of this bucket: it is another one, or was emptied"
    )]
    Foreign,
    /// Backups cannot be listed, which say what must stay.
    #[error("the backups cannot be listed")]
    Backups(#[from] ObjectError),
    /// Even one of the 256 folders has more segments than memory is meant for.
    #[error("there are more segments and extents than memory is meant for: `{0}` at once")]
    Large(usize),
}

/// What an audit has found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In what bucket and metadata differ.
    pub differences: BTreeSet<Difference>,
    /// There are more differences than these.
    pub has_more: bool,
    /// The names of all topics.
    pub topics: BTreeMap<TopicNumber, TopicName>,
    /// Where segments lie, or should, that are not in the main bucket and that differences are about.
    pub buckets: BTreeMap<SegmentName, BucketId>,
    /// The backup whose restore nobody has accepted yet; until then nothing is an orphan.
    pub restored: Option<String>,
    /// Segments in the bucket, and their bytes.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Segments that metadata knows.
    pub segments: u64,
    /// Partitions and extents that were looked at.
    pub partitions: u64,
    /// Extents of all partitions.
    pub extents: u64,
    /// Segments that may be committed yet, or that the cluster looks for itself.
    pub in_flight: u64,
    /// Segments that nothing names and that are kept until the restore is accepted.
    pub kept: u64,
    /// What still changed each time that it was looked at, so that nothing can be said of it.
    pub unsettled: u64,
    /// Complete and other backups.
    pub backups: u64,
}

/// Hears how far an audit is.
pub trait Progress: Send + Sync {
    /// So many segments of all were looked at.
    fn segments(&self, done: u64);
}

/// Somebody who does not listen.
impl Progress for () {
    fn segments(&self, _: u64) {}
}

/// What an audit works with.
pub struct Audit<'a, R: ?Sized> {
    /// The rows of the metadata store.
    pub source: &'a R,
    /// The bucket.
    pub objects: Arc<dyn ObjectStore>,
    /// Where the cluster's objects are.
    pub layout: ClusterLayout,
    /// The cluster.
    pub cluster: ClusterId,
    /// Clock and randomness.
    pub env: &'a Env,
    /// How to audit.
    pub options: AuditOptions,
    /// Hears how far it is.
    pub progress: &'a dyn Progress,
}

impl<R: ?Sized> fmt::Debug for Audit<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// Segments of a scope in the bucket.
type Objects = BTreeMap<SegmentName, Stored>;

/// Why a round was not finished.
enum Stopped {
    Large,
    Failed(AuditError),
}

impl<E: Into<AuditError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What one look at a scope came to.
struct Round {
    compared: Compared,
    picture: Picture,
    objects: Objects,
}

impl<R: RowSource + ?Sized> Audit<'_, R> {
    /// Compares everything. What it reports was there each time that it looked.
    pub async fn run(&self) -> Result<Report, AuditError> {
        self.is_ours().await?;
        let mut report = Report::default();
        let backups = self.backups().list().await?;
        report.backups = backups.len() as u64;
        self.others(&mut report).await?;
        let mut parts: Vec<Range<u16>> = std::iter::once(0..SPREADS).collect();
        let mut suspicious = BTreeSet::new();
        let mut moving = BTreeSet::new();
        while let Some(part) = parts.pop() {
            let round = match self.spreads(part.clone(), &mut report).await {
                Ok(round) => round,
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Large) => {
                    let middle = part.start + (part.end - part.start) / 2;
                    if middle == part.start {
                        return Err(AuditError::Large(self.options.entries_max));
                    }
                    parts.extend([middle..part.end, part.start..middle]);
                    continue;
                }
            };
            report.note(&round);
            suspicious.extend(round.compared.differences);
            moving.extend(round.compared.moving);
            if suspicious.len() > DIFFERENCES_MAX {
                report.has_more = true;
                break;
            }
        }
        self.look_again(suspicious, moving, &mut report).await?;
        Ok(report)
    }

    /// The store must be that of the bucket, and have given out incarnations.
    async fn is_ours(&self) -> Result<(), AuditError> {
        let pages = self.pages();
        let keys = Keyspace::default();
        let cluster = pages.value(keys.cluster()).await?;
        let cluster = cluster.and_then(|value| ClusterRow::decode(value).ok());
        let is_ours = cluster.is_some_and(|row| row.id == self.cluster);
        let writers = pages.value(keys.counter(Counter::Incarnation)).await?;
        if is_ours && writers.is_some() {
            return Ok(());
        }
        Err(AuditError::Foreign)
    }

    fn pages(&self) -> Pages<'_, R> {
        Pages {
            source: self.source,
            env: self.env,
            options: ScanOptions::default(),
        }
    }

    fn backups(&self) -> Backups {
        let objects = Arc::clone(&self.objects);
        Backups::new(objects, self.layout.clone(), self.cluster)
    }

    /// Objects that are no segments and nothing else that this cluster has.
    async fn others(&self, report: &mut Report) -> Result<(), AuditError> {
        let root = self.layout.root();
        let top = self.objects.list_with_delimiter(Some(root)).await?;
        let known = self.layout.roots();
        let mut strange = top.objects;
        for folder in top.common_prefixes {
            if !known.contains(&folder) {
                strange.extend(self.first_objects(&folder).await?);
            }
        }
        let strange = strange.iter().take(DIFFERENCES_MAX).map(unknown);
        report.differences.extend(strange);
        Ok(())
    }

    async fn first_objects(&self, folder: &Path) -> Result<Vec<ObjectMeta>, AuditError> {
        let listed = self.objects.list(Some(folder)).take(DIFFERENCES_MAX);
        Ok(listed.try_collect().await?)
    }

    async fn spreads(&self, spreads: Range<u16>, report: &mut Report) -> Result<Round, Stopped> {
        let mut objects = Objects::new();
        let mut strange = Vec::new();
        let folders = |bucket: BucketId| -> Vec<Path> {
            if spreads == (0..SPREADS) {
                return vec![self.layout.segments_root(bucket)];
            }
            let spreads = spreads
                .clone()
                .filter_map(|spread| u8::try_from(spread).ok());
            spreads
                .map(|spread| self.layout.segments_of(bucket, spread))
                .collect()
        };
        for folder in self.layout.buckets().flat_map(folders) {
            let mut listed = self.objects.list(Some(&folder));
            while let Some(object) = listed.try_next().await? {
                match self.layout.parse_segment(&object.location) {
                    // A name is given once, in one bucket.
                    Ok((bucket, name)) if !objects.contains_key(&name) => {
                        objects.insert(name, Stored::of(bucket, &object));
                    }
                    _ if strange.len() < DIFFERENCES_MAX => strange.push(unknown(&object)),
                    _ => {}
                }
                if objects.len() > self.options.entries_max {
                    return Err(Stopped::Large);
                }
            }
        }
        let round = self.round(Scope::Spreads(spreads), objects).await?;
        report.differences.extend(strange);
        Ok(round)
    }

    /// Reads metadata after the bucket, compares, and proves segments.
    async fn round(&self, scope: Scope, objects: Objects) -> Result<Round, Stopped> {
        let pages = self.pages();
        let entries = self.options.entries_max.saturating_sub(objects.len());
        let painter = Painter::new(&pages, &scope, entries);
        let picture = painter.paint().await.map_err(|unread| match unread {
            Unread::Store(error) => Stopped::from(error),
            Unread::Large => Stopped::Large,
        })?;
        // After the rows: a backup that comes later reads none that names an orphan.
        let pins = self.backups().pins().await?;
        let comparison = Comparison {
            objects: &objects,
            picture: &picture,
            pins: &pins,
            now: self.env.clock.wall(),
            grace: self.options.grace,
            unknown_grace: self.options.unknown_grace,
        };
        let mut compared = comparison.run();
        let faults = picture.faults.iter().cloned();
        compared.differences.extend(faults);
        if self.options.verify >= Verify::Indexes {
            self.prove(&picture, &objects, &mut compared).await?;
        }
        Ok(Round {
            compared,
            picture,
            objects,
        })
    }

    async fn prove(
        &self,
        picture: &Picture,
        objects: &Objects,
        compared: &mut Compared,
    ) -> Result<(), AuditError> {
        let reader = Reader::new(
            Arc::clone(&self.objects),
            self.env,
            self.options.bytes_per_second,
        );
        let named = picture.segments.iter();
        let named = named.filter(|(_, known)| !known.extents.is_empty());
        let proofs = named.filter_map(|(segment, known)| {
            let there = objects.get(segment);
            let there = there.filter(|there| known.is_in(there.bucket))?;
            Some(Proof {
                reader: &reader,
                path: self.layout.segment(there.bucket, *segment),
                cluster: self.cluster,
                segment: *segment,
                known,
                length: there.bytes,
                all_bytes: self.options.verify >= Verify::Bytes,
            })
        });
        let proofs = proofs.map(Proof::run).collect::<Vec<_>>();
        let mut proofs = stream::iter(proofs).buffer_unordered(self.options.reads_at_once.max(1));
        let mut done = 0;
        while let Some(found) = proofs.try_next().await? {
            compared.differences.extend(found);
            done += 1;
            self.progress.segments(done);
        }
        Ok(())
    }

    /// Looks at what is suspicious once more, and keeps what is found again.
    async fn look_again(
        &self,
        mut suspicious: BTreeSet<Difference>,
        mut moving: BTreeSet<SegmentName>,
        report: &mut Report,
    ) -> Result<(), AuditError> {
        for _ in 0..LOOKS {
            if suspicious.is_empty() && moving.is_empty() {
                return Ok(());
            }
            self.env.clock.sleep(self.options.pause).await;
            let segments = suspicious.iter().filter_map(Difference::segment);
            let names: BTreeSet<SegmentName> = segments.chain(moving.iter().copied()).collect();
            // The bucket first: what metadata names afterwards was there to be named.
            let objects = self.heads(&names).await?;
            let round = match self.round(Scope::Names(names), objects).await {
                Ok(round) => round,
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Large) => return Err(AuditError::Large(self.options.entries_max)),
            };
            let orphans = round.compared.differences.iter();
            let orphans = orphans.filter(|found| matches!(found, Difference::Orphan { .. }));
            let there = self
                .heads(&orphans.filter_map(Difference::segment).collect())
                .await?;
            let found = round.compared.differences.into_iter();
            let again = found.filter(|found| {
                let is_gone = matches!(found, Difference::Orphan { segment, .. } if !there.contains_key(segment));
                let is_known = suspicious.iter().any(|before| found.is_still(before));
                // Of what moved before nothing was said.
                let is_new = found.segment().is_some_and(|segment| moving.contains(&segment));
                !is_gone && (is_known || is_new)
            });
            suspicious = again.collect();
            for segment in suspicious.iter().filter_map(Difference::segment) {
                let known = round.picture.segments.get(&segment);
                let told = known.and_then(|known| known.buckets.last().copied());
                let told = told.filter(|bucket| !bucket.is_store());
                let there = || round.objects.get(&segment).map(|there| there.bucket);
                let bucket = told.or_else(there).filter(|bucket| *bucket != MAIN);
                report
                    .buckets
                    .extend(bucket.map(|bucket| (segment, bucket)));
            }
            moving = round.compared.moving;
        }
        report.differences.extend(suspicious);
        report.unsettled = moving.len() as u64;
        Ok(())
    }

    /// Those of the segments that are in the bucket.
    async fn heads(&self, names: &BTreeSet<SegmentName>) -> Result<Objects, AuditError> {
        let heads = names.iter().map(|name| async move {
            for bucket in self.layout.buckets() {
                match self.objects.head(&self.layout.segment(bucket, *name)).await {
                    Ok(object) => return Ok(Some((*name, Stored::of(bucket, &object)))),
                    Err(error) if classify(&error) == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        });
        let heads = heads.collect::<Vec<_>>();
        let heads = stream::iter(heads).buffer_unordered(self.options.reads_at_once.max(1));
        let heads = heads.try_filter_map(|head| async move { Ok(head) });
        Ok(heads.try_collect().await?)
    }
}

impl Report {
    fn note(&mut self, round: &Round) {
        let (picture, compared) = (&round.picture, &round.compared);
        self.objects += round.objects.len() as u64;
        self.bytes += round
            .objects
            .values()
            .map(|stored| stored.bytes)
            .sum::<u64>();
        self.segments += picture.segments.len() as u64;
        // Each round looks at all of them.
        self.partitions = picture.counts.partitions;
        self.extents = picture.counts.extents;
        self.in_flight += compared.in_flight;
        self.kept += compared.kept;
        self.topics.clone_from(&picture.names);
        self.restored.clone_from(&picture.restored);
    }
}

fn unknown(object: &ObjectMeta) -> Difference {
    Difference::Unknown {
        path: object.location.to_string(),
        bytes: object.size,
    }
}
