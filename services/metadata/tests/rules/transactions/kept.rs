//! The part of the golden history that has transactions.

use tidelog_metadata_api::Log as _;

use super::{INVALID, Sender, abort, commit, inside, with_epoch};
use crate::manifests::accepted;
use crate::world::{Process, partition};

/// Transactions of two producers in the last partition, some ended and one open in each row.
pub(crate) async fn kept(process: &Process) {
    let mut sender = Sender::new(310);
    for (batch, number) in [
        (inside(8, 2, 0, 2), 7),
        (inside(9, 0, 0, 1), 1),
        (inside(8, 2, 2, 1), 7),
    ] {
        sender.send(process, 3, batch, Some(number)).await;
    }
    let markers = vec![
        with_epoch(abort(partition(3), 8, 7), 3),
        commit(partition(2), 9, 1),
    ];
    for outcome in process.end_transactions(markers).await {
        outcome.expect("the owner");
    }
    let next = inside(8, 3, 0, 1);
    sender.send(process, 3, next, Some(8)).await;
    // A checkpoint, and one that stays in the tail.
    for sequence in 1..4 {
        let batch = inside(9, 0, sequence, 1);
        sender.send(process, 3, batch, Some(1)).await;
    }
    process.latest(partition(0)).await.expect("the owner");
    assert_eq!(process.end(commit(partition(3), 9, 1)).await, Ok(()));
}

/// What is to be said of it, whoever reads its rows.
pub(crate) async fn serves_what_was_kept(process: &Process) {
    assert_eq!(process.all_bounds(3).await, (0, 5, 10, 5));
    assert_eq!(process.aborted_in(3, 0, 5).await, [(8, 0, 4)]);
    assert_eq!(process.all_bounds(2).await, (0, 5, 5, 0));
    let mut sender = Sender::new(500);
    let late = sender.send(process, 3, inside(9, 0, 4, 1), Some(1)).await;
    assert_eq!(late, INVALID);
    let next = sender.send(process, 3, inside(8, 3, 1, 1), Some(8)).await;
    assert_eq!(next, accepted(10));
}
