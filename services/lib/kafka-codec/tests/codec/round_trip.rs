//! Every message in every version: what the descriptor writes is read, counted and written again.

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_kafka_codec::fuzzing::schema;
use tidelog_kafka_codec::fuzzing::writer::each_version;
use tidelog_kafka_codec::{ApiKey, Budget, Kind};

use crate::cases;

/// Plenty for the small messages here.
const BUDGET_BYTES: usize = 1 << 20;

#[test]
fn the_descriptor_and_the_codec_name_the_same_messages_and_versions() {
    let schemas = schema::all();
    assert_eq!(schemas.len(), Kind::ALL.len());
    for (schema, kind) in schemas.iter().zip(Kind::ALL) {
        assert_eq!(schema.name, kind.name);
        assert_eq!(schema.versions, kind.versions);
        assert_eq!(schema.flexible_from, kind.flexible_from);
    }
    for key in ApiKey::ALL {
        for role in ["Request", "Response"] {
            let schema = schema::of(&format!("{}{role}", key.name()));
            assert_eq!(schema.versions, key.versions());
            for version in schema.versions.iter() {
                let flexible = version >= schema.flexible_from;
                assert_eq!(
                    key.is_flexible(version),
                    flexible,
                    "{} {version}",
                    schema.name
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn each_version_of_each_message_is_read_and_written_as_it_was(seed: u64) {
        let mut kinds = Kind::ALL.iter();
        let mut kind = kinds.next().expect("there are messages");
        each_version(seed, |schema, version, bytes| {
            while kind.name != schema.name {
                kind = kinds.next().expect("the same messages");
            }
            let bytes = Bytes::from(bytes);
            let mut budget = Budget::bytes(BUDGET_BYTES);
            let again = kind.recode(bytes.clone(), version, &mut budget);
            let again = again.unwrap_or_else(|error| panic!("{error} in {bytes:02x?}"));
            let again = again.unwrap_or_else(|error| panic!("{error} in {bytes:02x?}"));
            assert_eq!(again.len(), bytes.len(), "`{}` version {version}", schema.name);
            assert_eq!(again.into_bytes(), bytes, "`{}` version {version}", schema.name);
        });
    }
}
