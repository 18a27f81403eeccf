//! What lies in the store is looked for there.

use std::collections::BTreeSet;

use tidelog_metadata::audit::{Difference, Verify};

use super::ground::{Ground, written};
use super::{KEYS, is_mended, part};

/// Four segments that lie in the store, of which one goes.
#[tokio::test(start_paused = true)]
async fn what_lies_in_the_store_is_looked_for_there() {
    let ground = Ground::new(1).await;
    for sequence in 1..=4 {
        ground.append_in_store(sequence, sequence - 1).await;
    }
    ground.world.clock.jump_wall(1 << 42);
    let report = ground.audit(Verify::Bytes).await;
    assert_eq!(report.differences, BTreeSet::new());
    ground.write_row(KEYS.inline(written(2)), None).await;
    let report = ground.audit(Verify::Bytes).await;
    let missing = Difference::Missing {
        segment: written(2),
        lost: vec![part(0, 1, 2)],
    };
    assert_eq!(report.differences, BTreeSet::from([missing]));
}

/// A row that nothing names and that has no other row beside it, or that nobody looks at: it goes as dead segments go.
#[tokio::test(start_paused = true)]
async fn rows_of_the_store_that_nobody_looks_at_are_found() {
    let ground = Ground::new(1).await;
    for sequence in 1..=2 {
        ground.append_in_store(sequence, sequence - 1).await;
    }
    let rows = ground
        .world
        .store
        .rows(tidelog_metadata::keyspace::KeyKind::Inline);
    let left = rows[0].1.clone();
    ground.write_row(KEYS.inline(written(9)), Some(left)).await;
    ground.world.clock.jump_wall(1 << 42);
    let report = ground.audit(Verify::Bytes).await;
    let forgotten = Difference::Forgotten {
        segment: written(9),
    };
    assert_eq!(report.differences, BTreeSet::from([forgotten]));
    is_mended(&ground, &report).await;
}
