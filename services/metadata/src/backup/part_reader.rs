//! Reads a backup, a part at a time, and checks that it is whole.

use bytes::Bytes;
use tidelog_blob::{BackupName, BackupPart};

use super::Backups;
use super::format::{End, FormatError, ObjectKind, Origin, Rows, unseal};
use super::list::check_number;
use super::objects::{ObjectError, get};
use super::scan::Row;

/// Bytes of a part at most; parts are written with about 4 MiB.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A complete backup.
#[derive(Debug)]
pub(super) struct Backup<'a> {
    backups: &'a Backups,
    pub(super) origin: Origin,
    pub(super) end: End,
}

/// What parts add up to.
#[derive(Debug, Default)]
struct Total {
    keys: u64,
    bytes: u64,
    checksum: u32,
}

impl<'a> Backup<'a> {
    /// Finds a complete backup; its parts are not looked at.
    pub(super) async fn open(backups: &'a Backups, name: &BackupName) -> Result<Self, ObjectError> {
        let (origin, end) = backups.end(name).await?;
        let (begun, _) = backups.begin(name).await?;
        if begun != origin {
            let path = backups.layout.backup(name, BackupPart::Begin);
            return Err(ObjectError::format(&path)(FormatError::Nonce));
        }
        Ok(Self {
            backups,
            origin,
            end,
        })
    }

    /// The rows of a part, in order.
    pub(super) async fn part(&self, number: u32) -> Result<Vec<Row>, ObjectError> {
        let (body, _) = self.body(number).await?;
        let path = self.path(BackupPart::Rows(number));
        let rows: Result<Vec<Row>, FormatError> = Rows::new(body).collect();
        rows.map_err(ObjectError::format(&path))
    }

    fn path(&self, part: BackupPart) -> tidelog_blob::object_store::path::Path {
        self.backups.layout.backup(&self.end.name, part)
    }

    async fn body(&self, number: u32) -> Result<(Bytes, Total), ObjectError> {
        let path = self.path(BackupPart::Rows(number));
        let object = get(self.backups.objects.as_ref(), &path, PART_BYTES_MAX).await?;
        let read = || {
            let (origin, found, body) = unseal(&object, ObjectKind::Part)?;
            if origin != self.origin {
                return Err(FormatError::Nonce);
            }
            check_number(number, found)?;
            let mut total = Total::default();
            for row in Rows::new(body.clone()) {
                let (key, value) = row?;
                total.keys += 1;
                let bytes = u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
                total.bytes = total.bytes.saturating_add(bytes);
            }
            Ok((body, total))
        };
        read().map_err(ObjectError::format(&path))
    }

    /// Reads everything once: after this every row is as it was written, and none is missing.
    pub(super) async fn verify(&self) -> Result<(), ObjectError> {
        let mut all = Total::default();
        for number in 1..=self.end.parts {
            let (body, part) = self.body(number).await?;
            all.keys = all.keys.saturating_add(part.keys);
            all.bytes = all.bytes.saturating_add(part.bytes);
            all.checksum = tidelog_crc32c::crc32c_append(all.checksum, &body);
        }
        let wrong = [
            ("keys", self.end.keys, all.keys),
            ("bytes", self.end.bytes, all.bytes),
            (
                "a checksum of",
                self.end.checksum.into(),
                all.checksum.into(),
            ),
        ]
        .into_iter()
        .find(|(_, expected, found)| expected != found);
        let Some((what, expected, found)) = wrong else {
            return Ok(());
        };
        let path = self.path(BackupPart::End);
        Err(ObjectError::format(&path)(FormatError::Total {
            what,
            expected,
            found,
        }))
    }
}
