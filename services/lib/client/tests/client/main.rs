//! The client against a service that breaks streams and refuses requests as a test tells it to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fake::{Fake, Fault, PARTITIONS};
use futures::future::BoxFuture;
use tidelog_client::{
    Client, ClientError, ClientOptions, ConsumerOptions, Delivery, ErrorCode, ProduceError,
    Producer, ProducerOptions, SendRecord,
};
use tidelog_env::{BackoffPolicy, Clock, Env, MonoTime, SystemClock};
use tidelog_types::Timestamp;
use tokio::time::{Instant, timeout};

const QUICK: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(1), Duration::from_millis(5), 20);

async fn client(fake: &Fake) -> Client {
    let endpoint = format!("http://{}", fake.start().await);
    let options = ClientOptions {
        backoff: QUICK,
        ..ClientOptions::default()
    };
    Client::connect_lazy(&[endpoint], options).unwrap()
}

async fn producer(fake: &Fake, options: ProducerOptions) -> Producer {
    let options = ProducerOptions {
        backoff: QUICK,
        ..options
    };
    client(fake)
        .await
        .producer("orders", options)
        .await
        .unwrap()
}

/// A producer whose batches have one record each.
fn one_by_one() -> ProducerOptions {
    ProducerOptions {
        batch_bytes: 1,
        ..ProducerOptions::default()
    }
}

async fn send(producer: &Producer, partition: u32, values: &[&str]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        let record = SendRecord {
            partition: Some(partition),
            ..SendRecord::value(value.as_bytes())
        };
        deliveries.push(producer.send(record).await.unwrap());
    }
    deliveries
}

#[tokio::test]
async fn what_was_sent_is_there_once_and_in_order_over_every_kind_of_break() {
    let values: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    for fault in [
        Fault::BreakBefore,
        Fault::BreakAfter,
        Fault::Refuse(ErrorCode::Unavailable),
        Fault::Refuse(ErrorCode::ResourceExhausted),
    ] {
        let fake = Fake::default();
        let producer = producer(&fake, one_by_one()).await;
        for good in [0, 3, 1, 7, 4] {
            fake.plan(std::iter::repeat_n(Fault::None, good).chain([fault]));
        }
        let deliveries = send(&producer, 2, &values).await;
        producer.close().await.unwrap();
        assert_eq!(fake.values(2), values, "{fault:?}");
        for (at, delivery) in deliveries.iter().enumerate() {
            assert_eq!(
                delivery.wait().await.unwrap().offset,
                at as u64,
                "{fault:?}"
            );
        }
        if fault == Fault::BreakAfter {
            assert!(
                fake.duplicates() > 0,
                "a batch whose answer was lost is sent again"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_fails_what_is_behind_and_later_records_are_written() {
    let fake = Fake::default();
    let producer = producer(&fake, one_by_one()).await;
    fake.plan([Fault::None, Fault::Refuse(ErrorCode::BatchTooLarge)]);
    let deliveries = send(&producer, 0, &["a", "b", "c"]).await;
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::BatchTooLarge));
    assert!(deliveries[0].wait().await.is_ok());
    assert!(matches!(
        deliveries[1].wait().await,
        Err(ProduceError::Refused(_))
    ));
    assert!(matches!(
        deliveries[2].wait().await,
        Err(ProduceError::Behind { .. })
    ));
    send(&producer, 0, &["b", "c"]).await;
    producer.close().await.unwrap();
    assert_eq!(fake.values(0), ["a", "b", "c"]);
}

#[tokio::test]
async fn without_idempotence_a_broken_stream_is_told_and_nothing_is_sent_twice() {
    let fake = Fake::default();
    let options = ProducerOptions {
        idempotent: false,
        ..one_by_one()
    };
    let producer = producer(&fake, options).await;
    fake.plan([Fault::BreakAfter]);
    let lost = send(&producer, 0, &["a"]).await;
    let error = lost[0].wait().await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    send(&producer, 0, &["b"]).await;
    producer.flush().await.unwrap_err();
    assert_eq!(fake.values(0), ["a", "b"]);
}

#[tokio::test]
async fn records_gather_in_batches_and_spread_over_partitions() {
    let fake = Fake::default();
    let producer = producer(&fake, ProducerOptions::default()).await;
    let mut sent = [0; PARTITIONS as usize];
    for number in 0..1000_u32 {
        let key = number.to_be_bytes();
        sent[tidelog_client::partition_for_key(&key, PARTITIONS) as usize] += 1;
        producer.send(SendRecord::keyed(&key, b"v")).await.unwrap();
    }
    producer.close().await.unwrap();
    for partition in 0..PARTITIONS {
        assert_eq!(fake.values(partition).len(), sent[partition as usize]);
    }
    assert_eq!(fake.streams(), 1);
}

#[tokio::test]
async fn a_lone_record_is_sent_at_once() {
    let fake = Fake::default();
    let options = ProducerOptions {
        linger: Duration::from_hours(1),
        ..ProducerOptions::default()
    };
    let producer = producer(&fake, options).await;
    for offset in 0..2 {
        let lone = send(&producer, 0, &["a"]).await;
        let acknowledged = timeout(Duration::from_secs(10), lone[0].wait()).await;
        let at = acknowledged.expect("it waits for nobody").unwrap().offset;
        assert_eq!(at, offset);
    }
    assert_eq!(fake.streams(), 1);
}

/// The service keeps the producer waiting for longer than a record may be on its way.
#[tokio::test]
async fn a_record_is_given_up_in_time_while_a_producer_id_is_asked_for() {
    const NEVER: Duration = Duration::from_hours(1);
    const TIMEOUT: Duration = Duration::from_mins(1);
    let fake = Fake::default();
    fake.keep_producer_ids();
    let endpoint = format!("http://{}", fake.start().await);
    let options = ClientOptions {
        request_timeout: NEVER,
        keep_alive_interval: NEVER,
        ..ClientOptions::default()
    };
    let client = Client::connect_lazy(&[endpoint], options).unwrap();
    let options = ProducerOptions {
        delivery_timeout: TIMEOUT,
        ..ProducerOptions::default()
    };
    let producer = client.producer("orders", options).await.unwrap();
    // Connected: from here on only the clock goes on.
    tokio::time::pause();
    let start = Instant::now();
    let deliveries = send(&producer, 0, &["a"]).await;
    let error = deliveries[0].wait().await.unwrap_err();
    assert!(matches!(error, ProduceError::TimedOut { .. }), "{error}");
    assert!(!error.may_have_happened());
    let took = start.elapsed();
    assert!((TIMEOUT..TIMEOUT * 11 / 10).contains(&took), "{took:?}");
}

/// A clock that counts how often somebody sleeps.
#[derive(Debug)]
struct Sleeps {
    clock: SystemClock,
    count: AtomicUsize,
}

impl Clock for Sleeps {
    fn now(&self) -> MonoTime {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.clock.sleep_until(deadline)
    }
}

/// The stream is lost while the service keeps the producer waiting for an id, so that it has nothing to do
/// when the time of the next attempt has come.
#[tokio::test]
async fn a_producer_that_can_do_nothing_sleeps() {
    let fake = Fake::default();
    let clock = Arc::new(Sleeps {
        clock: SystemClock::new(),
        count: AtomicUsize::new(0),
    });
    let mut env = Env::system();
    env.clock = Arc::<Sleeps>::clone(&clock);
    let endpoint = format!("http://{}", fake.start().await);
    let options = ClientOptions {
        env,
        ..ClientOptions::default()
    };
    let client = Client::connect_lazy(&[endpoint], options).unwrap();
    let options = ProducerOptions {
        delivery_timeout: Duration::from_secs(1),
        backoff: QUICK,
        ..one_by_one()
    };
    let producer = client.producer("orders", options).await.unwrap();
    send(&producer, 0, &["a"]).await;
    producer.flush().await.unwrap();
    fake.keep_producer_ids();
    send(&producer, 1, &["b"]).await;
    fake.plan([Fault::BreakBefore]);
    send(&producer, 0, &["c"]).await;
    producer.flush().await.unwrap_err();
    let sleeps = clock.count.load(Ordering::Relaxed);
    assert!(sleeps < 200, "{sleeps} sleeps");
}

#[tokio::test]
async fn a_dropped_producer_tells_those_who_wait() {
    let fake = Fake::default();
    let options = ProducerOptions {
        linger: Duration::from_hours(1),
        ..ProducerOptions::default()
    };
    let producer = producer(&fake, options).await;
    let deliveries = send(&producer, 0, &["a"]).await;
    drop(producer);
    let error = deliveries[0].wait().await.unwrap_err();
    assert_eq!(
        error,
        ProduceError::Dropped {
            outcome_unknown: false
        }
    );
}

#[tokio::test]
async fn a_consumer_goes_on_where_the_stream_broke_and_ends_at_the_end() {
    let fake = Fake::default();
    let client = client(&fake).await;
    let producer = client.producer("orders", one_by_one()).await.unwrap();
    let values: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = values.iter().map(String::as_str).collect();
    for partition in 0..PARTITIONS {
        send(&producer, partition, &texts).await;
    }
    producer.close().await.unwrap();

    let opened = fake.streams();
    for good in [5, 0, 40, 9] {
        fake.plan(std::iter::repeat_n(Fault::None, good).chain([Fault::BreakBefore]));
    }
    let mut read = vec![Vec::new(); PARTITIONS as usize];
    let mut consumer = client.consumer("orders", ConsumerOptions::all_until_end());
    while let Some(chunk) = consumer.next().await.unwrap() {
        for record in chunk.records() {
            let value = record.unwrap().value.unwrap();
            read[chunk.partition as usize].push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    assert!(read.iter().all(|partition| *partition == values));
    assert_eq!(fake.streams() - opened, 5);
}

#[tokio::test]
async fn a_change_is_not_repeated_when_it_may_have_happened() {
    let fake = Fake::default();
    let admin = client(&fake).await.admin();
    fake.plan([Fault::BreakBefore]);
    let error = admin.delete_topic("orders").await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    fake.plan([Fault::BreakBefore, Fault::Refuse(ErrorCode::Unavailable)]);
    assert!(
        admin.topic("orders").await.is_ok(),
        "a question may be asked again"
    );
    fake.plan([Fault::Refuse(ErrorCode::UnknownTopic)]);
    let error = admin.topic("orders").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_an_error_that_says_so() {
    let options = ClientOptions {
        backoff: BackoffPolicy::new(Duration::from_millis(1), Duration::from_millis(1), 2),
        ..ClientOptions::default()
    };
    // Nobody listens on the port that a closed listener had.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let error = Client::connect(&[endpoint], options.clone())
        .await
        .unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let error = Client::connect(&["not a uri"], options).await.unwrap_err();
    assert!(matches!(error, ClientError::Setup(_)), "{error}");
}
