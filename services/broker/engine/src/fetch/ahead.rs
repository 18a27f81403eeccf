//! What a reader will want next, so that it need not wait for the bucket each time.

use std::collections::{BTreeMap, HashSet};

use tidelog_cache::{PageKey, Pool};

use super::plan::Planned;
use super::reads::pages_of;

/// Bytes that are looked for beyond what a fetch may take, in all its partitions together. A reader that
/// is not farther behind than this reads the tail.
pub(super) const BYTES_AHEAD: u64 = 16 * 1024 * 1024;
/// Pages that are fetched ahead of one reader.
const PAGES_AHEAD: usize = 4;

/// The pages that come first among those for which a fetch has no room now, in the order in which they are
/// read. `now` are the pages that it reads.
pub(super) fn pages_ahead(
    plans: &[Planned],
    now: &HashSet<PageKey>,
) -> impl Iterator<Item = (PageKey, Pool)> + use<> {
    let later = plans.iter().flatten().flat_map(|plan| {
        let pages = plan.later.iter().flat_map(pages_of);
        pages.map(|page| (page, plan.pool))
    });
    let later: BTreeMap<PageKey, Pool> = later.filter(|(page, _)| !now.contains(page)).collect();
    later.into_iter().take(PAGES_AHEAD)
}
