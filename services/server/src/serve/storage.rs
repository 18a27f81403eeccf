//! From settings to the bucket.

use std::path::PathBuf;
use std::sync::Arc;

use tidelog_blob::marker::{self, FormatVersions, Marker, Supported};
use tidelog_blob::metered::Metered;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::preflight::preflight;
use tidelog_blob::settings::{
    BlobSettings, Checksum, Encryption, HedgeSettings, LocalSettings, RetrySettings, S3Settings,
};
use tidelog_blob::{ClusterLayout, Location, Meter, OpenError, OpenedStore, stack};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::{self, DATA_DEFAULT, Settings};
use tidelog_types::ClusterId;

use crate::cli::{CliError, Result};

/// What this build reads and writes.
const VERSIONS: FormatVersions = FormatVersions {
    segment: 1,
    keyspace: 1,
};
/// Raised when a bucket can no longer be used by older builds.
const FEATURE_LEVEL: u32 = 1;

/// Opens what the settings name; sends no request.
pub(crate) fn open(settings: &Settings) -> Result<OpenedStore> {
    open_at(&location(settings)?, &blob_settings(settings))
}

/// Opens a bucket; sends no request.
pub(super) fn open_at(location: &Location, settings: &BlobSettings) -> Result<OpenedStore> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    tidelog_blob::open(location, settings, environment).map_err(|error| {
        let exit = match &error {
            OpenError::Folder { .. } => Exit::Bucket,
            _ => Exit::Usage,
        };
        CliError::because(exit, error.to_string(), error)
    })
}

fn location(settings: &Settings) -> Result<Location> {
    if let Some(bucket) = &settings.bucket {
        return parse(bucket);
    }
    let folder = settings.data.clone();
    Ok(Location::Folder(
        folder.unwrap_or_else(|| PathBuf::from(DATA_DEFAULT)),
    ))
}

pub(super) fn parse(location: &str) -> Result<Location> {
    let parsed = location.parse();
    parsed.map_err(|error: tidelog_blob::LocationError| CliError::usage(error.to_string()))
}

/// The same values under the names of the object-store seam.
pub(crate) fn blob_settings(settings: &Settings) -> BlobSettings {
    let (s3, requests) = (&settings.s3, &settings.requests);
    BlobSettings {
        s3: S3Settings {
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
            session_token: s3.session_token.clone(),
            path_style: s3.path_style,
            allow_http: s3.allow_http,
            checksum: match s3.checksum {
                settings::Checksum::Crc64nvme => Checksum::Crc64nvme,
                settings::Checksum::Sha256 => Checksum::Sha256,
                settings::Checksum::None => Checksum::None,
            },
            encryption: match s3.encryption {
                settings::Encryption::None => Encryption::None,
                settings::Encryption::SseS3 => Encryption::SseS3,
                settings::Encryption::SseKms => Encryption::SseKms(s3.kms_key.clone()),
            },
            sign_payload: s3.sign_payload,
            connect_timeout: s3.connect_timeout.get(),
            request_timeout: s3.request_timeout.get(),
            pool_idle_timeout: s3.pool_idle_timeout.get(),
            pool_idle_max: s3.pool_idle_max,
        },
        local: LocalSettings {
            stale_staged_after: settings.local.stale_staged_after.get(),
        },
        retry: RetrySettings {
            retries_max: requests.retries_max,
            wait_initial: requests.wait_initial.get(),
            wait_max: requests.wait_max.get(),
            attempt_timeout: requests.attempt_timeout.get(),
        },
        hedge: HedgeSettings {
            enabled: requests.hedge,
            percentile: requests.hedge_percentile,
            delay_min: requests.hedge_delay_min.get(),
            delay_max: requests.hedge_delay_max.get(),
            requests_per_hedge: requests.requests_per_hedge,
        },
    }
}

pub(crate) fn supported() -> Supported {
    Supported {
        versions: VERSIONS,
        feature_level: FEATURE_LEVEL,
        features: [marker::EXPRESS, marker::BUCKETS].map(str::to_owned).into(),
    }
}

/// Where a bucket is, in a text that is another one for another folder.
pub(crate) fn place(opened: &OpenedStore) -> String {
    match &opened.folder {
        Some(folder) => folder.display().to_string(),
        None => opened.location.to_string(),
    }
}

/// Finds the cluster in the bucket; founds none.
pub(crate) async fn find(
    opened: &OpenedStore,
    store: &dyn ObjectStore,
) -> Result<(ClusterId, ClusterLayout)> {
    let failed = |error: marker::MarkerError| {
        let message = error.to_string();
        CliError::because(Exit::Bucket, message, error)
    };
    let marker = marker::read(store, &opened.layout).await.map_err(failed)?;
    let Some(marker) = marker else {
        let message = format!("there is no cluster in `{}`", opened.location);
        return Err(CliError::other(Exit::NotFound, message));
    };
    marker.check(None, &supported()).map_err(failed)?;
    let cluster = marker.cluster_id();
    Ok((cluster, opened.layout.cluster(cluster)))
}

/// Proves that the bucket keeps its promises, and finds or founds the cluster in it.
pub(super) async fn enter(
    opened: &OpenedStore,
    store: &dyn ObjectStore,
    env: &Env,
) -> Result<(ClusterId, ClusterLayout)> {
    preflight(store, &opened.location, &opened.layout, env.rng.as_ref())
        .await
        .map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))?;
    let supported = supported();
    let proposed = Marker::new(ClusterId::from_random_bytes(env.rng.bytes_16()), &supported);
    let marker = marker::open_or_create(store, &opened.layout, proposed, None, &supported)
        .await
        .map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))?;
    let cluster = marker.cluster_id();
    Ok((cluster, opened.layout.cluster(cluster)))
}

/// Keeps out who does not know of what these settings bring into the cluster.
pub(super) async fn require(
    opened: &OpenedStore,
    store: &dyn ObjectStore,
    settings: &Settings,
) -> Result<()> {
    let mut classes = settings.storage.classes.values();
    if classes.any(|class| class.express_bytes.is_some()) {
        let required = marker::require(store, &opened.layout, marker::EXPRESS).await;
        required.map_err(|error| CliError::because(Exit::Bucket, error.to_string(), error))?;
    }
    Ok(())
}

/// The main bucket as brokers use it: metered, hedged, tried again.
pub(crate) fn for_segments(
    opened: &OpenedStore,
    settings: &Settings,
    meter: &Meter,
    env: &Env,
) -> Arc<dyn ObjectStore> {
    let settings = blob_settings(settings);
    stack(
        Arc::clone(&opened.store),
        opened.location.is_local(),
        &settings,
        meter,
        env,
    )
}

/// The bucket as the embedded store uses it. It tries again by itself and knows when it must not, so that
/// here a request is sent once, and given up when it takes too long.
pub(crate) fn for_metadata(
    opened: &OpenedStore,
    settings: &Settings,
    meter: &Meter,
    env: &Env,
) -> Arc<dyn ObjectStore> {
    let store = Arc::clone(&opened.store);
    let is_local = opened.location.is_local();
    if is_local {
        return Arc::new(Metered::new(store, meter.clone(), Arc::clone(&env.clock)));
    }
    let mut settings = blob_settings(settings);
    settings.retry.retries_max = 0;
    settings.hedge.enabled = false;
    stack(store, is_local, &settings, meter, env)
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn the_defaults_are_the_same_on_both_sides() {
        assert_eq!(blob_settings(&settings(&[])), BlobSettings::default());
    }

    #[test]
    fn a_bucket_is_named_by_its_url_and_a_folder_is_the_default() {
        assert_eq!(
            location(&settings(&[])).unwrap(),
            Location::Folder(DATA_DEFAULT.into())
        );
        let s3 = location(&settings(&[("bucket", "s3://logs/prefix")])).unwrap();
        assert!(matches!(s3, Location::S3 { bucket, .. } if bucket == "logs"));
        let error = location(&settings(&[("bucket", "s3://UPPER")])).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
    }
}
