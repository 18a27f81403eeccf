//! Read your own writes across brokers.

use anyhow::{Context, Result, ensure};
use tidelog_client::v1;
use tidelog_client::v1::produce_entry::Data;
use tidelog_e2e_harness::Cluster;

use crate::support::{TOPIC, bucket, create_topic};

/// Writes, each read at once through another broker.
const ROUNDS: u64 = 50;

#[tokio::test]
async fn a_write_through_one_broker_is_read_through_another_with_its_token() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let cluster = Cluster::start(&options).await?;
    create_topic(&cluster.client()?, 1).await?;
    let clients = cluster
        .brokers
        .iter()
        .map(tidelog_e2e_harness::Server::client);
    let clients: Vec<_> = clients.collect::<Result<_>>()?;
    for round in 0..ROUNDS {
        let at = usize::try_from(round)?;
        let writer = &clients[at % clients.len()];
        let reader = &clients[(at + 1) % clients.len()];
        let value = format!("round {round}").into_bytes();
        let record = v1::Record {
            value: Some(value.clone().into()),
            ..v1::Record::default()
        };
        let entry = v1::ProduceEntry {
            topic: TOPIC.to_owned(),
            partition: Some(0),
            data: Some(Data::Records(v1::Records {
                records: vec![record],
            })),
            ..v1::ProduceEntry::default()
        };
        writer.log().produce(vec![entry]).await?;
        reader.take_read_token(writer.read_token());
        let request = v1::FetchRequest {
            partitions: vec![v1::FetchPartition {
                topic: TOPIC.to_owned(),
                partition: 0,
                offset: round,
                max_bytes: 0,
            }],
            ..v1::FetchRequest::default()
        };
        let data = reader.log().fetch(request).await?;
        let data = data.first().context("one partition")?;
        ensure!(
            data.high_watermark > round,
            "round {round}: the reader is behind"
        );
        let Some(v1::partition_data::Data::Records(records)) = &data.data else {
            anyhow::bail!("round {round}: no records");
        };
        let first = records.records.first().context("a record")?;
        ensure!(first.value.as_deref() == Some(&*value), "round {round}");
    }
    Ok(())
}
