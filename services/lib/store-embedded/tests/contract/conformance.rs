//! The suite that every store passes, in memory and on a folder with fsync.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use tidelog_store::Store;
use tidelog_store_embedded::{EmbeddedOptions, MEMORY_BYTES_MIN, Medium};

use crate::support::{open, options};

mod in_memory {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, ()) {
        let objects = Arc::new(object_store::memory::InMemory::new());
        (Arc::new(open(objects, options()).await), ())
    }

    tidelog_store::conformance_tests!(fresh);
}

mod on_a_folder {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let objects = LocalFileSystem::new_with_prefix(folder.path()).expect("it exists");
        let options = EmbeddedOptions::new("meta", MEMORY_BYTES_MIN, Medium::Folder);
        (
            Arc::new(open(Arc::new(objects.with_fsync(true)), options).await),
            folder,
        )
    }

    tidelog_store::conformance_tests!(fresh);
}
