//! What a reader will want next, so that it need not wait for the bucket each time.

use std::collections::{BTreeMap, HashSet};

use tidelog_cache::{PageKey, Pool};

use super::Planned;
use super::reads::pages_of;

/// Bytes that are looked for beyond what a fetch may take, in all its partitions together. A reader that
/// is not farther behind than this reads the tail.
pub(super) const BYTES_AHEAD: u64 = 16 * 1024 * 1024;
/// Pages that are fetched ahead of one reader.
const PAGES_AHEAD: usize = 4;

/// The pages of everything that was found for a fetch, in the order in which they are read. The byte budget
/// leaves most of it for later fetches.
#[derive(Debug)]
pub(super) struct Ahead(BTreeMap<PageKey, Pool>);

impl Ahead {
    /// Call it before the budget is spent.
    pub(super) fn of(plans: &[Planned]) -> Self {
        let plans = plans.iter().flatten();
        let pages = plans.flat_map(|plan| {
            let pages = plan.extents.iter().flat_map(pages_of);
            pages.map(|page| (page, plan.pool))
        });
        Self(pages.collect())
    }

    /// The pages that come first behind those of the plans as they are now.
    pub(super) fn beyond(self, plans: &[Planned]) -> impl Iterator<Item = (PageKey, Pool)> {
        let extents = plans.iter().flatten().flat_map(|plan| &plan.extents);
        let now: HashSet<PageKey> = extents.flat_map(pages_of).collect();
        let later = self.0.into_iter();
        later
            .filter(move |(page, _)| !now.contains(page))
            .take(PAGES_AHEAD)
    }
}
