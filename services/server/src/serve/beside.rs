//! The buckets beside the main one: opened, numbered, and put behind the one store that everybody asks.

use std::sync::Arc;

use tidelog_blob::buckets::{self, MainBucket, Place, RegisterError, Registered, Routed};
use tidelog_blob::marker::{self, PlaceId};
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::preflight::preflight_as;
use tidelog_blob::{BlobSettings, ClusterLayout, MAIN, Meter, OpenedStore, stack};
use tidelog_env::Env;
use tidelog_metadata::ClassBuckets;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::Settings;
use tidelog_types::BucketId;

use super::storage;
use crate::cli::{CliError, Result};

/// A bucket beside the main one.
#[derive(Debug)]
struct Bucket {
    registered: Registered,
    opened: OpenedStore,
    settings: BlobSettings,
    layout: ClusterLayout,
    storage_class: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Beside(Vec<Bucket>);

impl Beside {
    /// Proves the buckets that settings name and classes use, and gives numbers to those that have none. All that the
    /// cluster has must be among them.
    pub(crate) async fn enter(
        settings: &Settings,
        main: MainBucket<'_>,
        meter: &Meter,
        env: &Env,
    ) -> Result<Self> {
        let known = known(settings, main).await?;
        if !known.is_empty() {
            // A marker that somebody has put back may be one of before.
            require(main).await?;
        }
        let named = settings.storage.buckets.keys();
        let mut all = Vec::with_capacity(named.len());
        for name in named {
            let found = known.iter().find(|known| known.name == *name);
            if found.is_none() && !is_used(settings, name) {
                // A number is for ever: nobody needs one yet.
                continue;
            }
            let (opened, blob) = open(settings, name)?;
            let objects = wrapped(&opened, &blob, meter, env);
            let storage_class = storage_class(settings, name, &opened);
            preflight_as(
                objects.as_ref(),
                &opened.location,
                &opened.layout,
                env.rng.as_ref(),
                storage_class.as_deref(),
            )
            .await
            .map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))?;
            let location = storage::place(&opened);
            let place = Place {
                objects: objects.as_ref(),
                names: &opened.layout,
                location: &location,
            };
            let registered = match found {
                Some(found) => found.clone(),
                None => register(main, name, place).await?,
            };
            let id = PlaceId::from_random_bytes(env.rng.bytes_16());
            let supported = storage::supported();
            let entered = buckets::enter(main, &registered, place, &supported, Some(id)).await;
            entered.map_err(refused)?;
            tracing::info!(
                bucket = name,
                number = registered.number.get(),
                location,
                "bucket found"
            );
            all.push(Bucket::new(settings, main, registered, (opened, blob)));
        }
        Ok(Self(all))
    }

    /// Opens the buckets that the cluster has; gives no numbers and puts no markers.
    pub(crate) async fn find(
        settings: &Settings,
        main: MainBucket<'_>,
        meter: &Meter,
        env: &Env,
    ) -> Result<Self> {
        let known = known(settings, main).await?;
        let mut all = Vec::with_capacity(known.len());
        for registered in known {
            let (opened, blob) = open(settings, &registered.name)?;
            let objects = wrapped(&opened, &blob, meter, env);
            let location = storage::place(&opened);
            let place = Place {
                objects: objects.as_ref(),
                names: &opened.layout,
                location: &location,
            };
            let supported = storage::supported();
            let entered = buckets::enter(main, &registered, place, &supported, None).await;
            entered.map_err(refused)?;
            all.push(Bucket::new(settings, main, registered, (opened, blob)));
        }
        Ok(Self(all))
    }

    /// The names of the main bucket and of all others.
    pub(crate) fn layout(&self, main: &ClusterLayout) -> ClusterLayout {
        main.with_buckets(self.0.iter().map(|bucket| bucket.registered.number))
    }

    /// All buckets as one store, of which `main` is the main one.
    pub(crate) fn around(
        &self,
        main: Arc<dyn ObjectStore>,
        layout: &ClusterLayout,
        meter: &Meter,
        env: &Env,
    ) -> Arc<dyn ObjectStore> {
        let beside = self.0.iter().map(|bucket| buckets::Beside {
            number: bucket.registered.number,
            store: wrapped(&bucket.opened, &bucket.settings, meter, env),
            layout: bucket.layout.clone(),
            storage_class: bucket.storage_class.clone(),
        });
        Arc::new(Routed::new(main, layout.clone(), beside))
    }

    /// The number of a bucket; that of the main one if it is none of these.
    pub(crate) fn number(&self, name: Option<&str>) -> BucketId {
        let mut all = self.0.iter();
        let found = all.find(|bucket| name == Some(bucket.registered.name.as_str()));
        found.map_or(MAIN, |bucket| bucket.registered.number)
    }

    /// Where merged segments of the classes that settings name go.
    pub(crate) fn class_buckets(&self, settings: &Settings) -> ClassBuckets {
        let classes = settings.storage.classes.iter();
        ClassBuckets::new(
            classes.map(|(name, class)| (name.clone(), self.number(class.merged_into()))),
        )
    }

    /// The buckets as they were opened.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &OpenedStore> {
        self.0.iter().map(|bucket| &bucket.opened)
    }
}

impl Bucket {
    fn new(
        settings: &Settings,
        main: MainBucket<'_>,
        registered: Registered,
        (opened, blob): (OpenedStore, BlobSettings),
    ) -> Self {
        Self {
            layout: opened.layout.cluster(main.cluster),
            storage_class: storage_class(settings, &registered.name, &opened),
            registered,
            opened,
            settings: blob,
        }
    }
}

/// The buckets that the cluster has. Settings name them all.
async fn known(settings: &Settings, main: MainBucket<'_>) -> Result<Vec<Registered>> {
    let named = &settings.storage.buckets;
    let known = buckets::read(main.objects, main.layout).await;
    let known = known.map_err(refused)?;
    buckets::missing(&known, |name| named.contains_key(name)).map_err(refused)?;
    Ok(known)
}

/// Gives a number to a bucket, in a place where none is yet. From then on no process may start that would not look there.
async fn register(main: MainBucket<'_>, name: &str, place: Place<'_>) -> Result<Registered> {
    if let Err(error) = buckets::check_free(name, place).await {
        // Another process may have put its marker at this moment.
        let known = buckets::read(main.objects, main.layout).await;
        let known = known.map_err(refused)?.into_iter();
        let mut found = known.filter(|known| known.name == name);
        return found.next().ok_or_else(|| refused(error));
    }
    require(main).await?;
    buckets::register(main.objects, main.layout, name, place.location)
        .await
        .map_err(refused)
}

/// Keeps out who does not know of other buckets.
async fn require(main: MainBucket<'_>) -> Result<()> {
    let required = marker::require(main.objects, main.names, marker::BUCKETS).await;
    required.map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))
}

/// Whether a class has its segments in a bucket.
pub(crate) fn is_used(settings: &Settings, name: &str) -> bool {
    let mut classes = settings.storage.classes.values();
    classes.any(|class| [class.put_into(), class.merged_into()].contains(&Some(name)))
}

/// The class of S3 that segments in a bucket have. A folder knows none.
fn storage_class(settings: &Settings, name: &str, opened: &OpenedStore) -> Option<String> {
    let named = settings.storage.buckets.get(name)?;
    let class = named.storage_class.clone();
    class.filter(|_| opened.s3.is_some())
}

/// Opens a bucket that settings name; sends no request.
pub(crate) fn open(settings: &Settings, name: &str) -> Result<(OpenedStore, BlobSettings)> {
    let missing = || CliError::usage(format!("`storage.buckets.{name}.location` is not set"));
    let named = settings.storage.buckets.get(name).ok_or_else(missing)?;
    let location = named.location.as_deref().ok_or_else(missing)?;
    let own = Settings {
        s3: named.s3(&settings.s3),
        ..settings.clone()
    };
    let blob = storage::blob_settings(&own);
    let opened = storage::open_at(&storage::parse(location)?, &blob)?;
    Ok((opened, blob))
}

/// A bucket as it is used: metered, tried again.
pub(crate) fn wrapped(
    opened: &OpenedStore,
    settings: &BlobSettings,
    meter: &Meter,
    env: &Env,
) -> Arc<dyn ObjectStore> {
    let store = Arc::clone(&opened.store);
    stack(store, opened.location.is_local(), settings, meter, env)
}

pub(crate) fn refused(error: RegisterError) -> CliError {
    CliError::because(Exit::Bucket, error.to_string(), error)
}
