//! Committed offsets are read from the store, not kept in memory: they are asked for once, when somebody begins to
//! read.

use std::collections::HashSet;

use tidelog_metadata_api::{FetchOffsets, FetchedOffset, FetchedOffsets, GroupName, GroupsError};
use tidelog_store::{ReadMode, ScanOptions, Transaction};
use tidelog_types::TopicPartition;

use super::Coordinator;
use super::ask::Ask;
use super::errors::{invalid, of_proof, of_row, of_store, too_large};
use super::rows::scan_all;
use crate::keyspace::{GroupOffsetRow, GroupRow, Keyspace, RowError};

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
        let wanted = Wanted {
            group: request.group,
            only_stable: request.only_stable,
        };
        match partitions {
            Some(partitions) => self.read_some(&wanted, partitions).await,
            None => self.read_all(&wanted).await,
        }
    }

    /// Shows that this process has owned the shard at some time since the call, and that what was on its way is
    /// stored.
    pub(super) async fn prove(&self) -> Result<(), GroupsError> {
        self.sequencer.barrier().await.map(drop).map_err(of_proof)
    }

    async fn read_some(&self, wanted: &Wanted, partitions: Vec<TopicPartition>) -> FetchedOffsets {
        let keys = self.parts.keys;
        let mut answer = Answer::default();
        for some in partitions.chunks(KEYS_AT_ONCE) {
            let mut transaction = self.parts.store.begin().await.map_err(of_store)?;
            let unstable = self.unstable(transaction.as_mut(), wanted).await?;
            let asked = some.iter().map(|partition| {
                let key = keys.group_offset(self.shard, &wanted.group, *partition);
                (key, ReadMode::Snapshot)
            });
            let asked: Vec<_> = asked.collect();
            let values = transaction.get_many(&asked).await.map_err(of_store)?;
            for (partition, value) in some.iter().zip(values) {
                if unstable.contains(partition) {
                    answer.push_unstable(*partition)?;
                } else {
                    let row = value.map(GroupOffsetRow::decode).transpose();
                    answer.push(*partition, row.map_err(of_row)?)?;
                }
            }
        }
        Ok(answer.offsets)
    }

    async fn read_all(&self, wanted: &Wanted) -> FetchedOffsets {
        let mut answer = Answer::default();
        let mut rest = Some(self.parts.keys.group_offsets(self.shard, &wanted.group));
        while let Some(range) = rest.take() {
            let mut transaction = self.parts.store.begin().await.map_err(of_store)?;
            let unstable = self.unstable(transaction.as_mut(), wanted).await?;
            let options = ScanOptions::default().snapshot();
            let page = transaction.scan(range.clone(), options).await;
            let page = page.map_err(of_store)?;
            rest = page.next(&range, options.direction);
            for (key, value) in page.rows {
                let partition = Keyspace::offset_partition(&key).ok_or(RowError {
                    kind: "group offset",
                    what: "its key is too short",
                });
                let partition = partition.map_err(of_row)?;
                if unstable.contains(&partition) {
                    answer.push_unstable(partition)?;
                } else {
                    let row = GroupOffsetRow::decode(value).map_err(of_row)?;
                    answer.push(partition, Some(row))?;
                }
            }
        }
        Ok(answer.offsets)
    }

    /// The partitions whose offsets open transactions may change, if that matters: in the snapshot in which the
    /// offsets are read, so that both are from before the end of a transaction or both from after it.
    async fn unstable(
        &self,
        transaction: &mut dyn Transaction,
        wanted: &Wanted,
    ) -> Result<HashSet<TopicPartition>, GroupsError> {
        if !wanted.only_stable {
            return Ok(HashSet::new());
        }
        let keys = self.parts.keys;
        let head = keys.group(self.shard, &wanted.group);
        let head = transaction.get(&head, ReadMode::Snapshot).await;
        let head = head.map_err(of_store)?.map(GroupRow::decode).transpose();
        if !head
            .map_err(of_row)?
            .is_some_and(|head| head.has_transactions)
        {
            return Ok(HashSet::new());
        }
        let pending = keys.group_all_pending(self.shard, &wanted.group);
        let pending = scan_all(transaction, pending).await?.into_iter();
        let partitions = pending.map(|(key, _)| Keyspace::offset_partition(&key));
        Ok(partitions.flatten().collect())
    }
}

/// Of which group offsets are wanted, and which.
struct Wanted {
    group: GroupName,
    only_stable: bool,
}

/// Offsets that were read, and about how large the answer is.
#[derive(Default)]
struct Answer {
    offsets: Vec<(TopicPartition, FetchedOffset)>,
    bytes: usize,
}

impl Answer {
    fn push(
        &mut self,
        partition: TopicPartition,
        row: Option<GroupOffsetRow>,
    ) -> Result<(), GroupsError> {
        let metadata = row.as_ref().map_or(0, |row| row.0.offset.metadata.len());
        self.count(OFFSET_BYTES + metadata)?;
        self.offsets.push((partition, Ok(row.map(|row| row.0))));
        Ok(())
    }

    fn push_unstable(&mut self, partition: TopicPartition) -> Result<(), GroupsError> {
        self.count(OFFSET_BYTES)?;
        let unstable = Err(GroupsError::UnstableOffset);
        self.offsets.push((partition, unstable));
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), GroupsError> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(too_large("ask for fewer offsets at a time"));
        }
        Ok(())
    }
}
