//! The part of an extent that a log takes, where another one has the rest.

use tidelog_format::batch::BatchHeader;
use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::Timestamp;

use super::chain::Piece;

/// The extent that has exactly the offsets that are taken of a piece. `bytes` are those of the piece, proven. What stands
/// against it otherwise.
pub(super) fn cut(piece: &Piece, bytes: &[u8]) -> Result<Extent, String> {
    let Location::Segment {
        bucket,
        segment,
        position,
        ..
    } = piece.extent.location
    else {
        return Err("it is in no object, and cannot be cut".to_owned());
    };
    let taken = piece.taken;
    let (mut at, mut base) = (0, piece.extent.offsets.base);
    let (mut from, mut to) = (None, 0);
    let mut max_timestamp = Timestamp::NONE;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::parse(rest).map_err(|error| error.to_string())?;
        let next = base.checked_add(u64::from(header.offset_count()));
        let next = next.ok_or("its offsets have come to their end")?;
        let end = at.saturating_add(header.size() as usize);
        if base >= taken.base && next <= taken.next {
            from.get_or_insert(at);
            to = end;
            max_timestamp = max_timestamp.max(header.max_timestamp);
        } else if base < taken.next && next > taken.base {
            return Err(format!(
                "a batch has offsets {base} to {next}, across an end of what is wanted of it"
            ));
        }
        (at, base) = (end, next);
    }
    let kept = from.and_then(|from| Some((from, bytes.get(from..to)?)));
    let (from, kept) = kept.ok_or("it has no batch with the offsets that are wanted")?;
    let more = u32::try_from(from).ok();
    let position = more.and_then(|more| position.checked_add(more));
    let place = position.zip(u32::try_from(kept.len()).ok());
    let (position, length) = place.ok_or("it is longer than any extent")?;
    Ok(Extent {
        offsets: taken,
        location: Location::Segment {
            bucket,
            segment,
            position,
            length,
        },
        crc32c: Some(tidelog_crc32c::crc32c(kept)),
        max_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use tidelog_format::batch::{BatchBuilder, Compression};
    use tidelog_types::{BucketId, Offset, OffsetRange, SegmentName};

    use super::*;

    fn piece(length: usize, taken: (u64, u64)) -> Piece {
        let range = |(base, next)| OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        };
        let extent = Extent {
            offsets: range((10, 16)),
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment: SegmentName::default(),
                position: 100,
                length: u32::try_from(length).expect("it is short"),
            },
            crc32c: None,
            max_timestamp: Timestamp::from_millis(9),
        };
        let mut piece = Piece::whole(extent, Timestamp::from_millis(0), None);
        piece.taken = range(taken);
        piece
    }

    #[test]
    fn whole_batches_stay_whose_offsets_are_taken() {
        let batches = [1, 2, 3].map(|records: i64| {
            let mut builder = BatchBuilder::new(Compression::None, 0);
            for _ in 0..records {
                let time = Timestamp::from_millis(records);
                let appended = builder.append(time, None, Some(b"value"), &[]);
                appended.expect("it is small");
            }
            builder.finish(None).expect("it is small").to_bytes()
        });
        let bytes = batches.concat();
        let length = |batch: usize| u32::try_from(batches[batch].len()).expect("it is short");
        for (taken, position, expected, time) in [
            ((11, 13), 100 + length(0), length(1), 2),
            ((11, 16), 100 + length(0), length(1) + length(2), 3),
            ((10, 11), 100, length(0), 1),
        ] {
            let extent = cut(&piece(bytes.len(), taken), &bytes).expect("there is one");
            let Location::Segment {
                position: found,
                length,
                ..
            } = extent.location
            else {
                panic!("it is in a segment");
            };
            assert_eq!((found, length), (position, expected));
            assert_eq!(extent.max_timestamp, Timestamp::from_millis(time));
            let from = (position - 100) as usize;
            let crc = tidelog_crc32c::crc32c(&bytes[from..from + expected as usize]);
            assert_eq!(extent.crc32c, Some(crc));
            assert_eq!(
                (extent.offsets.base.get(), extent.offsets.next.get()),
                taken
            );
        }
        for across in [(12, 16), (10, 12)] {
            assert!(
                cut(&piece(bytes.len(), across), &bytes).is_err(),
                "{across:?}"
            );
        }
    }
}
