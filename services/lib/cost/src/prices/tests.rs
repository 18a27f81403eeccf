//! Price lists: the built-in ones, and what users may say.

use super::*;

fn with(file: &str) -> Result<PriceList, PriceError> {
    PriceList::load("s3", Some(file), &[])
}

fn set_to(key: &str, value: &str) -> Result<PriceList, PriceError> {
    PriceList::load("s3", None, &[(key.to_owned(), value.to_owned())])
}

#[test]
fn every_built_in_list_is_whole_dated_and_names_its_sources() {
    for (name, _) in BUILT_IN {
        let list = PriceList::load(name, None, &[]).unwrap();
        assert_eq!(list.name, name);
        assert!(list.date.starts_with("20"), "{name}");
        assert!(
            !list.sources.is_empty() && !list.region.is_empty(),
            "{name}"
        );
    }
    let error = PriceList::load("gcs", None, &[]).unwrap_err();
    assert!(error.to_string().contains("`s3-express`"), "{error}");
}

#[test]
fn a_file_says_only_what_is_different() {
    let list = with("name = \"ours\"\n[object_store]\nstorage = 0.5\n").unwrap();
    assert_eq!(
        (list.name.as_str(), list.price(Kind::Stored)),
        ("ours", 0.5)
    );
    let s3 = PriceList::load("s3", None, &[]).unwrap();
    assert!((list.price(Kind::ClassA) - s3.price(Kind::ClassA)).abs() < f64::EPSILON);
}

#[test]
fn a_setting_wins_over_the_file() {
    let settings = [
        ("network.cross_zone_per_gib".to_owned(), "0".to_owned()),
        ("kafka.follower_fetch".to_owned(), "true".to_owned()),
        ("kafka.machine_per_hour".to_owned(), "1.5".to_owned()),
    ];
    let file = "[network]\ncross_zone_per_gib = 7.0\n";
    let list = PriceList::load("s3", Some(file), &settings).unwrap();
    assert!(list.price(Kind::CrossZone).abs() < f64::EPSILON);
    assert!(list.kafka.follower_fetch);
    assert!((list.price(Kind::KafkaMachine) - 1.5).abs() < f64::EPSILON);
}

#[test]
fn unknown_keys_are_refused_in_files_and_settings() {
    for file in [
        "colour = 1",
        "[object_store]\nclass_c = 1.0",
        "[moon]\nx = 1",
    ] {
        let error = with(file).unwrap_err();
        assert!(
            matches!(error, PriceError::Form(_)),
            "`{file}` said {error}"
        );
    }
    for key in [
        "object_store.class_c",
        "moon.x",
        "colour",
        "",
        ".",
        "object_store.",
    ] {
        let error = set_to(key, "1").unwrap_err();
        assert!(
            matches!(error, PriceError::Setting(_)),
            "`{key}` said {error}"
        );
    }
}

#[test]
fn numbers_that_are_no_prices_are_refused_wherever_they_stand() {
    let keys = [
        "object_store.class_a_per_1000",
        "object_store.class_b_per_1000",
        "object_store.delete_per_1000",
        "object_store.upload_per_gib",
        "object_store.download_per_gib",
        "object_store.storage",
        "object_store.storage_factor",
        "object_store.cross_zone_written",
        "object_store.cross_zone_read",
        "object_store.put_latency_ms",
        "object_store.small_put_latency_ms",
        "network.cross_zone_per_gib",
        "machine.per_hour",
        "disk.per_gib_month",
        "disk.throughput_free_mib",
        "disk.throughput_per_mib_month",
        "kafka.disk_fill",
        "kafka.machine_per_hour",
    ];
    for key in keys {
        for value in ["nan", "inf", "-inf", "-1", "1e300"] {
            let error = set_to(key, value).unwrap_err();
            assert!(
                matches!(error, PriceError::Number(_)),
                "{key}={value}: {error}"
            );
        }
    }
    for (key, value) in [
        ("kafka.replicas", "0"),
        ("kafka.replicas", "101"),
        ("kafka.disk_fill", "0"),
        ("object_store.storage_factor", "0.5"),
        ("object_store.put_latency_ms", "0"),
    ] {
        assert!(set_to(key, value).is_err(), "{key}={value}");
    }
    for (key, value) in [
        ("kafka.replicas", "-1"),
        ("kafka.replicas", "2.5"),
        ("kafka", "3"),
    ] {
        assert!(
            matches!(set_to(key, value), Err(PriceError::Form(_))),
            "{key}={value}"
        );
    }
}

#[test]
fn steps_of_storage_go_up_and_end_with_the_rest() {
    let steps = |text: &str| with(&format!("[object_store]\nstorage = [{text}]"));
    let fine = "{ up_to_gib = 1, per_gib_month = 2 }, { per_gib_month = 1 }";
    assert_eq!(steps(fine).unwrap().steps().len(), 2);
    for wrong in [
        "",
        "{ up_to_gib = 1, per_gib_month = 2 }",
        "{ per_gib_month = 2 }, { per_gib_month = 1 }",
        "{ up_to_gib = 5, per_gib_month = 2 }, { up_to_gib = 5, per_gib_month = 2 }, { per_gib_month = 1 }",
        "{ up_to_gib = -1, per_gib_month = 2 }, { per_gib_month = 1 }",
        "{ up_to_gib = nan, per_gib_month = 2 }, { per_gib_month = 1 }",
        "{ per_gib_month = -2 }",
        "{ per_gib_month = 2, of = 3 }",
        "3",
    ] {
        assert!(steps(wrong).is_err(), "{wrong}");
    }
    let many = "{ up_to_gib = 1, per_gib_month = 2 },".repeat(STEPS_MAX + 1);
    assert!(steps(&many).is_err());
}

#[test]
fn text_that_is_no_list_is_refused() {
    for text in [
        "=",
        "[object_store",
        "\u{0}",
        "object_store = 3",
        "sources = \"x\"",
    ] {
        assert!(matches!(with(text), Err(PriceError::Form(_))), "{text}");
    }
    assert_eq!(
        with(&"#".repeat(TEXT_BYTES_MAX + 1)),
        Err(PriceError::TooLong)
    );
}
