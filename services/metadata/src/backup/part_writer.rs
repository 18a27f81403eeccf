//! Puts the rows of a backup into the bucket, a part at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_blob::{BackupName, BackupPart};
use tidelog_types::{GroupNumber, Incarnation, SegmentSequence, ShardId, Timestamp};

use super::Backups;
use super::format::{Begin, End, ObjectKind, Origin, put_row, row_bytes, seal};
use super::objects::{ObjectError, put_new};

/// Writes one backup. Memory holds one part.
#[derive(Debug)]
pub(super) struct PartWriter<'a> {
    backups: &'a Backups,
    origin: Origin,
    part_bytes: usize,
    body: Vec<u8>,
    end: End,
}

impl<'a> PartWriter<'a> {
    /// Says that the backup has begun: from now on it pins. Fails if there is one of the same name.
    pub(super) async fn begin(
        backups: &'a Backups,
        origin: Origin,
        name: &BackupName,
        begun_at: Timestamp,
        part_bytes: usize,
    ) -> Result<Self, ObjectError> {
        let begin = Begin {
            name: name.clone(),
            begun_at,
        };
        let writer = Self {
            backups,
            origin,
            part_bytes,
            body: Vec::new(),
            end: End {
                name: name.clone(),
                begun_at,
                ended_at: begun_at,
                parts: 0,
                keys: 0,
                bytes: 0,
                checksum: 0,
                reached: BTreeMap::new(),
                writers: BTreeMap::new(),
            },
        };
        let object = seal(&writer.origin, ObjectKind::Begin, 0, &begin.encode());
        writer.put(BackupPart::Begin, object).await?;
        Ok(writer)
    }

    async fn put(&self, part: BackupPart, object: Bytes) -> Result<(), ObjectError> {
        let path = self.backups.layout.backup(&self.end.name, part);
        put_new(self.backups.objects.as_ref(), &path, object).await
    }

    /// Adds a row.
    pub(super) async fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), ObjectError> {
        if !self.body.is_empty() && self.body.len() + row_bytes(key, value) > self.part_bytes {
            self.flush().await?;
        }
        put_row(&mut self.body, key, value);
        self.end.keys += 1;
        let bytes = u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
        self.end.bytes = self.end.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Takes note of a segment that a row names.
    pub(super) fn name(&mut self, writer: Incarnation, sequence: SegmentSequence) {
        let highest = self.end.writers.entry(writer).or_default();
        *highest = sequence.max(*highest);
    }

    async fn flush(&mut self) -> Result<(), ObjectError> {
        let body = std::mem::take(&mut self.body);
        self.end.parts += 1;
        self.end.checksum = tidelog_crc32c::crc32c_append(self.end.checksum, &body);
        let number = self.end.parts;
        let object = seal(&self.origin, ObjectKind::Part, number, &body);
        // The next part is about as long.
        self.body.reserve(body.len());
        drop(body);
        self.put(BackupPart::Rows(number), object).await
    }

    /// Writes what remains and completes the backup.
    pub(super) async fn finish(
        mut self,
        reached: BTreeMap<ShardId, GroupNumber>,
        ended_at: Timestamp,
    ) -> Result<End, ObjectError> {
        if !self.body.is_empty() {
            self.flush().await?;
        }
        self.end.reached = reached;
        self.end.ended_at = ended_at;
        let number = self.end.parts.saturating_add(1);
        let object = seal(&self.origin, ObjectKind::End, number, &self.end.encode());
        self.put(BackupPart::End, object).await?;
        Ok(self.end)
    }
}
