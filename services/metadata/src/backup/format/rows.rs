//! Rows in the body of a part.

use bytes::{BufMut as _, Bytes};
use tidelog_types::limits::{STORE_KEY_BYTES_MAX, STORE_VALUE_BYTES_MAX};

use super::FormatError;
use super::wire::Fields;

/// Bytes of a row beside its key and value.
const ROW_FIXED_BYTES: usize = 2 + 4;

/// The bytes that a row takes.
pub(crate) const fn row_bytes(key: &[u8], value: &[u8]) -> usize {
    ROW_FIXED_BYTES + key.len() + value.len()
}

/// Adds a row. Keys and values come from a store, so that their lengths fit.
pub(crate) fn put_row(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    body.put_u16(u16::try_from(key.len()).unwrap_or(u16::MAX));
    body.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    body.put_slice(key);
    body.put_slice(value);
}

/// The rows of a body, one by one. Ends after the first error.
#[derive(Debug)]
pub(crate) struct Rows {
    rest: Option<Fields>,
}

impl Rows {
    pub(crate) const fn new(body: Bytes) -> Self {
        Self {
            rest: Some(Fields::new(body)),
        }
    }

    fn row(fields: &mut Fields) -> Result<(Bytes, Bytes), FormatError> {
        let key = usize::from(fields.u16()?);
        let value = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
        if key > STORE_KEY_BYTES_MAX {
            return Err(FormatError::Range("key length"));
        }
        if value > STORE_VALUE_BYTES_MAX {
            return Err(FormatError::Range("value length"));
        }
        Ok((fields.take(key)?, fields.take(value)?))
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let fields = self.rest.as_mut().filter(|fields| !fields.is_empty())?;
        let row = Self::row(fields);
        if row.is_err() {
            self.rest = None;
        }
        Some(row)
    }
}
