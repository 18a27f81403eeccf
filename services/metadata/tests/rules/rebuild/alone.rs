//! Without a backup: what merged segments alone say comes back.

use super::*;

#[tokio::test(start_paused = true)]
async fn merged_segments_alone_are_topics_and_logs() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    ground.merge(1).await;
    ground.fill(4..=6).await;
    ground.merge(2).await;
    let ends = contents(&ground, &ground.process, partition(1)).await;
    ground.fill(7..=8).await;
    let all = contents(&ground, &ground.process, partition(1)).await;
    for (append_newer, expected) in [(false, ends), (true, all)] {
        let store = MemoryStore::new();
        let rebuilt = rebuild_into(&ground, &store, "", Gaps::Refuse, append_newer).await;
        let rebuilt = rebuilt.expect("it is whole");
        assert_eq!(rebuilt.topics, [TopicName::new("log").expect("it is good")]);
        assert_eq!((rebuilt.merged, rebuilt.unmerged.segments.len()), (2, 8));
        is_whole(&ground, &store).await;
        let (_world, process) = open(&store).await;
        let found = contents(&ground, &process, partition(1)).await;
        assert_eq!(found, expected);
        // It goes on, and no writer of before is among the new ones.
        let writer = process.register_writer().await.expect("durable");
        assert!(writer.get() > 1 << 32, "{writer}");
        let name = TopicSelector::Name(TopicName::new("log").expect("it is good"));
        let topic = process.topic(&name).await.expect("it is there");
        assert_eq!(topic.id, ground.topic().await.id);
    }
}

#[tokio::test(start_paused = true)]
async fn segments_of_two_generations_are_not_mixed() {
    let ground = Ground::new(1).await;
    ground.fill(1..=3).await;
    ground.merge(1).await;
    let later = tidelog_types::SegmentName::new(
        tidelog_types::Incarnation::new((1 << 32) + 7),
        SegmentSequence::new(1),
    );
    ground.put(later, vec![Bytes::from_static(b"abc")]).await;
    let refused = try_rebuild(&ground, "", Gaps::Refuse).await;
    assert!(
        matches!(refused, Err(RebuildError::Generations { .. })),
        "{refused:?}"
    );
}
