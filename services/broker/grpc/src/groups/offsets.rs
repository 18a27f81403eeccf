//! Committed offsets and lag.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{
    CommitOffsets, CommittedOffset, CommittingMember, DeleteOffsets, FetchOffsets, GroupName,
    GroupOffset, GroupsError, TopicInfo,
};
use tidelog_runtime::access::{Caller, Operation, Resource};
use tidelog_types::{Offset, PartitionIndex, TopicNumber, TopicPartition};

use super::convert::Topics;
use super::group_name;
use crate::errors::{group_error, log_error, no_partition};
use crate::front::{Front, ONE_REQUEST};
use crate::settings::REQUEST_PARTITIONS_MAX;
use crate::topics::{hex, page_token, to_timestamp};

/// Partitions in a page that does not say how many.
const PAGE_SIZE_DEFAULT: usize = 1_000;
/// Partitions whose bounds are asked for at a time.
const BOUNDS_AT_ONCE: usize = 16;
/// Bytes of a topic's number and a partition, as page tokens have them.
const PLACE_BYTES: usize = 12;

/// The place of a partition in the list.
fn place(at: TopicPartition) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..8].copy_from_slice(&at.topic.get().to_be_bytes());
    bytes[8..].copy_from_slice(&at.partition.get().to_be_bytes());
    bytes
}

/// The place after which a page begins; none for the first page.
fn after(token: &str) -> Result<Option<TopicPartition>, ApiError> {
    let bytes = page_token(token)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let foreign = || ApiError::invalid("the page token is not one that this service gave out");
    let (topic, partition) = bytes.split_at_checked(8).ok_or_else(foreign)?;
    let topic = topic.try_into().map_err(|_| foreign())?;
    let partition = partition.try_into().map_err(|_| foreign())?;
    Ok(Some(TopicPartition::new(
        TopicNumber::new(u64::from_be_bytes(topic)),
        PartitionIndex::new(u32::from_be_bytes(partition)),
    )))
}

/// A partition with a committed offset, of a topic in use.
struct Row {
    at: TopicPartition,
    topic: Arc<TopicInfo>,
    committed: CommittedOffset,
}

impl Front {
    pub(crate) async fn list_group_offsets(
        &self,
        caller: &Caller,
        request: v1::ListGroupOffsetsRequest,
    ) -> Result<v1::ListGroupOffsetsResponse, ApiError> {
        let on = Resource::Group(&request.group);
        let token = &request.token;
        let tokens = self.enter(caller, Operation::Describe, on, token).await?;
        let size = match usize::try_from(request.page_size).unwrap_or(usize::MAX) {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(REQUEST_PARTITIONS_MAX),
        };
        let after = after(&request.page_token)?;
        let group = group_name(&request.group)?;
        let mut rows = self.committed(caller, group, after).await?;
        let next = rows.get(size).map(|_| rows[size - 1].at);
        rows.truncate(size);
        let shown = futures::stream::iter(rows).map(|row| self.shown(row));
        let offsets: Vec<_> = shown.buffered(BOUNDS_AT_ONCE).collect().await;
        Ok(v1::ListGroupOffsetsResponse {
            offsets,
            next_page_token: next.map(|at| hex(&place(at))).unwrap_or_default(),
            token: self.token(tokens),
        })
    }

    /// Committed offsets after a place, in order, of topics that are in use and that the caller may see.
    async fn committed(
        &self,
        caller: &Caller,
        group: GroupName,
        after: Option<TopicPartition>,
    ) -> Result<Vec<Row>, ApiError> {
        let request = FetchOffsets {
            group,
            member: None,
            partitions: None,
            only_stable: false,
        };
        let groups = self.engine().groups();
        let answer = groups.fetch_offsets(vec![request]).await.pop();
        let offsets = answer.unwrap_or(Err(GroupsError::Unknown));
        let mut offsets = offsets.map_err(|error| group_error(&error))?;
        offsets.sort_by_key(|(at, _)| *at);
        let mut topics = Topics::default();
        let mut rows = Vec::new();
        for (at, committed) in offsets {
            let committed = committed.map_err(|error| group_error(&error))?;
            let Some(committed) = committed.filter(|_| Some(at) > after) else {
                continue;
            };
            let Some(topic) = topics.live(self, at.topic).await? else {
                continue;
            };
            let on = Resource::Topic(topic.name.as_str());
            let authorizer = &self.parts.authorizer;
            if authorizer
                .authorize(caller, Operation::Describe, on)
                .is_ok()
            {
                rows.push(Row {
                    at,
                    topic,
                    committed,
                });
            }
        }
        Ok(rows)
    }

    async fn shown(&self, row: Row) -> v1::GroupOffset {
        let committed = row.committed.offset.offset;
        let mut shown = v1::GroupOffset {
            topic: row.topic.name.to_string(),
            partition: row.at.partition.get(),
            committed_offset: committed.get(),
            metadata: row.committed.offset.metadata,
            commit_time: Some(to_timestamp(row.committed.committed_at)),
            ..v1::GroupOffset::default()
        };
        match self.engine().bounds(row.at).await {
            Ok(bounds) => {
                let (start, end) = (bounds.log_start, bounds.high_watermark);
                shown.log_start_offset = start.get();
                shown.end_offset = end.get();
                shown.lag = end.get().saturating_sub(committed.max(start).get());
            }
            Err(error) => shown.error = Some(log_error(&error).to_proto()),
        }
        shown
    }

    pub(crate) async fn alter_group_offsets(
        &self,
        caller: &Caller,
        request: v1::AlterGroupOffsetsRequest,
    ) -> Result<v1::AlterGroupOffsetsResponse, ApiError> {
        let on = Resource::Group(&request.group);
        let token = &request.token;
        let tokens = self.enter(caller, Operation::Read, on, token).await?;
        let group = group_name(&request.group)?;
        check(&request.changes)?;
        let mut topics = HashMap::new();
        let mut outcomes = Vec::with_capacity(request.changes.len());
        let mut changes = Changes::default();
        for (index, change) in request.changes.iter().enumerate() {
            let at = self.place_of(caller, &mut topics, change).await;
            outcomes.push(at.map(|at| changes.add(index, at, change)));
        }
        self.alter(group, changes, &mut outcomes).await;
        let changes = request.changes.into_iter().zip(outcomes);
        let results = changes.map(|(change, outcome)| v1::AlterGroupOffsetResult {
            topic: change.topic,
            partition: change.partition,
            error: outcome.err().map(|error| error.to_proto()),
        });
        Ok(v1::AlterGroupOffsetsResponse {
            results: results.collect(),
            token: self.token(tokens),
        })
    }

    /// The partition of a change. Topics are looked up once each.
    async fn place_of<'a>(
        &self,
        caller: &Caller,
        topics: &mut HashMap<&'a str, Result<Arc<TopicInfo>, ApiError>>,
        change: &'a v1::GroupOffsetChange,
    ) -> Result<TopicPartition, ApiError> {
        let name = change.topic.as_str();
        let found = if let Some(found) = topics.get(name) {
            found.clone()
        } else {
            let found = self.topic(caller, Operation::Read, name, ONE_REQUEST);
            topics.entry(name).or_insert(found.await).clone()
        };
        let topic = found?;
        let index = PartitionIndex::new(change.partition);
        let found = topic.partition(index).map(|(at, _)| at);
        found.map_err(|code| no_partition(code, &topic.name, change.partition))
    }

    /// Sets and deletes, and notes what went wrong.
    async fn alter(
        &self,
        group: GroupName,
        changes: Changes,
        outcomes: &mut [Result<(), ApiError>],
    ) {
        let groups = self.engine().groups();
        let mut note = |indexes: Vec<usize>, results: Result<Vec<_>, GroupsError>| {
            let results = results.unwrap_or_else(|error| vec![Err(error); indexes.len()]);
            for (index, result) in indexes.into_iter().zip(results) {
                if let Some(outcome) = outcomes.get_mut(index) {
                    *outcome = result.map_err(|error| group_error(&error));
                }
            }
        };
        if !changes.sets.is_empty() {
            let (indexes, offsets) = changes.sets.into_iter().unzip();
            let commit = CommitOffsets {
                group: group.clone(),
                member: CommittingMember::nobody(),
                offsets,
                transaction: None,
            };
            note(indexes, groups.commit_offsets(commit).await);
        }
        if !changes.deletes.is_empty() {
            let (indexes, partitions) = changes.deletes.into_iter().unzip();
            let delete = DeleteOffsets { group, partitions };
            note(indexes, groups.delete_offsets(delete).await);
        }
    }
}

/// What is to be done, each with its place among the changes.
#[derive(Debug, Default)]
struct Changes {
    sets: Vec<(usize, (TopicPartition, GroupOffset))>,
    deletes: Vec<(usize, TopicPartition)>,
}

impl Changes {
    fn add(&mut self, index: usize, at: TopicPartition, change: &v1::GroupOffsetChange) {
        let Some(offset) = change.offset else {
            self.deletes.push((index, at));
            return;
        };
        let offset = GroupOffset {
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: change.metadata.clone(),
        };
        self.sets.push((index, (at, offset)));
    }
}

/// A request has some changes, and a partition once; an offset is one that can be.
fn check(changes: &[v1::GroupOffsetChange]) -> Result<(), ApiError> {
    if changes.is_empty() || changes.len() > REQUEST_PARTITIONS_MAX {
        let message = format!("a request has 1 to {REQUEST_PARTITIONS_MAX} partitions");
        return Err(ApiError::invalid(message));
    }
    let mut seen = HashSet::new();
    for change in changes {
        let (topic, partition) = (&change.topic, change.partition);
        if !seen.insert((topic, partition)) {
            let message = format!("partition `{partition}` of topic `{topic}` stands there twice");
            return Err(ApiError::invalid(message));
        }
        if change
            .offset
            .is_some_and(|offset| offset > Offset::MAX.get())
        {
            return Err(ApiError::invalid("no offset is that large"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_the_wire_and_foreign_ones_are_refused() {
        let at = TopicPartition::new(TopicNumber::new(300), PartitionIndex::new(7));
        assert_eq!(after(&hex(&place(at))).unwrap(), Some(at));
        assert_eq!(after("").unwrap(), None);
        assert!(after("00").is_err() && after(&"00".repeat(13)).is_err());
    }
}
