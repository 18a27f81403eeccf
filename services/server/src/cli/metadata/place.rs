//! From settings to the bucket, the store and the backups in the bucket.

use std::error::Error;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::buckets::MainBucket;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{ClusterLayout, OpenedStore, Role};
use tidelog_env::Env;
use tidelog_metadata::backup::Backups;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::{MetadataStore, Settings};
use tidelog_store::Store;
use tidelog_types::ClusterId;

use crate::cli::{CliError, Result, SettingsArgs};
use crate::serve::beside::Beside;
use crate::serve::metadata::{self, StoreRows};
use crate::serve::storage;

/// Where a cluster's metadata and backups are.
pub(in crate::cli) struct Place {
    pub(in crate::cli) env: Env,
    settings: Settings,
    opened: OpenedStore,
    buckets: Beside,
    blob: tidelog_blob::Metrics,
    objects: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    cluster: ClusterId,
}

impl Place {
    /// Finds the cluster that settings name.
    pub(in crate::cli) async fn find(args: &SettingsArgs, env: Env) -> Result<Self> {
        let settings = args.load()?.settings;
        let blob = tidelog_blob::Metrics::register(&mut Registry::default());
        let opened = storage::open(&settings)?;
        let meter = blob.meter(Role::Store);
        let objects = storage::for_segments(&opened, &settings, &meter, &env);
        let (cluster, layout) = storage::find(&opened, objects.as_ref()).await?;
        let main = MainBucket {
            objects: objects.as_ref(),
            names: &opened.layout,
            layout: &layout,
            cluster,
            location: &storage::place(&opened),
        };
        let buckets = Beside::find(&settings, main, &meter, &env).await?;
        let layout = buckets.layout(&layout);
        let objects = buckets.around(objects, &layout, &meter, &env);
        Ok(Self {
            env,
            settings,
            opened,
            buckets,
            blob,
            objects,
            layout,
            cluster,
        })
    }

    /// The backups of the cluster.
    pub(in crate::cli) fn backups(&self) -> Backups {
        let objects = Arc::clone(&self.objects);
        Backups::new(objects, self.layout.clone(), self.cluster)
    }

    /// All buckets, where the cluster's objects are in it, and whose it is.
    pub(in crate::cli) fn bucket(&self) -> (Arc<dyn ObjectStore>, ClusterLayout, ClusterId) {
        let objects = Arc::clone(&self.objects);
        (objects, self.layout.clone(), self.cluster)
    }

    /// The settings.
    pub(in crate::cli) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rows of the store, for reading; whoever has it open keeps it.
    pub(in crate::cli) async fn rows(&self) -> Result<StoreRows> {
        metadata::open_rows(&self.settings, &self.store_place(), &self.env).await
    }

    /// Whether other processes use the store at the same time.
    pub(in crate::cli) fn is_shared(&self) -> bool {
        self.settings.metadata.store != MetadataStore::Embedded
    }

    /// The store, for writing; whoever had an embedded one open loses it.
    pub(in crate::cli) async fn store(&self) -> Result<Arc<dyn Store>> {
        metadata::open_store(&self.settings, &self.store_place(), &self.env).await
    }

    const fn store_place(&self) -> metadata::Place<'_> {
        metadata::Place {
            opened: &self.opened,
            buckets: &self.buckets,
            layout: &self.layout,
            cluster: self.cluster,
            blob: &self.blob,
        }
    }
}

/// An error of a command, told with its causes.
pub(in crate::cli) fn failed(exit: Exit) -> impl Fn(Box<dyn Error + Send + Sync>) -> CliError {
    move |error| CliError::Other {
        exit,
        message: error.to_string(),
        source: Some(error),
    }
}
