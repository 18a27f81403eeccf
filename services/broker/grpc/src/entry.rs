//! A produce entry: checked, cut into batches, handed to the engine, answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::{Append, AppendAnswer, AppendError, Appended, KeyCheck, MemoryHold};
use tidelog_format::batch::{BatchBuf, Compression, ProducerStamp};
use tidelog_metadata_api::{BatchCondition, OrderKey, TopicInfo};
use tidelog_runtime::access::{Caller, Charge, Operation};
use tidelog_types::{ErrorCode, Offset, PartitionIndex, TopicName, partition_for_key};

use crate::errors::{append_error, keys_error, log_error, no_partition};
use crate::front::Front;
use crate::parse::{
    build, check_records, compression, condition, parse_batches, producer_stamp, record_bytes,
};
use crate::token::TokenSet;

/// A batch on its way, or why it is not.
struct Sent {
    partition: u32,
    record_indexes: Vec<u32>,
    answer: Result<AppendAnswer, ApiError>,
}

/// What is left to do for an entry after it was handed to the engine.
pub(crate) struct OpenEntry {
    correlation_id: u64,
    topic: Option<TopicName>,
    work: Work,
}

impl OpenEntry {
    /// One that is not looked at.
    pub(crate) const fn refused(entry: &v1::ProduceEntry, error: ApiError) -> Self {
        let partition = match entry.partition {
            Some(partition) => partition,
            None => 0,
        };
        Self {
            correlation_id: entry.correlation_id,
            topic: None,
            work: Work::Refused(partition, error),
        }
    }

    /// Why nothing of it was handed over, if the same may be taken later.
    pub(crate) fn passing_refusal(&self) -> Option<&ApiError> {
        match &self.work {
            Work::Refused(_, error) => Some(error).filter(|error| error.is_retriable()),
            Work::Batches(_) | Work::Command(..) => None,
        }
    }
}

enum Work {
    Batches(Vec<Sent>),
    /// A command on the fencing token, without data.
    Command(
        u32,
        BoxFuture<'static, Result<(Appended, TokenSet), ApiError>>,
    ),
    /// The whole entry is refused.
    Refused(u32, ApiError),
}

/// The records of an entry by partition, and their places in the entry if they were spread.
type Parts = BTreeMap<u32, (Vec<v1::Record>, Vec<u32>)>;

/// Bytes that an entry holds in memory until it is answered.
pub(crate) fn entry_bytes(entry: &v1::ProduceEntry) -> u64 {
    let bytes = match &entry.data {
        Some(v1::produce_entry::Data::Batches(batches)) => batches.len(),
        Some(v1::produce_entry::Data::Records(records)) => {
            records.records.iter().map(record_bytes).sum()
        }
        None => 0,
    };
    bytes as u64
}

impl Front {
    /// Checks an entry and hands its batches to the engine, in their order. Entries that are taken one after
    /// the other, each awaited, keep their order.
    pub(crate) async fn take_entry(
        &self,
        caller: &Caller,
        entry: v1::ProduceEntry,
        order: OrderKey,
        hold: &Arc<MemoryHold>,
        keys: &mut KeyCheck<'_>,
    ) -> OpenEntry {
        let correlation_id = entry.correlation_id;
        let partition = entry.partition.unwrap_or_default();
        let bytes_in = entry_bytes(&entry);
        let charge = Charge {
            requests: 1,
            bytes_in,
            bytes_out: 0,
        };
        let topic = match self
            .topic(caller, Operation::Write, &entry.topic, charge)
            .await
        {
            Ok(topic) => topic,
            Err(error) => {
                let work = Work::Refused(partition, error);
                return OpenEntry {
                    correlation_id,
                    topic: None,
                    work,
                };
            }
        };
        let name = topic.name.clone();
        let work = match self.send_entry(&topic, entry, order, hold, keys).await {
            Ok(work) => work,
            Err(error) => Work::Refused(partition, error),
        };
        OpenEntry {
            correlation_id,
            topic: Some(name),
            work,
        }
    }

    async fn send_entry(
        &self,
        topic: &Arc<TopicInfo>,
        entry: v1::ProduceEntry,
        order: OrderKey,
        hold: &Arc<MemoryHold>,
        keys: &mut KeyCheck<'_>,
    ) -> Result<Work, ApiError> {
        let condition = condition(&entry)?;
        let needs_partition = entry.producer.is_some() || !condition.is_empty();
        if entry.partition.is_none() && needs_partition {
            return Err(ApiError::invalid(
                "`partition` is required beside conditions and `producer`",
            ));
        }
        let stamp = entry.producer.as_ref().map(producer_stamp).transpose()?;
        let compression = compression(entry.compression)?;
        match entry.data {
            None => self.command(topic, entry.partition, &condition),
            Some(v1::produce_entry::Data::Batches(bytes)) => {
                let Some(partition) = entry.partition else {
                    return Err(ApiError::invalid(
                        "`partition` is required beside `batches`",
                    ));
                };
                if stamp.is_some() || compression != Compression::None {
                    return Err(ApiError::invalid(
                        "`producer` and `compression` stand in the headers of `batches`, not beside \
                         them",
                    ));
                }
                let batches = parse_batches(topic, bytes)?;
                let checked = keys.check(topic, &batches).await;
                checked.map_err(|error| keys_error(&error))?;
                let sending = Sending {
                    front: self,
                    topic,
                    order,
                    hold,
                };
                Ok(Work::Batches(sending.all(partition, batches, &condition)))
            }
            Some(v1::produce_entry::Data::Records(records)) => {
                check_records(topic, &records)?;
                let parts = self.split(topic, entry.partition, records)?;
                let batches = self.build_all(topic, compression, stamp, parts).await?;
                let sending = Sending {
                    front: self,
                    topic,
                    order,
                    hold,
                };
                let sent = batches
                    .into_iter()
                    .map(|(partition, batch, record_indexes)| Sent {
                        partition,
                        record_indexes,
                        answer: sending.one(partition, batch, condition.clone()),
                    });
                Ok(Work::Batches(sent.collect()))
            }
        }
    }

    /// Makes a batch of each part; where that takes long, away from the threads that serve connections.
    async fn build_all(
        &self,
        topic: &Arc<TopicInfo>,
        compression: Compression,
        stamp: Option<ProducerStamp>,
        parts: Parts,
    ) -> Result<Vec<(u32, BatchBuf, Vec<u32>)>, ApiError> {
        let records = parts.values().flat_map(|(records, _)| records);
        let bytes: usize = records.map(record_bytes).sum();
        let (topic, now) = (Arc::clone(topic), self.parts.env.clock.wall());
        let work = move || {
            let built = parts.into_iter().map(|(partition, (records, indexes))| {
                build(&topic, compression, stamp, &records, now)
                    .map(|batch| (partition, batch, indexes))
            });
            built.collect()
        };
        self.decode.work(bytes as u64, work).await?
    }

    /// An entry without data sets the fencing token.
    fn command(
        &self,
        topic: &Arc<TopicInfo>,
        partition: Option<u32>,
        condition: &BatchCondition,
    ) -> Result<Work, ApiError> {
        let (Some(partition), Some(token)) = (partition, condition.set_fencing_token.clone())
        else {
            return Err(ApiError::invalid(
                "an entry has records, batches or a fencing token to set",
            ));
        };
        if condition.expected_next.is_some() {
            let message = "`expected_next_offset` is a condition of records, and there are none";
            return Err(ApiError::invalid(message));
        }
        let (at, _) = topic
            .partition(PartitionIndex::new(partition))
            .map_err(|code| {
                no_partition(code, &topic.name, partition)
                    .with("partition_count", &topic.partition_count())
            })?;
        let expected = condition.fencing_token.clone();
        let engine = self.engine().clone();
        let done = async move {
            let token = engine.set_fencing_token(at, expected, token).await;
            let token = token.map_err(|error| log_error(&error))?;
            let bounds = engine.bounds(at).await.map_err(|error| log_error(&error))?;
            let next = bounds.high_watermark;
            let appended = Appended {
                base_offset: next,
                next_offset: next,
                duplicate: false,
                log_append_time: None,
                token,
            };
            let mut tokens = TokenSet::default();
            tokens.add(token);
            Ok((appended, tokens))
        };
        Ok(Work::Command(partition, done.boxed()))
    }

    /// Spreads the records of an entry over partitions: all on the given one, else by key, and those
    /// without a key together on the next one in turn.
    fn split(
        &self,
        topic: &TopicInfo,
        partition: Option<u32>,
        records: v1::Records,
    ) -> Result<Parts, ApiError> {
        if records.records.is_empty() {
            return Err(ApiError::invalid("`records` has at least one record"));
        }
        let mut parts = Parts::new();
        if let Some(partition) = partition {
            parts.insert(partition, (records.records, Vec::new()));
            return Ok(parts);
        }
        let count = topic.partition_count();
        let turn = self.round_robin.fetch_add(1, Ordering::Relaxed);
        let in_turn = u32::try_from(turn % u64::from(count.max(1))).unwrap_or_default();
        for (index, record) in (0_u32..).zip(records.records) {
            let partition = record
                .key
                .as_ref()
                .map_or(in_turn, |key| partition_for_key(key, count));
            let (records, indexes) = parts.entry(partition).or_default();
            records.push(record);
            indexes.push(index);
        }
        Ok(parts)
    }
}

/// Hands batches to the engine.
struct Sending<'a> {
    front: &'a Front,
    topic: &'a Arc<TopicInfo>,
    order: OrderKey,
    hold: &'a Arc<MemoryHold>,
}

impl Sending<'_> {
    fn one(
        &self,
        partition: u32,
        batch: BatchBuf,
        condition: BatchCondition,
    ) -> Result<AppendAnswer, ApiError> {
        let append = Append {
            topic: Arc::clone(self.topic),
            partition: PartitionIndex::new(partition),
            batch,
            condition,
            order: Some(self.order),
        };
        self.front
            .engine()
            .append(append, Arc::clone(self.hold))
            .map_err(|error| {
                let api = append_error(&error, &self.topic.name, partition);
                match api.code {
                    ErrorCode::UnknownPartition => {
                        api.with("partition_count", &self.topic.partition_count())
                    }
                    _ => api,
                }
            })
    }

    /// The batches of one entry: the condition on the offset holds for each at its place, the others
    /// for all, and the token is set with the first.
    fn all(&self, partition: u32, batches: Vec<BatchBuf>, condition: &BatchCondition) -> Vec<Sent> {
        let mut condition = condition.clone();
        let mut sent = Vec::with_capacity(batches.len());
        for batch in batches {
            let count = u64::from(batch.record_count());
            let answer = self.one(partition, batch, condition.clone());
            sent.push(Sent {
                partition,
                record_indexes: Vec::new(),
                answer,
            });
            condition.expected_next = condition
                .expected_next
                .map(|offset| Offset::new(offset.get() + count));
            if let Some(token) = condition.set_fencing_token.take() {
                // From here on the new token is the one that holds.
                condition.fencing_token = condition.fencing_token.map(|_| token);
            }
        }
        sent
    }
}

impl OpenEntry {
    /// Waits for the engine. Returns the result and whether a batch failed.
    pub(crate) async fn answered(self, tokens: &mut TokenSet) -> (v1::ProduceResult, bool) {
        let mut batches = Vec::new();
        match self.work {
            Work::Refused(partition, error) => {
                batches.push(batch_result(partition, Vec::new(), Err(error)));
            }
            Work::Command(partition, done) => {
                let done = done.await.map(|(appended, seen)| {
                    seen.parts().for_each(|part| tokens.add(part));
                    appended
                });
                batches.push(batch_result(partition, Vec::new(), done));
            }
            Work::Batches(sent) => {
                for sent in sent {
                    let result =
                        await_batch(sent.answer, self.topic.as_ref(), sent.partition).await;
                    if let Ok(appended) = &result {
                        tokens.add(appended.token);
                    }
                    batches.push(batch_result(sent.partition, sent.record_indexes, result));
                }
            }
        }
        let failed = batches
            .iter()
            .any(|batch| matches!(batch.outcome, Some(v1::batch_result::Outcome::Error(_))));
        (
            v1::ProduceResult {
                correlation_id: self.correlation_id,
                batches,
            },
            failed,
        )
    }
}

async fn await_batch(
    answer: Result<AppendAnswer, ApiError>,
    topic: Option<&TopicName>,
    partition: u32,
) -> Result<Appended, ApiError> {
    let gone = AppendError::Unknown {
        reason: "the broker's write path has ended".to_owned(),
    };
    let result = answer?.await.unwrap_or(Err(gone));
    result.map_err(|error| match topic {
        Some(topic) => append_error(&error, topic, partition),
        None => ApiError::new(error.code(), error.to_string()),
    })
}

fn batch_result(
    partition: u32,
    record_indexes: Vec<u32>,
    result: Result<Appended, ApiError>,
) -> v1::BatchResult {
    let outcome = match result {
        Ok(appended) => v1::batch_result::Outcome::Appended(v1::Appended {
            base_offset: appended.base_offset.get(),
            next_offset: appended.next_offset.get(),
            duplicate: appended.duplicate,
            log_append_time: appended.log_append_time.map(crate::topics::to_timestamp),
        }),
        Err(error) => v1::batch_result::Outcome::Error(error.to_proto()),
    };
    v1::BatchResult {
        partition,
        record_indexes,
        outcome: Some(outcome),
    }
}
