//! Facts about whatever bytes may come: the right answer or the end of the connection, nothing that is held for
//! good, no task that panics, and no harm to others.
//!
//! A case is what one connection sends. It is random, and begins with good requests of every API and version that
//! is served. What must come of it is worked out from its bytes alone, by the codec.

mod expected;
mod sent;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidelog_broker_engine::AppendSettings;
use tidelog_broker_testing::quick_append;
use tidelog_env::SystemClock;
use tidelog_env::clock::timeout;
use tidelog_format::batch::Compression;
use tidelog_kafka_codec::fuzzing::{Seeded, Words};
use tidelog_kafka_codec::messages::ApiVersionsRequest;
use tidelog_kafka_codec::{ApiKey, response_length};
use tidelog_metadata_api::TopicSelector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::world::{World, batch, compressed, soon};
use expected::{Expected, expected};
use sent::{Apis, Sent};

/// How many random cases there are, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 300;
/// How long an answer is waited for that may take as long as its client wants.
const PATIENCE: Duration = Duration::from_millis(20);
/// The topic that there is whatever a case has done.
const TOPIC: &str = "t";
/// The largest frame that is read.
const ANSWER_BYTES_MAX: usize = 1 << 30;

#[test]
fn every_version_of_every_api_is_answered_whatever_it_names() {
    let mut ground = Ground::new();
    let mut random = Seeded::new(1);
    for (key, version) in ground.apis.all() {
        let words = ground.words();
        let frame = ground.apis.good(key, version, 1, &words, &mut random);
        ground.try_case(&Sent::whole(frame));
    }
}

#[test]
fn whatever_comes_is_answered_or_ends_its_connection_and_harms_nobody_else() {
    let ground = RefCell::new(Ground::new());
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(CASES),
    };
    let seeds = any::<u64>().no_shrink();
    let tried = TestRunner::new(config).run(&seeds, |seed| {
        let mut ground = ground.borrow_mut();
        let words = ground.words();
        let case = ground.apis.case(&words, &mut Seeded::new(seed));
        ground.try_case(&case);
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}

/// A broker that every case is tried on.
struct Ground {
    runtime: Runtime,
    world: World,
    apis: Apis,
    /// Connections that there were.
    opened: u64,
    /// What is free of the memory for records when nothing is going on.
    decoding_free: u64,
}

impl Ground {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let (world, told) = runtime.block_on(async {
            let world = World::new().await;
            let mut client = world.client().await;
            let told = client.call(&asks(), 4).await.api_keys;
            (world, told)
        });
        let served = told.iter().filter_map(|api| ApiKey::from_code(api.api_key));
        Self {
            runtime,
            apis: Apis::of(served),
            decoding_free: world.engine.decoding().share().free_bytes(),
            world,
            opened: 1,
        }
    }

    /// What the broker knows, so that requests name it.
    fn words(&self) -> Words {
        let topic = self.runtime.block_on(async {
            let selector = TopicSelector::Name(TOPIC.parse().unwrap());
            match self.world.engine.catalogue().topic(&selector).await {
                Ok(topic) => topic,
                // A case has deleted it.
                Err(_) => self.world.topic(TOPIC, 3, &[]).await,
            }
        });
        Words {
            texts: vec![TOPIC, TOPIC, TOPIC, "u", "g", "x", "range", "consumer", "0"],
            ids: vec![*topic.id.as_uuid()],
            bytes: vec![
                batch(&["a", "b"], None),
                compressed(&["a", "b"], None, Compression::Zstd),
                compressed(&["a", "b"], None, Compression::Lz4),
                // More than is taken without memory of its own.
                batch(&[&"x".repeat(10_000)], None),
            ],
        }
    }

    /// Tries a case, and finds that nothing is left of it.
    fn try_case(&mut self, case: &Sent) {
        let expected = expected(&case.bytes, &self.apis);
        let world = &self.world;
        self.opened += 2;
        let opened = self.opened;
        self.runtime.block_on(async {
            exchange(world, case, expected).await;
            let mut other = world.client().await;
            assert_eq!(other.call(&asks(), 4).await.error_code, 0);
            drop(other);
            soon(async {
                while !is_at_rest(world, opened) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let AppendSettings { memory_bytes, .. } = quick_append();
            let all = soon(world.engine.reserve(memory_bytes)).await;
            drop(all);
        });
        let failed = world.env.supervisor.failed().now_or_never();
        assert_eq!(failed, None);
        let decoding = world.engine.decoding().share();
        assert_eq!(decoding.free_bytes(), self.decoding_free);
        world.gate.asked.lock().clear();
        world.gate.charged.lock().clear();
    }
}

fn asks() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "world".into(),
        client_software_version: "1.0".into(),
        ..ApiVersionsRequest::default()
    }
}

/// Whether every connection has ended and said why, and nothing is held for any.
fn is_at_rest(world: &World, opened: u64) -> bool {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &world.registry).unwrap();
    let mut sums = BTreeMap::<&str, u64>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        if name.starts_with("tidelog_kafka_held") || name.starts_with("tidelog_kafka_connections") {
            *sums.entry(name).or_default() += number.parse::<u64>().unwrap();
        }
    }
    sums["tidelog_kafka_held_bytes"] == 0
        && sums["tidelog_kafka_connections"] == 0
        && sums.get("tidelog_kafka_connections_closed_total") == Some(&opened)
}

/// Sends a case on a connection of its own, and compares what comes with what must.
async fn exchange(world: &World, case: &Sent, mut expected: Expected) {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in case.bytes.chunks(case.piece.max(1)) {
        // The server may have ended the connection already.
        if soon(stream.write_all(piece)).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut answers = Answers {
        stream,
        buffer: BytesMut::new(),
    };
    let mut is_closed = false;
    while !is_closed && expected.is_more_to_come() {
        let next = answers.next();
        let next = if expected.may_wait() {
            match timeout(&SystemClock::new(), PATIENCE, next).await {
                Ok(next) => next,
                Err(_) => break,
            }
        } else {
            soon(next).await
        };
        match next {
            Some(frame) => expected.take(&frame),
            None => is_closed = true,
        }
    }
    if is_closed {
        expected.assert_may_close();
    }
    // The socket may be gone.
    let _ = answers.stream.shutdown().await;
    while let Some(frame) = soon(answers.next()).await {
        expected.take(&frame);
    }
}

/// What comes on a connection.
struct Answers {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Answers {
    /// The next frame; nothing when the connection has ended. Cancel-safe.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk() {
                let length = response_length(*prefix, ANSWER_BYTES_MAX).unwrap();
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
