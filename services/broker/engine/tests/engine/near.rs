//! Others who have pages: what they give is taken if it is right, and costs a request if it is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_cache::{NearPages, PageKey, Pool};

use crate::world::World;

/// Has what it is offered, and changes it as it is told to.
#[derive(Debug, Default)]
struct Neighbour {
    pages: Mutex<BTreeMap<PageKey, Bytes>>,
    given: Mutex<Vec<PageKey>>,
    distrusted: Mutex<Vec<PageKey>>,
    change: Mutex<Option<Change>>,
    refuses: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    FlipBits,
    CutShort,
    Empty,
    Another,
}

#[async_trait]
impl NearPages for Neighbour {
    async fn page(&self, key: PageKey, _pool: Pool) -> Option<Bytes> {
        let pages = self.pages.lock();
        let page = pages.get(&key)?;
        self.given.lock().push(key);
        Some(match *self.change.lock() {
            None => page.clone(),
            Some(Change::FlipBits) => page.iter().map(|byte| byte ^ 0x10).collect(),
            Some(Change::CutShort) => page.slice(..page.len() / 8),
            Some(Change::Empty) => Bytes::new(),
            Some(Change::Another) => {
                let other = pages.iter().find(|(other, _)| **other != key);
                other.expect("there are several").1.clone()
            }
        })
    }

    fn distrust(&self, key: PageKey) {
        self.distrusted.lock().push(key);
    }

    fn takes_offers(&self) -> bool {
        !self.refuses.load(Ordering::Relaxed)
    }

    fn offer(&self, key: PageKey, page: Bytes) {
        self.pages.lock().insert(key, page);
    }
}

/// Two segments that were offered, and none of them in the broker's own memory.
async fn written(neighbour: &Arc<Neighbour>) -> World {
    let world = World::beside(Arc::<Neighbour>::clone(neighbour)).await;
    for value in ["a", "b"] {
        world.send(0, value).result().await.expect("it is appended");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_a_neighbour_has_is_not_asked_of_the_bucket() {
    let neighbour = Arc::<Neighbour>::default();
    let world = written(&neighbour).await;
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
    assert_eq!(world.gets(), 0);
    assert_eq!(neighbour.given.lock().len(), 2);
    // From now on they are here.
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
    assert_eq!(neighbour.given.lock().len(), 2);
    assert!(neighbour.distrusted.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_neighbour_has_not_comes_from_the_bucket() {
    let neighbour = Arc::<Neighbour>::default();
    neighbour.refuses.store(true, Ordering::Relaxed);
    let world = written(&neighbour).await;
    assert_eq!(world.values(0).await, ["a@0", "b@1"]);
    assert_eq!(world.gets(), 2);
    assert!(neighbour.pages.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_gives_garbage_costs_a_request_and_nobody_sees_it() {
    for change in [
        Change::FlipBits,
        Change::CutShort,
        Change::Empty,
        Change::Another,
    ] {
        let neighbour = Arc::<Neighbour>::default();
        *neighbour.change.lock() = Some(change);
        let world = written(&neighbour).await;
        assert_eq!(world.values(0).await, ["a@0", "b@1"], "{change:?}");
        assert_eq!(world.gets(), 2, "{change:?}");
        assert_eq!(neighbour.distrusted.lock().len(), 2, "{change:?}");
        // What came from the bucket is what is kept.
        assert_eq!(world.values(0).await, ["a@0", "b@1"], "{change:?}");
        assert_eq!(world.gets(), 2, "{change:?}");
    }
}

/// There may be no room for what the bucket has: it is given out all the same, and the neighbour not believed again.
#[tokio::test(start_paused = true)]
async fn a_neighbour_that_gives_garbage_is_seen_by_nobody_where_no_page_can_be_kept() {
    let neighbour = Arc::<Neighbour>::default();
    *neighbour.change.lock() = Some(Change::FlipBits);
    let near = Arc::<Neighbour>::clone(&neighbour);
    let world = World::beside_without_memory(near).await;
    for value in ["a", "b"] {
        world.send(0, value).result().await.expect("it is appended");
    }
    for round in 1..=2 {
        assert_eq!(world.values(0).await, ["a@0", "b@1"], "{round}");
        assert_eq!(world.gets(), 2 * round, "{round}");
    }
}
