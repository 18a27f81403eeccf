//! The metadata service of this process: the store it stands on, and the service itself, opened as often as
//! it takes.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use prometheus_client::registry::Registry;
use tidelog_blob::object_store::{self, ObjectStore};
use tidelog_blob::{ClusterLayout, OpenedStore, Role};
use tidelog_env::Env;
use tidelog_metadata::backup::Backups;
use tidelog_metadata::{
    ClassBuckets, ClusterOptions, ClusterSettings, GroupSettings, MetadataService, OpenError,
    OpenOptions, Ownership, Reach, SequencerMetrics, SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::Member;
use tidelog_metadata_rpc::Parts;
use tidelog_runtime::settings::{MetadataStore, Settings};
use tidelog_runtime::{Exit, MemoryPlan};
use tidelog_store::{CloseReason, CommitError, Store, StoreError};
use tidelog_store_embedded::{EmbeddedReader, Medium};
use tidelog_types::{ClusterId, Role as MemberRole};

use super::accept;
use super::beside::Beside;
use super::part_settings::{group_settings, sequencer_settings, transaction_settings};
use super::probe::Connecting;
use super::storage;
use super::store_kind::StoreKind;
use crate::cli::{CliError, Result};

/// Shards of a new cluster on the embedded store, which one process serves at a time.
const SHARDS_EMBEDDED: u32 = 1;
/// Shards of a new cluster on a store that many processes share.
const SHARDS_SHARED: u32 = 32;

/// Where the metadata service finds the bucket.
pub(crate) struct Place<'a> {
    pub(crate) opened: &'a OpenedStore,
    pub(crate) buckets: &'a Beside,
    pub(crate) layout: &'a ClusterLayout,
    pub(crate) cluster: ClusterId,
    pub(crate) blob: &'a tidelog_blob::Metrics,
}

/// Opens the store without the service, for commands that work on its rows. On the embedded store this
/// fences whoever had it.
pub(crate) async fn open_store(
    settings: &Settings,
    place: &Place<'_>,
    env: &Env,
) -> Result<Arc<dyn Store>> {
    let plan = MemoryPlan::of(settings);
    let kind = StoreKind::new(settings, &plan, place, env, &mut Registry::default())?;
    Ok(kind.open(env).await?)
}

/// Opens the rows of the store for reading, which fences nobody.
pub(crate) async fn open_rows(
    settings: &Settings,
    place: &Place<'_>,
    env: &Env,
) -> Result<StoreRows> {
    let plan = MemoryPlan::of(settings);
    let kind = StoreKind::new(settings, &plan, place, env, &mut Registry::default())?;
    match &kind {
        StoreKind::Embedded {
            objects, options, ..
        } => {
            let reader = EmbeddedReader::open(Arc::clone(objects), options, env).await;
            let reader = reader
                .map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))?;
            let reader = reader.ok_or_else(|| {
                let message = format!("there is no metadata store in `{}`", place.opened.location);
                CliError::other(Exit::NotFound, message)
            })?;
            Ok(StoreRows::Embedded(Box::new(reader)))
        }
        #[cfg(feature = "fdb")]
        StoreKind::FoundationDb { .. } => Ok(StoreRows::Shared(kind.open(env).await?)),
    }
}

/// The rows of a store that other processes may have open.
#[derive(Debug)]
pub(crate) enum StoreRows {
    /// A view of the embedded store.
    Embedded(Box<EmbeddedReader>),
    /// A store that many processes share.
    #[cfg(feature = "fdb")]
    Shared(Arc<dyn Store>),
}

impl StoreRows {
    /// Ends it. All that was read was read; what is left behind goes by and by.
    pub(crate) async fn close(&self) {
        let closed = match self {
            Self::Embedded(reader) => reader.close().await,
            #[cfg(feature = "fdb")]
            Self::Shared(store) => store.close().await,
        };
        if let Err(error) = closed {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

/// How many shards a new cluster has.
pub(crate) fn shards_of(settings: &Settings) -> u32 {
    let default = if settings.metadata.store == MetadataStore::Embedded {
        SHARDS_EMBEDDED
    } else {
        SHARDS_SHARED
    };
    settings.cluster.shards.unwrap_or_else(|| default)
}

/// Opens the store and the service on it.
#[derive(Clone)]
pub(super) struct MetadataOpener {
    env: Env,
    kind: StoreKind,
    cluster: ClusterId,
    shards: u32,
    classes: ClassBuckets,
    sequencer: SequencerSettings,
    groups: GroupSettings,
    transactions: TransactionSettings,
    reach: Reach,
    metrics: SequencerMetrics,
    times: ClusterSettings,
    member: Member,
    /// All buckets, to see whether a store that is empty should be.
    objects: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    backups: Backups,
}

/// Why the metadata service was not opened, and whether that may pass.
#[derive(Debug)]
pub(super) enum OpenFailure {
    /// Another process has opened the store meanwhile.
    Fenced(CliError),
    /// The store does not answer, or did not to the end: later it may.
    MayPass(CliError),
    /// The same would happen again: somebody has to look.
    Lasts(CliError),
}

impl From<OpenFailure> for CliError {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Fenced(error)
            | OpenFailure::MayPass(error)
            | OpenFailure::Lasts(error) => error,
        }
    }
}

/// A metadata service and its store.
#[derive(Debug)]
pub(super) struct OpenedMetadata {
    pub(super) store: Arc<dyn Store>,
    pub(super) service: MetadataService,
}

impl OpenedMetadata {
    /// The service as others call it.
    pub(super) fn parts(&self) -> Parts {
        Parts::of(Arc::new(self.service.clone()))
    }

    /// Gives away what others can have, and closes the store.
    pub(super) async fn close(&self) {
        self.service.leave().await;
        if let Err(error) = self.store.close().await {
            // All that was acknowledged is durable; only tidying up is left to the next start.
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

impl fmt::Debug for MetadataOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataOpener")
            .field("cluster", &self.cluster)
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

impl MetadataOpener {
    pub(super) fn new(
        settings: &Settings,
        plan: &MemoryPlan,
        place: &Place<'_>,
        member: Member,
        env: &Env,
        registry: &mut Registry,
    ) -> Result<Self> {
        let shards = shards_of(settings);
        let cluster = &settings.cluster;
        let times = ClusterSettings {
            beat: cluster.beat.get(),
            lease: cluster.lease.get(),
            beat_fast: ClusterSettings::default().beat_fast.min(cluster.beat.get()),
            member_grace: cluster.member_grace.get(),
            ..ClusterSettings::default()
        };
        let meter = place.blob.meter(Role::Store);
        let objects = storage::for_metadata(place.opened, settings, &meter, env);
        let layout = place.layout.clone();
        let is_only_process = !settings.is_clustered() && settings.roles.has(MemberRole::Broker);
        Ok(Self {
            env: env.clone(),
            kind: StoreKind::new(settings, plan, place, env, registry)?,
            cluster: place.cluster,
            shards,
            classes: place.buckets.class_buckets(settings),
            sequencer: SequencerSettings {
                is_only_process,
                deletion_grace: settings.janitor.grace.get(),
                ..sequencer_settings(&settings.metadata, plan, shards)
            },
            groups: group_settings(&settings.groups, plan),
            transactions: transaction_settings(&settings.transactions, plan),
            reach: Reach::default(),
            metrics: SequencerMetrics::new(registry),
            times,
            member,
            objects: place
                .buckets
                .around(Arc::clone(&objects), &layout, &meter, env),
            backups: Backups::new(objects, layout.clone(), place.cluster),
            layout,
        })
    }

    /// A cluster is founded only where nothing is: segments without metadata mean that the metadata was lost
    /// or is elsewhere, and a new cluster would hide them.
    async fn check_founding(&self, store: &dyn Store) -> std::result::Result<(), OpenFailure> {
        let founded = tidelog_metadata::is_founded(store).await;
        let founded = founded.map_err(|error| open_error(Exit::Bucket, error))?;
        if founded {
            return Ok(());
        }
        match any_segment(self.objects.as_ref(), &self.layout).await {
            Ok(None) => Ok(()),
            Ok(Some(segment)) => Err(OpenFailure::Lasts(CliError::other(
                Exit::Bucket,
                format!(
                    "the bucket holds segments (`{segment}`), and the metadata store is empty: if metadata is kept \
                     elsewhere, set `metadata.store`; if it was lost, `tidelog metadata restore` brings a \
                     backup back"
                ),
            ))),
            Err(error) => {
                let message = "the bucket cannot be listed, to see whether it is new";
                let error = CliError::because(Exit::Bucket, message.to_owned(), error);
                Err(OpenFailure::MayPass(error))
            }
        }
    }

    /// How the ends of transactions get to the whole cluster from every service that this opens.
    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether other processes use the store at the same time.
    pub(super) const fn is_shared(&self) -> bool {
        !matches!(self.kind, StoreKind::Embedded { .. })
    }

    /// Whether a store that has failed may be opened again by the same process. After a failed write to a folder
    /// nothing is known about the disk.
    pub(super) const fn may_open_again(&self) -> bool {
        match &self.kind {
            StoreKind::Embedded { options, .. } => matches!(options.medium, Medium::Bucket),
            #[cfg(feature = "fdb")]
            StoreKind::FoundationDb { .. } => false,
        }
    }

    /// Takes back what was reported of a store that this process had to itself and has no more. What was
    /// counted stays: it is what the process has done.
    pub(super) fn forget(&self) {
        match &self.kind {
            StoreKind::Embedded { metrics, .. } => metrics.forget(),
            #[cfg(feature = "fdb")]
            StoreKind::FoundationDb { .. } => {}
        }
    }

    /// Opens both. On the embedded store this fences whoever had it.
    pub(super) async fn open(&self) -> std::result::Result<OpenedMetadata, OpenFailure> {
        let store = self.kind.open(&self.env).await?;
        self.check_founding(store.as_ref()).await?;
        let options = OpenOptions {
            env: self.env.clone(),
            store: Arc::clone(&store),
            cluster: self.cluster,
            shards: self.shards,
            classes: self.classes.clone(),
            sequencer: self.sequencer,
            groups: self.groups,
            transactions: self.transactions,
            reach: self.reach.clone(),
            metrics: self.metrics.clone(),
        };
        let ownership = if self.is_shared() {
            Ownership::Shared
        } else {
            Ownership::Alone
        };
        let place = ClusterOptions {
            member: self.member.clone(),
            ownership,
            settings: self.times,
            probe: Some(Arc::new(Connecting {
                clock: Arc::clone(&self.env.clock),
            })),
        };
        let service = Box::pin(MetadataService::open_in(options, place)).await;
        let service = service.map_err(|error| open_error(Exit::FailStop, error))?;
        if !self.is_shared() {
            let (backups, env) = (self.backups.clone(), self.env.clone());
            let following = accept::follow(backups, Arc::clone(&store), env);
            drop(self.env.supervisor.spawn("restore", following));
        }
        Ok(OpenedMetadata { store, service })
    }
}

/// A segment of the cluster, in whichever bucket, if there is one.
async fn any_segment(
    objects: &dyn ObjectStore,
    layout: &ClusterLayout,
) -> object_store::Result<Option<object_store::path::Path>> {
    for bucket in layout.buckets() {
        let root = layout.segments_root(bucket);
        if let Some(found) = objects.list(Some(&root)).next().await.transpose()? {
            return Ok(Some(found.location));
        }
    }
    Ok(None)
}

/// Why the metadata service did not open. One that was fenced on the way stands by, whatever it was doing.
fn open_error(otherwise: Exit, error: OpenError) -> OpenFailure {
    let (failure, exit): (fn(CliError) -> OpenFailure, _) = match &error {
        OpenError::Fenced
        | OpenError::Read(StoreError::Fenced)
        | OpenError::Commit(CommitError::Fenced) => (OpenFailure::Fenced, Exit::Fenced),
        OpenError::WrongCluster { .. } => (OpenFailure::Lasts, Exit::Bucket),
        // A store that closed while it was opened is opened anew.
        OpenError::Read(StoreError::Damaged(_) | StoreError::TooLarge(_))
        | OpenError::Commit(CommitError::Damaged(_) | CommitError::TooLarge(_)) => {
            (OpenFailure::Lasts, otherwise)
        }
        OpenError::Read(_) | OpenError::Commit(_) => (OpenFailure::MayPass, otherwise),
        _ => (OpenFailure::Lasts, otherwise),
    };
    failure(CliError::because(exit, error.to_string(), error))
}

/// Why a process ends whose store does not work any more.
pub(super) fn store_error(reason: &CloseReason) -> CliError {
    match reason {
        CloseReason::Fenced => CliError::other(
            Exit::Fenced,
            "another process has taken over the bucket: only one may serve it, and it is not this one",
        ),
        reason => CliError::other(
            Exit::FailStop,
            format!(
                "the metadata store {reason}: start again, what was acknowledged is in the bucket"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use tidelog_blob::buckets::{Beside as BesideStore, Routed};
    use tidelog_blob::object_store::ObjectStoreExt as _;
    use tidelog_blob::object_store::memory::InMemory;
    use tidelog_blob::{BucketLayout, MAIN};
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    #[tokio::test]
    async fn a_cluster_whose_segments_are_all_beside_the_main_bucket_is_no_new_one() {
        let cluster = ClusterId::from_bytes([3; 16]);
        let layout = BucketLayout::new("".into()).cluster(cluster);
        let one = BucketId::new(1);
        let all = layout.with_buckets([one]);
        let beside = BesideStore {
            number: one,
            store: Arc::new(InMemory::new()),
            layout,
            storage_class: None,
        };
        let objects = Routed::new(Arc::new(InMemory::new()), all.clone(), [beside]);
        assert_eq!(any_segment(&objects, &all).await.unwrap(), None);
        let name = SegmentName::new(Incarnation::new(1), SegmentSequence::new(1));
        for bucket in [one, MAIN] {
            let path = all.segment(bucket, name);
            objects.put(&path, "segment".into()).await.unwrap();
            assert_eq!(any_segment(&objects, &all).await.unwrap(), Some(path));
        }
    }

    #[test]
    fn one_that_was_fenced_while_it_opened_is_told_from_one_that_failed() {
        let fenced = open_error(Exit::Bucket, OpenError::Read(StoreError::Fenced));
        assert!(matches!(&fenced, OpenFailure::Fenced(error) if error.exit() == Exit::Fenced));
        let failed = open_error(Exit::Bucket, OpenError::Read(StoreError::Closed));
        assert!(matches!(&failed, OpenFailure::MayPass(error) if error.exit() == Exit::Bucket));
    }

    #[test]
    fn what_can_pass_is_told_from_what_cannot() {
        let cause: tidelog_store::Cause = Arc::new(std::io::Error::other("503"));
        let id = ClusterId::from_bytes;
        let may_pass = |error| {
            let failure = open_error(Exit::FailStop, error);
            matches!(failure, OpenFailure::MayPass(_))
        };
        let away = || Arc::clone(&cause);
        assert!(may_pass(OpenError::Read(StoreError::Unavailable(away()))));
        assert!(may_pass(OpenError::Commit(CommitError::Unknown(away()))));
        assert!(may_pass(OpenError::Commit(CommitError::Closed)));
        assert!(!may_pass(OpenError::Read(StoreError::Damaged(away()))));
        let (found, wanted) = (id([1; 16]), id([2; 16]));
        assert!(!may_pass(OpenError::WrongCluster { found, wanted }));
        let backup = String::new();
        assert!(!may_pass(OpenError::HalfRestored { backup }));
    }

    #[test]
    fn a_fenced_process_ends_with_its_own_code() {
        assert_eq!(store_error(&CloseReason::Fenced).exit(), Exit::Fenced);
        assert_eq!(store_error(&CloseReason::Stopped).exit(), Exit::FailStop);
    }
}
