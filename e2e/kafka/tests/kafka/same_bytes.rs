//! Both front ends hand out the same bytes: nothing is decoded on the way.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use tidelog_client::v1;
use tidelog_client::v1::partition_data::Data;
use tidelog_kafka_codec::messages::FetchRequest;
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};
use tidelog_kafka_codec::{Budget, Caller, read_response, request_frame, response_length};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{World, lines};

/// The batches of partition 0 of `t` as Kafka's protocol hands them out.
async fn through_kafka(world: &World) -> Result<Bytes> {
    let request = FetchRequest {
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 64 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let caller = Caller {
        correlation_id: 1,
        client_id: None,
    };
    let mut stream = TcpStream::connect(world.server.kafka()).await?;
    let frame = request_frame(&request, 12, caller)?.into_bytes();
    stream.write_all(&frame).await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut frame = BytesMut::zeroed(response_length(prefix, 128 << 20)?);
    stream.read_exact(&mut frame).await?;
    let budget = &mut Budget::bytes(1 << 20);
    let (_, response) = read_response::<<FetchRequest as tidelog_kafka_codec::Request>::Response>(
        frame.freeze(),
        12,
        budget,
    )?;
    let partition = &response.responses[0].partitions[0];
    ensure!(partition.error_code == 0, "{partition:?}");
    Ok(partition.records.as_ref().context("records")?.to_bytes())
}

/// The same as gRPC hands them out.
async fn through_grpc(world: &World) -> Result<Bytes> {
    let data = world.fetch(0, 0, v1::RecordFormat::Batches).await?;
    match data.data {
        Some(Data::Batches(batches)) => Ok(batches),
        other => anyhow::bail!("no batches: {other:?}"),
    }
}

#[tokio::test]
async fn batches_are_the_same_bytes_through_both_front_ends() -> Result<()> {
    let world = World::new(1).await?;
    let lines = lines(3_000);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let arguments = ["-P", "-t", "t", "-p", "0", "-z", codec];
        world.kcat(&arguments, lines.as_bytes()).await?;
    }
    let (kafka, grpc) = (through_kafka(&world).await?, through_grpc(&world).await?);
    ensure!(kafka.len() > 50_000, "{} bytes", kafka.len());
    ensure!(kafka == grpc, "{} and {} bytes", kafka.len(), grpc.len());
    // What one front end hands out the other takes as it is, and hands out again.
    let other = World::new(1).await?;
    let entry = v1::ProduceEntry {
        topic: "t".to_owned(),
        partition: Some(0),
        data: Some(v1::produce_entry::Data::Batches(kafka.clone())),
        ..v1::ProduceEntry::default()
    };
    let results = other.server.client()?.log().produce(vec![entry]).await?;
    ensure!(results.len() == 1);
    ensure!(through_kafka(&other).await? == kafka);
    Ok(())
}
