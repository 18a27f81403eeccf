//! The metadata service by itself: what a commit costs beside a bare transaction of the same store, how
//! many it does in a second, what they leave in the store, and how long a takeover takes.
//!
//! Everything runs in this process, without the network between brokers and metadata processes.

pub(crate) mod express;
mod latency;
mod rate;
mod size;
mod stores;
mod takeover;
mod writer;

use anyhow::Result;
use tidelog_e2e_harness::Minio;

use crate::options::Options;
use crate::report::Report;
use stores::Service;
pub(crate) use stores::{Kind, Stores};

/// One round on each kind of store. What the store holds is the same in each round, so it is counted once.
pub(crate) async fn round(
    options: &Options,
    stores: &mut Stores,
    minio: &Minio,
    report: &mut Report,
) -> Result<()> {
    if !cfg!(feature = "fdb") {
        report.note(
            "metadata",
            "FoundationDB is not included: this program was built without the feature `fdb`",
        );
    }
    let wanted = |kind: &&Kind| options.stores.is_empty() || options.stores.contains(kind);
    for kind in Kind::DURABLE.iter().filter(wanted) {
        let place = stores.place(*kind, options, minio).await?;
        latency::side_by_side(options, &place, report).await?;
    }
    for kind in Kind::ALL.iter().filter(wanted) {
        let place = stores.place(*kind, options, minio).await?;
        rate::measure(options, &place, report).await?;
    }
    for kind in Kind::ALL.iter().filter(wanted) {
        let place = stores.place(*kind, options, minio).await?;
        takeover::measure(&place, report).await?;
    }
    if options.stores.is_empty() {
        size::count(report).await?;
    }
    Ok(())
}
