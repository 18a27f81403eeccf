//! Compression of the records of a batch, appended to its header.

use std::io::{self, Write};

use super::Compression;
use super::decompress::XERIAL_MAGIC;

/// Bytes of a xerial block before compression; the default of Java's clients.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// The version and the lowest version that can read it, as xerial writes them.
const XERIAL_VERSION: [u8; 4] = [0, 0, 0, 1];

/// Appends the compressed form of `records` to `out`.
pub(super) fn compress(codec: Compression, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match codec {
        Compression::None => {
            out.extend_from_slice(records);
            Ok(())
        }
        Compression::Gzip => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(records)?;
            encoder.finish().map(|_| ())
        }
        Compression::Snappy => snappy(records, out),
        Compression::Lz4 => lz4(records, out),
        Compression::Zstd => {
            let mut encoder =
                zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            // A stated size lets the reader choose a window no larger than the contents.
            encoder.set_pledged_src_size(Some(records.len() as u64))?;
            encoder.write_all(records)?;
            encoder.finish().map(|_| ())
        }
    }
}

fn lz4(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // Java's reader takes independent blocks only.
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Independent)
        .block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
    encoder.write_all(records)?;
    encoder.finish().map_err(io::Error::other).map(|_| ())
}

fn snappy(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION);
    out.extend_from_slice(&XERIAL_VERSION);
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(XERIAL_BLOCK_BYTES) {
        let size_at = out.len();
        let start = size_at + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let size = encoder
            .compress(block, &mut out[start..])
            .map_err(io::Error::other)?;
        out.truncate(start + size);
        let size = u32::try_from(size).map_err(io::Error::other)?;
        out[size_at..start].copy_from_slice(&size.to_be_bytes());
    }
    Ok(())
}
