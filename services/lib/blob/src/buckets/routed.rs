//! One store for all buckets of a cluster: a name says in which of them an object lies.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, iter, once};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use thiserror::Error;
use tidelog_types::BucketId;

use crate::errors::generic;
use crate::names::{ClusterLayout, MAIN};

/// Names that are deleted in one go, at most.
const DELETED_TOGETHER: usize = 1_000;

/// A name that says a bucket which this process does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "bucket number `{0}` is none that this process knows: if it came with `storage.buckets` after the process was \
     started, start it again"
)]
pub struct UnknownBucket(pub BucketId);

/// A bucket beside the main one.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Its number in locations.
    pub number: BucketId,
    /// The bucket, wrapped as its user wants it.
    pub store: Arc<dyn ObjectStore>,
    /// The names in it.
    pub layout: ClusterLayout,
    /// What S3 calls a storage class, of the segments that are put there; none leaves it to the bucket.
    pub storage_class: Option<String>,
}

/// Sends each request to the bucket that its name says, see [`crate::names`]. It belongs above all other wrappers, of which
/// each bucket has its own. A bucket that it does not know is an error, never an object that is missing.
#[derive(Clone, Debug)]
pub struct Routed {
    main: Arc<dyn ObjectStore>,
    ways: Arc<Ways>,
}

#[derive(Debug)]
struct Ways {
    layout: ClusterLayout,
    beside: BTreeMap<BucketId, Beside>,
}

/// Where a request goes, and under which name.
enum Way<'a> {
    Main,
    Beside(&'a Beside, Path),
}

impl Ways {
    fn of(&self, path: &Path) -> Result<Way<'_>> {
        match self.layout.split_segments(path) {
            None | Some((MAIN, _)) => Ok(Way::Main),
            Some((number, below)) => {
                let beside = self.beside.get(&number);
                let beside = beside.ok_or_else(|| generic(UnknownBucket(number)))?;
                Ok(Way::Beside(beside, beside.inner(&below)))
            }
        }
    }

    /// The name here of what lies in a bucket under another one.
    fn outer(&self, beside: BucketId, inner: &Path) -> Path {
        let found = self.beside.get(&beside);
        let found = found.and_then(|beside| beside.layout.split_segments(inner));
        match found {
            Some((_, below)) => join(&self.layout.segments_root(beside), &below),
            None => inner.clone(),
        }
    }
}

impl Beside {
    fn inner(&self, below: &Path) -> Path {
        join(&self.layout.segments_root(MAIN), below)
    }

    fn with_class(&self, attributes: &mut Attributes) {
        if let Some(class) = &self.storage_class {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
    }
}

fn join(root: &Path, below: &Path) -> Path {
    root.parts().chain(below.parts()).collect()
}

impl Routed {
    /// All buckets of a cluster, of which `layout` has the names.
    pub fn new(
        main: Arc<dyn ObjectStore>,
        layout: ClusterLayout,
        beside: impl IntoIterator<Item = Beside>,
    ) -> Self {
        let beside = beside.into_iter().map(|beside| (beside.number, beside));
        let beside = beside.collect();
        Self {
            main,
            ways: Arc::new(Ways { layout, beside }),
        }
    }

    /// Deletes names of one bucket.
    fn delete_in(&self, bucket: BucketId, paths: Vec<Path>) -> BoxStream<'static, Result<Path>> {
        let (ways, main) = (Arc::clone(&self.ways), &self.main);
        if bucket == MAIN {
            return main.delete_stream(iter(paths.into_iter().map(Ok)).boxed());
        }
        let Some(beside) = ways.beside.get(&bucket) else {
            let unknown = move |_| Err(generic(UnknownBucket(bucket)));
            return iter(paths).map(unknown).boxed();
        };
        let below = |path: &Path| ways.layout.split_segments(path).unwrap_or_default().1;
        let inner: Vec<_> = paths
            .iter()
            .map(|path| Ok(beside.inner(&below(path))))
            .collect();
        let deleted = beside.store.delete_stream(iter(inner).boxed());
        let outer = Arc::clone(&ways);
        deleted
            .map(move |deleted| Ok(outer.outer(bucket, &deleted?)))
            .boxed()
    }

    fn bucket_of(&self, path: &Path) -> BucketId {
        let split = self.ways.layout.split_segments(path);
        split.map_or(MAIN, |(bucket, _)| bucket)
    }
}

impl fmt::Display for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Routed({}", self.main)?;
        for (number, beside) in &self.ways.beside {
            write!(f, ", {number}: {}", beside.store)?;
        }
        f.write_str(")")
    }
}

#[async_trait]
impl ObjectStore for Routed {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        match self.ways.of(location)? {
            Way::Main => self.main.put_opts(location, payload, options).await,
            Way::Beside(beside, inner) => {
                beside.with_class(&mut options.attributes);
                beside.store.put_opts(&inner, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.ways.of(location)? {
            Way::Main => self.main.put_multipart_opts(location, options).await,
            Way::Beside(beside, inner) => {
                beside.with_class(&mut options.attributes);
                beside.store.put_multipart_opts(&inner, options).await
            }
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.ways.of(location)? {
            Way::Main => self.main.get_opts(location, options).await,
            Way::Beside(beside, inner) => {
                let mut answer = beside.store.get_opts(&inner, options).await?;
                answer.meta.location = location.clone();
                Ok(answer)
            }
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.ways.of(location)? {
            Way::Main => self.main.get_ranges(location, ranges).await,
            Way::Beside(beside, inner) => beside.store.get_ranges(&inner, ranges).await,
        }
    }

    /// Those that follow each other in one bucket go together.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let routed = self.clone();
        let chunks = locations.ready_chunks(DELETED_TOGETHER);
        let deleted = chunks.flat_map(move |chunk| {
            let mut all: Vec<BoxStream<'static, Result<Path>>> = Vec::new();
            let mut run: (BucketId, Vec<Path>) = (MAIN, Vec::new());
            for location in chunk {
                match location {
                    Ok(path) => {
                        let bucket = routed.bucket_of(&path);
                        if bucket != run.0 && !run.1.is_empty() {
                            let paths = std::mem::take(&mut run.1);
                            all.push(routed.delete_in(run.0, paths));
                        }
                        run.0 = bucket;
                        run.1.push(path);
                    }
                    Err(error) => {
                        let paths = std::mem::take(&mut run.1);
                        all.push(routed.delete_in(run.0, paths));
                        all.push(once(async move { Err(error) }).boxed());
                    }
                }
            }
            if !run.1.is_empty() {
                all.push(routed.delete_in(run.0, run.1));
            }
            iter(all).flatten()
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let Some(path) = prefix else {
            return self.main.list(None);
        };
        match self.ways.of(path) {
            Err(error) => once(async move { Err(error) }).boxed(),
            Ok(Way::Main) => self.main.list(prefix),
            Ok(Way::Beside(beside, inner)) => {
                let (ways, number) = (Arc::clone(&self.ways), beside.number);
                let listed = beside.store.list(Some(&inner));
                let outer = move |object: ObjectMeta| ObjectMeta {
                    location: ways.outer(number, &object.location),
                    ..object
                };
                listed.map(move |object| object.map(&outer)).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let Some(path) = prefix else {
            return self.main.list_with_delimiter(None).await;
        };
        match self.ways.of(path)? {
            Way::Main => self.main.list_with_delimiter(prefix).await,
            Way::Beside(beside, inner) => {
                let mut listed = beside.store.list_with_delimiter(Some(&inner)).await?;
                for object in &mut listed.objects {
                    object.location = self.ways.outer(beside.number, &object.location);
                }
                for folder in &mut listed.common_prefixes {
                    *folder = self.ways.outer(beside.number, folder);
                }
                Ok(listed)
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match (self.ways.of(from)?, self.ways.of(to)?) {
            (Way::Main, Way::Main) => self.main.copy_opts(from, to, options).await,
            (Way::Beside(one, from), Way::Beside(other, to)) if one.number == other.number => {
                one.store.copy_opts(&from, &to, options).await
            }
            _ => Err(object_store::Error::NotSupported {
                source: "a copy from one bucket to another".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use tidelog_types::{ClusterId, Incarnation, SegmentName, SegmentSequence};

    use super::*;
    use crate::names::BucketLayout;

    const ONE: BucketId = BucketId::new(1);
    const TWO: BucketId = BucketId::new(2);

    struct World {
        main: Arc<InMemory>,
        one: Arc<InMemory>,
        layout: ClusterLayout,
        routed: Routed,
    }

    fn layout(prefix: &str) -> ClusterLayout {
        BucketLayout::new(Path::from(prefix)).cluster(ClusterId::from_bytes([3; 16]))
    }

    fn world() -> World {
        let (main, one) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
        let layout = layout("a/b").with_buckets([ONE]);
        let beside = Beside {
            number: ONE,
            store: Arc::clone(&one) as Arc<dyn ObjectStore>,
            layout: self::layout("fast"),
            storage_class: Some("STANDARD_IA".to_owned()),
        };
        let store = Arc::clone(&main) as Arc<dyn ObjectStore>;
        World {
            routed: Routed::new(store, layout.clone(), [beside]),
            main,
            one,
            layout,
        }
    }

    const fn name(sequence: u64) -> SegmentName {
        SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence))
    }

    async fn names(store: &dyn ObjectStore, prefix: Option<&Path>) -> Vec<Path> {
        let listed = store.list(prefix).map_ok(|object| object.location);
        let mut names: Vec<Path> = listed.try_collect().await.unwrap();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_segment_lies_in_the_bucket_that_its_name_says_under_the_names_of_that_one() {
        let world = world();
        let (here, there) = (
            world.layout.segment(MAIN, name(1)),
            world.layout.segment(ONE, name(2)),
        );
        for path in [&here, &there] {
            world.routed.put(path, "tide".into()).await.unwrap();
            let read = world.routed.get(path).await.unwrap();
            assert_eq!(read.meta.location, *path);
            assert_eq!(read.bytes().await.unwrap(), "tide");
            assert_eq!(world.routed.head(path).await.unwrap().location, *path);
            let range = std::slice::from_ref(&(1..3));
            let parts = world.routed.get_ranges(path, range).await.unwrap();
            assert_eq!(parts, ["id"]);
        }
        assert_eq!(
            names(world.main.as_ref(), None).await,
            [layout("a/b").segment(MAIN, name(1))]
        );
        let inner = layout("fast").segment(MAIN, name(2));
        assert_eq!(
            names(world.one.as_ref(), None).await,
            std::slice::from_ref(&inner)
        );
        let stored = world.one.get(&inner).await.unwrap();
        let class = stored.attributes.get(&Attribute::StorageClass);
        assert_eq!(class.map(AsRef::as_ref), Some("STANDARD_IA"));
        let stored = world.main.get(&here).await.unwrap();
        assert!(stored.attributes.is_empty());
    }

    #[tokio::test]
    async fn listings_have_the_names_that_were_asked_for() {
        let world = world();
        let path = world.layout.segment(ONE, name(2));
        world.routed.put(&path, "tide".into()).await.unwrap();
        let root = world.layout.segments_root(ONE);
        assert_eq!(
            names(&world.routed, Some(&root)).await,
            std::slice::from_ref(&path),
            "all"
        );
        let spread = crate::names::spread(name(2));
        let folder = world.layout.segments_of(ONE, spread);
        assert_eq!(names(&world.routed, Some(&folder)).await, [path]);
        let main = world.layout.segments_root(MAIN);
        assert!(names(&world.routed, Some(&main)).await.is_empty());
        let shallow = world.routed.list_with_delimiter(Some(&root)).await.unwrap();
        assert_eq!(shallow.common_prefixes, [folder]);
    }

    #[tokio::test]
    async fn names_of_all_buckets_are_deleted_and_answered_for_in_their_order() {
        let world = world();
        let paths: Vec<Path> = (0..9)
            .map(|at| {
                let bucket = if at % 3 == 0 { MAIN } else { ONE };
                world.layout.segment(bucket, name(at))
            })
            .collect();
        for path in &paths {
            world.routed.put(path, "tide".into()).await.unwrap();
        }
        let stranger = world.layout.segment(TWO, name(99));
        let all = paths.iter().cloned().chain([stranger]).map(Ok);
        let deleted = world
            .routed
            .delete_stream(iter(all.collect::<Vec<_>>()).boxed());
        let mut deleted: Vec<_> = deleted.collect().await;
        assert!(deleted.pop().unwrap().is_err());
        let deleted: Vec<Path> = deleted.into_iter().map(Result::unwrap).collect();
        assert_eq!(deleted, paths);
        assert!(names(world.main.as_ref(), None).await.is_empty());
        assert!(names(world.one.as_ref(), None).await.is_empty());
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_known_is_no_object_that_is_missing() {
        let world = world();
        let path = world.layout.segment(TWO, name(1));
        let errors = [
            world.routed.get(&path).await.unwrap_err(),
            world.routed.put(&path, "tide".into()).await.unwrap_err(),
            world.routed.head(&path).await.unwrap_err(),
            world
                .routed
                .list(Some(&world.layout.segments_root(TWO)))
                .try_next()
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert!(
                !matches!(error, object_store::Error::NotFound { .. }),
                "{error}"
            );
            assert!(error.to_string().contains("bucket number `2`"), "{error}");
        }
    }
}
