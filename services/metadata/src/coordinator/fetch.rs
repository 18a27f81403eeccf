//! Committed offsets are read from the store, not kept in memory: they are asked for once, when somebody begins to
//! read.

use tidelog_metadata_api::{CommittedOffset, FetchOffsets, FetchedOffsets, GroupName, GroupsError};
use tidelog_store::{ReadMode, ScanOptions};
use tidelog_types::TopicPartition;

use super::Coordinator;
use super::ask::Ask;
use super::errors::{invalid, of_proof, of_row, of_store, too_large};
use crate::keyspace::{GroupOffsetRow, Keyspace, RowError};

/// Partitions of one request at most.
const PARTITIONS_MAX: usize = 100_000;
/// Keys that are read at once.
const KEYS_AT_ONCE: usize = 1_000;
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// About how many bytes an offset without metadata takes.
const OFFSET_BYTES: usize = 64;

impl Coordinator {
    /// The committed offsets of a group. What was committed before the call is in the answer, and what is in the
    /// answer was committed by an owner of the shard (rule C9).
    pub(crate) async fn fetch_offsets(&self, request: FetchOffsets) -> FetchedOffsets {
        if let Some((member_id, epoch)) = request.member {
            let group = request.group.clone();
            self.ask(0, |reply| Ask::CheckFetch {
                group,
                member_id,
                epoch,
                reply,
            })
            .await?;
        }
        let partitions = request.partitions;
        if partitions
            .as_ref()
            .is_some_and(|partitions| partitions.len() > PARTITIONS_MAX)
        {
            return Err(invalid(format!("more than `{PARTITIONS_MAX}` partitions")));
        }
        self.prove().await?;
        match partitions {
            Some(partitions) => self.read_some(&request.group, partitions).await,
            None => self.read_all(&request.group).await,
        }
    }

    /// Shows that this process has owned the shard at some time since the call, and that what was on its way is
    /// stored.
    pub(super) async fn prove(&self) -> Result<(), GroupsError> {
        self.sequencer.barrier().await.map(drop).map_err(of_proof)
    }

    async fn read_some(
        &self,
        group: &GroupName,
        partitions: Vec<TopicPartition>,
    ) -> FetchedOffsets {
        let keys = self.parts.keys;
        let mut answer = Answer::default();
        for some in partitions.chunks(KEYS_AT_ONCE) {
            let mut transaction = self.parts.store.begin().await.map_err(of_store)?;
            let asked = some.iter().map(|partition| {
                let key = keys.group_offset(self.shard, group, *partition);
                (key, ReadMode::Snapshot)
            });
            let asked: Vec<_> = asked.collect();
            let values = transaction.get_many(&asked).await.map_err(of_store)?;
            for (partition, value) in some.iter().zip(values) {
                let row = value.map(GroupOffsetRow::decode).transpose();
                answer.push(*partition, row.map_err(of_row)?)?;
            }
        }
        Ok(answer.offsets)
    }

    async fn read_all(&self, group: &GroupName) -> FetchedOffsets {
        let mut answer = Answer::default();
        let mut rest = Some(self.parts.keys.group_offsets(self.shard, group));
        while let Some(range) = rest.take() {
            let mut transaction = self.parts.store.begin().await.map_err(of_store)?;
            let options = ScanOptions::default().snapshot();
            let page = transaction.scan(range.clone(), options).await;
            let page = page.map_err(of_store)?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let partition = Keyspace::offset_partition(&key).ok_or(RowError {
                    kind: "group offset",
                    what: "its key is too short",
                });
                let row = GroupOffsetRow::decode(value).map_err(of_row)?;
                answer.push(partition.map_err(of_row)?, Some(row))?;
            }
        }
        Ok(answer.offsets)
    }
}

/// Offsets that were read, and about how large the answer is.
#[derive(Default)]
struct Answer {
    offsets: Vec<(TopicPartition, Option<CommittedOffset>)>,
    bytes: usize,
}

impl Answer {
    fn push(
        &mut self,
        partition: TopicPartition,
        row: Option<GroupOffsetRow>,
    ) -> Result<(), GroupsError> {
        let metadata = row.as_ref().map_or(0, |row| row.0.offset.metadata.len());
        self.bytes += OFFSET_BYTES + metadata;
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(too_large("ask for fewer offsets at a time"));
        }
        self.offsets.push((partition, row.map(|row| row.0)));
        Ok(())
    }
}
