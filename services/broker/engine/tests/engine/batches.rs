//! Batches as scenarios write them and read them.

use bytes::Bytes;
use tidelog_broker_engine::FetchedPartition;
use tidelog_format::batch::{
    BatchBuf, BatchBuilder, BatchView, Compression, DecodeLimit, ProducerStamp,
};
use tidelog_metadata_api::ProducerIdentity;
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// A batch with one record a value, at times 100, 101 and so on.
pub(crate) fn batch(values: &[&str]) -> BatchBuf {
    let at: Vec<(i64, &str)> = (100..).zip(values.iter().copied()).collect();
    batch_at(&at, Compression::None, None)
}

/// One record of an idempotent producer.
pub(crate) fn stamped(value: &str, producer: i64, sequence: i32) -> BatchBuf {
    let stamp = ProducerStamp {
        id: ProducerId::new(producer),
        epoch: ProducerEpoch::new(0),
        base_sequence: sequence,
        transactional: false,
    };
    batch_at(&[(100, value)], Compression::None, Some(stamp))
}

/// Records of a transaction at time 100.
pub(crate) fn transactional(
    values: &[&str],
    producer: ProducerIdentity,
    sequence: i32,
) -> BatchBuf {
    let stamp = ProducerStamp {
        id: producer.id,
        epoch: producer.epoch,
        base_sequence: sequence,
        transactional: true,
    };
    let at: Vec<(i64, &str)> = values.iter().map(|value| (100, *value)).collect();
    batch_at(&at, Compression::None, Some(stamp))
}

pub(crate) fn batch_at(
    records: &[(i64, &str)],
    compression: Compression,
    stamp: Option<ProducerStamp>,
) -> BatchBuf {
    let mut builder = BatchBuilder::new(compression, 0);
    for (millis, value) in records {
        let time = Timestamp::from_millis(*millis);
        builder
            .append(time, None, Some(value.as_bytes()), &[])
            .expect("a small record");
    }
    builder.finish(stamp).expect("a small batch")
}

/// The records of an answer, as `value@offset`.
pub(crate) fn values_in(found: &FetchedPartition) -> Vec<String> {
    let mut values = Vec::new();
    for batch in BatchView::all(found.batches.to_bytes()) {
        let batch = batch.expect("whole batches");
        batch.check_crc().expect("a batch as it was written");
        let base = Offset::new(u64::try_from(batch.header().base_offset).expect("an offset"));
        if batch.header().attributes.is_control() {
            values.push(format!("marker@{}", base.get()));
            continue;
        }
        let records = batch.records(base, DecodeLimit::default());
        for record in records.expect("records") {
            let record = record.expect("a record");
            let value: Bytes = record.value.expect("a value");
            let value = String::from_utf8(value.to_vec()).expect("text");
            values.push(format!("{value}@{}", record.offset.get()));
        }
    }
    values
}
