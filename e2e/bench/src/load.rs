//! Produce and consume as fast as the log allows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidelog_client::{Client, ConsumerOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::Server;
use tokio::time::sleep;

use crate::report::float;

/// How many records are sent between two looks at the clock.
const LOOK_EVERY: u64 = 128;
/// Values are cut from so many bytes.
const POOL_BYTES: usize = 1 << 20;
/// Opens connections and lets the server find its feet; not measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// A topic and what is written to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Partitions of the topic.
    pub(crate) partitions: u32,
    /// Bytes of a value.
    pub(crate) record_bytes: usize,
    /// Producers, each with a connection of its own.
    pub(crate) producers: u32,
    /// How long they write.
    pub(crate) duration: Duration,
    /// Bytes of values that all of them write in a second at most; without it as fast as the log allows.
    pub(crate) bytes_per_second: Option<u64>,
}

impl Load {
    /// When one producer may have sent so many records, if it keeps to a rate.
    fn due(&self, records: u64) -> Option<Duration> {
        let share = float(self.bytes_per_second?) / f64::from(self.producers);
        let bytes = float(records * self.record_bytes as u64);
        Some(Duration::from_secs_f64(bytes / share))
    }
}

/// What was moved, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// Records, or requests.
    pub(crate) count: u64,
    /// Bytes of values, or of bodies.
    pub(crate) bytes: u64,
    /// From the first to the last answer.
    pub(crate) seconds: f64,
}

impl Moved {
    /// So much since `start`.
    pub(crate) fn since(start: Instant, count: u64, bytes: u64) -> Self {
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        Self {
            count,
            bytes,
            seconds,
        }
    }

    /// Bytes a second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.bytes) / self.seconds
    }

    /// Records or requests a second.
    pub(crate) fn count_rate(&self) -> f64 {
        float(self.count) / self.seconds
    }
}

/// Makes the topic `bench`, and writes to another one for a moment.
pub(crate) async fn prepare(server: &Server, load: &Load) -> Result<()> {
    let client = server.client()?;
    let none: [(&str, &str); 0] = [];
    for topic in ["warm", "bench"] {
        client
            .admin()
            .create_topic(topic, load.partitions, none)
            .await?;
    }
    let warm = Load {
        duration: WARM_UP,
        bytes_per_second: None,
        ..*load
    };
    send(client, "warm", warm).await.map(drop)
}

/// Writes to the topic `bench`; the time goes on until the last record is acknowledged.
pub(crate) async fn produce(server: &Server, load: &Load) -> Result<Moved> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..load.producers {
        tasks.push(tokio::spawn(send(server.client()?, "bench", *load)));
    }
    let mut records = 0;
    for task in tasks {
        records += task.await??;
    }
    Ok(Moved::since(
        start,
        records,
        records * load.record_bytes as u64,
    ))
}

async fn send(client: Client, topic: &'static str, load: Load) -> Result<u64> {
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    let mut values = Values::new(load.record_bytes);
    let start = Instant::now();
    let deadline = start + load.duration;
    let mut records = 0;
    while Instant::now() < deadline {
        for _ in 0..LOOK_EVERY {
            producer.send(SendRecord::value(values.next())).await?;
        }
        records += LOOK_EVERY;
        match load.due(records) {
            Some(due) => sleep(due.saturating_sub(start.elapsed())).await,
            None => tokio::task::yield_now().await,
        }
    }
    producer
        .close()
        .await
        .context("a record was not acknowledged")?;
    Ok(records)
}

/// Reads the topic `bench` from its beginning to its end, in batches, and checks that all of it is there.
pub(crate) async fn consume(server: &Server, produced: &Moved) -> Result<Moved> {
    let client = server.client()?;
    client.describe_cluster().await?;
    let start = Instant::now();
    let records = read(&client, ConsumerOptions::all_until_end()).await?;
    let moved = Moved::since(start, records, produced.bytes);
    ensure!(
        records == produced.count,
        "`{}` records were acknowledged and `{records}` read",
        produced.count
    );
    Ok(moved)
}

/// Reads from the topic `bench` what `options` name, in batches; answers how many records there are.
pub(crate) async fn read(client: &Client, options: ConsumerOptions) -> Result<u64> {
    let mut consumer = client.consumer("bench", options);
    let mut records = 0;
    while let Some(chunk) = consumer.next().await? {
        records += chunk.offsets.count();
    }
    Ok(records)
}

/// Values of one size, cut from bytes that no codec could make small.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Vec<u8>,
    size: usize,
    at: usize,
}

impl Values {
    pub(crate) fn new(size: usize) -> Self {
        // Any fixed seed will do.
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut pool = Vec::with_capacity(POOL_BYTES + size + 8);
        while pool.len() < POOL_BYTES + size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pool.extend_from_slice(&state.to_be_bytes());
        }
        Self { pool, size, at: 0 }
    }

    pub(crate) fn next(&mut self) -> &[u8] {
        // An odd step visits every place before it comes back.
        self.at = (self.at + 4099) % POOL_BYTES;
        &self.pool[self.at..self.at + self.size]
    }
}
