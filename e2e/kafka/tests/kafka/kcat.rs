//! kcat, and with it librdkafka.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use tidelog_client::v1;

use crate::support::{World, text};

const RECORDS: usize = 5_000;

/// Lines of keys and values.
fn lines() -> String {
    (0..RECORDS).fold(String::new(), |mut lines, number| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            lines,
            "key {number}:value {number} {}",
            "x".repeat(number % 50)
        );
        lines
    })
}

#[tokio::test]
async fn what_kcat_produces_grpc_reads_with_every_compression() -> Result<()> {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for idempotence in ["false", "true"] {
            let world = World::new(1).await?;
            let idempotence = format!("enable.idempotence={idempotence}");
            let arguments = [
                "-P",
                "-t",
                "t",
                "-p",
                "0",
                "-K",
                ":",
                "-z",
                codec,
                "-X",
                &idempotence,
                "-H",
                "from=kcat",
            ];
            world.kcat(&arguments, lines().as_bytes()).await?;
            let records = world.records(0).await?;
            let read = records.iter().map(|record| {
                let (key, value) = (text(record.key.as_ref()), text(record.value.as_ref()));
                format!("{key}:{value}\n")
            });
            ensure!(read.collect::<String>() == lines(), "{codec} {idempotence}");
            let header = &records[RECORDS / 2].headers[0];
            ensure!(header.key == "from" && text(header.value.as_ref()) == "kcat");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_grpc_produces_kcat_reads_from_any_offset() -> Result<()> {
    let world = World::new(2).await?;
    let records = (0_i64..).take(RECORDS).map(|number| v1::Record {
        key: Some(format!("key {number}").into()),
        value: Some(format!("value {number}").into()),
        timestamp_ms: Some(1_700_000_000_000 + number),
        ..v1::Record::default()
    });
    let records: Vec<v1::Record> = records.collect();
    for some in records.chunks(700) {
        let entry = v1::ProduceEntry {
            topic: "t".to_owned(),
            partition: Some(1),
            data: Some(v1::produce_entry::Data::Records(v1::Records {
                records: some.to_vec(),
            })),
            compression: v1::Compression::Zstd.into(),
            ..v1::ProduceEntry::default()
        };
        let results = world.server.client()?.log().produce(vec![entry]).await?;
        ensure!(results.len() == 1);
    }
    for (from, first) in [
        ("beginning", 0),
        ("1234", 1_234),
        ("-1", RECORDS - 1),
        ("s@1700000000321", 321),
    ] {
        let format = "%p %o %T %k %s\n";
        let arguments = ["-C", "-t", "t", "-p", "1", "-o", from, "-e", "-f", format];
        let read = world.kcat(&arguments, &[]).await?.text();
        let expected = (first..RECORDS).fold(String::new(), |mut lines, number| {
            let time = 1_700_000_000_000 + number;
            let _ = writeln!(lines, "1 {number} {time} key {number} value {number}");
            lines
        });
        ensure!(read == expected, "from {from}");
    }
    Ok(())
}

#[tokio::test]
async fn kcat_lists_brokers_topics_and_partitions() -> Result<()> {
    let world = World::new(3).await?;
    let listed = world.kcat(&["-L"], &[]).await?.text();
    let address = world.address();
    ensure!(
        listed.contains(&format!(" at {address} (controller)")),
        "{listed}"
    );
    ensure!(listed.contains("topic \"t\" with 3 partitions"), "{listed}");
    let offsets = world.kcat(&["-Q", "-t", "t:0:-1"], &[]).await?.text();
    ensure!(offsets.contains("t [0] offset 0"), "{offsets}");
    Ok(())
}
