//! News of commits and topics.

use std::sync::Arc;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{CommitNotice, Notice, PartitionAdvance};
use tidelog_types::{GroupNumber, ShardId, TopicNumber};

use super::log::{extent_from, extent_to};
use super::{
    WireError, bounds_from, bounds_to, partition_from, partition_to, token_from, token_to,
};
use crate::events::Event;

pub(crate) fn event_to(event: &Event) -> v1::SubscribeResponse {
    use v1::subscribe_response::News;
    let news = match event {
        Event::Positions(tokens) => News::Positions(v1::Positions {
            tokens: tokens.iter().copied().map(token_to).collect(),
        }),
        Event::Notice(Notice::Commit(notice)) => News::Commit(commit_to(notice)),
        Event::Notice(Notice::Topic(number)) => News::Topic(number.get()),
        // Of shards its followers are told by positions.
        Event::Notice(Notice::Missed | Notice::Shards) => News::Missed(v1::Missed {}),
    };
    v1::SubscribeResponse { news: Some(news) }
}

pub(crate) fn event_from(response: v1::SubscribeResponse) -> Result<Event, WireError> {
    use v1::subscribe_response::News;
    Ok(match response.news {
        Some(News::Positions(positions)) => {
            let tokens = positions.tokens.iter().map(|token| token_from(token));
            Event::Positions(tokens.collect::<Result<_, _>>()?)
        }
        Some(News::Commit(notice)) => Event::Notice(Notice::Commit(Arc::new(commit_from(notice)?))),
        Some(News::Topic(number)) => Event::Notice(Notice::Topic(TopicNumber::new(number))),
        Some(News::Missed(v1::Missed {})) | None => Event::Notice(Notice::Missed),
    })
}

fn commit_to(notice: &CommitNotice) -> v1::CommitNotice {
    let advances = notice.advances.iter();
    let advances = advances.map(|advance| v1::PartitionAdvance {
        partition: Some(partition_to(advance.partition)),
        bounds: Some(bounds_to(advance.bounds)),
        extents: advance.extents.iter().map(extent_to).collect(),
    });
    v1::CommitNotice {
        shard: notice.shard.get(),
        group: notice.group.get(),
        advances: advances.collect(),
    }
}

fn commit_from(notice: v1::CommitNotice) -> Result<CommitNotice, WireError> {
    let advances = notice.advances.into_iter().map(|advance| {
        let extents = advance.extents.iter().map(extent_from);
        Ok(PartitionAdvance {
            partition: partition_from(advance.partition)?,
            bounds: bounds_from(advance.bounds)?,
            extents: extents.collect::<Result<_, _>>()?,
        })
    });
    Ok(CommitNotice {
        shard: ShardId::new(notice.shard),
        group: GroupNumber::new(notice.group),
        advances: advances.collect::<Result<_, WireError>>()?,
    })
}
