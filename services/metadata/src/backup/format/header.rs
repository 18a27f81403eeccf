//! The first 72 bytes of every object of a backup, and the CRC of what follows.

use bytes::{Buf as _, BufMut as _, Bytes};
use tidelog_format::Features;
use tidelog_types::{ClusterGeneration, ClusterId};

use super::FormatError;
use super::wire::need;

/// The bytes of a header.
pub(crate) const HEADER_BYTES: usize = 72;
/// The newest version; it must not change without a new layout.
pub(crate) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"TIDELOGB";
/// What the header's own CRC covers.
const COVERED: usize = HEADER_BYTES - size_of::<u32>();

/// What an object of a backup is. The numbers must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum ObjectKind {
    Begin = 1,
    Part = 2,
    End = 3,
}

/// What all objects of one backup have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) cluster: ClusterId,
    pub(crate) nonce: [u8; 16],
    pub(crate) generation: ClusterGeneration,
}

/// The whole object: a header and this body.
pub(crate) fn seal(origin: &Origin, kind: ObjectKind, number: u32, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.put_slice(&MAGIC);
    out.put_u16(VERSION);
    out.put_u16(kind as u16);
    out.put_u32(Features::NONE.required);
    out.put_u32(Features::NONE.ignorable);
    out.put_slice(&origin.cluster.to_bytes());
    out.put_slice(&origin.nonce);
    out.put_u32(origin.generation.get());
    out.put_u32(number);
    // A body has some MiB: a part is closed there, and `end` counts shards and writers.
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32(tidelog_crc32c::crc32c(body));
    let crc = tidelog_crc32c::crc32c(&out);
    out.put_u32(crc);
    out.put_slice(body);
    Bytes::from(out)
}

/// Takes a whole object apart. What it must be is checked by the caller, save the kind.
pub(crate) fn unseal(
    object: &Bytes,
    expected: ObjectKind,
) -> Result<(Origin, u32, Bytes), FormatError> {
    need(object, HEADER_BYTES)?;
    let mut header = object.slice(..HEADER_BYTES);
    let mut magic = [0; 8];
    header.copy_to_slice(&mut magic);
    if magic != MAGIC {
        return Err(FormatError::Magic);
    }
    let version = header.get_u16();
    if version == 0 || version > VERSION {
        return Err(FormatError::Version(version));
    }
    let covered = tidelog_crc32c::crc32c(&object[..COVERED]);
    let kind = header.get_u16();
    let required = header.get_u32();
    let ignorable = header.get_u32();
    let mut cluster = [0; 16];
    header.copy_to_slice(&mut cluster);
    let mut nonce = [0; 16];
    header.copy_to_slice(&mut nonce);
    let generation = ClusterGeneration::new(header.get_u32());
    let number = header.get_u32();
    let length = usize::try_from(header.get_u32()).unwrap_or(usize::MAX);
    let body_crc = header.get_u32();
    check_crc("header", header.get_u32(), covered)?;
    if kind != expected as u16 {
        return Err(FormatError::Kind {
            expected: expected as u16,
            found: kind,
        });
    }
    Features {
        required,
        ignorable,
    }
    .check()?;
    let body = object.slice(HEADER_BYTES..);
    need(&body, length)?;
    if body.len() > length {
        return Err(FormatError::Trailing(body.len() - length));
    }
    check_crc("body", body_crc, tidelog_crc32c::crc32c(&body))?;
    let origin = Origin {
        cluster: ClusterId::from_bytes(cluster),
        nonce,
        generation,
    };
    Ok((origin, number, body))
}

fn check_crc(part: &'static str, stored: u32, computed: u32) -> Result<(), FormatError> {
    if stored == computed {
        Ok(())
    } else {
        Err(FormatError::Crc {
            part,
            stored,
            computed,
        })
    }
}
