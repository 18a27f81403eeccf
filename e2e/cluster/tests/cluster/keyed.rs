//! A compacted topic in a history: each record that is read is one that was produced, and the last of each key is there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ConsumerOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::until;

const TOPIC: &str = "keyed";
const PARTITIONS: u32 = 4;
const RECORDS: u64 = 600;
const KEYS: u64 = 20;
const VALUE_BYTES: usize = 4_000;
/// Records that are on their way at a time, of each partition.
const AT_ONCE: u64 = 10;
/// What is not merged is not compacted, and one segment alone is not merged.
const SURPLUS_MAX: u64 = 2 * AT_ONCE * PARTITIONS as u64;

fn key(partition: u32, offset: u64) -> String {
    format!("{}/{partition}", offset * 7 % KEYS)
}

fn value(partition: u32, offset: u64) -> Vec<u8> {
    let text = format!("{partition}/{offset}:");
    text.repeat(VALUE_BYTES / text.len() + 1).into_bytes()
}

/// Creates the topic and writes all of it, each record at the offset that it must get.
pub(crate) async fn write(client: &Client, class: Option<&str>) -> Result<()> {
    let config = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let class = class.map(|class| ("tidelog.storage.class", class));
    let config = config.into_iter().chain(class);
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let mut number = 0;
    while number < RECORDS {
        let some = number..RECORDS.min(number + AT_ONCE);
        let mut sent = Vec::new();
        for number in some.clone() {
            for partition in 0..PARTITIONS {
                let (key, value) = (key(partition, number), value(partition, number));
                let record = SendRecord {
                    partition: Some(partition),
                    ..SendRecord::keyed(key.as_bytes(), &value)
                };
                sent.push((number, producer.send(record).await?));
            }
        }
        for (number, sent) in sent {
            let at = sent.wait().await?.offset;
            ensure!(at == number, "record {number} was appended at {at}");
        }
        number = some.end;
    }
    Ok(())
}

/// Reads everything; answers how many records have a later one of their key.
async fn read(client: &Client) -> Result<u64> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut found = BTreeMap::new();
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            let expected = key(partition, at);
            ensure!(
                record.key.as_deref() == Some(expected.as_bytes()),
                "another key at {at} of {partition}"
            );
            let is_it = record.value.as_deref() == Some(value(partition, at).as_slice());
            ensure!(is_it, "another value at {at} of {partition}");
            let before = found.insert((partition, at), expected);
            ensure!(before.is_none(), "{at} of {partition} comes twice");
        }
    }
    let mut last = 0;
    for partition in 0..PARTITIONS {
        for at in RECORDS - KEYS..RECORDS {
            let is_there = found.contains_key(&(partition, at));
            ensure!(is_there, "{at} of {partition} is gone");
            last += 1;
        }
    }
    Ok(found.len() as u64 - last)
}

/// Waits until nearly nothing is left that a later record supersedes, and sees that nothing else has gone.
pub(crate) async fn compacted(client: &Client, limit: Duration) -> Result<()> {
    read(client).await?;
    let surplus = until("keys are compacted", limit, async || {
        let surplus = read(client).await.ok()?;
        (surplus <= SURPLUS_MAX).then_some(surplus)
    })
    .await?;
    println!(
        "{surplus} records that may go are left of {}",
        RECORDS * u64::from(PARTITIONS)
    );
    read(client).await.map(drop)
}
