//! Counters as processes show them, and as nobody should.

use proptest::prelude::*;

use super::*;

/// Some lines of a process.
fn page(puts: &str) -> String {
    format!(
        "# HELP tidelog_blob_requests Requests.\n# TYPE tidelog_blob_requests counter\n\
         tidelog_blob_requests_total{{operation=\"put\",role=\"broker\",purpose=\"segment\"}} {puts}\n\
         tidelog_blob_requests_total{{operation=\"delete\",role=\"janitor\",purpose=\"segment\"}} 7\n\
         tidelog_blob_requests_total{{operation=\"get_range\",role=\"broker\",purpose=\"segment\"}} 40\n\
         tidelog_blob_sent_bytes_total{{operation=\"put\",role=\"broker\",purpose=\"segment\"}} 1000\n\
         tidelog_blob_received_bytes_total{{operation=\"get_range\",role=\"broker\",purpose=\"segment\"}} 300\n\
         tidelog_append_appended_bytes_total 900\ntidelog_append_batches_total 9\n\
         tidelog_fetch_fetched_bytes_total 2700\nprocess_start_time_seconds 1700000000.5\n\
         something_else NaN\n# EOF\n"
    )
}

fn counters(puts: &str) -> Result<Counters, CountersError> {
    Counters::parse(&page(puts))
}

#[test]
fn what_a_process_shows_is_read_by_kind() {
    let read = counters("100").unwrap();
    let uses = read.per_second(10.0).unwrap().uses("counted");
    let kinds: Vec<(Kind, &str)> = uses
        .iter()
        .map(|used| (used.kind, used.what.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (Kind::Delete, "delete segment, janitor"),
            (Kind::ClassB, "get_range segment, broker"),
            (Kind::ClassA, "put segment, broker"),
        ]
    );
    assert!((uses[2].quantity - 26_280_000.0).abs() < 1e-6);
    assert_eq!(uses[2].from, "10.000/s counted");
    assert_eq!(read.moved(), (1000.0, 300.0));
    assert_eq!(
        (read.appended(), read.batches(), read.fetched()),
        (900.0, 9.0, 2700.0)
    );
    assert_eq!(read.started(), Some(1_700_000_000.5));
}

#[test]
fn an_interval_is_the_difference_and_several_processes_are_the_sum() {
    let (before, now) = (counters("100").unwrap(), counters("130").unwrap());
    let between = now.since(&before).unwrap();
    let puts = |counters: &Counters| {
        let uses = counters.uses("");
        uses.iter()
            .find(|used| used.what.starts_with("put"))
            .map(|used| used.quantity)
    };
    assert_eq!(puts(&between), puts(&counters("30").unwrap()));
    assert_eq!(
        puts(&between.clone().plus(&between)),
        puts(&counters("60").unwrap())
    );
    let same = now.since(&now).unwrap();
    assert_eq!(same.uses(""), [], "what nobody asked is no line");
}

#[test]
fn a_process_that_was_started_anew_is_told() {
    let (before, now) = (counters("100").unwrap(), counters("99").unwrap());
    let error = now.since(&before).unwrap_err();
    assert!(error.to_string().contains("started anew"), "{error}");
    let one = "tidelog_blob_requests_total{operation=\"put\"} 1000\n";
    let error = Counters::parse(one).unwrap().since(&before).unwrap_err();
    assert!(matches!(error, CountersError::Restarted(_)));
}

#[test]
fn counts_that_cannot_be_and_other_pages_are_refused() {
    for wrong in ["NaN", "-1", "+Inf", "-Inf", "1e30"] {
        let error = counters(wrong).unwrap_err();
        assert!(
            matches!(error, CountersError::Count { line: 3, .. }),
            "{wrong}: {error}"
        );
    }
    for wrong in ["", "many", "{}"] {
        let error = counters(wrong).unwrap_err();
        assert!(
            matches!(error, CountersError::Line { line: 3, .. }),
            "{wrong}: {error}"
        );
    }
    assert_eq!(Counters::parse("up 1\n"), Err(CountersError::Foreign));
    assert_eq!(Counters::parse(""), Err(CountersError::Foreign));
    let long = " ".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(Counters::parse(&long), Err(CountersError::TooLong));
}

#[test]
fn an_operation_of_another_version_costs_as_much_as_any() {
    let read = Counters::parse("tidelog_blob_requests_total{operation=\"append\"} 5\n").unwrap();
    assert_eq!(read.uses("")[0].kind, Kind::ClassA);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(tidelog_blob_requests_total)?[{}=\", a\\\\\n0-9.#-]{0,60}") {
        let _ = Counters::parse(&text);
    }
}
