//! The memory store passes the suite.

use std::future::{Ready, ready};
use std::sync::Arc;

use tidelog_store::Store;
use tidelog_store::memory::MemoryStore;

fn fresh() -> Ready<(Arc<dyn Store>, ())> {
    ready((Arc::new(MemoryStore::new()), ()))
}

tidelog_store::conformance_tests!(fresh);
