//! The two things in a marker that change.

use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::{Marker, MarkerError, read_version};
use crate::errors::{ErrorKind, classify};
use crate::names::BucketLayout;

/// How often a marker is read again since another process has changed it meanwhile.
const TRIES_MAX: usize = 8;

/// Writes down that nobody who does not know a feature may use the bucket. It has a marker.
pub async fn require(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
    feature: &str,
) -> Result<(), MarkerError> {
    let add = |marker: &mut Marker| marker.required_features.insert(feature.to_owned());
    change(store, layout, add).await
}

/// Writes down that a bucket beside the main one belongs to the main one at `main`. It has a marker.
pub async fn adopt(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
    main: &str,
) -> Result<(), MarkerError> {
    let set = |marker: &mut Marker| {
        let before = marker.main.replace(main.to_owned());
        before.as_deref() != Some(main)
    };
    change(store, layout, set).await
}

/// Changes a marker, unless `change` says that there is nothing to change. What others change at the same time stays, where
/// the store can tell; a folder cannot, and belongs to one process.
async fn change(
    store: &dyn ObjectStore,
    layout: &BucketLayout,
    change: impl Fn(&mut Marker) -> bool,
) -> Result<(), MarkerError> {
    let path = layout.marker();
    let failed = |source| MarkerError::Store {
        path: path.to_string(),
        source,
    };
    let no_marker = |reason: String| MarkerError::NotAMarker {
        path: path.to_string(),
        reason,
    };
    for _ in 0..TRIES_MAX {
        let found = read_version(store, layout).await?;
        let (mut marker, meta) = found.ok_or_else(|| no_marker("it has gone".to_owned()))?;
        if !change(&mut marker) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&marker);
        let text = PutPayload::from(text.map_err(|error| no_marker(error.to_string()))?);
        let version = UpdateVersion {
            e_tag: meta.e_tag,
            version: meta.version,
        };
        let options = PutOptions::from(PutMode::Update(version));
        match store.put_opts(&path, text.clone(), options).await {
            Ok(_) => return Ok(()),
            Err(error) => match classify(&error) {
                ErrorKind::Precondition => {}
                ErrorKind::Unsupported => {
                    let put = store.put_opts(&path, text, PutOptions::from(PutMode::Overwrite));
                    return put.await.map(|_| ()).map_err(failed);
                }
                _ => return Err(failed(error)),
            },
        }
    }
    Err(no_marker("others change it all the time".to_owned()))
}
