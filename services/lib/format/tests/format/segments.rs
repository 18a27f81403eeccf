//! Segments of many partitions: what was pushed is found again, in order, and the manifests, their
//! sizes and the places of the batches agree with it.

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_format::batch::{BatchBuf, BatchBuilder, BatchRules, Compression, ProducerStamp};
use tidelog_format::manifest::Manifest;
use tidelog_format::segment::{BatchHandle, SegmentReader, SegmentWriter};
use tidelog_types::{ProducerEpoch, ProducerId, ShardId, Timestamp, TopicId};

use super::fixtures::{identity, partition};

#[derive(Clone, Debug)]
struct Push {
    topic: u8,
    partition: u32,
    records: u8,
    time: i64,
    producer: Option<(i64, i32)>,
    append_time: bool,
}

fn push() -> impl Strategy<Value = Push> {
    let producer = proptest::option::of((0..3_i64, 0..i32::MAX));
    let time = prop_oneof![Just(-1), 0..4_000_000_000_000_i64];
    (0..4_u8, 0..6_u32, 1..5_u8, time, producer, any::<bool>()).prop_map(
        |(topic, partition, records, time, producer, append_time)| Push {
            topic,
            partition,
            records,
            time,
            producer,
            append_time,
        },
    )
}

impl Push {
    fn batch(&self) -> BatchBuf {
        let mut builder = BatchBuilder::new(Compression::None, 0);
        for record in 0..self.records {
            let value = [self.topic, record];
            builder
                .append(Timestamp::from_millis(self.time), None, Some(&value), &[])
                .unwrap();
        }
        let stamp = self.producer.map(|(id, base_sequence)| ProducerStamp {
            id: ProducerId::new(id),
            epoch: ProducerEpoch::new(0),
            base_sequence,
            transactional: false,
        });
        let batch = builder.finish(stamp).unwrap();
        if self.append_time {
            batch.with_log_append_time(Timestamp::from_millis(self.time + 1))
        } else {
            batch
        }
    }

    fn topic_id(&self) -> TopicId {
        // Descending ids, so that the order of ids is not the order of numbers.
        TopicId::from_bytes([255 - self.topic; 16])
    }

    fn shard(&self) -> ShardId {
        ShardId::new(self.partition % 3)
    }
}

fn fill(pushes: &[Push]) -> (SegmentWriter, Vec<(BatchHandle, Bytes)>) {
    let mut writer = SegmentWriter::new();
    let mut found = Vec::new();
    for push in pushes {
        let batch = push.batch();
        let bytes = batch.to_bytes();
        let place = partition(u64::from(push.topic), push.partition);
        let handle = writer
            .push(push.topic_id(), place, push.shard(), batch)
            .unwrap();
        found.push((handle, bytes));
    }
    (writer, found)
}

proptest! {
    #[test]
    fn what_was_pushed_is_found_where_the_manifest_says(
        pushes in proptest::collection::vec(push(), 1..40),
    ) {
        let (writer, found) = fill(&pushes);
        let sealed = writer.seal(&identity()).unwrap();
        let object: Bytes = sealed.chunks.concat().into();
        prop_assert_eq!(object.len() as u64, sealed.length);
        prop_assert!(sealed.length <= writer.bytes());
        prop_assert_eq!(sealed.crc32c, tidelog_crc32c::crc32c(&object));
        for ((handle, bytes), push) in found.iter().zip(&pushes) {
            let place = sealed.place(*handle).unwrap();
            let manifest = &sealed.manifests[place.manifest as usize];
            let slice = &manifest.slices[place.slice as usize];
            prop_assert_eq!(manifest.shard, push.shard());
            prop_assert_eq!(slice.partition, partition(u64::from(push.topic), push.partition));
            let before = &slice.batches[..place.batch as usize];
            let skipped: u32 = before.iter().map(|batch| batch.length).sum();
            let start = (slice.position + skipped) as usize;
            prop_assert_eq!(&object[start..start + bytes.len()], bytes.as_ref());
            let flat = manifest.batches().nth(place.outcome as usize).unwrap();
            prop_assert_eq!(flat, (slice.partition, &slice.batches[place.batch as usize]));
            // Stamped batches are whole: their CRC was renewed.
            prop_assert!(BatchBuf::parse(bytes.clone(), &BatchRules::stored()).is_ok());
        }
        check_order(&found, &pushes, &sealed.manifests, &object);
        let reader = SegmentReader::open(object).unwrap();
        prop_assert_eq!(reader.check(), Ok(()));
    }

    #[test]
    fn manifests_come_back_and_keep_within_their_bound(
        pushes in proptest::collection::vec(push(), 1..40),
    ) {
        let (writer, _) = fill(&pushes);
        let sealed = writer.seal(&identity()).unwrap();
        let mut largest = 0;
        for manifest in &sealed.manifests {
            let bytes = manifest.encode();
            prop_assert!(bytes.len() <= manifest.encoded_len_estimate());
            prop_assert!(bytes.len() + 29 * manifest.slices.len() + 58 >= manifest.encoded_len_estimate());
            prop_assert_eq!(manifest.encoded_len_estimate(), writer.manifest_bytes(manifest.shard));
            largest = largest.max(manifest.encoded_len_estimate());
            prop_assert_eq!(&Manifest::decode(&bytes).unwrap(), manifest);
        }
        prop_assert_eq!(largest, writer.manifest_bytes_max());
    }
}

/// Batches of one partition lie in the order in which they were found.
fn check_order(
    found: &[(BatchHandle, Bytes)],
    pushes: &[Push],
    manifests: &[Manifest],
    object: &Bytes,
) {
    for manifest in manifests {
        for slice in &manifest.slices {
            let wanted: Vec<u8> = found
                .iter()
                .zip(pushes)
                .filter(|(_, push)| {
                    partition(u64::from(push.topic), push.partition) == slice.partition
                })
                .flat_map(|((_, bytes), _)| bytes.to_vec())
                .collect();
            let start = slice.position as usize;
            assert_eq!(&object[start..start + slice.length as usize], wanted);
            assert_eq!(slice.crc32c, tidelog_crc32c::crc32c(&wanted));
        }
    }
}
