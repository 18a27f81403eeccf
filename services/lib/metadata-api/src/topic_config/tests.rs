use super::*;

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn defaults_fit_their_own_rules_and_keys_are_sorted() {
    for key in ConfigKey::all() {
        assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
    }
    assert!(ConfigKey::all().is_sorted_by_key(|key| key.name));
    let config = TopicConfig::default();
    assert_eq!(config.batch_bytes_max(), BATCH_BYTES_MAX_DEFAULT);
    assert_eq!(config.timestamp_type(), TimestampType::CreateTime);
    assert_eq!(config.retention_millis(), Some(604_800_000));
    assert_eq!(config.retention_bytes(), None);
    assert_eq!(
        config.cleanup_policy(),
        CleanupPolicy {
            delete: true,
            compact: false
        }
    );
}

#[test]
fn values_outside_the_rule_are_refused_with_the_rule() {
    let error = TopicConfig::new(set(&[("max.message.bytes", "0")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "topic configuration `max.message.bytes` cannot be `0`: it takes a whole number \
         from 1 to 2147483647"
    );
    for (key, value) in [
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("message.timestamp.type", "logappendtime"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("preallocate", "yes"),
    ] {
        assert!(
            TopicConfig::new(set(&[(key, value)])).is_err(),
            "{key}={value}"
        );
    }
    assert!(TopicConfig::new(set(&[("cleanup.policy", "compact,delete")])).is_ok());
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let error = TopicConfig::new(set(&[("retention_ms", "1")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown topic configuration key `retention_ms`; did you mean `retention.ms`?"
    );
    let error = TopicConfig::new(set(&[("colour", "blue")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown topic configuration key `colour`"
    );
}

#[test]
fn a_change_sets_resets_and_leaves_the_rest() {
    let config = TopicConfig::new(set(&[("retention.ms", "5"), ("retention.bytes", "7")])).unwrap();
    let changes = BTreeMap::from([
        ("retention.ms".to_owned(), None),
        ("max.message.bytes".to_owned(), Some("99".to_owned())),
    ]);
    let after = config.altered(&changes).unwrap();
    assert_eq!(
        after.as_set(),
        &set(&[("max.message.bytes", "99"), ("retention.bytes", "7")])
    );
}

#[test]
fn a_topic_that_wants_larger_batches_than_a_segment_takes_has_the_largest() {
    for (value, expected) in [("8388608", 8_388_608), ("10485760", 8_388_608), ("9", 9)] {
        let config = TopicConfig::new(set(&[("max.message.bytes", value)])).unwrap();
        assert_eq!(config.batch_bytes_max(), expected);
        assert_eq!(config.as_set()["max.message.bytes"], value);
    }
}

#[test]
fn a_storage_class_has_a_plain_name_and_nothing_means_none() {
    let class = |value: &str| {
        let config = TopicConfig::new(set(&[(STORAGE_CLASS, value)]));
        config.map(|config| config.storage_class().map(ToOwned::to_owned))
    };
    assert_eq!(TopicConfig::default().storage_class(), None);
    assert_eq!(class(""), Ok(None));
    assert_eq!(class("fast-1"), Ok(Some("fast-1".to_owned())));
    for wrong in ["Fast", "a b", "a/b", "a.b", "\u{e4}", &"x".repeat(33)] {
        assert!(class(wrong).is_err(), "{wrong}");
    }
}
