use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;

/// The marker as version 1 wrote it. It must be readable for ever.
const GOLDEN: &str = r#"{
  "magic": "tidelog-bucket",
  "format_version": 1,
  "cluster_id": "0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a",
  "versions": {
    "segment": 1,
    "keyspace": 1
  },
  "feature_level": 1,
  "required_features": [],
  "ignorable_features": []
}"#;

fn cluster() -> ClusterId {
    "0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6a".parse().unwrap()
}

fn supported() -> Supported {
    Supported {
        versions: FormatVersions {
            segment: 1,
            keyspace: 1,
        },
        feature_level: 1,
        features: BTreeSet::from(["tiered".to_owned()]),
    }
}

fn layout() -> BucketLayout {
    BucketLayout::new(Path::from("p"))
}

fn edited(from: &str, to: &str) -> Result<Marker, MarkerError> {
    let text = GOLDEN.replace(from, to);
    assert_ne!(text, GOLDEN, "`{from}` is not in the golden marker");
    let marker = parse("tidelog.json", text.as_bytes())?;
    marker.check(Some(cluster()), &supported())?;
    Ok(marker)
}

#[test]
fn the_golden_marker_is_what_is_written_and_read() {
    let marker = Marker::new(cluster(), &supported());
    assert_eq!(serde_json::to_string_pretty(&marker).unwrap(), GOLDEN);
    assert_eq!(parse("x", GOLDEN.as_bytes()).unwrap(), marker);
    marker.check(Some(cluster()), &supported()).unwrap();
}

#[test]
fn what_a_newer_version_may_add_is_ignored_and_what_it_needs_is_refused() {
    edited(
        "\"required_features\": []",
        "\"required_features\": [\"tiered\"]",
    )
    .unwrap();
    edited(
        "\"ignorable_features\": []",
        "\"ignorable_features\": [\"x\"], \"new\": 1",
    )
    .unwrap();
    let error = edited(
        "\"required_features\": []",
        "\"required_features\": [\"quantum\"]",
    );
    assert!(error.unwrap_err().to_string().contains("`quantum`"));
}

#[test]
fn a_newer_format_is_refused_in_one_line_even_if_it_looks_otherwise() {
    for (from, to, what) in [
        (
            "\"format_version\": 1",
            "\"format_version\": 2",
            "marker format version 2",
        ),
        (
            "\"segment\": 1",
            "\"segment\": 3",
            "segment format version 3",
        ),
        (
            "\"keyspace\": 1",
            "\"keyspace\": 9",
            "keyspace format version 9",
        ),
        (
            "\"feature_level\": 1",
            "\"feature_level\": 2",
            "feature level version 2",
        ),
    ] {
        let text = edited(from, to).unwrap_err().to_string();
        assert!(text.contains(what) && !text.contains('\n'), "{text}");
    }
    let other = br#"{"magic": "tidelog-bucket", "format_version": 7, "cluster": 5}"#;
    assert!(matches!(
        parse("x", other),
        Err(MarkerError::Newer { found: 7, .. })
    ));
}

#[test]
fn another_cluster_and_what_is_no_marker_are_refused() {
    let error = edited("0191d3a8", "0191d3a9").unwrap_err();
    assert!(matches!(error, MarkerError::WrongCluster { .. }), "{error}");
    for (from, to) in [
        ("tidelog-bucket", "else"),
        ("{", "["),
        ("\"cluster_id\"", "\"id\""),
    ] {
        let error = edited(from, to).unwrap_err();
        assert!(matches!(error, MarkerError::NotAMarker { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_first_creator_wins_and_the_others_get_its_marker() {
    let store = InMemory::new();
    assert_eq!(read(&store, &layout()).await.unwrap(), None);
    let first = Marker::new(cluster(), &supported());
    let other = "0191d3a8-7f3c-4b5e-9a61-2f0c8d4e5b6b".parse().unwrap();
    let second = Marker::new(other, &supported());
    for proposed in [first.clone(), second.clone()] {
        let stands = open_or_create(&store, &layout(), proposed, None, &supported()).await;
        assert_eq!(stands.unwrap(), first);
    }
    // Also when it did not see the first one's before it wrote.
    assert_eq!(create(&store, &layout(), second).await.unwrap(), first);
    assert!(exists(&store, &layout()).await.unwrap());
    let wrong = open_or_create(&store, &layout(), first, Some(other), &supported()).await;
    assert!(matches!(wrong, Err(MarkerError::WrongCluster { .. })));
}

#[tokio::test]
async fn a_large_object_in_the_markers_place_is_not_read() {
    let store = InMemory::new();
    let large = vec![b' '; 64 * 1024 + 1];
    store.put(&layout().marker(), large.into()).await.unwrap();
    let error = read(&store, &layout()).await.unwrap_err();
    assert!(matches!(error, MarkerError::NotAMarker { .. }), "{error}");
}

#[tokio::test]
async fn a_cluster_whose_marker_is_lost_is_not_hidden_behind_a_new_one() {
    let (store, layout) = (InMemory::new(), layout());
    let proposed = || Marker::new(ClusterId::from_bytes([7; 16]), &supported());
    let left = layout.cluster(cluster()).segments_root(MAIN).join("x");
    store.put(&left, PutPayload::from("segment")).await.unwrap();
    // What is beside it belongs to somebody else.
    store
        .put(&Path::from("p/photos/1"), PutPayload::from("x"))
        .await
        .unwrap();
    let opened = open_or_create(&store, &layout, proposed(), None, &supported()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, MarkerError::Missing { found, .. } if found == cluster()));
    assert!(!exists(&store, &layout).await.unwrap());
    store.delete(&left).await.unwrap();
    open_or_create(&store, &layout, proposed(), None, &supported())
        .await
        .unwrap();
}

/// What others have written stays, also what this version does not know.
#[tokio::test]
async fn a_feature_that_is_required_keeps_out_who_does_not_know_it() {
    let (store, layout) = (InMemory::new(), layout());
    let newer = GOLDEN.replace(
        "\"ignorable_features\": []",
        "\"ignorable_features\": [\"x\"], \"new\": 1",
    );
    store.put(&layout.marker(), newer.into()).await.unwrap();
    for _ in 0..2 {
        require(&store, &layout, EXPRESS).await.unwrap();
    }
    require(&store, &layout, "tiered").await.unwrap();
    let marker = read(&store, &layout).await.unwrap().unwrap();
    let refused = marker.check(None, &supported());
    assert!(matches!(refused, Err(MarkerError::UnknownFeature(name)) if name == EXPRESS));
    let mut known = supported();
    known.features.insert(EXPRESS.to_owned());
    marker.check(Some(cluster()), &known).unwrap();
    let text = serde_json::to_value(&marker).unwrap();
    assert_eq!(text["new"], 1);
    assert_eq!(text["ignorable_features"], serde_json::json!(["x"]));
    store.delete(&layout.marker()).await.unwrap();
    let gone = require(&store, &layout, EXPRESS).await;
    assert!(matches!(gone, Err(MarkerError::NotAMarker { .. })));
}
