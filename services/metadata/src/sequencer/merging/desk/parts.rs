//! What a merge has left in the store, since an extent beside it is damaged or missing: it is merged again in halves, until
//! nothing but that extent is left. Nothing else would ever move it.
//!
//! ```text
//!   [ a b c x e f g h ]    x is damaged: nothing of the run is swapped
//!   [ a b c x ] [ e f g h ]
//!   [ a b ] [ c x ]
//!           [ c ] [ x ]
//! ```

use std::collections::BTreeMap;

use tidelog_metadata_api::{Extent, MergeTask};
use tidelog_types::TopicPartition;

use super::super::super::error::SequencerError;
use super::super::plan_left::is_in_store;
use super::{Desk, Lending};

/// Extents of each partition.
type Runs = BTreeMap<TopicPartition, Vec<Extent>>;

impl Lending {
    /// The runs with something in the store that were not swapped.
    fn left(&self) -> Runs {
        let runs = self.runs.iter();
        let left = runs.filter(|(partition, extents)| {
            !self.swapped.contains(partition) && extents.iter().any(is_in_store)
        });
        left.map(|(partition, extents)| (*partition, extents.to_vec()))
            .collect()
    }
}

impl Desk {
    /// Merges of what one has left in the store; none if each of its runs has one extent.
    pub(super) async fn in_parts(
        &self,
        number: &mut u64,
        lending: &Lending,
    ) -> Result<Vec<Lending>, SequencerError> {
        let MergeTask { committed_at, .. } = *lending.task;
        let mut parts = Vec::new();
        for half in halves(lending.left()) {
            let segments = self.planning.cut(half).await?;
            parts.extend(self.lendings(number, segments, committed_at));
        }
        parts.retain(|part| part.in_store);
        Ok(parts)
    }
}

/// The first halves of runs, and the others.
fn halves(runs: Runs) -> [Runs; 2] {
    let (mut firsts, mut others) = (Runs::new(), Runs::new());
    for (partition, mut extents) in runs {
        if extents.len() > 1 {
            others.insert(partition, extents.split_off(extents.len() / 2));
            firsts.insert(partition, extents);
        }
    }
    [firsts, others]
}
