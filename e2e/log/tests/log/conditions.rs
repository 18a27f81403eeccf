//! Compare and set by many at once, through `kill -9`: for each offset one wins, and the log is dense.
//!
//! Each client reads where the log ends and writes one record on the condition that it still ends there. Most
//! lose, and try again. An answer that never came stays unknown; what is in the log shows what it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidelog_api::v1::log_service_client::LogServiceClient;
use tidelog_client::v1::batch_result::Outcome as Answer;
use tidelog_client::v1::{ErrorCode, ListOffsetsPartition, OffsetPosition, list_offsets_partition};
use tidelog_client::{Client, v1};
use tidelog_e2e_harness::history::{Append, Content, Outcome, Partition, Recorder, check};
use tidelog_e2e_harness::load::drain;
use tidelog_e2e_harness::{Server, ServerOptions, until};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::support::{LOAD_LIMIT, World, only, records};

const TOPIC: &str = "conditions";
const CLIENTS: u64 = 12;
const KILLS: usize = 3;
/// Appends between two kills.
const PROGRESS: usize = 60;
const CALL_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Where the log ends now.
async fn end(client: &Client) -> Result<u64> {
    let asked = ListOffsetsPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        query: Some(list_offsets_partition::Query::Position(
            OffsetPosition::Latest.into(),
        )),
    };
    let found = client.log().list_offsets(vec![asked]).await?;
    found
        .first()
        .and_then(|found| found.offset)
        .context("an end")
}

/// One that wants to be the next.
struct Contender {
    name: u64,
    client: Client,
    /// Without retries: an answer that does not come is unknown.
    raw: LogServiceClient<Channel>,
    recorder: Arc<Recorder>,
    losses: u64,
}

impl Contender {
    async fn run(mut self, stop: watch::Receiver<bool>) -> Result<u64> {
        let mut order = 0;
        let mut next = None;
        while !*stop.borrow() {
            let expected = if let Some(expected) = next.take() {
                expected
            } else if let Ok(expected) = end(&self.client).await {
                expected
            } else {
                // The server is down.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            next = self.append(order, expected).await?;
            order += 1;
        }
        Ok(self.losses)
    }

    /// Appends if the log ends at `expected`; where it ends then, if that is known.
    async fn append(&mut self, order: u64, expected: u64) -> Result<Option<u64>> {
        let value = format!("{}-{order}", self.name);
        let mut entry = records(TOPIC, 0, [&value]);
        if let Some(v1::produce_entry::Data::Records(records)) = &mut entry.data {
            // A record's content is its time as well.
            records
                .records
                .iter_mut()
                .for_each(|record| record.timestamp_ms = Some(1));
        }
        entry.expected_next_offset = Some(expected);
        let invoked = self.recorder.tick();
        let mut request = tonic::Request::new(v1::ProduceRequest {
            entries: vec![entry],
            ..v1::ProduceRequest::default()
        });
        request.set_timeout(CALL_LIMIT);
        let (outcome, next) = match self.raw.produce(request).await {
            Err(_) => (Outcome::Unknown, None),
            Ok(answer) => match only(&answer.get_ref().results)? {
                Answer::Appended(appended) => {
                    ensure!(!appended.duplicate, "no such batch was sent before");
                    let acked = Outcome::Acked {
                        base: appended.base_offset,
                        duplicate: false,
                        returned: self.recorder.tick(),
                    };
                    (acked, Some(appended.next_offset))
                }
                Answer::Error(error) if error.outcome_unknown => (Outcome::Unknown, None),
                Answer::Error(error) => (Outcome::Refused, self.lost(error, expected)?),
            },
        };
        self.recorder.append(Append {
            partition: partition(),
            sender: self.name,
            order,
            producer: None,
            may_repeat: false,
            expected_next: Some(expected),
            token: None,
            set_token: None,
            records: vec![content(&value)],
            invoked,
            outcome,
        });
        Ok(next)
    }

    /// A refusal names the end that the log had instead.
    fn lost(&mut self, error: &v1::Error, expected: u64) -> Result<Option<u64>> {
        if error.code != i32::from(ErrorCode::OffsetMismatch) {
            ensure!(error.retriable, "{error:?}");
            return Ok(None);
        }
        self.losses += 1;
        let actual = error
            .metadata
            .values()
            .filter_map(|value| value.parse().ok());
        let actual: Vec<u64> = actual.collect();
        ensure!(
            actual.iter().any(|actual| *actual != expected),
            "{error:?} names no end but `{expected}`"
        );
        Ok(None)
    }
}

fn partition() -> Partition {
    Partition {
        topic: TOPIC.to_owned(),
        number: 0,
    }
}

fn content(value: &str) -> Content {
    Content::of(Some(b"key"), Some(value.as_bytes()), &[], Some(1))
}

/// Every record is where its sender wanted it, and there is one for each offset.
fn ensure_one_winner_each(recorder: &Recorder) -> Result<usize> {
    let history = recorder.history();
    let wanted: HashMap<&Content, u64> = history
        .appends
        .iter()
        .filter_map(|append| Some((append.records.first()?, append.expected_next?)))
        .collect();
    let mut next = 0;
    let drained = history
        .reads
        .iter()
        .filter(|read| Some(read.reader) == history.drain);
    for (offset, content) in drained.flat_map(|read| &read.records) {
        ensure!(*offset == next, "offset `{offset}` follows `{next}`");
        next += 1;
        match wanted.get(content) {
            Some(wanted) if wanted == offset => {}
            Some(wanted) => bail!("a record for `{wanted}` is at `{offset}`"),
            None => bail!("nobody wrote what is at `{offset}`"),
        }
    }
    Ok(usize::try_from(next)?)
}

async fn contend(world: &World) -> Result<()> {
    let options = ServerOptions::at(&world.place).with("produce.flush_rate", "1000");
    let mut server = Server::start(options.with("produce.flush_burst", "1000")).await?;
    let admin = server.client()?.admin();
    admin
        .create_topic(TOPIC, 1, [] as [(&str, &str); 0])
        .await?;
    let recorder = Arc::new(Recorder::default());
    let (stop, stopped) = watch::channel(false);
    let mut contenders = JoinSet::new();
    for _ in 0..CLIENTS {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc()))?;
        let contender = Contender {
            name: recorder.name(),
            client: server.client()?,
            raw: LogServiceClient::new(endpoint.connect_lazy()),
            recorder: Arc::clone(&recorder),
            losses: 0,
        };
        contenders.spawn(contender.run(stopped.clone()));
    }
    for kill in 0..=KILLS {
        let goal = recorder.acked() + PROGRESS;
        until("somebody wins", LOAD_LIMIT, async || {
            (recorder.acked() >= goal).then_some(())
        })
        .await?;
        if kill < KILLS {
            server.process().kill();
            server.restart().await?;
        }
    }
    stop.send_replace(true);
    let mut losses = 0;
    while let Some(contender) = contenders.join_next().await {
        losses += contender??;
    }
    drain(&server.client()?, TOPIC, &recorder).await?;
    let report = check(&recorder.history());
    report.ensure_clean()?;
    let winners = ensure_one_winner_each(&recorder)?;
    println!(
        "{winners} winners, {} acknowledged, {losses} losses, {} unknown",
        report.acked, report.unknown
    );
    ensure!(winners >= report.acked, "an acknowledged record is missing");
    ensure!(losses > 0, "nobody ever lost: there was no contention");
    Ok(())
}

#[tokio::test]
async fn one_of_many_wins_each_offset_through_kills_in_a_folder() -> Result<()> {
    contend(&World::folder()?).await
}

#[tokio::test]
async fn one_of_many_wins_each_offset_through_kills_on_s3() -> Result<()> {
    contend(&World::s3().await?).await
}
