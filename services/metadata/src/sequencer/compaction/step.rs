//! The part of the task that owns a shard that takes note of how far partitions are compacted.

use tidelog_metadata_api::MergeError;
use tidelog_store::ReadMode;
use tidelog_types::TopicPartition;
use tokio::sync::oneshot;

use super::super::actor::{Actor, Ended};
use super::super::error::SequencerError;
use crate::keyspace::{CompactedRow, TopicRow};

/// What is to be noted of a partition, and who waits for it.
#[derive(Debug)]
pub(crate) struct NoteCompacted {
    pub(super) partition: TopicPartition,
    pub(super) row: CompactedRow,
    pub(super) reply: oneshot::Sender<Result<(), MergeError>>,
}

impl Actor {
    /// Writes a row, between groups and under the lease, and answers.
    pub(crate) async fn note_compacted(&mut self, note: NoteCompacted) -> Result<(), Ended> {
        let mut noted = self.try_note_compacted(note.partition, note.row).await;
        // As when the topic is changed at the same time.
        if matches!(&noted, Err(error) if error.left_no_trace()) {
            noted = self.try_note_compacted(note.partition, note.row).await;
        }
        let noted = match noted {
            Ok(true) => Ok(()),
            Ok(false) => Err(MergeError::Gone),
            Err(error) => {
                self.parts.metrics.merging.failures.inc();
                self.warn("it was not noted what is compacted", &error);
                if let Err(error) = self.recover_patiently().await {
                    return Err(self.end(Vec::new(), &error));
                }
                Err(MergeError::Unavailable {
                    reason: error.to_string(),
                })
            }
        };
        // Who does not wait for it any more asks again, or does without.
        let _ = note.reply.send(noted);
        self.parts.merge_news.send_replace(());
        Ok(())
    }

    /// Whether it is written: of a topic that is being purged, or gone, no row comes any more.
    async fn try_note_compacted(
        &self,
        partition: TopicPartition,
        row: CompactedRow,
    ) -> Result<bool, SequencerError> {
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        // Read serializably: that the purge begins conflicts.
        let topic = self.parts.keys.topic(partition.topic);
        let topic = transaction.get(&topic, ReadMode::Serializable).await?;
        if TopicRow::is_gone(topic) {
            return Ok(false);
        }
        transaction.put(self.parts.keys.compacted(partition), row.encode());
        transaction.commit().await?;
        Ok(true)
    }
}
