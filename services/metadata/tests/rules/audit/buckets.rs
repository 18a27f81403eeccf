//! Segments lie in several buckets, each in one.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidelog_blob::MAIN;
use tidelog_blob::object_store::ObjectStoreExt as _;
use tidelog_metadata::audit::Verify;
use tidelog_types::BucketId;

use super::ground::{Ground, written};
use super::{is_mended, kinds};

#[tokio::test(start_paused = true)]
async fn all_buckets_are_looked_at_and_a_segment_belongs_into_one_of_them() {
    const BESIDE: BucketId = BucketId::new(1);
    let mut ground = Ground::new(1).await;
    ground.layout = ground.layout.with_buckets([BESIDE]);
    ground.fill(1..=3).await;
    ground.bucket = BESIDE;
    ground.fill(4..=6).await;
    ground.world.clock.jump_wall(1 << 42);
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(report.differences, BTreeSet::new());
    assert_eq!((report.objects, report.segments), (6, 6));
    // Of a writer that there never was.
    let never = tidelog_types::SegmentName::new(
        tidelog_types::Incarnation::new(900),
        tidelog_types::SegmentSequence::new(1),
    );
    ground.put(never, vec![Bytes::from_static(b"x")]).await;
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(kinds(&report), ["orphan"]);
    assert_eq!(report.buckets.get(&never), Some(&BESIDE));
    is_mended(&ground, &report).await;
    // In another bucket than its extents say nobody finds it.
    let [here, there] = [MAIN, BESIDE].map(|bucket| ground.layout.segment(bucket, written(5)));
    let all = ground.all();
    let object = all.get(&there).await.expect("it is there");
    let bytes = object.bytes().await.expect("memory");
    all.put(&here, bytes.into()).await.expect("memory");
    all.delete(&there).await.expect("memory");
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(kinds(&report), ["missing"]);
    assert_eq!(report.buckets.get(&written(5)), Some(&BESIDE));
}
