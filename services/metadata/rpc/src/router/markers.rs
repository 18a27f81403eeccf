//! Markers find the owners of their shards.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::join_all;
use tidelog_metadata_api::{LogError, MARKERS_MAX, TransactionMarker};
use tidelog_types::ShardId;

use super::Router;
use super::ask::{Elsewhere as _, Twice};
use super::shards::Topics;
use crate::server::Parts;

type Outcomes = Vec<Result<(), LogError>>;

impl Router {
    /// Tells every owner its markers, those of one shard in calls of as many as can show at once. Whoever becomes the
    /// owner meanwhile is told anew, which does no harm.
    pub(super) async fn end_everywhere(&self, markers: Vec<TransactionMarker>) -> Outcomes {
        let partitions: Vec<_> = markers.iter().map(|marker| marker.partition).collect();
        let shards = self
            .shards_of(&partitions, Topics::Kept, self.patience().deadline())
            .await;
        let mut outcomes: Outcomes = Vec::with_capacity(markers.len());
        let mut parts: BTreeMap<ShardId, Vec<(usize, TransactionMarker)>> = BTreeMap::new();
        for (place, (marker, shard)) in markers.into_iter().zip(shards).enumerate() {
            match shard {
                Ok(shard) => {
                    parts.entry(shard).or_default().push((place, marker));
                    outcomes.push(Ok(()));
                }
                Err(error) => outcomes.push(Err(error)),
            }
        }
        let parts = parts.values().flat_map(|part| part.chunks(MARKERS_MAX));
        let ended = parts.map(|part| self.end_in_shard(part).boxed());
        let ended: Vec<_> = ended.collect();
        for (place, outcome) in join_all(ended).await.into_iter().flatten() {
            if let Some(at) = outcomes.get_mut(place) {
                *at = outcome;
            }
        }
        outcomes
    }

    /// Tells the owner of a shard what ends there.
    async fn end_in_shard(
        &self,
        part: &[(usize, TransactionMarker)],
    ) -> Vec<(usize, Result<(), LogError>)> {
        let Some((_, first)) = part.first() else {
            return Vec::new();
        };
        let markers: Vec<_> = part.iter().map(|(_, marker)| *marker).collect();
        let markers = &markers;
        let asked = self.at_owner_of(
            first.partition,
            Topics::Kept,
            Twice::Harmless,
            |owner: Parts| async move {
                let outcomes = owner.log.end_transactions(markers.clone()).await;
                // An owner has an answer to all of them, and who is none to none of them.
                let elsewhere = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
                let elsewhere = elsewhere.into_iter().find(|error| error.is_elsewhere());
                match elsewhere {
                    Some(error) => Err(error.clone()),
                    None => Ok(outcomes),
                }
            },
        );
        let mut asked = match asked.await {
            Ok(outcomes) => outcomes,
            Err(error) => part.iter().map(|_| Err(error.clone())).collect(),
        };
        let missing = || {
            Err(LogError::Unavailable {
                reason: "there is no answer to the marker".to_owned(),
            })
        };
        asked.resize_with(part.len(), missing);
        let places = part.iter().map(|(place, _)| *place);
        places.zip(asked).collect()
    }
}
