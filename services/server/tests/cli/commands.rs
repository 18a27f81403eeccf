//! Topics and records through the command line.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Server, failed, text, tidelog};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The segment that was written last, by its name relative to the bucket.
fn newest_segment(folder: &std::path::Path) -> String {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.components().any(|part| part.as_os_str() == "seg") {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort_by_key(|name| name.rsplit('/').next().map(str::to_owned));
    found.pop().unwrap()
}

#[test]
fn a_topic_lives_from_its_creation_to_its_undeletion() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &home.path().join("data"));
    let ok = |args: &[&str]| server.ok(home.path(), args);
    let fails = |args: &[&str], code| failed(&server.run(home.path(), args), code);

    ok(&[
        "topic",
        "create",
        "orders",
        "-p",
        "3",
        "-c",
        "retention.ms=1000",
    ]);
    assert!(fails(&["topic", "create", "orders"], 1).contains("exists"));
    ok(&["topic", "create", "orders", "--if-not-exists"]);
    assert!(fails(&["topic", "create", "no/name"], 2).contains("topic name"));
    let topic = json(&ok(&["topic", "describe", "orders", "-o", "json"]));
    assert_eq!(topic["partitions"], 3);
    assert_eq!(topic["config"]["retention.ms"]["value"], "1000");
    ok(&[
        "topic",
        "alter",
        "orders",
        "--unset",
        "retention.ms",
        "--set",
        "max.message.bytes=2000",
    ]);
    let topic = json(&ok(&["topic", "describe", "orders", "-o", "json"]));
    assert_eq!(topic["config"]["retention.ms"]["default"], true);
    ok(&["topic", "add-partitions", "orders", "5"]);
    ok(&["topic", "delete", "orders"]);
    assert_eq!(json(&ok(&["topic", "list", "-o", "json"])), json("[]"));
    assert!(ok(&["topic", "list", "--deleted"]).contains("orders"));
    assert!(fails(&["topic", "describe", "orders"], 8).contains("`orders`"));
    ok(&["topic", "undelete", "orders"]);
    assert_eq!(
        json(&ok(&["topic", "describe", "orders", "-o", "json"]))["partitions"],
        5
    );
}

#[test]
fn records_come_back_as_they_were_sent_in_the_order_of_their_keys() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &home.path().join("data"));
    let ok = |args: &[&str]| server.ok(home.path(), args);
    ok(&["topic", "create", "orders", "-p", "4"]);
    let rows: Vec<String> = (0..500).map(|n| format!("k{},v{n}\n", n % 7)).collect();
    let args = [
        "produce", "orders", "--format", "csv", "--key", "key", "--value", "value",
    ];
    let args = [&args[..], &["-c", "zstd", "-H", "from=test"]].concat();
    let output = server.feed(home.path(), &args, &format!("key,value\n{}", rows.concat()));
    assert!(output.status.success(), "{}", text(&output.stderr));

    let consumed = ok(&[
        "consume",
        "orders",
        "-f",
        "earliest",
        "--until-end",
        "-o",
        "json",
    ]);
    let records: Vec<Value> = consumed.lines().map(json).collect();
    assert_eq!(records.len(), 500);
    for key in 0..7 {
        let key = format!("k{key}");
        let of_key: Vec<&Value> = records
            .iter()
            .filter(|record| record["key"] == *key)
            .collect();
        let numbers: Vec<u32> = of_key
            .iter()
            .map(|r| r["value"].as_str().unwrap()[1..].parse().unwrap())
            .collect();
        assert!(
            numbers.is_sorted() && numbers.len() >= 71,
            "{key}: {numbers:?}"
        );
        assert!(
            of_key
                .iter()
                .all(|r| r["partition"] == of_key[0]["partition"])
        );
        assert_eq!(of_key[0]["headers"][0]["value"], "test");
    }
    let offsets = json(&ok(&["offsets", "orders", "-o", "json", "--at", "-1h"]));
    let total: u64 = offsets
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["records"].as_u64().unwrap())
        .sum();
    assert_eq!(total, 500);

    let count = ok(&["consume", "orders", "-f", "earliest", "-c", "3"]);
    assert_eq!(count.lines().count(), 3);
    let args = ["delete-records", "orders", "--before", "latest"];
    assert!(failed(&server.run(home.path(), &args), 2).contains("--yes"));
    ok(&["delete-records", "orders", "--before", "latest", "--yes"]);
    assert_eq!(
        ok(&["consume", "orders", "-f", "earliest", "--until-end"]),
        ""
    );
    let args = ["consume", "orders", "-f", "9999", "-p", "0", "-c", "1"];
    assert!(failed(&server.run(home.path(), &args), 8).contains("9999"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &home.path().join("data"));
    server.ok(home.path(), &["topic", "create", "lines"]);
    let input = "a line of text that fills a pipe\n".repeat(20_000);
    assert!(
        server
            .feed(home.path(), &["produce", "lines"], &input)
            .status
            .success()
    );
    let mut child = tidelog(home.path())
        .args([
            "--address",
            &server.grpc,
            "consume",
            "lines",
            "-f",
            "earliest",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_segment_shows_what_it_holds_and_damage_is_found() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    let server = Server::start(home.path(), &folder);
    server.ok(home.path(), &["topic", "create", "lines"]);
    assert!(
        server
            .feed(home.path(), &["produce", "lines"], "one\ntwo\n")
            .status
            .success()
    );
    let object = newest_segment(&folder);
    let inspect = |args: &[&str]| {
        let args = [&["segment", "inspect", "-o", "json", "--batches"], args].concat();
        tidelog(home.path()).args(args).output().unwrap()
    };
    let output = inspect(&["--data", &folder.display().to_string(), &object]);
    let shown = json(&text(&output.stdout));
    assert_eq!(shown["slices"][0]["records"], 2);
    assert_eq!(shown["slices"][0]["batches"][0]["crc_ok"], true);

    let copy = home.path().join("damaged");
    let mut bytes = std::fs::read(folder.join(&object)).unwrap();
    let position = shown["slices"][0]["position"].as_u64().unwrap();
    bytes[usize::try_from(position).unwrap() + 70] ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    let refused = |object: &str| {
        let args = ["segment", "inspect", object];
        tidelog(home.path()).args(args).output().unwrap()
    };
    let error = failed(&refused(&copy.display().to_string()), 1);
    assert!(error.contains("damaged"), "{error}");
    assert!(failed(&refused("no-such-object"), 8).contains("no-such-object"));
    // For programs an error is JSON like everything else.
    let error = json(&text(&inspect(&["no-such-object"]).stderr));
    assert!(error.to_string().contains("no-such-object"), "{error}");
}

#[test]
fn the_load_generator_reports_what_it_did() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &home.path().join("data"));
    let ok = |args: &[&str]| json(&server.ok(home.path(), args));
    let load = [
        "-o",
        "json",
        "--records",
        "300",
        "--size",
        "100",
        "--partitions",
        "2",
        "--keep",
    ];
    let report = ok(&[&["bench", "produce", "--producers", "2"], &load[..]].concat());
    assert_eq!(
        (&report["records"], &report["bytes"]),
        (&300.into(), &30_000.into())
    );
    let report = ok(&[&["bench", "e2e", "--rate", "1000"], &load[..]].concat());
    assert_eq!(report["latency_ms"]["measured"], 300);
    let report = ok(&[
        "bench",
        "consume",
        "-o",
        "json",
        "--consumers",
        "2",
        "--decode",
    ]);
    assert_eq!(report["records"], 600);
}
