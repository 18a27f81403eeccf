//! From settings to the bucket, the store and the backups in the bucket.

use std::error::Error;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{ClusterLayout, Location, OpenedStore, Role};
use tidelog_env::Env;
use tidelog_metadata::backup::Backups;
use tidelog_runtime::settings::{MetadataStore, Settings};
use tidelog_runtime::{Exit, MemoryPlan};
use tidelog_store_embedded::{
    EmbeddedOptions, EmbeddedReader, EmbeddedStore, Medium, Metrics, OpenError,
};
use tidelog_types::ClusterId;

use crate::cli::{CliError, Result, SettingsArgs};
use crate::serve::storage;

/// Where a cluster's metadata and backups are.
pub(super) struct Place {
    pub(super) env: Env,
    settings: Settings,
    opened: OpenedStore,
    blob: tidelog_blob::Metrics,
    objects: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    cluster: ClusterId,
}

impl Place {
    /// Finds the cluster that settings name.
    pub(super) async fn find(args: &SettingsArgs, env: Env) -> Result<Self> {
        let settings = args.load()?.settings;
        let blob = tidelog_blob::Metrics::register(&mut Registry::default());
        let opened = storage::open(&settings)?;
        let objects = storage::for_segments(&opened, &settings, &blob.meter(Role::Store), &env);
        let (cluster, layout) = storage::find(&opened, objects.as_ref()).await?;
        Ok(Self {
            env,
            settings,
            opened,
            blob,
            objects,
            layout,
            cluster,
        })
    }

    /// The backups of the cluster.
    pub(super) fn backups(&self) -> Backups {
        let objects = Arc::clone(&self.objects);
        Backups::new(objects, self.layout.clone(), self.cluster)
    }

    /// The rows of the store, for reading; whoever has it open keeps it.
    pub(super) async fn reader(&self) -> Result<EmbeddedReader> {
        let options = self.options()?;
        let reader = EmbeddedReader::open(self.store_objects(), &options, &self.env)
            .await
            .map_err(open_failed)?;
        reader.ok_or_else(|| {
            let message = format!("there is no metadata store in `{}`", self.opened.location);
            CliError::other(Exit::NotFound, message)
        })
    }

    /// The store, for writing; whoever had it open loses it.
    pub(super) async fn store(&self) -> Result<EmbeddedStore> {
        let metrics = Metrics::register(&mut Registry::default());
        let (objects, env) = (self.store_objects(), self.env.clone());
        EmbeddedStore::open(objects, self.options()?, env, metrics)
            .await
            .map_err(open_failed)
    }

    fn store_objects(&self) -> Arc<dyn ObjectStore> {
        let meter = self.blob.meter(Role::Store);
        storage::for_metadata(&self.opened, &self.settings, &meter, &self.env)
    }

    fn options(&self) -> Result<EmbeddedOptions> {
        if self.settings.metadata.store != MetadataStore::Embedded {
            return Err(CliError::usage(
                "this command works on metadata in the bucket; with `metadata.store = fdb:...` use the \
                 backup of FoundationDB",
            ));
        }
        let store = &self.settings.store;
        let medium = match &self.opened.location {
            Location::Folder(_) => Medium::Folder,
            Location::S3 { .. } | Location::Memory => Medium::Bucket,
        };
        let plan = MemoryPlan::divide(self.settings.memory.total);
        let memory = usize::try_from(plan.store).unwrap_or(usize::MAX);
        let path = self.layout.store_root().to_string();
        Ok(EmbeddedOptions {
            transaction_age_max: store.transaction_age_max.get(),
            flushes_per_table: store.flushes_per_table,
            garbage_age_min: store.garbage_age_min.get(),
            ..EmbeddedOptions::new(path, memory, medium)
        })
    }
}

fn open_failed(error: OpenError) -> CliError {
    let exit = match &error {
        OpenError::Fenced => Exit::Fenced,
        _ => Exit::Bucket,
    };
    CliError::because(exit, error.to_string(), error)
}

/// An error of a command, told with its causes.
pub(super) fn failed(exit: Exit) -> impl Fn(Box<dyn Error + Send + Sync>) -> CliError {
    move |error| CliError::Other {
        exit,
        message: error.to_string(),
        source: Some(error),
    }
}
