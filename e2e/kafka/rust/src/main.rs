//! rdkafka of Rust does all it can: administers, writes with every compression, reads, seeks, finds offsets by time,
//! shares a topic in a group, and writes in transactions of which one is aborted.

use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, Producer, ThreadedProducer,
};
use rdkafka::{Offset, TopicPartitionList};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PARTITIONS: i32 = 2;
/// Of each codec, in each partition.
const RECORDS: i64 = 100;
const ALL: i64 = RECORDS * CODECS.len() as i64;
const FIRST_TIME: i64 = 1_700_000_000_000;
const LIMIT: Duration = Duration::from_secs(30);

fn ensure(holds: bool, what: impl Into<String>) -> Done {
    if holds {
        Ok(())
    } else {
        Err(what.into().into())
    }
}

struct World {
    address: String,
    topic: String,
}

impl World {
    fn client<C: FromClientConfig>(&self, settings: &[(&str, &str)]) -> Done<C> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Ok(config.create()?)
    }

    async fn administer(&self) -> Done {
        let admin: AdminClient<DefaultClientContext> = self.client(&[])?;
        let options = AdminOptions::new();
        let topic = NewTopic::new(&self.topic, PARTITIONS, TopicReplication::Fixed(1));
        let topic = topic
            .set("retention.ms", "-1")
            .set("max.message.bytes", "900000");
        for outcome in admin.create_topics([&topic], &options).await? {
            outcome.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        let asked = [ResourceSpecifier::Topic(&self.topic)];
        for described in admin.describe_configs(&asked, &options).await? {
            let described = described?;
            let value = described
                .get("max.message.bytes")
                .and_then(|it| it.value.as_deref());
            ensure(value == Some("900000"), format!("{value:?}"))?;
        }
        let more = NewPartitions::new(&self.topic, PARTITIONS as usize + 1);
        for outcome in admin.create_partitions([&more], &options).await? {
            outcome.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        Ok(())
    }

    async fn write(&self) -> Done {
        for (codec, first) in CODECS.iter().zip((0..).step_by(RECORDS as usize)) {
            let settings = [
                ("enable.idempotence", "true"),
                ("compression.type", *codec),
                ("linger.ms", "5"),
            ];
            let producer: FutureProducer = self.client(&settings)?;
            for partition in 0..PARTITIONS {
                let mut sent = Vec::new();
                for number in first..first + RECORDS {
                    let (key, value) = (number.to_string(), value_of(number));
                    let record = FutureRecord::to(&self.topic)
                        .partition(partition)
                        .key(&key)
                        .payload(&value);
                    let header = Header {
                        key: "number",
                        value: Some(&key),
                    };
                    let record = record
                        .headers(OwnedHeaders::new().insert(header))
                        .timestamp(FIRST_TIME + number);
                    sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
                }
                for (delivery, number) in sent.into_iter().zip(first..) {
                    let delivery = delivery.await?.map_err(|(error, _)| error)?;
                    ensure(delivery.offset == number, format!("{codec}: {delivery:?}"))?;
                }
            }
        }
        Ok(())
    }

    /// So many records from an offset on.
    fn take(
        &self,
        partition: i32,
        offset: i64,
        count: usize,
        level: &str,
    ) -> Done<Vec<OwnedMessage>> {
        let settings = [
            ("group.id", "none"),
            ("enable.auto.commit", "false"),
            ("isolation.level", level),
        ];
        let consumer: BaseConsumer = self.client(&settings)?;
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        consumer.assign(&places)?;
        read(&consumer, count)
    }

    fn read(&self) -> Done {
        let middle = ALL / 2 + 7;
        for (partition, first) in [(0, 0), (1, 0), (0, middle), (1, middle)] {
            let found = self.take(
                partition,
                first,
                usize::try_from(ALL - first)?,
                "read_uncommitted",
            )?;
            for (message, number) in found.iter().zip(first..) {
                let key = number.to_string();
                let header = message
                    .headers()
                    .and_then(|it| it.try_get(0))
                    .and_then(|it| it.value);
                let same = message.offset() == number
                    && message.key() == Some(key.as_bytes())
                    && message.payload() == Some(value_of(number).as_bytes())
                    && header == Some(key.as_bytes())
                    && message.timestamp().to_millis() == Some(FIRST_TIME + number);
                ensure(same, format!("{number}: {message:?}"))?;
            }
        }
        let consumer: BaseConsumer = self.client(&[("group.id", "none")])?;
        let bounds = consumer.fetch_watermarks(&self.topic, 0, LIMIT)?;
        ensure(bounds == (0, ALL), format!("{bounds:?}"))?;
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(&self.topic, 0, Offset::Offset(FIRST_TIME + middle))?;
        let found = consumer.offsets_for_times(times, LIMIT)?;
        let found = found
            .elements()
            .first()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::offset);
        ensure(found == Some(Offset::Offset(middle)), format!("{found:?}"))
    }

    /// Two members, one after the other: the second goes on where the first was.
    fn share(&self) -> Done {
        let settings = [
            ("group.id", "readers"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("partition.assignment.strategy", "cooperative-sticky"),
        ];
        let mut numbers = Vec::new();
        for half in [ALL, ALL] {
            let member: BaseConsumer = self.client(&settings)?;
            member.subscribe(&[&self.topic])?;
            for message in read(&member, usize::try_from(half)?)? {
                numbers.push((message.partition(), message.offset()));
            }
            member.commit_consumer_state(CommitMode::Sync)?;
        }
        numbers.sort_unstable();
        let expected: Vec<_> = (0..PARTITIONS)
            .flat_map(|at| (0..ALL).map(move |offset| (at, offset)))
            .collect();
        ensure(
            numbers == expected,
            format!("{} records were read once", numbers.len()),
        )
    }

    /// Three transactions, of which one is aborted, each with an offset of a group.
    fn transact(&self) -> Done {
        let producer: ThreadedProducer<DefaultProducerContext> =
            self.client(&[("transactional.id", "rdkafka")])?;
        producer.init_transactions(LIMIT)?;
        let group: BaseConsumer = self.client(&[("group.id", "pipe")])?;
        let mut all = Vec::new();
        for number in 0..3 {
            producer.begin_transaction()?;
            for letter in ["a", "b", "c"] {
                let value = format!("{number} {letter}");
                let record = BaseRecord::<(), str>::to(&self.topic)
                    .partition(PARTITIONS)
                    .payload(&value);
                producer.send(record).map_err(|(error, _)| error)?;
                all.push(value);
            }
            let mut places = TopicPartitionList::new();
            places.add_partition_offset(&self.topic, 0, Offset::Offset(10 + number))?;
            let metadata = group.group_metadata().ok_or("no metadata of the group")?;
            producer.send_offsets_to_transaction(&places, &metadata, LIMIT)?;
            if number == 1 {
                producer.abort_transaction(LIMIT)?;
            } else {
                producer.commit_transaction(LIMIT)?;
            }
        }
        let committed = all
            .iter()
            .filter(|value| !value.starts_with('1'))
            .cloned()
            .collect();
        for (level, expected) in [("read_committed", committed), ("read_uncommitted", all)] {
            let found = self.take(PARTITIONS, 0, expected.len(), level)?;
            let found: Vec<_> = found
                .iter()
                .filter_map(|it| it.payload_view::<str>()?.ok())
                .collect();
            ensure(found == expected, format!("{level}: {found:?}"))?;
        }
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic, 0);
        let found = group.committed_offsets(asked, LIMIT)?;
        let found = found
            .elements()
            .first()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::offset);
        ensure(found == Some(Offset::Offset(12)), format!("{found:?}"))
    }

    async fn cut(&self) -> Done {
        let admin: AdminClient<DefaultClientContext> = self.client(&[])?;
        let options = AdminOptions::new();
        for outcome in admin.delete_groups(&["readers"], &options).await? {
            outcome.map_err(|(group, code)| format!("{group}: {code}"))?;
        }
        let mut cut = TopicPartitionList::new();
        cut.add_partition_offset(&self.topic, 0, Offset::Offset(42))?;
        admin.delete_records(&cut, &options).await?;
        let consumer: BaseConsumer = self.client(&[("group.id", "none")])?;
        let bounds = consumer.fetch_watermarks(&self.topic, 0, LIMIT)?;
        ensure(bounds == (42, ALL), format!("{bounds:?}"))?;
        for outcome in admin.delete_topics(&[&self.topic], &options).await? {
            outcome.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        let listed = consumer.fetch_metadata(None, LIMIT)?;
        let listed = listed.topics().iter().any(|it| it.name() == self.topic);
        ensure(!listed, "the topic is still listed")
    }
}

/// Polls until so many are there.
fn read(consumer: &BaseConsumer, count: usize) -> Done<Vec<OwnedMessage>> {
    let mut found = Vec::new();
    let end = Instant::now() + LIMIT;
    while found.len() < count {
        ensure(
            Instant::now() < end,
            format!("{} of {count} records", found.len()),
        )?;
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            found.push(message?.detach());
        }
    }
    Ok(found)
}

fn value_of(number: i64) -> String {
    format!("{} {number}", "value ".repeat(20))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(topic)) = (words.next(), words.next()) else {
        return Err("HOST:PORT TOPIC".into());
    };
    let world = World { address, topic };
    world.administer().await?;
    world.write().await?;
    world.read()?;
    world.share()?;
    world.transact()?;
    world.cut().await?;
    println!("ok: {} records", i64::from(PARTITIONS) * ALL);
    Ok(())
}
