//! Which batches may be taken: `docs/format/record-batch.md`, "Checks".

use tidelog_types::ProducerId;

use super::BatchError;
use super::header::{BatchHeader, Compression, TimestampType};

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client sent it: it must be as a producer makes them.
    Client,
    /// It lies in the log, where control batches and compacted ones are at home.
    Stored,
}

/// What a batch must satisfy beside its own consistency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRules {
    /// Where it comes from.
    pub origin: Origin,
    /// The largest size in bytes.
    pub bytes_max: u32,
}

impl BatchRules {
    /// For what a client sends.
    pub const fn client(bytes_max: u32) -> Self {
        Self {
            origin: Origin::Client,
            bytes_max,
        }
    }

    /// For what lies in the log; any size.
    pub const fn stored() -> Self {
        Self {
            origin: Origin::Stored,
            bytes_max: u32::MAX,
        }
    }

    /// Checks a header, all but its CRC; answers the codec.
    pub fn check(&self, header: &BatchHeader) -> Result<Compression, BatchError> {
        if header.size() > self.bytes_max {
            return Err(BatchError::TooLarge {
                size: header.size(),
                limit: self.bytes_max,
            });
        }
        let compression = header
            .attributes
            .compression()
            .ok_or(BatchError::Codec((header.attributes.bits() & 0b111) as u8))?;
        self.check_counts(header)?;
        self.check_origin(header)?;
        check_producer(header)?;
        check_timestamps(header)?;
        Ok(compression)
    }

    fn check_counts(self, header: &BatchHeader) -> Result<(), BatchError> {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        let least = match self.origin {
            Origin::Client => 1,
            Origin::Stored => 0,
        };
        if count < least {
            return Err(BatchError::RecordCount(count));
        }
        let dense = delta == count - 1;
        let fits = match self.origin {
            Origin::Client => dense,
            Origin::Stored => delta >= 0 && delta >= count - 1,
        };
        if fits {
            Ok(())
        } else {
            Err(BatchError::LastOffsetDelta { delta, count })
        }
    }

    fn check_origin(self, header: &BatchHeader) -> Result<(), BatchError> {
        let attributes = header.attributes;
        if self.origin == Origin::Stored {
            return Ok(());
        }
        if attributes.is_control() {
            return Err(BatchError::Control);
        }
        if attributes.timestamp_type() == TimestampType::LogAppendTime {
            return Err(BatchError::LogAppendTime);
        }
        if attributes.has_delete_horizon() {
            return Err(BatchError::DeleteHorizon);
        }
        Ok(())
    }
}

/// Without a producer id, epoch and sequence have no meaning and are not looked at: clients in wide use
/// send zeros there.
fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let id = header.producer_id;
    let broken = BatchError::Producer {
        id: id.get(),
        epoch: header.producer_epoch.get(),
        sequence: header.base_sequence,
    };
    if id.is_idempotent() {
        let sequence_min = if header.attributes.is_control() {
            -1
        } else {
            0
        };
        if header.producer_epoch.get() < 0 || header.base_sequence < sequence_min {
            return Err(broken);
        }
        return Ok(());
    }
    if id != ProducerId::NONE {
        return Err(broken);
    }
    if header.attributes.is_transactional() {
        return Err(BatchError::TransactionWithoutProducer);
    }
    Ok(())
}

fn check_timestamps(header: &BatchHeader) -> Result<(), BatchError> {
    let (base, max) = (
        header.base_timestamp.as_millis(),
        header.max_timestamp.as_millis(),
    );
    let ordered = match header.attributes.timestamp_type() {
        // Clients that leave the max to the server send -1. A delete horizon is not a record's time.
        TimestampType::CreateTime => {
            max == -1 || max >= base || header.attributes.has_delete_horizon()
        }
        TimestampType::LogAppendTime => true,
    };
    if base < -1 || max < -1 || !ordered {
        return Err(BatchError::Timestamps { base, max });
    }
    Ok(())
}
