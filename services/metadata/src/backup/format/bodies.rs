//! The bodies of the first and of the last object.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes};
use tidelog_blob::BackupName;
use tidelog_types::{GroupNumber, Incarnation, SegmentSequence, ShardId, Timestamp};

use super::FormatError;
use super::wire::Fields;

/// A backup has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) name: BackupName,
    pub(crate) begun_at: Timestamp,
}

/// A backup is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) name: BackupName,
    pub(crate) begun_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) parts: u32,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
    /// The last group of each shard that is in the backup.
    pub(crate) reached: BTreeMap<ShardId, GroupNumber>,
    /// The highest sequence of each writer that the backup names.
    pub(crate) writers: BTreeMap<Incarnation, SegmentSequence>,
}

fn put_name(out: &mut Vec<u8>, name: &BackupName) {
    let name = name.as_str().as_bytes();
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name);
}

/// A name in an object must be that of the object.
fn take_name(fields: &mut Fields, expected: &BackupName) -> Result<BackupName, FormatError> {
    let length = usize::from(fields.u8()?);
    let name = fields.take(length)?;
    if name == expected.as_str().as_bytes() {
        return Ok(expected.clone());
    }
    Err(FormatError::Name {
        expected: expected.clone(),
        found: String::from_utf8_lossy(&name).into_owned(),
    })
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Adds to a map what must come in ascending order.
fn insert<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    what: &'static str,
) -> Result<(), FormatError> {
    if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
        return Err(FormatError::Range(what));
    }
    map.insert(key, value);
    Ok(())
}

impl Begin {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, &self.name);
        out.put_i64(self.begun_at.as_millis());
        out
    }

    pub(crate) fn decode(body: Bytes, name: &BackupName) -> Result<Self, FormatError> {
        let mut fields = Fields::new(body);
        let decoded = Self {
            name: take_name(&mut fields, name)?,
            begun_at: Timestamp::from_millis(fields.i64()?),
        };
        fields.finish()?;
        Ok(decoded)
    }
}

impl End {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, &self.name);
        out.put_i64(self.begun_at.as_millis());
        out.put_i64(self.ended_at.as_millis());
        out.put_u32(self.parts);
        out.put_u64(self.keys);
        out.put_u64(self.bytes);
        out.put_u32(self.checksum);
        put_count(&mut out, self.reached.len());
        for (shard, group) in &self.reached {
            out.put_u32(shard.get());
            out.put_u64(group.get());
        }
        put_count(&mut out, self.writers.len());
        for (writer, highest) in &self.writers {
            out.put_u64(writer.get());
            out.put_u64(highest.get());
        }
        out
    }

    pub(crate) fn decode(body: Bytes, name: &BackupName) -> Result<Self, FormatError> {
        let mut fields = Fields::new(body);
        let mut decoded = Self {
            name: take_name(&mut fields, name)?,
            begun_at: Timestamp::from_millis(fields.i64()?),
            ended_at: Timestamp::from_millis(fields.i64()?),
            parts: fields.u32()?,
            keys: fields.u64()?,
            bytes: fields.u64()?,
            checksum: fields.u32()?,
            reached: BTreeMap::new(),
            writers: BTreeMap::new(),
        };
        for _ in 0..fields.u32()? {
            let shard = ShardId::new(fields.u32()?);
            let group = GroupNumber::new(fields.u64()?);
            insert(&mut decoded.reached, shard, group, "order of shards")?;
        }
        for _ in 0..fields.u32()? {
            let writer = Incarnation::new(fields.u64()?);
            let highest = SegmentSequence::new(fields.u64()?);
            insert(&mut decoded.writers, writer, highest, "order of writers")?;
        }
        fields.finish()?;
        Ok(decoded)
    }
}
