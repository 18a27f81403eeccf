//! The stored form of a merged segment's footer.

use super::{MergedFooter, MergedSlice, MergedTopic};
use crate::wire::{put_varint, put_zigzag};

impl MergedFooter {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.shard.get()));
        put_zigzag(&mut out, self.committed_at.as_millis());
        put_varint(&mut out, self.topics().len() as u64);
        for topic in self.topics() {
            put_topic(&mut out, topic);
        }
        // No ignorable feature writes an extension yet.
        put_varint(&mut out, 0);
        out
    }
}

fn put_topic(out: &mut Vec<u8>, topic: &MergedTopic) {
    out.extend_from_slice(&topic.id.to_bytes());
    put_varint(out, topic.number.get());
    let name = topic.name.as_str().as_bytes();
    put_varint(out, name.len() as u64);
    out.extend_from_slice(name);
    put_varint(out, u64::from(topic.partition_count));
    put_varint(out, topic.slices.len() as u64);
    for slice in &topic.slices {
        put_slice(out, slice);
    }
}

fn put_slice(out: &mut Vec<u8>, slice: &MergedSlice) {
    put_varint(out, u64::from(slice.partition.partition.get()));
    put_varint(out, u64::from(slice.key_id));
    put_varint(out, u64::from(slice.batch_count));
    let min = slice.min_timestamp.as_millis();
    put_zigzag(out, min);
    put_varint(out, slice.offsets().base.get());
    put_varint(out, slice.extents.len() as u64);
    for extent in &slice.extents {
        put_varint(out, u64::from(extent.length));
        out.extend_from_slice(&extent.crc32c.to_be_bytes());
        put_varint(out, extent.offsets.count());
        put_zigzag(out, extent.max_timestamp.as_millis().wrapping_sub(min));
    }
}
