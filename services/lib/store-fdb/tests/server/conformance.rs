//! The suite that every store passes.

use std::sync::Arc;

use tidelog_e2e_harness::FdbServer;
use tidelog_store::Store;

use crate::support::start;

async fn fresh() -> (Arc<dyn Store>, FdbServer) {
    let (server, store) = start().await;
    (Arc::new(store), server)
}

tidelog_store::conformance_tests!(fresh);
