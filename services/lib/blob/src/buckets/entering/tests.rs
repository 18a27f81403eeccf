use std::collections::BTreeSet;

use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::buckets::{read, register};
use crate::marker::{BUCKETS, FormatVersions, MarkerError};

const CLUSTER: ClusterId = ClusterId::from_bytes([3; 16]);

fn supported() -> Supported {
    Supported {
        versions: FormatVersions {
            segment: 1,
            keyspace: 1,
        },
        feature_level: 1,
        features: BTreeSet::new(),
    }
}

fn id(byte: u8) -> PlaceId {
    PlaceId::from_random_bytes([byte; 16])
}

/// The main bucket, and what it is said to be.
struct World {
    objects: InMemory,
    names: BucketLayout,
    layout: ClusterLayout,
    location: &'static str,
    cluster: ClusterId,
}

impl World {
    fn new() -> Self {
        let names = BucketLayout::new(Path::from("m"));
        Self {
            objects: InMemory::new(),
            layout: names.cluster(CLUSTER),
            names,
            location: "s3://main",
            cluster: CLUSTER,
        }
    }

    const fn main(&self) -> MainBucket<'_> {
        MainBucket {
            objects: &self.objects,
            names: &self.names,
            layout: &self.layout,
            cluster: self.cluster,
            location: self.location,
        }
    }

    async fn fast(&self) -> Registered {
        register(&self.objects, &self.layout, "fast", "s3://fast")
            .await
            .unwrap()
    }

    /// A process starts that finds `store` at a location.
    async fn starts(&self, store: &InMemory, location: &str) -> Result<(), RegisterError> {
        let names = BucketLayout::new(Path::from("p"));
        let place = at(store, &names, location);
        let new = Some(id(7));
        enter(self.main(), &self.fast().await, place, &supported(), new).await
    }

    async fn adopts(&self, store: &InMemory, location: &str) -> Result<(), RegisterError> {
        let names = BucketLayout::new(Path::from("p"));
        let place = at(store, &names, location);
        adopt(self.main(), &self.fast().await, place, &supported()).await
    }
}

const fn at<'a>(store: &'a InMemory, names: &'a BucketLayout, location: &'a str) -> Place<'a> {
    Place {
        objects: store,
        names,
        location,
    }
}

fn names() -> BucketLayout {
    BucketLayout::new(Path::from("p"))
}

async fn copy(store: &InMemory) -> InMemory {
    let copy = InMemory::new();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in listed {
        let bytes = store.get(&object.location).await.unwrap().bytes().await;
        copy.put(&object.location, bytes.unwrap().into())
            .await
            .unwrap();
    }
    copy
}

#[tokio::test]
async fn a_bucket_is_the_one_that_its_marker_says() {
    let (world, store) = (World::new(), InMemory::new());
    for _ in 0..2 {
        world.starts(&store, "s3://fast").await.unwrap();
    }
    let text = store.get(&names().marker()).await.unwrap();
    let text = String::from_utf8(text.bytes().await.unwrap().to_vec()).unwrap();
    for part in ["\"beside\"", "\"bucket\": 1", "\"main\": \"s3://main\""] {
        assert!(text.contains(part), "{text}");
    }
    // Neither for another number, nor for another cluster, nor as a main bucket.
    let other = Registered {
        number: BucketId::new(2),
        ..world.fast().await
    };
    let (names, supported) = (names(), supported());
    let place = at(&store, &names, "s3://fast");
    let error = enter(world.main(), &other, place, &supported, None).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("number `1`"), "{text}");
    let stranger = MainBucket {
        cluster: ClusterId::from_bytes([4; 16]),
        ..world.main()
    };
    let error = enter(stranger, &world.fast().await, place, &supported, None).await;
    assert!(matches!(error, Err(RegisterError::Marker { .. })));
    let marker = marker::read(&store, &names).await.unwrap().unwrap();
    let error = marker.check(Some(CLUSTER), &supported).unwrap_err();
    assert!(matches!(error, MarkerError::WrongBucket { .. }), "{error}");
}

#[tokio::test]
async fn an_empty_place_is_not_taken_for_a_bucket_that_was_seen() {
    let (world, store) = (World::new(), InMemory::new());
    world.starts(&store, "s3://fast").await.unwrap();
    let empty = InMemory::new();
    let error = world.starts(&empty, "s3://fast").await.unwrap_err();
    assert!(matches!(error, RegisterError::Lost { .. }), "{error}");
    assert!(!marker::exists(&empty, &names()).await.unwrap());
    world.starts(&store, "s3://fast").await.unwrap();
}

#[tokio::test]
async fn of_two_places_of_one_name_one_is_the_bucket_whoever_comes_first() {
    let (world, store, other) = (World::new(), InMemory::new(), InMemory::new());
    // Both have put a marker, and none has written that down.
    let (before, names) = (world.fast().await, names());
    world.starts(&store, "s3://fast").await.unwrap();
    let place = at(&other, &names, "s3://fast");
    let error = enter(world.main(), &before, place, &supported(), Some(id(9))).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegisterError::Other { .. }), "{error}");
    let error = world.starts(&other, "s3://fast").await.unwrap_err();
    assert!(matches!(error, RegisterError::Other { .. }), "{error}");
    world.starts(&store, "s3://fast").await.unwrap();
}

#[tokio::test]
async fn a_command_puts_no_marker() {
    let (world, store) = (World::new(), InMemory::new());
    let (fast, names) = (world.fast().await, names());
    let place = at(&store, &names, "s3://fast");
    let error = enter(world.main(), &fast, place, &supported(), None).await;
    assert!(matches!(error, Err(RegisterError::Lost { .. })));
    assert!(!marker::exists(&store, &names).await.unwrap());
    world.starts(&store, "s3://fast").await.unwrap();
    let fast = world.fast().await;
    enter(world.main(), &fast, place, &supported(), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bucket_that_has_moved_is_in_its_new_place_alone() {
    let (world, store) = (World::new(), InMemory::new());
    world.starts(&store, "s3://fast").await.unwrap();
    let moved = copy(&store).await;
    let error = world.starts(&moved, "s3://moved").await.unwrap_err();
    assert!(error.to_string().contains("adopt fast"), "{error}");
    let error = world.adopts(&InMemory::new(), "s3://moved").await;
    assert!(matches!(error, Err(RegisterError::Lost { .. })));
    world.adopts(&moved, "s3://moved").await.unwrap();
    world.starts(&moved, "s3://moved").await.unwrap();
    // With the settings of before.
    let error = world.starts(&store, "s3://fast").await.unwrap_err();
    assert!(matches!(error, RegisterError::Moved { .. }), "{error}");
    world.adopts(&store, "s3://fast").await.unwrap();
    world.starts(&store, "s3://fast").await.unwrap();
}

#[tokio::test]
async fn a_copy_of_the_main_bucket_does_not_work_on_what_its_original_has() {
    let (world, store) = (World::new(), InMemory::new());
    world.starts(&store, "s3://fast").await.unwrap();
    let drill = World {
        objects: copy(&world.objects).await,
        location: "s3://copy",
        ..World::new()
    };
    let error = drill.starts(&store, "s3://fast").await.unwrap_err();
    assert!(matches!(error, RegisterError::OtherMain { .. }), "{error}");
    // On a copy of that it does.
    let own = copy(&store).await;
    drill.adopts(&own, "s3://own").await.unwrap();
    drill.starts(&own, "s3://own").await.unwrap();
    world.starts(&store, "s3://fast").await.unwrap();
}

#[tokio::test]
async fn a_place_in_which_a_bucket_is_gets_no_number() {
    let (world, store, names) = (World::new(), InMemory::new(), names());
    let place = at(&store, &names, "s3://p");
    check_free("fast", place).await.unwrap();
    // A cluster that has lost its marker.
    let left = names.cluster(CLUSTER).segments_root(MAIN).join("x");
    store.put(&left, "segment".into()).await.unwrap();
    let error = check_free("fast", place).await.unwrap_err();
    assert!(matches!(error, RegisterError::Taken { .. }), "{error}");
    // A main bucket.
    let proposed = Marker::new(CLUSTER, &supported());
    store.delete(&left).await.unwrap();
    marker::open_or_create(&store, &names, proposed, None, &supported())
        .await
        .unwrap();
    let error = check_free("fast", place).await.unwrap_err();
    assert!(error.to_string().contains("main bucket"), "{error}");
    // One of this cluster, under another spelling.
    let store = InMemory::new();
    world.starts(&store, "s3://fast").await.unwrap();
    let error = check_free("other", at(&store, &names, "s3://fast/")).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("number `1`"), "{error}");
}

#[tokio::test]
async fn a_bucket_is_forgotten_only_when_it_is_empty() {
    let (world, store, names) = (World::new(), InMemory::new(), names());
    world.starts(&store, "s3://fast").await.unwrap();
    let (fast, place) = (world.fast().await, at(&store, &names, "s3://fast"));
    let segment = names.cluster(CLUSTER).segments_root(MAIN).join("x");
    store.put(&segment, "segment".into()).await.unwrap();
    let error = forget(world.main(), &fast, place).await.unwrap_err();
    assert!(matches!(error, RegisterError::Needed { .. }), "{error}");
    store.delete(&segment).await.unwrap();
    for _ in 0..2 {
        forget(world.main(), &fast, place).await.unwrap();
    }
    let known = read(&world.objects, &world.layout).await.unwrap();
    assert_eq!(known, []);
    // The place is as good as new.
    check_free("fast", place).await.unwrap();
    world.starts(&store, "s3://fast").await.unwrap();
    assert_eq!(world.fast().await.number.get(), 2);
}

#[tokio::test]
async fn a_marker_is_changed_and_keeps_what_it_does_not_know() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let local = crate::local::LocalStore::open(folder.path()).unwrap();
    let stores: [&dyn ObjectStore; 2] = [&world.objects, &local];
    for store in stores {
        let text = r#"{"magic": "tidelog-bucket", "format_version": 1, "feature_level": 1, "new": [1],
            "cluster_id": "0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a", "versions": {"segment": 1, "keyspace": 1}}"#;
        let path = world.names.marker();
        store.put(&path, text.into()).await.unwrap();
        for _ in 0..2 {
            marker::require(store, &world.names, BUCKETS).await.unwrap();
        }
        let marker = marker::read(store, &world.names).await.unwrap().unwrap();
        let error = marker.check(None, &supported()).unwrap_err();
        assert!(error.to_string().contains("`buckets`"), "{error}");
        let text = store.get(&path).await.unwrap().bytes().await.unwrap();
        let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(text["new"], serde_json::json!([1]));
        assert_eq!(text["required_features"], serde_json::json!(["buckets"]));
    }
}
