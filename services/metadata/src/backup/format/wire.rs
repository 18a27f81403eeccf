//! Bounded reading of bodies.

use bytes::{Buf as _, Bytes};

use super::FormatError;

/// Fails if there are fewer bytes than this.
pub(crate) fn need(bytes: &Bytes, needed: usize) -> Result<(), FormatError> {
    let left = bytes.len();
    if left < needed {
        return Err(FormatError::Truncated { needed, left });
    }
    Ok(())
}

/// Reads a body from its begin to its end.
#[derive(Debug)]
pub(crate) struct Fields(Bytes);

impl Fields {
    pub(crate) const fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        need(&self.0, 1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        need(&self.0, 2)?;
        Ok(self.0.get_u16())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        need(&self.0, 4)?;
        Ok(self.0.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        need(&self.0, 8)?;
        Ok(self.0.get_u64())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.u64().map(u64::cast_signed)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, FormatError> {
        need(&self.0, length)?;
        Ok(self.0.split_to(length))
    }

    /// Ends the body: nothing may follow.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(FormatError::Trailing(more)),
        }
    }
}
