//! A function for each type that a field can have.

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use super::{Encoder, Result};
use crate::error::EncodeErrorKind;
use crate::message::Wire;
use crate::path::Step;
use crate::records::Records;

impl Encoder {
    pub(crate) fn bool(&mut self, value: bool) {
        self.out.put(&[u8::from(value)]);
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.out.put(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.out.put(value.as_bytes());
    }

    pub(crate) fn str(&mut self, value: &ByteString, field: &'static str) -> Result {
        let length = value.len();
        match i16::try_from(length) {
            Ok(_) if self.flexible => self.raised(length, field)?,
            Ok(length) => self.i16(length),
            Err(_) => return Err(self.fail(field, EncodeErrorKind::TooLong(length))),
        }
        self.out.put(value.as_bytes());
        Ok(())
    }

    pub(crate) fn str_opt(
        &mut self,
        value: Option<&ByteString>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        match value {
            Some(text) => self.str(text, field),
            None if self.flexible => self.null(&[0], nullable, field),
            None => self.null(&(-1_i16).to_be_bytes(), nullable, field),
        }
    }

    /// A string whose length is written as in versions that are not flexible, whatever this one is.
    pub(crate) fn classic_str_opt(
        &mut self,
        value: Option<&ByteString>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let result = self.str_opt(value, nullable, field);
        self.flexible = flexible;
        result
    }

    pub(crate) fn bytes(&mut self, value: &Bytes, field: &'static str) -> Result {
        self.count(value.len(), field)?;
        self.out.push(value);
        Ok(())
    }

    pub(crate) fn bytes_opt(
        &mut self,
        value: Option<&Bytes>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        match value {
            Some(bytes) => self.bytes(bytes, field),
            None => self.null_count(nullable, field),
        }
    }

    pub(crate) fn records(&mut self, value: &Records, field: &'static str) -> Result {
        self.count(value.len(), field)?;
        for piece in value.pieces() {
            self.out.push(piece);
        }
        Ok(())
    }

    pub(crate) fn records_opt(
        &mut self,
        value: Option<&Records>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        match value {
            Some(records) => self.records(records, field),
            None => self.null_count(nullable, field),
        }
    }

    pub(crate) fn list<T: Wire>(&mut self, elements: &[T], field: &'static str) -> Result {
        self.count(elements.len(), field)?;
        let depth = self.path.len();
        self.path.push(Step::element(field));
        for element in elements {
            element.write(self)?;
            if let Some(step) = self.path.last_mut() {
                step.advance();
            }
        }
        self.path.truncate(depth);
        Ok(())
    }

    pub(crate) fn list_opt<T: Wire>(
        &mut self,
        elements: Option<&Vec<T>>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        match elements {
            Some(elements) => self.list(elements, field),
            None => self.null_count(nullable, field),
        }
    }

    pub(crate) fn structure<T: Wire>(&mut self, value: &T, field: &'static str) -> Result {
        self.path.push(Step::field(field));
        value.write(self)?;
        self.path.pop();
        Ok(())
    }

    /// A structure behind a byte that says whether it is there.
    pub(crate) fn structure_opt<T: Wire>(
        &mut self,
        value: Option<&T>,
        nullable: bool,
        field: &'static str,
    ) -> Result {
        match value {
            Some(value) => {
                if nullable {
                    self.i8(1);
                }
                self.structure(value, field)
            }
            None => self.null(&(-1_i8).to_be_bytes(), nullable, field),
        }
    }

    /// A field that this version lacks: it must have its default, since nobody would see its value.
    pub(crate) fn absent(&mut self, is_default: bool, field: &'static str) -> Result {
        if is_default {
            return Ok(());
        }
        Err(self.fail(field, EncodeErrorKind::NotInVersion))
    }

    /// How many tagged fields follow; nothing where there are none.
    pub(crate) fn tags(&mut self, present: &[bool]) {
        if self.flexible {
            let count = present.iter().filter(|is| **is).count();
            self.out
                .put_uvarint(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// A tagged field: its value comes first, and then the length is put in front of it.
    pub(crate) fn tagged(
        &mut self,
        tag: u32,
        field: &'static str,
        write: &mut dyn FnMut(&mut Self) -> Result,
    ) -> Result {
        self.out.put_uvarint(tag);
        let mark = self.out.mark();
        write(self)?;
        let size = self.out.len() - mark.len();
        match u32::try_from(size) {
            Ok(size) => {
                self.out.insert_uvarint(&mark, size);
                Ok(())
            }
            Err(_) => Err(self.fail(field, EncodeErrorKind::TooLong(size))),
        }
    }

    /// How many elements an array has, or bytes.
    fn count(&mut self, count: usize, field: &'static str) -> Result {
        if self.flexible {
            return self.raised(count, field);
        }
        match i32::try_from(count) {
            Ok(count) => {
                self.i32(count);
                Ok(())
            }
            Err(_) => Err(self.fail(field, EncodeErrorKind::TooLong(count))),
        }
    }

    /// A length as flexible versions have it: one more than it is.
    fn raised(&mut self, length: usize, field: &'static str) -> Result {
        match i32::try_from(length.saturating_add(1)) {
            Ok(raised) => {
                self.out.put_uvarint(raised.unsigned_abs());
                Ok(())
            }
            Err(_) => Err(self.fail(field, EncodeErrorKind::TooLong(length))),
        }
    }

    fn null_count(&mut self, nullable: bool, field: &'static str) -> Result {
        if self.flexible {
            self.null(&[0], nullable, field)
        } else {
            self.null(&(-1_i32).to_be_bytes(), nullable, field)
        }
    }

    fn null(&mut self, bytes: &[u8], nullable: bool, field: &'static str) -> Result {
        if !nullable {
            return Err(self.fail(field, EncodeErrorKind::Null));
        }
        self.out.put(bytes);
        Ok(())
    }
}
