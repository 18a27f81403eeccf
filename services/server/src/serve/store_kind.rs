//! Which store the metadata service of this process stands on, and what it is opened with.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{Location, Role};
use tidelog_env::Env;
use tidelog_runtime::settings::{MetadataStore, Settings};
use tidelog_runtime::{Exit, MemoryPlan};
use tidelog_store::Store;
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, Medium};

use super::metadata::{OpenFailure, Place};
use super::storage;
use crate::cli::{CliError, Result};

/// Which store, and what it is opened with.
#[derive(Clone)]
pub(super) enum StoreKind {
    Embedded {
        objects: Arc<dyn ObjectStore>,
        options: EmbeddedOptions,
        metrics: tidelog_store_embedded::Metrics,
    },
    #[cfg(feature = "fdb")]
    FoundationDb {
        network: tidelog_store_fdb::Network,
        options: tidelog_store_fdb::FdbOptions,
        metrics: tidelog_store_fdb::Metrics,
    },
}

impl StoreKind {
    pub(super) fn new(
        settings: &Settings,
        plan: &MemoryPlan,
        place: &Place<'_>,
        env: &Env,
        registry: &mut Registry,
    ) -> Result<Self> {
        match &settings.metadata.store {
            MetadataStore::Embedded => {
                let meter = place.blob.meter(Role::Store);
                let memory = usize::try_from(plan.store).unwrap_or(usize::MAX);
                let medium = match &place.opened.location {
                    Location::Folder(_) => Medium::Folder,
                    Location::S3 { .. } | Location::Memory => Medium::Bucket,
                };
                let root = place.layout.store_root().to_string();
                Ok(Self::Embedded {
                    objects: storage::for_metadata(place.opened, settings, &meter, env),
                    options: EmbeddedOptions {
                        transaction_age_max: settings.store.transaction_age_max.get(),
                        flushes_per_table: settings.store.flushes_per_table,
                        request_retries_max: settings.store.request_retries_max,
                        garbage_age_min: settings.store.garbage_age_min.get(),
                        ..EmbeddedOptions::new(root, memory, medium)
                    },
                    metrics: tidelog_store_embedded::Metrics::register(registry),
                })
            }
            #[cfg(feature = "fdb")]
            MetadataStore::FoundationDb(file) => foundation_db(settings, file, registry),
            #[cfg(not(feature = "fdb"))]
            MetadataStore::FoundationDb(_) => Err(without_fdb()),
        }
    }

    pub(super) async fn open(&self, env: &Env) -> std::result::Result<Arc<dyn Store>, OpenFailure> {
        match self {
            Self::Embedded {
                objects,
                options,
                metrics,
            } => {
                let opened = EmbeddedStore::open(
                    Arc::clone(objects),
                    options.clone(),
                    env.clone(),
                    metrics.clone(),
                );
                let store = opened.await.map_err(embedded_failure)?;
                Ok(Arc::new(store))
            }
            #[cfg(feature = "fdb")]
            Self::FoundationDb {
                network,
                options,
                metrics,
            } => {
                let (options, metrics) = (options.clone(), metrics.clone());
                let opened =
                    tidelog_store_fdb::FdbStore::open(network, options, env.clone(), metrics);
                let store = opened.await.map_err(|error| {
                    OpenFailure::Lasts(CliError::because(Exit::Bucket, error.to_string(), error))
                })?;
                Ok(Arc::new(store))
            }
        }
    }
}

#[cfg(feature = "fdb")]
fn foundation_db(
    settings: &Settings,
    file: &std::path::Path,
    registry: &mut Registry,
) -> Result<StoreKind> {
    use tidelog_store_fdb::{FdbOptions, Knob, Metrics, Network, NetworkOptions, TlsOptions};

    let fdb = &settings.fdb;
    let knobs = fdb.knobs.split(',').filter(|knob| !knob.trim().is_empty());
    let knobs = knobs.map(|knob| {
        let (name, value) = knob.split_once('=').ok_or_else(|| {
            CliError::usage(format!(
                "`fdb.knobs`: `{knob}` has no value: write `NAME=VALUE`"
            ))
        })?;
        Ok(Knob {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    });
    let network = NetworkOptions {
        knobs: knobs.collect::<Result<_>>()?,
        tls: TlsOptions {
            certificate: fdb.tls_cert.clone(),
            key: fdb.tls_key.clone(),
            authorities: fdb.tls_ca.clone(),
            verify_peers: fdb.tls_verify.clone(),
        },
        trace: None,
    };
    let usage = |error: String| CliError::usage(format!("FoundationDB: {error}"));
    let network = Network::start(&network).map_err(|error| usage(error.to_string()))?;
    let options = FdbOptions {
        key_prefix: fdb.prefix.clone().into_bytes().into(),
        timeout: fdb.timeout.get(),
        ..FdbOptions::new(file)
    };
    options.check().map_err(|error| usage(error.to_string()))?;
    Ok(StoreKind::FoundationDb {
        network,
        options,
        metrics: Metrics::register(registry),
    })
}

/// Why the embedded store did not open.
fn embedded_failure(error: tidelog_store_embedded::OpenError) -> OpenFailure {
    use tidelog_store_embedded::OpenError;

    let failure = match &error {
        OpenError::Fenced => OpenFailure::Fenced,
        OpenError::Options(_) | OpenError::Damaged(_) => OpenFailure::Lasts,
        // Also what a later version adds: it is tried again, and said each time.
        _ => OpenFailure::MayPass,
    };
    let exit = match &error {
        OpenError::Fenced => Exit::Fenced,
        _ => Exit::Bucket,
    };
    failure(CliError::because(exit, error.to_string(), error))
}

/// Refuses a store that this program was built without, before anything is touched.
pub(crate) fn check_built(settings: &Settings) -> Result<()> {
    let is_there = cfg!(feature = "fdb") || settings.metadata.store == MetadataStore::Embedded;
    if is_there { Ok(()) } else { Err(without_fdb()) }
}

fn without_fdb() -> CliError {
    CliError::usage(
        "this program was built without FoundationDB: build it with `--features fdb`, or set `metadata.store` to \
         `embedded`"
            .to_owned(),
    )
}
