//! A batch on its way, and who writes it.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_api::ApiError;
use tidelog_env::MonoTime;
use tidelog_format::batch::{BuilderError, ProducerStamp};
use tidelog_types::{ErrorCode, ProducerEpoch, ProducerId};
use tokio::sync::OwnedSemaphorePermit;

use super::accumulator::Gathering;
use super::delivery::{BatchProduced, Outcome, ProduceError};

/// A batch with its outcome.
pub(super) struct Resolution {
    pub(super) id: u64,
    pub(super) outcome: Arc<Outcome>,
    pub(super) result: Result<BatchProduced, ProduceError>,
}

/// Whether a batch awaits an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Unsent,
    Sent,
}

/// A batch that has its final bytes.
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) bytes: Bytes,
    pub(super) outcome: Arc<Outcome>,
    /// Given back with the outcome.
    _memory: OwnedSemaphorePermit,
    pub(super) opened: MonoTime,
    pub(super) progress: Progress,
    /// Whether an attempt ended so that the batch may be in the log.
    pub(super) maybe_written: bool,
    pub(super) last: Option<Arc<ApiError>>,
}

/// Who writes, and which sequence comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) next_sequence: i32,
}

impl Writer {
    /// Begins with sequence 0.
    pub(super) const fn new(id: ProducerId, epoch: ProducerEpoch) -> Self {
        Self {
            id,
            epoch,
            next_sequence: 0,
        }
    }
}

impl Pending {
    /// Gives a batch its sequence, if it has a writer, and its final bytes.
    pub(super) fn build(batch: Gathering, writer: Option<&mut Writer>) -> Result<Self, Resolution> {
        let Gathering {
            id,
            builder,
            outcome,
            memory,
            opened,
        } = batch;
        let records = builder.record_count();
        let stamp = writer.as_ref().map(|writer| ProducerStamp {
            id: writer.id,
            epoch: writer.epoch,
            base_sequence: writer.next_sequence,
            transactional: false,
        });
        let bytes = match builder.finish(stamp) {
            Ok(finished) => finished.to_bytes(),
            Err(error) => {
                return Err(Resolution {
                    id,
                    outcome,
                    result: Err(unbuildable(&error)),
                });
            }
        };
        if let Some(writer) = writer {
            writer.next_sequence = sequence_after(writer.next_sequence, records);
        }
        Ok(Self {
            id,
            _memory: shrunk(memory, bytes.len()),
            bytes,
            outcome,
            opened,
            progress: Progress::Unsent,
            maybe_written: false,
            last: None,
        })
    }

    pub(super) fn resolve(self, result: Result<BatchProduced, ProduceError>) -> Resolution {
        Resolution {
            id: self.id,
            outcome: self.outcome,
            result,
        }
    }
}

/// Sequences wrap from `i32::MAX` to 0, as in Kafka.
fn sequence_after(sequence: i32, records: u32) -> i32 {
    let next = (i64::from(sequence) + i64::from(records)) & i64::from(i32::MAX);
    i32::try_from(next).unwrap_or(0)
}

/// Gives back what the batch turned out not to need.
fn shrunk(mut memory: OwnedSemaphorePermit, size: usize) -> OwnedSemaphorePermit {
    let excess = memory.num_permits().saturating_sub(size.max(1));
    drop(memory.split(excess));
    memory
}

fn unbuildable(error: &BuilderError) -> ProduceError {
    ProduceError::Refused(Arc::new(ApiError::new(
        ErrorCode::InvalidArgument,
        error.to_string(),
    )))
}
