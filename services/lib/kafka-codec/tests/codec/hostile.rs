//! What nobody honest sends: half messages, too long ones, changed and random bytes.

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_kafka_codec::fuzzing::writer::each_version;
use tidelog_kafka_codec::fuzzing::{Seeded, TARGETS};
use tidelog_kafka_codec::{Budget, DecodeError, DecodeErrorKind, Kind, Rope};

use crate::cases;

fn kind(name: &str) -> &'static Kind {
    let found = Kind::ALL.iter().find(|kind| kind.name == name);
    found.unwrap_or_else(|| panic!("no message is called `{name}`"))
}

fn recode(kind: &Kind, version: i16, bytes: Bytes, budget: usize) -> Result<Rope, DecodeError> {
    let rope = kind.recode(bytes, version, &mut Budget::bytes(budget))?;
    Ok(rope.unwrap_or_else(|error| panic!("what was read cannot be written: {error}")))
}

#[test]
fn a_message_that_is_cut_anywhere_is_refused() {
    each_version(11, |schema, version, bytes| {
        let kind = kind(schema.name);
        let bytes = Bytes::from(bytes);
        for cut in 0..bytes.len() {
            let error = recode(kind, version, bytes.slice(..cut), 1 << 20);
            let error = error.err().unwrap_or_else(|| {
                panic!(
                    "`{}` {version} has {cut} of {} bytes",
                    schema.name,
                    bytes.len()
                )
            });
            assert_eq!((error.message(), error.version()), (kind.name, version));
            assert!(error.position() <= cut);
        }
    });
}

#[test]
fn bytes_behind_the_end_are_refused() {
    each_version(12, |schema, version, mut bytes| {
        bytes.extend([0, 0, 0]);
        let end = bytes.len() - 3;
        let error = recode(kind(schema.name), version, bytes.into(), 1 << 20);
        let error = error.expect_err("three bytes too many");
        assert_eq!(error.kind(), DecodeErrorKind::Trailing(3));
        assert_eq!(error.position(), end);
    });
}

#[test]
fn versions_beside_the_known_ones_are_refused() {
    for kind in Kind::ALL {
        for version in [
            i16::MIN,
            kind.versions.min - 1,
            kind.versions.max + 1,
            i16::MAX,
        ] {
            let error = recode(kind, version, Bytes::new(), 0).expect_err("not a version");
            let expected = DecodeErrorKind::UnsupportedVersion(kind.versions);
            assert_eq!(error.kind(), expected);
        }
    }
}

#[test]
fn nothing_is_paid_for_twice_and_everything_is_paid_for() {
    each_version(13, |schema, version, bytes| {
        let kind = kind(schema.name);
        let bytes = Bytes::from(bytes);
        let mut plenty = Budget::bytes(1 << 20);
        assert!(kind.recode(bytes.clone(), version, &mut plenty).is_ok());
        let cost = (1 << 20) - plenty.left();
        assert!(recode(kind, version, bytes.clone(), cost).is_ok());
        if let Some(less) = cost.checked_sub(1) {
            let error = recode(kind, version, bytes, less).expect_err("a byte is missing");
            assert!(
                matches!(error.kind(), DecodeErrorKind::Budget { .. }),
                "{error}"
            );
        }
    });
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn changed_messages_are_refused_or_read_as_something_that_can_be_written(seed: u64) {
        let mut random = Seeded::new(seed);
        each_version(seed, |schema, version, mut bytes| {
            for _ in 0..=random.below(3) {
                change(&mut bytes, &mut random);
            }
            // Small enough that counts, too, run into it.
            let _ = recode(kind(schema.name), version, bytes.into(), 4 << 10);
        });
    }
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn no_bytes_make_a_decoder_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&data);
        }
    }

    #[test]
    fn no_bytes_behind_a_good_header_make_a_decoder_panic(
        key in 0_i16..95,
        version in -1_i16..20,
        body in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..120),
    ) {
        let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
        frame.extend([0, 0, 0, 7, 0xff, 0xff]);
        frame.extend(body);
        for (_, target) in TARGETS {
            target(&frame);
        }
    }
}

/// Does something to the bytes that a broken or evil client might.
fn change(bytes: &mut Vec<u8>, random: &mut Seeded) {
    if bytes.is_empty() {
        bytes.push(random.number().to_le_bytes()[0]);
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] = random.number().to_le_bytes()[0],
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => {
            bytes.remove(at);
        }
        3 => bytes.insert(at, random.number().to_le_bytes()[0]),
        _ => {
            let end = bytes.len().min(at + 4);
            bytes[at..end].fill(0xff);
        }
    }
}
