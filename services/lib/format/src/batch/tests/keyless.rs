//! Facts about records without a key: they are found in every codec, and no compressed bytes take more memory than they
//! are allowed.

use super::*;

/// Of each record whether it has a key.
fn batch(codec: Compression, keys: &[bool], value: &[u8]) -> BatchBuf {
    let mut builder = BatchBuilder::new(codec, 0);
    for has_key in keys {
        let key = has_key.then_some(&b"k"[..]);
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", None)];
        let time = Timestamp::from_millis(7);
        builder.append(time, key, Some(value), headers).unwrap();
    }
    builder.finish(None).unwrap()
}

fn found(batch: &BatchBuf) -> Keyless {
    let found = batch.keyless(DecodeLimit::DEFAULT).unwrap();
    let records = batch.records(Offset::ZERO, DecodeLimit::DEFAULT).unwrap();
    assert_eq!(found.bytes, records.byte_count() as u64);
    Keyless { bytes: 0, ..found }
}

#[test]
fn records_without_a_key_are_found_in_every_codec() {
    for codec in Compression::ALL {
        for length in [0, 5, 100_000] {
            let value = vec![b'v'; length];
            let keys = [true, false, true, true, false, false];
            let wanted = Keyless {
                indexes: vec![1, 4, 5],
                count: 3,
                bytes: 0,
            };
            assert_eq!(found(&batch(codec, &keys, &value)), wanted, "{codec}");
            let all = batch(codec, &[true; 6], &value);
            assert_eq!(found(&all), Keyless::default(), "{codec}");
        }
    }
}

#[test]
fn an_empty_key_is_one_and_only_the_first_are_named() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    let time = Timestamp::from_millis(7);
    builder.append(time, Some(b""), None, &[]).unwrap();
    let empty = builder.finish(None).unwrap();
    assert_eq!(found(&empty), Keyless::default());
    let many = found(&batch(Compression::Zstd, &[false; 1_500], b"v"));
    assert_eq!(many.count, 1_500);
    assert_eq!(many.indexes, (0..100).collect::<Vec<_>>());
}

#[test]
fn the_same_is_found_as_by_reading_all_records() {
    for codec in Compression::ALL {
        for seed in 0..64_u32 {
            let keys: Vec<bool> = (0..seed).map(|at| (at * seed + at / 3) % 4 != 0).collect();
            if keys.is_empty() {
                continue;
            }
            let batch = batch(codec, &keys, &vec![b'x'; seed as usize * 37]);
            let records = batch.records(Offset::ZERO, DecodeLimit::DEFAULT).unwrap();
            let keyless = (0..).zip(records);
            let keyless = keyless.filter(|(_, record)| record.as_ref().unwrap().key.is_none());
            let wanted: Vec<u32> = keyless.map(|(at, _)| at).collect();
            assert_eq!(found(&batch).indexes, wanted, "{codec}");
        }
    }
}

#[test]
fn more_than_the_limit_and_broken_records_are_errors() {
    for codec in Compression::ALL {
        if codec == Compression::None {
            continue;
        }
        let large = batch(codec, &[true; 4], &vec![b'v'; 100_000]);
        let result = large.keyless(DecodeLimit::bytes(200_000));
        assert!(
            matches!(result, Err(RecordError::TooLarge { limit: 200_000 })),
            "{codec}: {result:?}"
        );
    }
    let of = |count: i32, body: &[u8]| {
        let header = BatchHeader {
            record_count: count,
            last_offset_delta: count - 1,
            batch_length: u32::try_from(body.len()).unwrap() + 49,
            ..BatchHeader::default()
        };
        let rules = BatchRules::client(1_000);
        let (batch, _) = BatchBuf::parse(with_crc(header, body), &rules).unwrap();
        batch.keyless(DecodeLimit::DEFAULT)
    };
    // Length 6, attributes, timestamp, offset, no key, no value, no headers.
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(of(1, &good).unwrap().count, 1);
    assert!(matches!(
        of(2, &good),
        Err(RecordError::Truncated { index: 1 })
    ));
    for broken in [
        &[14, 0, 0, 0, 1, 1, 0][..],
        &[12, 0, 0, 0, 20, 1, 0],
        &[4, 0, 0, 0, 1],
        &[],
    ] {
        let result = of(1, broken);
        assert!(
            matches!(result, Err(RecordError::Truncated { index: 0 })),
            "{result:?}"
        );
    }
    assert!(matches!(
        of(1, &[1]),
        Err(RecordError::Length {
            field: "record",
            ..
        })
    ));
    let below = of(1, &[12, 0, 0, 0, 3, 1, 0]);
    assert!(matches!(
        below,
        Err(RecordError::Length {
            field: "key",
            value: -2,
            ..
        })
    ));
    let long = of(1, &[0xff; 20]);
    assert!(
        matches!(long, Err(RecordError::Varint { index: 0 })),
        "{long:?}"
    );
}
