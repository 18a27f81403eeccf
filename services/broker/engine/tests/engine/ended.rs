//! A writer whose incarnation the metadata service has ended tells its process, and takes nothing more.

use std::pin::pin;

use futures::poll;
use tidelog_broker_engine::{AppendError, IncarnationEnded};
use tidelog_metadata_api::Log as _;
use tidelog_types::{ErrorCode, SegmentSequence};

use crate::batches::batch;
use crate::world::{World, soon};

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_ended_says_so_and_what_it_had_sent_may_have_happened() {
    let world = World::new().await;
    let incarnation = world.engine.incarnation();
    let mut ended = pin!(world.engine.ended());
    assert_eq!(world.send_ordered(0, "before", 1).offset().await, 0);
    assert!(poll!(&mut ended).is_pending());
    let end = SegmentSequence::new(u64::MAX);
    let raised = world.metadata.raise_floor(incarnation, end).await;
    raised.expect("the store answers");
    world.pass(std::time::Duration::from_secs(1)).await;
    let late = [
        world.send_ordered(0, "late", 1),
        world.send_ordered(0, "behind it", 1),
        world.send(1, "beside"),
    ];
    for answer in late {
        let error = answer.result().await.expect_err("it has ended");
        assert_eq!(error.code(), ErrorCode::Unavailable, "others may take it");
        assert!(error.may_have_happened(), "{error}");
    }
    assert_eq!(soon(&world.env, ended).await, IncarnationEnded(incarnation));
    let again = soon(&world.env, world.engine.ended()).await;
    let text = again.to_string();
    assert!(
        text.contains(&format!("`{incarnation}`: start it again")),
        "{text}"
    );
    let refused = world.try_append(0, batch(&["after"]), None);
    assert!(
        matches!(refused, Err(AppendError::ShuttingDown)),
        "{refused:?}"
    );
    let puts = world.puts();
    soon(&world.env, world.engine.drain()).await;
    assert_eq!(world.puts(), puts);
    assert_eq!(world.values(0).await, ["before@0"], "it still reads");
}
