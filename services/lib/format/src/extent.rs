//! The bytes of an extent: a run of whole batches of one partition.

use thiserror::Error;
use tidelog_types::{Offset, OffsetRange};

use crate::batch::{BatchError, BatchHeader, check_crc, patch_offsets};

/// Bytes that are not those that were written (invariant I6).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unproven {
    /// The checksum of the extent is another one.
    #[error("its checksum is `{computed:08x}`, not `{stored:08x}`")]
    Crc {
        /// What it should be.
        stored: u32,
        /// What the bytes have.
        computed: u32,
    },
    /// A batch is broken.
    #[error("batch `{batch}` in it is broken: {source}")]
    Batch {
        /// Which one, counted from 0.
        batch: u32,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The batches do not take the offsets of the extent.
    #[error("its batches take the offsets up to `{found}`, not `{offsets}`")]
    Offsets {
        /// The offsets of the extent.
        offsets: OffsetRange,
        /// Where the batches end.
        found: Offset,
    },
}

/// Proves bytes, which come in pieces that are cut anywhere. An extent that is a whole slice has a checksum; any other
/// one is proven batch by batch.
pub fn prove<P: AsRef<[u8]>>(crc32c: Option<u32>, pieces: &[P]) -> Result<(), Unproven> {
    if let Some(stored) = crc32c {
        let computed = pieces.iter().fold(0, |crc, piece| {
            tidelog_crc32c::crc32c_append(crc, piece.as_ref())
        });
        return if computed == stored {
            Ok(())
        } else {
            Err(Unproven::Crc { stored, computed })
        };
    }
    match pieces {
        [only] => prove_batches(only.as_ref()),
        several => {
            let several: Vec<_> = several.iter().map(AsRef::as_ref).collect();
            prove_batches(&several.concat())
        }
    }
}

fn prove_batches(mut bytes: &[u8]) -> Result<(), Unproven> {
    let mut batch = 0;
    while !bytes.is_empty() {
        let size = check_crc(bytes).map_err(|source| Unproven::Batch { batch, source })?;
        bytes = bytes.get(size..).unwrap_or_default();
        batch += 1;
    }
    Ok(())
}

/// Gives proven batches the offsets of their extent, in place. They must take exactly those.
///
/// Bytes that carry them already, as those of a merged segment do, stay as they are.
pub fn place(bytes: &mut [u8], offsets: OffsetRange) -> Result<(), Unproven> {
    let mut at = 0;
    let mut next = offsets.base;
    let mut batch = 0;
    while at < bytes.len() {
        let rest = &mut bytes[at..];
        let broken = |source| Unproven::Batch { batch, source };
        let header = BatchHeader::parse(rest).map_err(broken)?;
        patch_offsets(rest, next).map_err(broken)?;
        let end = next.checked_add(u64::from(header.offset_count()));
        let end = end.filter(|end| *end > next && *end <= offsets.next);
        next = end.ok_or(Unproven::Offsets {
            offsets,
            found: next,
        })?;
        at += header.size() as usize;
        batch += 1;
    }
    if at > bytes.len() {
        let source = BatchError::Truncated {
            needed: at as u64,
            remaining: bytes.len() as u64,
        };
        return Err(Unproven::Batch {
            batch: batch.saturating_sub(1),
            source,
        });
    }
    if next == offsets.next {
        Ok(())
    } else {
        Err(Unproven::Offsets {
            offsets,
            found: next,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use tidelog_types::Timestamp;

    use super::*;
    use crate::batch::{BatchBuilder, BatchView, Compression};

    fn batch(records: u8) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None, 0);
        for record in 0..records {
            let time = Timestamp::from_millis(i64::from(record));
            builder.append(time, None, Some(&[record]), &[]).unwrap();
        }
        builder.finish(None).unwrap().to_bytes()
    }

    fn run() -> Bytes {
        [batch(3), batch(1), batch(2)].concat().into()
    }

    fn offsets(base: u64, next: u64) -> OffsetRange {
        OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        }
    }

    #[test]
    fn bytes_are_proven_wherever_their_pieces_are_cut_and_damage_in_each_of_them_is_found() {
        let whole = run();
        let crc = Some(tidelog_crc32c::crc32c(&whole));
        for cut in 0..=whole.len() {
            let pieces = [whole.slice(..cut), whole.slice(cut..)];
            assert_eq!(prove(crc, &pieces), Ok(()));
            assert_eq!(prove(None, &pieces), Ok(()));
        }
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x10;
            let damaged = [Bytes::from(damaged)];
            assert!(prove(crc, &damaged).is_err(), "byte {at}");
        }
        // Where nothing but the batches' own checksums is known, they cover all behind the first 21 bytes.
        for at in 21..batch(3).len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x10;
            assert!(prove(None, &[damaged]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn batches_get_the_offsets_of_their_extent_and_keep_them_the_second_time() {
        let mut bytes = BytesMut::from(run().as_ref());
        place(&mut bytes, offsets(100, 106)).unwrap();
        let placed = bytes.clone().freeze();
        let bases: Vec<_> = BatchView::all(placed.clone())
            .map(|view| view.unwrap().header().base_offset)
            .collect();
        assert_eq!(bases, [100, 103, 104]);
        assert_eq!(prove(None, std::slice::from_ref(&placed)), Ok(()));
        place(&mut bytes, offsets(100, 106)).unwrap();
        assert_eq!(bytes, placed);
    }

    #[test]
    fn batches_that_do_not_take_the_offsets_of_their_extent_are_refused() {
        for next in (101..110).filter(|next| *next != 106) {
            let mut bytes = BytesMut::from(run().as_ref());
            let placed = place(&mut bytes, offsets(100, next));
            assert!(matches!(placed, Err(Unproven::Offsets { .. })), "{next}");
        }
        let mut bytes = BytesMut::from(run().as_ref());
        bytes.truncate(bytes.len() - 1);
        assert!(place(&mut bytes, offsets(100, 106)).is_err());
        let end = Offset::MAX.get();
        let mut bytes = BytesMut::from(run().as_ref());
        assert!(place(&mut bytes, offsets(end - 2, end)).is_err());
    }
}
