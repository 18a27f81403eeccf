//! Whether a bucket is the one that has its number, by its marker.

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tidelog_types::{BucketId, ClusterId};

use super::error::{RegisterError, failed};
use super::register::{Registered, note_entered, note_gone, note_moved};
use crate::errors::{ErrorKind, classify};
use crate::marker::{self, BESIDE, Marker, PlaceId, Supported, abandoned};
use crate::names::{BucketLayout, ClusterLayout, MAIN};

/// The main bucket of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct MainBucket<'a> {
    /// What is in it.
    pub objects: &'a dyn ObjectStore,
    /// Its names.
    pub names: &'a BucketLayout,
    /// The cluster's names in it.
    pub layout: &'a ClusterLayout,
    /// Whose it is.
    pub cluster: ClusterId,
    /// Where it is.
    pub location: &'a str,
}

/// Where settings say that a bucket beside it is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What is there, without wrappers that hide answers.
    pub objects: &'a dyn ObjectStore,
    /// The names there.
    pub names: &'a BucketLayout,
    /// Where that is.
    pub location: &'a str,
}

/// Refuses a place for a new bucket in which there is a bucket already, of this cluster or of another one. It is asked before
/// a number is given, which is for ever.
pub async fn check_free(name: &str, place: Place<'_>) -> Result<(), RegisterError> {
    let wrong = wrong(name);
    let taken = |found: String| RegisterError::Taken {
        name: name.to_owned(),
        location: place.location.to_owned(),
        found,
    };
    let found = marker::read(place.objects, place.names).await;
    if let Some(found) = found.map_err(&wrong)? {
        let which = match found.bucket() {
            MAIN => "the main bucket".to_owned(),
            number => format!("bucket number `{number}`"),
        };
        let cluster = found.cluster_id();
        return Err(taken(format!("{which} of cluster `{cluster}`")));
    }
    match abandoned(place.objects, place.names)
        .await
        .map_err(&wrong)?
    {
        None => Ok(()),
        Some(error) => Err(taken(format!("a cluster without its marker ({error})"))),
    }
}

/// Makes sure that a place is the bucket that has the number. With `new`, which a new place is given, the first marker is put;
/// once that was seen, no other one ever is, since whatever is empty then is another place.
pub async fn enter(
    main: MainBucket<'_>,
    registered: &Registered,
    place: Place<'_>,
    supported: &Supported,
    new: Option<PlaceId>,
) -> Result<(), RegisterError> {
    if registered.location != place.location {
        return Err(RegisterError::Moved {
            name: registered.name.clone(),
            location: place.location.to_owned(),
            now: registered.location.clone(),
        });
    }
    let wrong = wrong(&registered.name);
    let found = marker::read(place.objects, place.names).await;
    let puts = new.is_some();
    let marker = match (found.map_err(&wrong)?, &registered.place, new) {
        (Some(marker), _, _) => marker,
        (None, None, Some(id)) => {
            let (number, cluster) = (registered.number, main.cluster);
            let supported = with_beside(supported);
            let proposed = Marker::beside(cluster, &supported, number, (id, main.location));
            let expected = Some(cluster);
            let put =
                marker::open_or_create(place.objects, place.names, proposed, expected, &supported);
            put.await.map_err(&wrong)?
        }
        (None, _, _) => return Err(lost(registered, place)),
    };
    check(&marker, main.cluster, registered, supported)?;
    if marker.main() != Some(main.location) {
        return Err(RegisterError::OtherMain {
            name: registered.name.clone(),
            location: place.location.to_owned(),
            main: marker.main().unwrap_or("?").to_owned(),
            here: main.location.to_owned(),
        });
    }
    let seen = marker.place().ok_or_else(|| other(registered, place))?;
    let counts = match &registered.place {
        Some(counts) => counts.clone(),
        None if puts => {
            let (objects, layout) = (main.objects, main.layout);
            note_entered(objects, layout, registered.number, seen.clone()).await?
        }
        None => seen.clone(),
    };
    if counts == *seen {
        Ok(())
    } else {
        Err(other(registered, place))
    }
}

/// Takes a copy for the bucket: where it was is not it any more, and neither is it that of another main bucket. Whoever asks
/// has made sure that nobody works on either.
pub async fn adopt(
    main: MainBucket<'_>,
    registered: &Registered,
    place: Place<'_>,
    supported: &Supported,
) -> Result<(), RegisterError> {
    let wrong = wrong(&registered.name);
    let marker = marker::read(place.objects, place.names).await;
    let marker = marker.map_err(&wrong)?;
    let marker = marker.ok_or_else(|| lost(registered, place))?;
    check(&marker, main.cluster, registered, supported)?;
    let seen = marker.place();
    if seen.is_none() || (registered.place.is_some() && registered.place.as_ref() != seen) {
        return Err(other(registered, place));
    }
    marker::adopt(place.objects, place.names, main.location)
        .await
        .map_err(&wrong)?;
    if registered.location == place.location {
        return Ok(());
    }
    note_moved(main.objects, main.layout, registered, place.location).await
}

/// Lets go of a bucket in which there are no segments; its name may be given to another one. Whoever asks has made sure that
/// no process runs that has it in its settings.
pub async fn forget(
    main: MainBucket<'_>,
    registered: &Registered,
    place: Place<'_>,
) -> Result<(), RegisterError> {
    let root = place.names.cluster(main.cluster).segments_root(MAIN);
    let first = place.objects.list(Some(&root)).try_next().await;
    if let Some(found) = first.map_err(failed(&root))? {
        return Err(RegisterError::Needed {
            name: registered.name.clone(),
            path: found.location,
        });
    }
    note_gone(main.objects, main.layout, registered).await?;
    let path = place.names.marker();
    match place.objects.delete(&path).await {
        Err(error) if classify(&error) != ErrorKind::NotFound => Err(failed(&path)(error)),
        _ => Ok(()),
    }
}

fn with_beside(supported: &Supported) -> Supported {
    let mut supported = supported.clone();
    supported.features.insert(BESIDE.to_owned());
    supported
}

/// Refuses another cluster's, another bucket's, and what is too new.
fn check(
    marker: &Marker,
    cluster: ClusterId,
    registered: &Registered,
    supported: &Supported,
) -> Result<(), RegisterError> {
    let checked = marker.check(Some(cluster), &with_beside(supported));
    let checked = checked.and_then(|()| marker.check_bucket(registered.number));
    checked.map_err(wrong(&registered.name))
}

fn wrong(name: &str) -> impl Fn(marker::MarkerError) -> RegisterError {
    let name = name.to_owned();
    move |source| RegisterError::Marker {
        name: name.clone(),
        source,
    }
}

fn lost(registered: &Registered, place: Place<'_>) -> RegisterError {
    let (name, number, location) = told(registered, place);
    RegisterError::Lost {
        name,
        number,
        location,
    }
}

fn other(registered: &Registered, place: Place<'_>) -> RegisterError {
    let (name, number, location) = told(registered, place);
    RegisterError::Other {
        name,
        number,
        location,
    }
}

fn told(registered: &Registered, place: Place<'_>) -> (String, BucketId, String) {
    let location = place.location.to_owned();
    (registered.name.clone(), registered.number, location)
}

#[cfg(test)]
mod tests;
