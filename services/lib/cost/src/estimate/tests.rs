//! Whole bills, against numbers that were worked out by hand.

use proptest::prelude::*;

use super::*;
use crate::load::Metadata;
use crate::load::tests::load;

fn s3() -> PriceList {
    PriceList::load("s3", None, &[]).unwrap()
}

fn amount(bill: &Bill, what: &str) -> f64 {
    let mut lines = bill.lines.iter();
    let line = lines.find(|line| line.what == what);
    line.unwrap_or_else(|| panic!("no `{what}` in {bill:#?}"))
        .amount
}

#[test]
fn the_bill_of_a_described_load_is_as_it_was_worked_out() {
    let golden = include_str!("golden/load-s3.txt");
    let text = Estimate::of_load(&load(), &s3()).unwrap().render();
    assert_eq!(text, golden, "{text}");
}

#[test]
fn amounts_are_what_one_gets_with_pencil_and_paper() {
    let estimate = Estimate::of_load(&load(), &s3()).unwrap();
    let near = |found: f64, expected: f64| {
        assert!(
            (found - expected).abs() < expected * 1e-3 + 1e-9,
            "{found} is not {expected}"
        );
    };
    // Three brokers, each at 50 / 3 = 16.7 MiB/s: 2.08 segments by size and 2 early ones a second. In a month
    // 3 * 4.0833 * 2,628,000 = 32.2 million puts.
    near(amount(&estimate.tidelog, "segments put"), 32.193 * 5.0);
    // 50 MiB/s * 604,800 s = 29,531 GiB, and 32.2 GiB that lie there twice.
    near(amount(&estimate.tidelog, "storage"), 29_563.5 * 0.023);
    // 50 MiB/s are 128,320 GiB a month: to two followers each.
    near(
        amount(&estimate.kafka, "replication across zones"),
        128_320.3 * 2.0 * 0.02,
    );
    near(
        amount(&estimate.kafka, "produce across zones"),
        128_320.3 * 2.0 / 3.0 * 0.02,
    );
    // 160 MiB/s are read.
    near(
        amount(&estimate.kafka, "consume across zones"),
        410_625.0 * 2.0 / 3.0 * 0.02,
    );
    near(
        amount(&estimate.kafka, "disks"),
        29_531.25 * 3.0 / 0.7 * 0.08,
    );
    near(amount(&estimate.kafka, "brokers"), 6.0 * 730.0 * 0.1632);
    for bill in [&estimate.tidelog, &estimate.kafka] {
        let sum: f64 = bill.lines.iter().map(|line| line.amount).sum();
        near(bill.total, sum);
    }
}

#[test]
fn requests_of_minio_are_free_and_its_disks_and_machines_are_not() {
    let minio = PriceList::load("minio", None, &[]).unwrap();
    let estimate = Estimate::of_load(&load(), &minio).unwrap();
    for line in &estimate.tidelog.lines {
        assert!(line.unit != "requests" || line.amount == 0.0, "{line:?}");
    }
    assert!(amount(&estimate.tidelog, "storage") > 0.0);
    assert!(amount(&estimate.tidelog, "the object store") > 0.0);
    assert!(amount(&estimate.tidelog, "object store across zones") > 0.0);
}

#[test]
fn express_takes_money_for_bytes() {
    let express = PriceList::load("s3-express", None, &[]).unwrap();
    let estimate = Estimate::of_load(&load(), &express).unwrap();
    assert!(amount(&estimate.tidelog, "sent to the object store") > 0.0);
    assert!(amount(&estimate.tidelog, "got from the object store") > 0.0);
}

#[test]
fn what_was_counted_makes_the_same_bill_as_a_load_of_its_rates() {
    let counted = crate::Counters::parse(
        "tidelog_blob_requests_total{operation=\"put\",role=\"broker\",purpose=\"segment\"} 7200\n\
         tidelog_blob_requests_total{operation=\"put\",role=\"store\",purpose=\"store_log\"} 3600\n\
         tidelog_blob_requests_total{operation=\"get\",role=\"broker\",purpose=\"segment\"} 36000\n\
         tidelog_blob_requests_total{operation=\"delete\",role=\"janitor\",purpose=\"segment\"} 900\n\
         tidelog_blob_sent_bytes_total{operation=\"put\",role=\"broker\",purpose=\"segment\"} 3.78e10\n\
         tidelog_append_appended_bytes_total 37748736000\ntidelog_append_batches_total 2304000\n\
         tidelog_fetch_fetched_bytes_total 113246208000\n",
    )
    .unwrap();
    let storage = Storage::Retention(86_400.0);
    let rates = counted.per_second(3_600.0).unwrap();
    let how = "counted in 3600 s";
    let estimate = Estimate::of_counters(&rates, how, storage, &load(), &s3()).unwrap();
    let golden = include_str!("golden/counted-s3.txt");
    let text = estimate.render();
    assert_eq!(text, golden, "{text}");
    let given = Storage::Bytes(GIB * 100.0);
    let estimate = Estimate::of_counters(&rates, how, given, &load(), &s3()).unwrap();
    assert!((amount(&estimate.tidelog, "storage") - 2.3).abs() < 1e-9);
    assert!((amount(&estimate.kafka, "disks") - 100.0 * 3.0 / 0.7 * 0.08).abs() < 1e-9);
}

#[test]
fn intervals_and_stores_that_cannot_be_are_refused() {
    let one = crate::Counters::parse("tidelog_blob_requests_total{operation=\"put\"} 1\n").unwrap();
    for wrong in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        assert!(one.per_second(wrong).is_err(), "{wrong}");
    }
    let bill = |storage| Estimate::of_counters(&one, "counted", storage, &load(), &s3());
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(bill(Storage::Retention(wrong)).is_err(), "{wrong}");
        assert!(bill(Storage::Bytes(wrong)).is_err(), "{wrong}");
    }
    let nothing = bill(Storage::Retention(1.0)).unwrap();
    assert!(nothing.tidelog.total.is_finite());
}

#[test]
fn metadata_on_foundationdb_needs_machines_and_no_requests() {
    let mut other = load();
    other.metadata = Metadata::FoundationDb(3);
    let estimate = Estimate::of_load(&other, &s3()).unwrap();
    assert!((amount(&estimate.tidelog, "FoundationDB") - 3.0 * 730.0 * 0.1632).abs() < 1e-9);
    assert!(
        estimate
            .tidelog
            .lines
            .iter()
            .all(|line| line.what != "store written")
    );
}

proptest! {
    #[test]
    fn every_load_within_the_limits_has_a_bill_that_is_a_number(
        write_rate in 0.0..1e12f64, fan_out in 0.0..1e4f64, catch_up_rate in 0.0..1e12f64,
        retention in 0.0..3e9f64, batch_bytes in 61.0..6e7f64, linger in 0.0..3_600.0f64,
        zones in 1u32..100, brokers in 1u32..10_000, readers in 0u32..1_000, shards in 1u32..1_000,
        segment_bytes in 1024.0..6e7f64, flush_rate in 0.0..1e6f64, list in 0usize..3,
    ) {
        let load = Load {
            write_rate, fan_out, catch_up_rate, retention, batch_bytes, zones, brokers, readers, shards, linger,
            segment_bytes, flush_rate, ..load()
        };
        let prices = PriceList::load(["s3", "s3-express", "minio"][list], None, &[]).unwrap();
        let estimate = Estimate::of_load(&load, &prices).unwrap();
        for bill in [&estimate.tidelog, &estimate.kafka] {
            for line in &bill.lines {
                prop_assert!(line.quantity.is_finite() && line.quantity >= 0.0, "{line:?}");
                prop_assert!(line.amount.is_finite() && line.amount >= 0.0, "{line:?}");
            }
            prop_assert!(bill.total.is_finite());
        }
    }
}
