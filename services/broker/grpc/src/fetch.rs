//! `Fetch`, `ListOffsets`, `DeleteRecords` and `InitProducer`.

use std::collections::HashSet;
use std::time::Duration;

use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{FetchPartition, FetchRequest, Fetched, Isolation};
use tidelog_metadata_api::OffsetQuery;
use tidelog_runtime::access::{Caller, Operation, Resource};
use tidelog_types::{Offset, PartitionIndex, Timestamp, TopicPartition};

use crate::answer::DataAnswer;
use crate::data::{Form, failed, isolation};
use crate::decode::Wanted;
use crate::errors::{fetch_error, log_error, no_partition};
use crate::front::{Front, ONE_REQUEST};
use crate::room::Room;
use crate::settings::{FETCH_BYTES_DEFAULT, FETCH_WAIT_MAX, REQUEST_PARTITIONS_MAX};
use crate::transport::Outlet;

fn check_partitions<'a>(
    partitions: impl ExactSizeIterator<Item = (&'a str, u32)>,
) -> Result<(), ApiError> {
    let count = partitions.len();
    if count == 0 || count > REQUEST_PARTITIONS_MAX {
        let message = format!("a request has 1 to {REQUEST_PARTITIONS_MAX} partitions");
        return Err(ApiError::invalid(message));
    }
    let mut seen = HashSet::with_capacity(count);
    for (topic, partition) in partitions {
        if !seen.insert((topic, partition)) {
            let message = format!("partition `{partition}` of topic `{topic}` stands there twice");
            return Err(ApiError::invalid(message));
        }
    }
    Ok(())
}

/// A duration of a request; negative and absurd ones are nothing and the maximum.
fn wait(duration: Option<prost_types::Duration>) -> Duration {
    duration
        .and_then(|wait| Duration::try_from(wait).ok())
        .unwrap_or_default()
        .min(FETCH_WAIT_MAX)
}

impl Front {
    /// The partition of a request's item, after asking whether the caller may.
    pub(crate) async fn partition(
        &self,
        caller: &Caller,
        operation: Operation,
        topic: &str,
        partition: u32,
    ) -> Result<TopicPartition, ApiError> {
        let topic = self.topic(caller, operation, topic, ONE_REQUEST).await?;
        let found = topic.partition(PartitionIndex::new(partition));
        found.map(|(at, _)| at).map_err(|code| {
            no_partition(code, &topic.name, partition)
                .with("partition_count", &topic.partition_count())
        })
    }

    /// What to ask the engine for, and for each item of a request why it is not asked for.
    async fn wanted(
        &self,
        caller: &Caller,
        items: &[v1::FetchPartition],
        bytes_max: u32,
    ) -> (Vec<FetchPartition>, Vec<Option<ApiError>>) {
        let mut refused = Vec::with_capacity(items.len());
        let mut wanted = Vec::with_capacity(items.len());
        for item in items {
            let at = self
                .partition(caller, Operation::Read, &item.topic, item.partition)
                .await;
            if let Ok(partition) = at {
                let own_max = if item.max_bytes == 0 {
                    bytes_max
                } else {
                    item.max_bytes
                };
                let offset = Offset::new(item.offset);
                let bytes_max = u64::from(own_max.min(bytes_max));
                wanted.push(FetchPartition {
                    partition,
                    offset,
                    bytes_max,
                });
            }
            refused.push(at.err());
        }
        (wanted, refused)
    }

    /// Reads; a server that goes away does not wait for news.
    pub(crate) async fn read_or_go(&self, asked: &mut FetchRequest) -> Fetched {
        tokio::select! {
            biased;
            fetched = self.engine().fetch(asked) => return fetched,
            () = self.stop.cancelled() => {}
        }
        asked.wait_max = Duration::ZERO;
        self.engine().fetch(asked).await
    }

    pub(crate) async fn fetch(
        &self,
        caller: &Caller,
        outlet: &Outlet,
        request: v1::FetchRequest,
    ) -> Result<DataAnswer, ApiError> {
        let names = request.partitions.iter();
        check_partitions(names.map(|wanted| (wanted.topic.as_str(), wanted.partition)))?;
        let form = Form::of(request.record_format)?;
        let tokens = self.catch_up(&request.token).await?;
        let limit = self.parts.settings.fetch_bytes_max;
        let bytes_max = match request.max_bytes {
            0 => FETCH_BYTES_DEFAULT.min(limit),
            asked => asked.min(limit),
        };
        let bytes_max = self.answer_bytes(bytes_max);
        let (wanted, refused) = self.wanted(caller, &request.partitions, bytes_max).await;
        let any_failed = refused.iter().any(Option::is_some);
        let asked = FetchRequest {
            partitions: wanted,
            bytes_max: u64::from(bytes_max),
            bytes_min: u64::from(request.min_bytes.max(1).min(bytes_max)),
            wait_max: if any_failed {
                Duration::ZERO
            } else {
                wait(request.max_wait)
            },
            isolation: isolation(request.isolation)?,
        };
        let items: Vec<_> = request.partitions.into_iter().zip(refused).collect();
        let mut room = Room::new(outlet, form);
        loop {
            let read = self.fetch_once(caller, &items, asked.clone(), &mut room);
            let mut answer = read.await?;
            if room.is_short() {
                drop(answer);
                room = room.again();
                continue;
            }
            answer.token = self.token(tokens);
            answer.turn = room.into_turn();
            return Ok(answer);
        }
    }

    /// Reads once; `items` are what was asked for and why it is not.
    async fn fetch_once(
        &self,
        caller: &Caller,
        items: &[(v1::FetchPartition, Option<ApiError>)],
        asked: FetchRequest,
        room: &mut Room,
    ) -> Result<DataAnswer, ApiError> {
        let form = room.form();
        let (results, hold) = self.read_in_turn(asked, room).await;
        let mut results = results.into_iter();
        let mut partitions = Vec::with_capacity(items.len());
        for (asked, refused) in items {
            let (topic, partition) = (asked.topic.clone(), asked.partition);
            let from = Offset::new(asked.offset);
            if let Some(error) = refused {
                partitions.push(failed(topic, partition, from, error).into());
                continue;
            }
            let Some(result) = results.next() else {
                continue;
            };
            let result = result.map_err(|(_, error)| error);
            let bytes = result
                .as_ref()
                .map_or(0, |found| found.batches.len() as u64);
            let wanted = Wanted {
                topic,
                partition,
                from,
                form,
            };
            let data = self.take_apart(wanted, result, room).await;
            if room.is_short() {
                break;
            }
            self.charge_read(caller, &asked.topic, bytes).await?;
            partitions.push(data);
        }
        Ok(DataAnswer {
            partitions,
            hold,
            ..DataAnswer::default()
        })
    }

    pub(crate) async fn list_offsets(
        &self,
        caller: &Caller,
        request: v1::ListOffsetsRequest,
    ) -> Result<v1::ListOffsetsResponse, ApiError> {
        let names = request.partitions.iter();
        // One partition may be asked about several times, by other queries.
        if names.len() == 0 || names.len() > REQUEST_PARTITIONS_MAX {
            let message = format!("a request has 1 to {REQUEST_PARTITIONS_MAX} partitions");
            return Err(ApiError::invalid(message));
        }
        let tokens = self.catch_up(&request.token).await?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for asked in request.partitions {
            let found = self.find_offset(caller, &asked).await;
            let (found, error) = match found {
                Ok(found) => (found, None),
                Err(error) => (None, Some(error.to_proto())),
            };
            results.push(v1::ListOffsetsResult {
                topic: asked.topic,
                partition: asked.partition,
                offset: found.map(|found| found.offset.get()),
                timestamp_ms: found
                    .and_then(|found| found.timestamp)
                    .map(Timestamp::as_millis)
                    .filter(|millis| *millis >= 0),
                error,
            });
        }
        Ok(v1::ListOffsetsResponse {
            results,
            token: self.token(tokens),
        })
    }

    async fn find_offset(
        &self,
        caller: &Caller,
        asked: &v1::ListOffsetsPartition,
    ) -> Result<Option<tidelog_broker_engine::FoundOffset>, ApiError> {
        let query = match asked.query {
            Some(v1::list_offsets_partition::Query::Position(number)) => position(number)?,
            Some(v1::list_offsets_partition::Query::TimestampMs(millis)) => {
                OffsetQuery::AtTime(Timestamp::from_millis(millis))
            }
            None => {
                return Err(ApiError::invalid(
                    "`position` or `timestamp_ms` is required",
                ));
            }
        };
        let at = self
            .partition(caller, Operation::Describe, &asked.topic, asked.partition)
            .await?;
        self.engine()
            .offset(at, query, Isolation::Uncommitted)
            .await
            .map_err(|error| fetch_error(&error))
    }

    pub(crate) async fn delete_records(
        &self,
        caller: &Caller,
        request: v1::DeleteRecordsRequest,
    ) -> Result<v1::DeleteRecordsResponse, ApiError> {
        let names = request.partitions.iter();
        check_partitions(names.map(|wanted| (wanted.topic.as_str(), wanted.partition)))?;
        let mut tokens = self.catch_up(&request.token).await?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for asked in request.partitions {
            let (log_start_offset, error) = match self.delete_before(caller, &asked).await {
                Ok((log_start, token)) => {
                    tokens.add(token);
                    (log_start.get(), None)
                }
                Err(error) => (0, Some(error.to_proto())),
            };
            results.push(v1::DeleteRecordsResult {
                topic: asked.topic,
                partition: asked.partition,
                log_start_offset,
                error,
            });
        }
        Ok(v1::DeleteRecordsResponse {
            results,
            token: self.token(tokens),
        })
    }

    async fn delete_before(
        &self,
        caller: &Caller,
        asked: &v1::DeleteRecordsPartition,
    ) -> Result<(Offset, tidelog_metadata_api::ReadToken), ApiError> {
        let at = self
            .partition(caller, Operation::Delete, &asked.topic, asked.partition)
            .await?;
        let before = asked.before_offset.map(Offset::new);
        let deleted = self.engine().delete_records(at, before).await;
        let (bounds, token) = deleted.map_err(|error| log_error(&error))?;
        Ok((bounds.log_start, token))
    }

    pub(crate) async fn init_producer(
        &self,
        caller: &Caller,
        request: v1::InitProducerRequest,
    ) -> Result<v1::InitProducerResponse, ApiError> {
        let tokens = self
            .enter(
                caller,
                Operation::IdempotentWrite,
                Resource::Cluster,
                &request.token,
            )
            .await?;
        let producer = self
            .engine()
            .init_producer()
            .await
            .map_err(|error| log_error(&error))?;
        Ok(v1::InitProducerResponse {
            producer_id: producer.id.get(),
            producer_epoch: i32::from(producer.epoch.get()),
            token: self.token(tokens),
        })
    }
}

/// A position of a request.
pub(crate) fn position(number: i32) -> Result<OffsetQuery, ApiError> {
    match v1::OffsetPosition::try_from(number) {
        Ok(v1::OffsetPosition::Earliest) => Ok(OffsetQuery::Earliest),
        Ok(v1::OffsetPosition::Latest | v1::OffsetPosition::Unspecified) => Ok(OffsetQuery::Latest),
        Ok(v1::OffsetPosition::LastStable) => Ok(OffsetQuery::LastStable),
        Ok(v1::OffsetPosition::MaxTimestamp) => Ok(OffsetQuery::MaxTimestamp),
        Err(_) => Err(ApiError::invalid(format!(
            "no position has the number `{number}`"
        ))),
    }
}
