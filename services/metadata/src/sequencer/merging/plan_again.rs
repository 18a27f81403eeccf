//! What is merged again: merged extents that were noted, as pages have them now.

use std::collections::BTreeMap;

use tidelog_metadata_api::Extent;
use tidelog_store::{ScanOptions, Transaction};
use tidelog_types::{Offset, OffsetRange, Timestamp, TopicPartition};

use super::super::error::SequencerError;
use super::super::keeping::topic_of;
use super::super::retention::Limits;
use super::again::{Noted, Rule, Timed};
use super::plan::{Planned, Planning};
use super::windows::MergeSettings;
use crate::keyspace::PageRow;

/// Pages of one partition that are read.
const PAGES: usize = 16;

/// Segments to be.
#[derive(Debug, Default)]
pub(super) struct PlannedAgain {
    pub(super) segments: Vec<Planned>,
    /// No extent of them is younger.
    pub(super) committed_at: Timestamp,
}

impl Planning {
    /// Looks at what was noted, and cuts what is still worth it into segments. A partition with damaged pages is passed
    /// over: it stays as it is.
    pub(super) async fn again(
        &self,
        noted: &[(TopicPartition, Noted)],
        settings: &MergeSettings,
    ) -> Result<PlannedAgain, SequencerError> {
        let mut planned = PlannedAgain::default();
        let mut runs = BTreeMap::new();
        for (partition, noted) in noted.iter().copied() {
            let found = match self.run_again(partition, noted, settings).await {
                Err(SequencerError::Row(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, %partition, "a partition is not merged again");
                    None
                }
                found => found?,
            };
            if let Some((extents, committed_at)) = found {
                planned.committed_at = planned.committed_at.max(committed_at);
                runs.insert(partition, extents);
            }
        }
        planned.segments = self.cut(runs).await?;
        Ok(planned)
    }

    /// The extents that are worth it, and when the last of them was committed at the latest.
    async fn run_again(
        &self,
        partition: TopicPartition,
        noted: Noted,
        settings: &MergeSettings,
    ) -> Result<Option<(Vec<Extent>, Timestamp)>, SequencerError> {
        let Some(topic) = topic_of(&self.catalogue, partition.topic).await? else {
            return Ok(None);
        };
        if topic.config.cleanup_policy().compact {
            // Whoever compacts it makes its extents large.
            return Ok(None);
        }
        let rule = Rule::new(settings, Limits::kept_for(&topic));
        let mut transaction = self.store.begin().await?;
        let pages = self.pages(transaction.as_mut(), partition, noted.offsets);
        let pages = pages.await?;
        let mut timed: Vec<Timed<'_>> = Vec::new();
        for page in &pages {
            let is_in = |extent: &&Extent| {
                let after = timed.last().map(|last| last.extent.offsets.next);
                after.is_none_or(|after| extent.offsets.next > after)
                    && extent.offsets.base >= noted.offsets.base
                    && extent.offsets.next <= noted.offsets.next
            };
            let extents: Vec<&Extent> = page.extents.iter().filter(is_in).collect();
            let extents = extents.into_iter();
            timed.extend(extents.map(|extent| Timed::new(extent, page.committed_at)));
        }
        let Some(count) = rule.at_end(&timed) else {
            return Ok(None);
        };
        let run = timed.split_off(timed.len().saturating_sub(count));
        let committed_at = pages.iter().map(|page| page.committed_at).max();
        Ok(Some((
            run.into_iter().map(|timed| timed.extent.clone()).collect(),
            committed_at.unwrap_or(Timestamp::NONE),
        )))
    }

    /// The pages that have something of some offsets; the first of them if there are many.
    pub(super) async fn pages(
        &self,
        transaction: &mut dyn Transaction,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<PageRow>, SequencerError> {
        let range = self.keys.pages_until(partition, offsets.base);
        let options = ScanOptions::limit(1).backward().snapshot();
        let mut rows = transaction.scan(range, options).await?.rows;
        let range = self.keys.pages_after(partition, offsets.base);
        let options = ScanOptions::limit(PAGES).snapshot();
        rows.extend(transaction.scan(range, options).await?.rows);
        let mut pages = Vec::with_capacity(rows.len());
        for row in rows {
            let (base, page): (Offset, PageRow) = PageRow::of_row(row)?;
            if base >= offsets.next {
                break;
            }
            pages.push(page);
        }
        Ok(pages)
    }
}
