//! The caching read tier: what it saves in two zones, and that clients see nothing of readers that die.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tidelog_client::{Client, ConsumerOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Bucket, Minio, Place, Server, ServerOptions, free_port, metric, until};

use crate::support::{PROGRESS_LIMIT, Scene, TOPIC, bucket, create_topic};

/// Partitions that are written and read.
const PARTITIONS: u32 = 2;
/// Records of a partition, and bytes of each: together some pages.
const RECORDS: u64 = 96;
const VALUE_BYTES: usize = 64 * 1024;

/// A process of a zone.
async fn process(place: &Place, roles: &str, zone: &str, metadata: &str) -> Result<Server> {
    let options = ServerOptions::at(place)
        .with("roles", roles)
        .with("cluster.zone", zone)
        .with("produce.segment_bytes", "2MiB")
        .with("cluster.metadata", metadata)
        // The machine may be busy: who is slow is another test's matter.
        .with("fetch.reader_patience", "30s");
    let options = if roles == "reader" {
        options.with("listen.internal", &free_port()?.to_string())
    } else {
        options
    };
    Server::start(options).await
}

/// Two readers and two brokers.
struct Zone {
    readers: Vec<Server>,
    brokers: Vec<Server>,
}

impl Zone {
    async fn start(place: &Place, zone: &str, metadata: &str) -> Result<Self> {
        let of = |roles: &'static str| {
            try_join_all((0..2).map(move |_| process(place, roles, zone, metadata)))
        };
        let readers = of("reader").await?;
        let brokers = of("broker").await?;
        let zone = Self { readers, brokers };
        until("brokers know their readers", PROGRESS_LIMIT, async || {
            let known = sum(&zone.brokers, "tidelog_read_tier_readers", &[]);
            (known.await.ok()? == 4).then_some(())
        })
        .await?;
        Ok(zone)
    }

    /// Requests to the bucket for pages.
    async fn gets(&self) -> Result<u64> {
        let brokers = sum(&self.brokers, "tidelog_fetch_gets_total", &[]).await?;
        Ok(brokers + sum(&self.readers, "tidelog_reader_gets_total", &[]).await?)
    }

    fn client(&self, number: usize) -> Result<Client> {
        self.brokers[number % self.brokers.len()].client()
    }
}

/// A metric, summed over processes.
async fn sum(servers: &[Server], name: &str, labels: &[&str]) -> Result<u64> {
    let mut total = 0;
    for server in servers {
        let page = server.metrics().await?;
        let value = metric(&page, name, labels).unwrap_or(0.0);
        // Counts of a test are small.
        total += format!("{value:.0}").parse::<u64>()?;
    }
    Ok(total)
}

fn value(partition: u32, number: u64) -> Vec<u8> {
    let mut value = format!("{partition}/{number}/").into_bytes();
    let seed = u64::from(partition) * 1_000_003 + number;
    let noise = (0_u64..).map(|at| (at.wrapping_mul(seed | 1) >> 7).to_le_bytes()[0]);
    value.extend(noise.take(VALUE_BYTES));
    value
}

/// Writes everything, about a segment at a time.
async fn write(client: &Client) -> Result<()> {
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    for first in (0..RECORDS).step_by(16) {
        let mut sent = Vec::new();
        for number in first..first + 16 {
            for partition in 0..PARTITIONS {
                let value = value(partition, number);
                let record = SendRecord {
                    partition: Some(partition),
                    ..SendRecord::value(&value)
                };
                sent.push(producer.send(record).await?);
            }
        }
        for sent in sent {
            sent.wait().await?;
        }
    }
    Ok(())
}

/// Reads everything and compares it.
async fn read(client: Client) -> Result<()> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = vec![0; PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        for record in chunk.records() {
            let record = record?;
            let number = &mut next[partition as usize];
            let expected = value(partition, *number);
            ensure!(
                record.value.as_deref() == Some(expected.as_slice()),
                "record `{number}` of partition `{partition}` is another one"
            );
            *number += 1;
        }
    }
    ensure!(
        next == [RECORDS; PARTITIONS as usize],
        "`{next:?}` were read"
    );
    Ok(())
}

/// A metadata process and how it is reached.
async fn metadata(place: &Place) -> Result<(Server, String)> {
    let internal = free_port()?.to_string();
    let options = ServerOptions::at(place)
        .with("roles", "metadata")
        .with("listen.internal", &internal);
    Ok((Server::start(options).await?, internal))
}

#[tokio::test]
async fn the_zone_of_the_writer_costs_no_request_and_the_other_one_for_each_page() -> Result<()> {
    let minio = Minio::start().await?;
    let place = minio.create_bucket("logs").await?;
    let (_metadata, address) = metadata(&place).await?;
    let near = Zone::start(&place, "near", &address).await?;
    let far = Zone::start(&place, "far", &address).await?;
    let writer = near.client(0)?;
    create_topic(&writer, PARTITIONS).await?;
    write(&writer).await?;
    let segments = Bucket::open(&place)?.segments().await?.len() as u64;
    ensure!(segments >= 4, "there are `{segments}` segments");
    until(
        "readers have what was written",
        PROGRESS_LIMIT,
        async || {
            let taken = ["outcome=\"taken\""];
            let taken = sum(&near.brokers, "tidelog_read_tier_offers_total", &taken);
            (taken.await.ok()? == segments).then_some(())
        },
    )
    .await?;

    // The other broker of the writer's zone has nothing of its own.
    read(near.client(1)?).await?;
    read(near.client(0)?).await?;
    let gets = near.gets().await?;
    ensure!(gets == 0, "`{gets}` requests in the zone of the writer");

    // Ten consumers at the same time, five at each broker of the other zone.
    let reading = (0..10).map(|number| far.client(number).map(read));
    try_join_all(reading.collect::<Result<Vec<_>>>()?).await?;
    let gets = far.gets().await?;
    ensure!(gets == segments, "`{gets}` requests for `{segments}` pages");
    let hits = ["outcome=\"hit\""];
    let hits = sum(&far.brokers, "tidelog_read_tier_pages_total", &hits).await?;
    ensure!(hits >= segments, "`{hits}` pages came from readers");
    Ok(())
}

#[tokio::test]
async fn readers_that_are_killed_all_the_while_are_seen_by_no_client() -> Result<()> {
    let (minio, options) = bucket().await?;
    let scene = Scene::start(minio, &options).await?;
    let member = scene.cluster.metadata.first();
    let address = member.context("there is one")?.internal.to_string();
    let mut readers =
        try_join_all([(), ()].map(|()| process(&options.place, "reader", "", &address))).await?;
    for round in 0..8 {
        scene.progress(150).await?;
        let reader = &mut readers[round % 2];
        reader.process().kill();
        scene.progress(50).await?;
        reader.restart().await?;
    }
    // Who reads where it was written needs no reader; what is written is offered in any case.
    until("readers are of use", PROGRESS_LIMIT, async || {
        let taken = ["outcome=\"taken\""];
        let offers = "tidelog_read_tier_offers_total";
        let taken = sum(&scene.cluster.brokers, offers, &taken);
        (taken.await.ok()? > 0).then_some(())
    })
    .await?;
    scene.judge().await?;
    Ok(())
}
