//! The numbers of buckets, in the main bucket.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelog_types::BucketId;

use super::error::{RegisterError, failed};
use crate::errors::{ErrorKind, classify};
use crate::marker::{MARKER_BYTES_MAX, PlaceId};
use crate::names::{BucketPart, ClusterLayout, MAIN};

/// A cluster has at most so many buckets beside its main one.
pub const BESIDE_MAX: usize = 16;
/// How often a number is looked for while other processes take numbers too.
const TRIES_MAX: usize = 2 * BESIDE_MAX;

/// A bucket that has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its number in locations.
    pub number: BucketId,
    /// What settings call it.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// Which place that is, since a process has seen its marker there.
    pub place: Option<PlaceId>,
    /// How often it has moved.
    pub(super) moves: u32,
}

/// What is stored of it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    name: String,
    location: String,
}

/// What is stored once its marker was seen.
#[derive(Debug, Serialize, Deserialize)]
struct Entered {
    place: PlaceId,
}

/// What is stored when it has moved.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    location: String,
}

/// What there is of all buckets.
#[derive(Debug)]
struct Listed {
    /// Those that have not gone, by their numbers.
    living: Vec<Registered>,
    /// The highest number that was given.
    last: BucketId,
}

/// All buckets beside the main one, by their numbers.
pub async fn read(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
) -> Result<Vec<Registered>, RegisterError> {
    Ok(list(store, layout).await?.living)
}

async fn list(store: &dyn ObjectStore, layout: &ClusterLayout) -> Result<Listed, RegisterError> {
    let root = layout.buckets_root();
    let listed: Vec<_> = store
        .list(Some(&root))
        .try_collect()
        .await
        .map_err(failed(&root))?;
    let mut all: BTreeMap<BucketId, Vec<BucketPart>> = BTreeMap::new();
    for object in listed {
        let found = layout.parse_bucket(&object.location);
        let found = found.filter(|(number, _)| *number != MAIN);
        let malformed = |reason: &str| RegisterError::Malformed {
            path: object.location.clone(),
            reason: reason.to_owned(),
        };
        let (number, part) = found.ok_or_else(|| malformed("its name is none of ours"))?;
        if object.size > MARKER_BYTES_MAX {
            return Err(malformed("it is too large"));
        }
        all.entry(number).or_default().push(part);
    }
    let last = all.last_key_value().map_or(MAIN, |(number, _)| *number);
    let mut living = Vec::with_capacity(all.len());
    for (number, parts) in all {
        if !parts.contains(&BucketPart::Gone) {
            living.push(read_one(store, layout, number, &parts).await?);
        }
    }
    Ok(Listed { living, last })
}

async fn read_one(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
    number: BucketId,
    parts: &[BucketPart],
) -> Result<Registered, RegisterError> {
    let path = layout.bucket(number, BucketPart::Name);
    let Stored { name, mut location } = parse(store, &path).await?;
    let mut place = None;
    if parts.contains(&BucketPart::Entered) {
        let path = layout.bucket(number, BucketPart::Entered);
        place = Some(parse::<Entered>(store, &path).await?.place);
    }
    let moves = parts.iter().filter_map(|part| match part {
        BucketPart::Moved(turn) => Some(*turn),
        BucketPart::Name | BucketPart::Entered | BucketPart::Gone => None,
    });
    let moves = moves.max().unwrap_or_default();
    if moves > 0 {
        let path = layout.bucket(number, BucketPart::Moved(moves));
        location = parse::<Moved>(store, &path).await?.location;
    }
    Ok(Registered {
        number,
        name,
        location,
        place,
        moves,
    })
}

async fn parse<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<T, RegisterError> {
    let found = store.get_opts(path, GetOptions::new()).await;
    let text = found.map_err(failed(path))?.bytes().await;
    let text = text.map_err(failed(path))?;
    serde_json::from_slice(&text).map_err(|error| RegisterError::Malformed {
        path: path.clone(),
        reason: error.to_string(),
    })
}

/// Puts an object that says something of a bucket, unless there is one.
async fn put<T: Serialize + Sync>(
    store: &dyn ObjectStore,
    path: &Path,
    stored: &T,
) -> Result<(), RegisterError> {
    let text = serde_json::to_vec_pretty(stored).map_err(|error| RegisterError::Malformed {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let options = PutOptions::from(PutMode::Create);
    match store.put_opts(path, PutPayload::from(text), options).await {
        // Ours, if the answer of an earlier attempt was lost, or another's: what stands counts.
        Err(error) if classify(&error) != ErrorKind::AlreadyExists => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// A bucket that the cluster has got since `layout` was made, if there is one.
pub async fn newer(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
) -> object_store::Result<Option<BucketId>> {
    let root = layout.buckets_root();
    let listed: Vec<_> = store.list(Some(&root)).try_collect().await?;
    let parts = listed
        .iter()
        .filter_map(|object| layout.parse_bucket(&object.location));
    let has_gone = |number| {
        let mut parts = parts.clone();
        parts.any(|part| part == (number, BucketPart::Gone))
    };
    let mut named = parts.clone().filter(|(_, part)| *part == BucketPart::Name);
    let newer = named
        .find(|(number, _)| layout.buckets().all(|known| known != *number) && !has_gone(*number));
    Ok(newer.map(|(number, _)| number))
}

/// The first bucket of the cluster that settings do not name.
pub fn missing<'a>(
    known: &'a [Registered],
    named: impl Fn(&str) -> bool,
) -> Result<(), RegisterError> {
    let is_missing = |bucket: &&'a Registered| !named(&bucket.name);
    match known.iter().find(is_missing) {
        None => Ok(()),
        Some(bucket) => Err(RegisterError::Unnamed {
            name: bucket.name.clone(),
            number: bucket.number,
            location: bucket.location.clone(),
        }),
    }
}

/// The number of a bucket, which gets the next one if it has none. Of several processes that do so at once all get the same.
/// A number is for ever: [`super::check_free`] first.
pub async fn register(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
    name: &str,
    location: &str,
) -> Result<Registered, RegisterError> {
    for _ in 0..TRIES_MAX {
        let Listed { living, last } = list(store, layout).await?;
        if let Some(found) = living.iter().find(|known| known.name == name) {
            return Ok(found.clone());
        }
        if living.len() >= BESIDE_MAX {
            return Err(RegisterError::Full(name.to_owned()));
        }
        let next = last.get().checked_add(1).map(BucketId::new);
        let number = next.ok_or_else(|| RegisterError::Full(name.to_owned()))?;
        let stored = Stored {
            name: name.to_owned(),
            location: location.to_owned(),
        };
        put(store, &layout.bucket(number, BucketPart::Name), &stored).await?;
    }
    Err(RegisterError::Contended(name.to_owned()))
}

/// Writes down that the marker of a bucket was seen, so that no other one is ever put; gives the place that counts.
pub(super) async fn note_entered(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
    number: BucketId,
    place: PlaceId,
) -> Result<PlaceId, RegisterError> {
    let path = layout.bucket(number, BucketPart::Entered);
    put(store, &path, &Entered { place }).await?;
    Ok(parse::<Entered>(store, &path).await?.place)
}

/// Writes down where a bucket is from now on.
pub(super) async fn note_moved(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
    registered: &Registered,
    location: &str,
) -> Result<(), RegisterError> {
    let turn = registered.moves.saturating_add(1);
    let path = layout.bucket(registered.number, BucketPart::Moved(turn));
    let moved = Moved {
        location: location.to_owned(),
    };
    put(store, &path, &moved).await?;
    let stands: Moved = parse(store, &path).await?;
    if stands.location == location {
        return Ok(());
    }
    Err(RegisterError::Contended(registered.name.clone()))
}

/// Writes down that nothing is in a bucket any more. Its number is not given again.
pub(super) async fn note_gone(
    store: &dyn ObjectStore,
    layout: &ClusterLayout,
    registered: &Registered,
) -> Result<(), RegisterError> {
    let stored = Stored {
        name: registered.name.clone(),
        location: registered.location.clone(),
    };
    let path = layout.bucket(registered.number, BucketPart::Gone);
    put(store, &path, &stored).await
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use tidelog_types::ClusterId;

    use super::*;
    use crate::names::BucketLayout;

    const CLUSTER: ClusterId = ClusterId::from_bytes([3; 16]);

    fn layout() -> ClusterLayout {
        BucketLayout::new(Path::default()).cluster(CLUSTER)
    }

    async fn number(store: &InMemory, name: &str) -> u16 {
        let registered = register(store, &layout(), name, &format!("s3://{name}")).await;
        registered.unwrap().number.get()
    }

    #[tokio::test]
    async fn numbers_are_given_once() {
        let store = InMemory::new();
        assert_eq!(number(&store, "fast").await, 1);
        assert_eq!(number(&store, "cold").await, 2);
        assert_eq!(number(&store, "fast").await, 1);
        let layout = layout();
        let known = read(&store, &layout).await.unwrap();
        let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(names, ["fast", "cold"]);
        missing(&known, |_| true).unwrap();
        let [fast, cold] = [1, 2].map(BucketId::new);
        let with = |known: &[BucketId]| layout.with_buckets(known.iter().copied());
        assert_eq!(newer(&store, &with(&[])).await.unwrap(), Some(fast));
        assert_eq!(newer(&store, &with(&[fast])).await.unwrap(), Some(cold));
        assert_eq!(newer(&store, &with(&[fast, cold])).await.unwrap(), None);
        let error = missing(&known, |name| name == "fast").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`cold`") && text.contains("s3://cold"),
            "{text}"
        );
        for more in 3..=BESIDE_MAX {
            number(&store, &format!("b{more}")).await;
        }
        let error = register(&store, &layout, "one-more", "x").await;
        assert!(matches!(error, Err(RegisterError::Full(_))));
        assert_eq!(number(&store, "cold").await, 2);
    }

    #[tokio::test]
    async fn of_two_that_come_at_once_both_get_the_same_number() {
        let store = InMemory::new();
        let layout = layout();
        let (one, other) = tokio::join!(
            register(&store, &layout, "fast", "s3://fast"),
            register(&store, &layout, "fast", "s3://fast")
        );
        assert_eq!(one.unwrap(), other.unwrap());
        let path = layout.bucket(BucketId::new(9), BucketPart::Name);
        store.put(&path, "{}".into()).await.unwrap();
        let error = read(&store, &layout).await.unwrap_err();
        assert!(error.to_string().contains("00009"), "{error}");
    }

    #[tokio::test]
    async fn what_was_noted_of_a_bucket_is_read_again() {
        let (store, layout) = (InMemory::new(), layout());
        let fast = register(&store, &layout, "fast", "s3://fast").await;
        let fast = fast.unwrap();
        assert_eq!(fast.place, None);
        let place = |byte| PlaceId::from_random_bytes([byte; 16]);
        // The first counts.
        for byte in [1, 2] {
            let noted = note_entered(&store, &layout, fast.number, place(byte)).await;
            assert_eq!(noted.unwrap(), place(1));
        }
        let entered = read(&store, &layout).await.unwrap().remove(0);
        assert_eq!(entered.place, Some(place(1)));
        assert_eq!(entered.location, "s3://fast");
        for moved in ["s3://other", "s3://third"] {
            let known = read(&store, &layout).await.unwrap().remove(0);
            note_moved(&store, &layout, &known, moved).await.unwrap();
        }
        let known = read(&store, &layout).await.unwrap().remove(0);
        assert_eq!((known.location.as_str(), known.moves), ("s3://third", 2));
        // Of two that move it at once one succeeds.
        let late = note_moved(&store, &layout, &entered, "s3://late").await;
        assert!(matches!(late, Err(RegisterError::Contended(_))), "{late:?}");
    }

    #[tokio::test]
    async fn a_number_that_has_gone_is_not_given_again_and_nobody_waits_for_it() {
        let (store, layout) = (InMemory::new(), layout());
        let fast = register(&store, &layout, "fast", "s3://fast").await;
        note_gone(&store, &layout, &fast.unwrap()).await.unwrap();
        assert_eq!(read(&store, &layout).await.unwrap(), []);
        assert_eq!(newer(&store, &layout).await.unwrap(), None);
        assert_eq!(number(&store, "fast").await, 2);
    }
}
