//! A function for each type that a field can have.

use std::mem;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use super::{Decoder, Result};
use crate::error::DecodeErrorKind;
use crate::message::Wire;
use crate::path::Step;
use crate::records::Records;

/// The longest string that Kafka takes, in bytes.
const STRING_MAX: usize = i16::MAX as usize;

impl Decoder<'_> {
    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool> {
        match self.take(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.fail(field, DecodeErrorKind::Flag(other))),
        }
    }

    pub(crate) fn i8(&mut self, field: &'static str) -> Result<i8> {
        self.take(field).map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16> {
        self.take(field).map(i16::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.take(field).map(u16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32> {
        self.take(field).map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64> {
        self.take(field).map(i64::from_be_bytes)
    }

    pub(crate) fn f64(&mut self, field: &'static str) -> Result<f64> {
        self.take(field).map(f64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<Uuid> {
        self.take(field).map(Uuid::from_bytes)
    }

    pub(crate) fn str(&mut self, field: &'static str) -> Result<ByteString> {
        let text = self.str_or_null(field)?;
        text.ok_or_else(|| self.fail(field, DecodeErrorKind::Null))
    }

    pub(crate) fn str_opt(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<ByteString>> {
        let text = self.str_or_null(field)?;
        self.allow_null(text, nullable, field)
    }

    /// A string whose length is written as in versions that are not flexible, whatever this one is.
    pub(crate) fn classic_str_opt(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<ByteString>> {
        let flexible = mem::replace(&mut self.flexible, false);
        let text = self.str_opt(nullable, field);
        self.flexible = flexible;
        text
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes> {
        let bytes = self.bytes_or_null(field)?;
        bytes.ok_or_else(|| self.fail(field, DecodeErrorKind::Null))
    }

    pub(crate) fn bytes_opt(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<Bytes>> {
        let bytes = self.bytes_or_null(field)?;
        self.allow_null(bytes, nullable, field)
    }

    pub(crate) fn records(&mut self, field: &'static str) -> Result<Records> {
        Ok(self.bytes(field)?.into())
    }

    pub(crate) fn records_opt(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<Records>> {
        Ok(self.bytes_opt(nullable, field)?.map(Records::from))
    }

    pub(crate) fn list<T: Wire>(&mut self, field: &'static str) -> Result<Vec<T>> {
        match self.count(field)? {
            Some(count) => self.elements(count, field),
            None => Err(self.fail(field, DecodeErrorKind::Null)),
        }
    }

    pub(crate) fn list_opt<T: Wire>(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<Vec<T>>> {
        match self.count(field)? {
            Some(count) => self.elements(count, field).map(Some),
            None => self.allow_null(None, nullable, field),
        }
    }

    pub(crate) fn structure<T: Wire>(&mut self, field: &'static str) -> Result<T> {
        self.path.push(Step::field(field));
        let value = T::read(self)?;
        self.path.pop();
        Ok(value)
    }

    /// A structure behind a byte that says whether it is there.
    pub(crate) fn structure_opt<T: Wire>(
        &mut self,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<T>> {
        if !nullable {
            return self.structure(field).map(Some);
        }
        match self.i8(field)? {
            1 => self.structure(field).map(Some),
            -1 => Ok(None),
            other => Err(self.fail(field, DecodeErrorKind::Flag(other.cast_unsigned()))),
        }
    }

    /// The tagged fields at the end of a structure. `known` reads the value of a tag that it knows and
    /// returns true; of any other it reads nothing, and the value is skipped.
    pub(crate) fn tags(
        &mut self,
        known: &mut dyn FnMut(&mut Self, u32) -> Result<bool>,
    ) -> Result<()> {
        const NAME: &str = "tagged fields";
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint(NAME)?;
        let mut last = None;
        // Each takes two bytes at least, so a count that is absurd soon finds no more of them.
        for _ in 0..count {
            let tag = self.uvarint(NAME)?;
            if last.is_some_and(|last| tag <= last) {
                return Err(self.fail(NAME, DecodeErrorKind::TagOrder(tag)));
            }
            last = Some(tag);
            let size = self.uvarint(NAME)? as usize;
            if size > self.left() {
                return Err(self.truncated(NAME, size));
            }
            let end = self.at + size;
            let outer = mem::replace(&mut self.end, end);
            if !known(self, tag)? {
                self.at = end;
            }
            if self.at != end {
                return Err(self.fail(NAME, DecodeErrorKind::TagSize(end - self.at)));
            }
            self.end = outer;
        }
        Ok(())
    }

    /// The end of a structure that has no tagged fields of its own.
    pub(crate) fn unknown_tags(&mut self) -> Result<()> {
        self.tags(&mut |_, _| Ok(false))
    }

    fn str_or_null(&mut self, field: &'static str) -> Result<Option<ByteString>> {
        let length = if self.flexible {
            self.compact_length(field)?
        } else {
            let length = self.i16(field)?;
            self.signed_length(length.into(), field)?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_MAX {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            return Err(self.fail(field, DecodeErrorKind::Length(length)));
        }
        let bytes = self.slice(length, field)?;
        match ByteString::try_from(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.fail(field, DecodeErrorKind::Utf8)),
        }
    }

    fn bytes_or_null(&mut self, field: &'static str) -> Result<Option<Bytes>> {
        match self.count(field)? {
            Some(length) => self.slice(length, field).map(Some),
            None => Ok(None),
        }
    }

    /// How many elements an array has, or bytes; nothing for null.
    fn count(&mut self, field: &'static str) -> Result<Option<usize>> {
        if self.flexible {
            return self.compact_length(field);
        }
        let count = self.i32(field)?;
        self.signed_length(count, field)
    }

    fn elements<T: Wire>(&mut self, count: usize, field: &'static str) -> Result<Vec<T>> {
        let wire_size = T::min_size(self.version, self.flexible);
        self.admit(count, wire_size, size_of::<T>(), field)?;
        let depth = self.path.len();
        self.path.push(Step::element(field));
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self)?);
            if let Some(step) = self.path.last_mut() {
                step.advance();
            }
        }
        self.path.truncate(depth);
        Ok(elements)
    }

    fn allow_null<T>(
        &self,
        value: Option<T>,
        nullable: bool,
        field: &'static str,
    ) -> Result<Option<T>> {
        if value.is_none() && !nullable {
            return Err(self.fail(field, DecodeErrorKind::Null));
        }
        Ok(value)
    }
}
