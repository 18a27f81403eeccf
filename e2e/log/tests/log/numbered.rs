//! A topic whose records say where they are: whoever reads it sees whether each is there once, in its place and as it was
//! sent.

use anyhow::{Result, ensure};
use tidelog_client::{Client, ConsumerOptions, v1};

use crate::support::{base, records};

/// The topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    pub(crate) topic: &'static str,
    pub(crate) partitions: u32,
    /// About how many bytes the record with a number has.
    pub(crate) value_bytes: fn(u64) -> usize,
}

impl Numbered {
    /// Creates the topic; its records stay for ever.
    pub(crate) async fn create(&self, client: &Client, config: &[(&str, &str)]) -> Result<()> {
        let config = config.iter().copied().chain([("retention.ms", "-1")]);
        let admin = client.admin();
        admin
            .create_topic(self.topic, self.partitions, config)
            .await?;
        Ok(())
    }

    fn value(&self, partition: u32, number: u64) -> String {
        let text = format!("{partition}/{number}:");
        text.repeat((self.value_bytes)(number) / text.len() + 1)
    }

    /// Appends a record to each partition, which is the one of that number there.
    pub(crate) async fn append(&self, client: &Client, number: u64) -> Result<()> {
        let entries = (0..self.partitions).map(|partition| {
            let value = self.value(partition, number);
            records(self.topic, partition, [value])
        });
        for result in client.log().produce(entries.collect()).await? {
            let at = base(&[result])?;
            ensure!(at == number, "appended at {at}, not at {number}");
        }
        Ok(())
    }

    /// Deletes all records of a partition before a number.
    pub(crate) async fn delete(&self, client: &Client, partition: u32, before: u64) -> Result<()> {
        let deleted = v1::DeleteRecordsPartition {
            topic: self.topic.to_owned(),
            partition,
            before_offset: Some(before),
        };
        client.log().delete_records(vec![deleted]).await?;
        Ok(())
    }

    /// Reads everything: each partition has so many records.
    pub(crate) async fn read(&self, client: &Client, end: u64) -> Result<()> {
        self.read_kept(client, end, |_| true).await
    }

    /// Reads everything: some partitions have so many records, without a gap and of the bytes that were sent, and the others
    /// have none.
    pub(crate) async fn read_kept(
        &self,
        client: &Client,
        end: u64,
        is_kept: impl Fn(u32) -> bool,
    ) -> Result<()> {
        let mut consumer = client.consumer(self.topic, ConsumerOptions::all_until_end());
        let mut next = vec![0; self.partitions as usize];
        while let Some(chunk) = consumer.next().await? {
            let partition = chunk.partition;
            let next = &mut next[partition as usize];
            for record in chunk.records() {
                let record = record?;
                let at = record.offset.get();
                ensure!(
                    at == *next,
                    "offset {at} of {partition} where {next} was to come"
                );
                let expected = self.value(partition, at);
                let is_it = record.value.as_deref() == Some(expected.as_bytes());
                ensure!(is_it, "other bytes at {at} of {partition}");
                *next += 1;
            }
        }
        let ends = (0..self.partitions).map(|at| if is_kept(at) { end } else { 0 });
        ensure!(
            ends.eq(next.iter().copied()),
            "read up to {next:?} of {end}"
        );
        Ok(())
    }
}
