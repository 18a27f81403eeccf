//! The end of a history: its topic is deleted and purged, through faults, restarts and takeovers.

use std::time::Duration;

use tidelog_metadata::keyspace::{KeyKind, LiveBytesRow};
use tidelog_metadata_api::{Catalogue as _, TopicSelector};
use tidelog_types::TopicNumber;

use super::drive::Driver;
use crate::world::partition;

/// What a purge writes.
const FAULTY: [KeyKind; 8] = [
    KeyKind::Topic,
    KeyKind::Tail,
    KeyKind::Partition,
    KeyKind::Page,
    KeyKind::LiveBytes,
    KeyKind::Emptied,
    KeyKind::Producer,
    KeyKind::DeletedTopic,
];
/// The kinds that begin with the number of a topic.
const OF_TOPIC: [KeyKind; 6] = [
    KeyKind::Topic,
    KeyKind::Emptied,
    KeyKind::Partition,
    KeyKind::Producer,
    KeyKind::Page,
    KeyKind::Aborted,
];

impl Driver {
    /// Nothing is left of the topic, and no byte of a segment is live.
    pub(super) async fn purge(&mut self) {
        let number: TopicNumber = partition(0).topic;
        let topic = TopicSelector::Number(number);
        let config = [("deleted.retention.ms".to_owned(), Some("20000".to_owned()))];
        let altered = self
            .process
            .alter_topic_config(&topic, config.into(), false);
        altered.await.expect("it is there");
        self.process.delete_topic(&topic).await.expect("it is live");
        for _ in 0..12 {
            match self.below(6) {
                0 => {
                    let (kind, fault) = (self.below(FAULTY.len()), self.below(8));
                    self.store.fail(FAULTY[kind], super::drive::FAULTS[fault]);
                }
                1 => {
                    let store = self.store.sibling();
                    self.process = self.world.open_on(&store).await;
                    self.store = store;
                }
                2 => drop(self.store.memory.land_delayed()),
                _ => {}
            }
            let some = self.below(9_000) as u64;
            self.world
                .clock
                .jump_wall(i64::try_from(some).expect("small"));
            tokio::time::sleep(Duration::from_millis(some)).await;
        }
        for _ in 0..40 {
            self.world.clock.jump_wall(5_000);
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let seed = self.seed;
        for kind in OF_TOPIC {
            let rows = self.store.rows(kind).into_iter();
            let left = rows.filter(|(key, _)| key[6..14] == number.get().to_be_bytes());
            assert_eq!(left.count(), 0, "seed {seed}: rows of {kind:?}");
        }
        for (key, value) in self.store.rows(KeyKind::LiveBytes) {
            let row = LiveBytesRow::decode(value).expect("a good row");
            assert_eq!(row.bytes, 0, "seed {seed}: {key:?}");
        }
    }
}
