//! A bucket beside the main one.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tidelog_blob::buckets::{Beside, Routed};
use tidelog_blob::faulty::FaultyStore;
use tidelog_blob::{BucketLayout, ClusterLayout};
use tidelog_types::{BucketId, ClusterId};

pub(crate) const FAR_BUCKET: BucketId = BucketId::new(3);

/// The main bucket, as requests to it arrive, and the one beside it.
pub(crate) fn with_far(
    way: &FaultyStore,
    far: &Arc<InMemory>,
    layout: &ClusterLayout,
) -> Arc<dyn ObjectStore> {
    let beside = Beside {
        number: FAR_BUCKET,
        store: Arc::<InMemory>::clone(far),
        layout: BucketLayout::new("far".into()).cluster(ClusterId::from_bytes([9; 16])),
        storage_class: None,
    };
    Arc::new(Routed::new(Arc::new(way.clone()), layout.clone(), [beside]))
}
