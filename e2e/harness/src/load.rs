//! Producers and consumers that write down what they did and saw.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_client::{
    Client, Consumer, ConsumerOptions, Delivery, ProduceError, Produced, Producer, ProducerOptions,
    Record, SendRecord, v1,
};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::history::{Append, Content, Outcome, Partition, Read, Recorder};
use crate::within;

/// Records that one sender has on their way at most, so that much is open when a server dies.
const UNANSWERED_MAX: usize = 256;
/// Keys of one sender; each has its own order.
const KEYS: u64 = 5;
/// Timestamps begin here: a fixed time, so that a run depends on no clock.
const FIRST_TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// What a load writes.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// How many senders write at the same time.
    pub senders: u64,
    /// How large a value is, in bytes.
    pub value_bytes: usize,
    /// How long a record may take, over all restarts.
    pub delivery_timeout: Duration,
}

impl LoadOptions {
    /// A load on `topic` that keeps a server busy and a test short.
    pub fn on(topic: &str, partitions: u32) -> Self {
        Self {
            topic: topic.to_owned(),
            partitions,
            senders: 3,
            value_bytes: 200,
            delivery_timeout: Duration::from_mins(1),
        }
    }
}

/// Idempotent producers that write until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    senders: JoinSet<Result<()>>,
}

impl Load {
    /// Begins to write. Each sender has a connection of its own, made by `connect`.
    pub fn start(
        connect: impl Fn() -> Result<Client>,
        options: &LoadOptions,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut senders = JoinSet::new();
        for _ in 0..options.senders {
            let sender = Sender {
                name: recorder.name(),
                options: options.clone(),
                recorder: Arc::clone(recorder),
                stopped: stopped.clone(),
            };
            senders.spawn(sender.run(connect()?));
        }
        Ok(Self { stop, senders })
    }

    /// Stops writing and waits until the outcome of each record is known, or known to be unknown.
    pub async fn finish(mut self, limit: Duration) -> Result<()> {
        self.stop.send_replace(true);
        let all = async {
            while let Some(sender) = self.senders.join_next().await {
                sender??;
            }
            anyhow::Ok(())
        };
        within("all senders", limit, all).await?
    }
}

struct Sender {
    name: u64,
    options: LoadOptions,
    recorder: Arc<Recorder>,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    async fn run(self, client: Client) -> Result<()> {
        let options = ProducerOptions {
            delivery_timeout: self.options.delivery_timeout,
            // Small batches: many of them are under way when the server dies.
            batch_bytes: 4 * 1024,
            linger: Duration::from_millis(1),
            ..ProducerOptions::default()
        };
        let producer = client.producer(&self.options.topic, options).await?;
        let window = Arc::new(Semaphore::new(UNANSWERED_MAX));
        let mut open = JoinSet::new();
        let mut order = 0;
        while !*self.stopped.borrow() {
            let permit = Arc::clone(&window).acquire_owned().await?;
            let (append, delivery) = self.send(&producer, order).await?;
            let recorder = Arc::clone(&self.recorder);
            open.spawn(async move {
                note(&recorder, append, delivery.wait().await);
                drop(permit);
            });
            while open.try_join_next().is_some() {}
            order += 1;
        }
        while let Some(done) = open.join_next().await {
            done?;
        }
        Ok(())
    }

    async fn send(&self, producer: &Producer, order: u64) -> Result<(Append, Delivery)> {
        let partition = u32::try_from((order / 3) % u64::from(self.options.partitions))?;
        let key = format!("{}-{}", self.name, order % KEYS);
        let mut value = format!("{}-{order} ", self.name);
        while value.len() < self.options.value_bytes {
            value.push(char::from(b'a' + u8::try_from(value.len() % 26)?));
        }
        let timestamp = FIRST_TIMESTAMP_MS + i64::try_from(order)?;
        let headers = [(b"order".as_slice(), Some(value.as_bytes().split_at(4).0))];
        let append = Append {
            partition: self.partition(partition),
            sender: self.name,
            order,
            producer: None,
            may_repeat: false,
            expected_next: None,
            token: None,
            set_token: None,
            records: vec![Content::of(
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &headers,
                Some(timestamp),
            )],
            invoked: self.recorder.tick(),
            outcome: Outcome::Unknown,
        };
        let record = SendRecord {
            partition: Some(partition),
            headers: &headers,
            timestamp: Some(tidelog_types::Timestamp::from_millis(timestamp)),
            ..SendRecord::keyed(key.as_bytes(), value.as_bytes())
        };
        Ok((append, producer.send(record).await?))
    }

    fn partition(&self, number: u32) -> Partition {
        Partition {
            topic: self.options.topic.clone(),
            number,
        }
    }
}

fn note(recorder: &Recorder, mut append: Append, result: Result<Produced, ProduceError>) {
    append.outcome = match result {
        Ok(produced) => Outcome::Acked {
            base: produced.offset,
            duplicate: false,
            returned: recorder.tick(),
        },
        Err(error) if error.may_have_happened() => Outcome::Unknown,
        Err(_) => Outcome::Refused,
    };
    recorder.append(append);
}

/// Reads a topic until told to stop, over all restarts of the server.
#[derive(Debug)]
pub struct Follower {
    stop: watch::Sender<bool>,
    reader: JoinSet<Result<()>>,
}

impl Follower {
    /// Begins to read at the earliest record.
    pub fn start(client: &Client, topic: &str, recorder: &Arc<Recorder>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let mut consumer = client.consumer(topic, ConsumerOptions::from_earliest());
        let mut notes = Notes::new(topic, recorder);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                    more = notes.read(&mut consumer) => anyhow::ensure!(more?, "a tail has ended"),
                }
            }
        });
        Self { stop, reader }
    }

    /// Stops reading; fails if reading had failed.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.reader.join_next().await.context("a reader runs")??
    }
}

/// Reads the whole topic once and marks that as the end of the history.
pub async fn drain(client: &Client, topic: &str, recorder: &Arc<Recorder>) -> Result<()> {
    const LIMIT: Duration = Duration::from_mins(1);
    let partitions = client.admin().topic(topic).await?.partition_count;
    let mut notes = Notes::new(topic, recorder);
    notes.watermarks(client, partitions).await?;
    let mut consumer = client.consumer(topic, ConsumerOptions::all_until_end());
    let all = async {
        while notes.read(&mut consumer).await? {}
        anyhow::Ok(())
    };
    within("the whole topic to be read", LIMIT, all).await??;
    recorder.drained_by(notes.reader);
    Ok(())
}

/// Writes down what one reader sees.
struct Notes {
    topic: String,
    reader: u64,
    recorder: Arc<Recorder>,
}

impl Notes {
    fn new(topic: &str, recorder: &Arc<Recorder>) -> Self {
        Self {
            topic: topic.to_owned(),
            reader: recorder.name(),
            recorder: Arc::clone(recorder),
        }
    }

    /// Reads the next chunk; false at the end.
    async fn read(&mut self, consumer: &mut Consumer) -> Result<bool> {
        let invoked = self.recorder.tick();
        let Some(chunk) = consumer.next().await? else {
            return Ok(false);
        };
        let records: Vec<Record> = chunk.records().collect::<Result<_, _>>()?;
        let from = chunk.offsets.base.get();
        self.recorder.read(Read {
            partition: self.partition(chunk.partition),
            reader: self.reader,
            invoked,
            returned: self.recorder.tick(),
            from,
            records: records
                .iter()
                .map(|record| (record.offset.get(), content(record)))
                .collect(),
            next: chunk.offsets.next.get(),
            // What a tail is told may be as old as its stream.
            high_watermark: None,
            log_start: None,
        });
        Ok(true)
    }

    /// Asks for the end of each partition, which must not be older than the question.
    async fn watermarks(&self, client: &Client, partitions: u32) -> Result<()> {
        let asked = (0..partitions).map(|partition| v1::ListOffsetsPartition {
            topic: self.topic.clone(),
            partition,
            query: Some(v1::list_offsets_partition::Query::Position(
                v1::OffsetPosition::Latest.into(),
            )),
        });
        let invoked = self.recorder.tick();
        let results = client.log().list_offsets(asked.collect()).await?;
        let returned = self.recorder.tick();
        for result in results {
            let latest = result.offset.context("a partition has an end")?;
            self.recorder.read(Read {
                partition: self.partition(result.partition),
                reader: self.recorder.name(),
                invoked,
                returned,
                from: latest,
                records: Vec::new(),
                next: latest,
                high_watermark: Some(latest),
                log_start: None,
            });
        }
        Ok(())
    }

    fn partition(&self, number: u32) -> Partition {
        Partition {
            topic: self.topic.clone(),
            number,
        }
    }
}

fn content(record: &Record) -> Content {
    let headers: Vec<(&[u8], Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|header| (header.key.as_ref(), header.value.as_deref()))
        .collect();
    Content::of(
        record.key.as_deref(),
        record.value.as_deref(),
        &headers,
        Some(record.timestamp.as_millis()),
    )
}
