//! Decompression within a limit. Memory grows with what has come out, never with a claim in the input.

use std::io::{self, Read};

use bytes::Bytes;

use super::{Compression, DecodeLimit, RecordError};

/// What Java's snappy stream begins with, before two version numbers.
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic and both versions.
pub(super) const XERIAL_HEADER_BYTES: usize = 16;

/// The most that snappy can express: 64 bytes for 3, rounded up.
const SNAPPY_RATIO_MAX: usize = 22;

/// The smallest zstd window limit: 8 MiB, which level 19 needs.
const ZSTD_WINDOW_LOG_MIN: u32 = 23;
/// The largest zstd window limit: 128 MiB, zstd's own default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The bytes of the records; the same bytes, not copied, if they are not compressed.
pub(super) fn decompress(
    codec: Compression,
    body: Bytes,
    limit: DecodeLimit,
) -> Result<Bytes, RecordError> {
    let result = match codec {
        Compression::None => return Ok(body),
        Compression::Gzip => drain(flate2::bufread::MultiGzDecoder::new(body.as_ref()), limit),
        Compression::Snappy => snappy(&body, limit),
        Compression::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(body.as_ref()), limit),
        Compression::Zstd => zstd(&body, limit),
    };
    match result {
        Ok(Some(bytes)) => Ok(bytes.into()),
        Ok(None) => Err(RecordError::TooLarge { limit: limit.get() }),
        Err(source) => Err(RecordError::Decompress { codec, source }),
    }
}

/// Reads to the end; `None` if there is more than the limit.
fn drain(reader: impl Read, limit: DecodeLimit) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let limit_and_one = (limit.get() as u64).saturating_add(1);
    reader.take(limit_and_one).read_to_end(&mut out)?;
    Ok((out.len() <= limit.get()).then_some(out))
}

fn zstd(body: &[u8], limit: DecodeLimit) -> io::Result<Option<Vec<u8>>> {
    drain(zstd_reader(body, limit)?, limit)
}

fn zstd_reader(body: &[u8], limit: DecodeLimit) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    let log = usize::BITS - limit.get().saturating_sub(1).leading_zeros();
    decoder.window_log_max(log.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

/// The bytes of the records as a stream, which may go on beyond the limit: whoever reads it counts. Only of snappy more is
/// in memory than what codecs look back: one of its blocks, within the limit; `None` if one has more.
pub(super) fn stream(
    codec: Compression,
    body: &[u8],
    limit: DecodeLimit,
) -> io::Result<Option<Box<dyn Read + '_>>> {
    Ok(Some(match codec {
        Compression::None => Box::new(body),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(body)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(body)),
        Compression::Zstd => Box::new(zstd_reader(body, limit)?),
        Compression::Snappy if body.starts_with(&XERIAL_MAGIC) => Box::new(Xerial {
            rest: body.get(XERIAL_HEADER_BYTES..).ok_or_else(cut_short)?,
            block: io::Cursor::default(),
            limit,
        }),
        Compression::Snappy => {
            let mut block = Vec::new();
            if !snappy_block(body, &mut block, limit)? {
                return Ok(None);
            }
            Box::new(io::Cursor::new(block))
        }
    }))
}

/// Blocks of Java's snappy stream, one after the other.
struct Xerial<'a> {
    rest: &'a [u8],
    block: io::Cursor<Vec<u8>>,
    limit: DecodeLimit,
}

impl Read for Xerial<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(out)?;
            if read > 0 || out.is_empty() || self.rest.is_empty() {
                return Ok(read);
            }
            let (size, behind) = self.rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
            let size = u32::from_be_bytes(*size) as usize;
            let (block, behind) = behind.split_at_checked(size).ok_or_else(cut_short)?;
            self.rest = behind;
            let mut bytes = std::mem::take(&mut self.block).into_inner();
            bytes.clear();
            if !snappy_block(block, &mut bytes, self.limit)? {
                return Err(io::Error::other("a snappy block has more than is allowed"));
            }
            self.block = io::Cursor::new(bytes);
        }
    }
}

fn snappy(body: &[u8], limit: DecodeLimit) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if !body.starts_with(&XERIAL_MAGIC) {
        return Ok(snappy_block(body, &mut out, limit)?.then_some(out));
    }
    let mut rest = body.get(XERIAL_HEADER_BYTES..).ok_or_else(cut_short)?;
    while !rest.is_empty() {
        let (size, behind) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let size = u32::from_be_bytes(*size) as usize;
        let (block, behind) = behind.split_at_checked(size).ok_or_else(cut_short)?;
        if !snappy_block(block, &mut out, limit)? {
            return Ok(None);
        }
        rest = behind;
    }
    Ok(Some(out))
}

/// Appends one block; false if it would pass the limit.
fn snappy_block(block: &[u8], out: &mut Vec<u8>, limit: DecodeLimit) -> io::Result<bool> {
    let claimed = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if claimed > limit.get().saturating_sub(out.len()) {
        return Ok(false);
    }
    if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(io::Error::other(
            "a snappy block claims more bytes than it can hold",
        ));
    }
    let start = out.len();
    out.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(io::Error::other)?;
    out.truncate(start + written);
    Ok(true)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a snappy block is cut short")
}
