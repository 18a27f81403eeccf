//! Another implementation of the same format reads what this one writes, and the other way round.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as TheirCompression, Record as Theirs, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;
use tidelog_format::batch::{
    BatchBuf, BatchBuilder, BatchRules, Compression, DecodeLimit, ProducerStamp, Record,
};
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// A record as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    let short = proptest::collection::vec(any::<u8>(), 0..40);
    let long = (any::<u8>(), 0..5000_usize).prop_map(|(byte, length)| vec![byte; length]);
    proptest::option::of(prop_oneof![4 => short, 1 => long])
}

fn plain() -> impl Strategy<Value = Plain> {
    // Distinct names: the other side keeps headers in a map.
    let headers = proptest::collection::btree_map("[a-z]{1,8}", bytes(), 0..4);
    (0..2_000_000_000_000_i64, bytes(), bytes(), headers).prop_map(|(time, key, value, headers)| {
        Plain {
            time,
            key,
            value,
            headers: headers.into_iter().collect(),
        }
    })
}

fn codecs() -> impl Strategy<Value = (Compression, TheirCompression)> {
    prop_oneof![
        Just((Compression::None, TheirCompression::None)),
        Just((Compression::Gzip, TheirCompression::Gzip)),
        Just((Compression::Snappy, TheirCompression::Snappy)),
        Just((Compression::Lz4, TheirCompression::Lz4)),
        Just((Compression::Zstd, TheirCompression::Zstd)),
    ]
}

fn ours(record: &Record) -> Plain {
    let headers = record.headers.iter();
    Plain {
        time: record.timestamp.as_millis(),
        key: record.key.as_deref().map(<[u8]>::to_vec),
        value: record.value.as_deref().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| {
                (
                    header.key_text().into_owned(),
                    header.value.as_deref().map(<[u8]>::to_vec),
                )
            })
            .collect(),
    }
}

fn theirs(record: &Theirs) -> Plain {
    let headers = record.headers.iter();
    Plain {
        time: record.timestamp,
        key: record.key.as_deref().map(<[u8]>::to_vec),
        value: record.value.as_deref().map(<[u8]>::to_vec),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.as_deref().map(<[u8]>::to_vec)))
            .collect(),
    }
}

fn build(records: &[Plain], codec: Compression) -> BatchBuf {
    let mut builder = BatchBuilder::new(codec, 0);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_deref()))
            .collect();
        let time = Timestamp::from_millis(record.time);
        builder
            .append(
                time,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )
            .unwrap();
    }
    let stamp = ProducerStamp {
        id: ProducerId::new(5),
        epoch: ProducerEpoch::new(1),
        base_sequence: 9,
        transactional: false,
    };
    builder.finish(Some(stamp)).unwrap()
}

fn to_theirs((index, record): (i32, &Plain)) -> Theirs {
    let headers: IndexMap<StrBytes, Option<Bytes>> = record
        .headers
        .iter()
        .map(|(name, value)| {
            (
                StrBytes::from_string(name.clone()),
                value.clone().map(Bytes::from),
            )
        })
        .collect();
    Theirs {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 5,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        sequence: 9 + index,
        timestamp: record.time,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers,
    }
}

proptest! {
    #[test]
    fn they_read_what_we_write(
        records in proptest::collection::vec(plain(), 1..12),
        codec in codecs(),
    ) {
        let mut bytes = build(&records, codec.0).to_bytes();
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        let read: Vec<Plain> = set.records.iter().map(theirs).collect();
        prop_assert_eq!(read, records);
        prop_assert_eq!(set.records[0].producer_id, 5);
        prop_assert_eq!(set.records[0].sequence, 9);
    }

    #[test]
    fn we_read_what_they_write(
        records in proptest::collection::vec(plain(), 1..12),
        codec in codecs(),
    ) {
        let sent: Vec<Theirs> = (0..).zip(&records).map(to_theirs).collect();
        let options = RecordEncodeOptions { version: 2, compression: codec.1 };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &sent, &options).unwrap();
        let rules = BatchRules::client(u32::MAX);
        let batches: Vec<BatchBuf> =
            BatchBuf::parse_all(bytes.freeze(), rules).collect::<Result<_, _>>().unwrap();
        let mut read = Vec::new();
        for batch in &batches {
            prop_assert_eq!(batch.compression(), codec.0);
            for record in batch.records(Offset::ZERO, DecodeLimit::DEFAULT).unwrap() {
                read.push(ours(&record.unwrap()));
            }
        }
        prop_assert_eq!(read, records);
    }
}
