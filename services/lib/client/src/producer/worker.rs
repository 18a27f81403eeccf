//! The task that owns the stream of a producer: it sends batches and hands out their outcomes.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidelog_api::{ApiError, v1};
use tidelog_env::{Backoff, Env, MonoTime};
use tidelog_types::{ErrorCode, ProducerEpoch, ProducerId};
use tokio_util::sync::CancellationToken;

use super::accumulator::Accumulator;
use super::batch::Resolution;
use super::delivery::{BatchProduced, ProduceError};
use super::lane::Lane;
use super::link::{Link, LinkEvent};
use super::options::IN_FLIGHT_BATCHES_MAX;
use crate::{Client, ClientError};

/// About how many bytes go into one message: the service works on one while the next is on its way.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Owns all state of a producer but the open batches.
pub(super) struct Worker {
    client: Client,
    env: Env,
    topic: String,
    shared: Arc<Accumulator>,
    lanes: BTreeMap<u32, Lane>,
    /// Where to look for batches first: the lane after the one served last.
    turn: u32,
    link: Option<Link>,
    /// What sending waits for and the service is asked for. Meanwhile batches gather and expire.
    preparing: Option<BoxFuture<'static, Prepared>>,
    backoff: Backoff,
    retry_at: Option<MonoTime>,
    linger_at: Option<MonoTime>,
    dropped: CancellationToken,
    resolutions: Vec<Resolution>,
}

/// What sending needs.
enum Prepared {
    Writer(Result<(ProducerId, ProducerEpoch), ClientError>),
    Link(Result<Box<Link>, ApiError>),
}

/// What woke the worker.
enum Event {
    Dropped,
    Prepared(Prepared),
    Link(LinkEvent),
    Work,
}

impl Worker {
    pub(super) fn new(
        client: Client,
        topic: String,
        shared: Arc<Accumulator>,
        dropped: CancellationToken,
    ) -> Self {
        let env = client.options().env.clone();
        let backoff = shared.options().backoff.start();
        Self {
            client,
            env,
            topic,
            shared,
            lanes: BTreeMap::new(),
            turn: 0,
            link: None,
            preparing: None,
            backoff,
            retry_at: None,
            linger_at: None,
            dropped,
            resolutions: Vec::new(),
        }
    }

    /// Runs until the producer is closed and all is acknowledged, or it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.take_work();
            self.publish();
            if self.shared.is_finished() {
                return;
            }
            self.prepare();
            self.fill_message();
            self.publish();
            match self.next_event().await {
                Event::Dropped => return self.abandon(),
                Event::Prepared(Prepared::Writer(answer)) => self.on_writer(answer),
                Event::Prepared(Prepared::Link(Ok(link))) => self.link = Some(*link),
                Event::Link(LinkEvent::Answers(answers)) => self.on_answers(answers),
                Event::Prepared(Prepared::Link(Err(error)))
                | Event::Link(LinkEvent::Lost(error)) => self.on_link_lost(&error),
                Event::Link(LinkEvent::Room) | Event::Work => {}
            }
        }
    }

    // ---- Steps ----

    /// Takes new batches, and gives up those whose time is up.
    fn take_work(&mut self) {
        let now = self.env.clock.now();
        let options = self.shared.options();
        // Who has nothing on its way gains nothing by waiting: company comes while this is on its way.
        let linger = if self.is_idle() {
            Duration::ZERO
        } else {
            options.linger
        };
        let lanes = &self.lanes;
        let is_busy = |partition| lanes.get(&partition).is_some_and(Lane::is_busy);
        let (closed, linger_at) = self.shared.take_closed(now, linger, is_busy);
        self.linger_at = linger_at;
        for closed in closed {
            let lane = self.lanes.entry(closed.partition).or_insert_with(|| {
                let in_flight = options.in_flight_batches.clamp(1, IN_FLIGHT_BATCHES_MAX);
                Lane::new(
                    closed.partition,
                    options.idempotent,
                    in_flight,
                    options.backoff,
                )
            });
            lane.push(closed);
        }
        let delivery_timeout = options.delivery_timeout;
        for lane in self.lanes.values_mut() {
            lane.expire(now, delivery_timeout, &mut self.resolutions);
        }
        self.fail_what_was_gathered_behind();
    }

    /// Records that were sent before anyone could know of a failure fail with it.
    fn fail_what_was_gathered_behind(&mut self) {
        for (partition, lane) in &mut self.lanes {
            let Some(error) = lane.take_broken() else {
                continue;
            };
            let closed = self.shared.take_partition(*partition);
            self.resolutions
                .extend(closed.into_iter().map(|closed| Resolution {
                    id: closed.batch.id,
                    outcome: closed.batch.outcome,
                    result: Err(error.clone()),
                }));
        }
    }

    /// Hands out outcomes.
    fn publish(&mut self) {
        for resolution in self.resolutions.drain(..) {
            let failure = resolution.result.as_ref().err().cloned();
            resolution.outcome.resolve(resolution.result);
            self.shared.resolved(resolution.id, failure.as_ref());
        }
    }

    /// Whether no batch is on its way.
    fn is_idle(&self) -> bool {
        self.lanes.values().all(Lane::is_idle)
    }

    /// Asks for what sending needs: a producer id for lanes without, and a stream.
    fn prepare(&mut self) {
        let is_early = self.retry_at.is_some_and(|at| self.env.clock.now() < at);
        if is_early || self.preparing.is_some() {
            return;
        }
        self.retry_at = None;
        let client = self.client.clone();
        if self.lanes.values().any(Lane::needs_writer) {
            let log = client.log();
            let asking = async move { Prepared::Writer(log.init_producer().await) };
            self.preparing = Some(asking.boxed());
        } else if self.link.is_none() && !(self.linger_at.is_none() && self.is_idle()) {
            let opening = async move { Prepared::Link(Link::open(&client).await.map(Box::new)) };
            self.preparing = Some(opening.boxed());
        }
    }

    fn wait_before_retry(&mut self, at_least: Duration) {
        let policy_max = self.shared.options().backoff.max;
        let wait = self
            .backoff
            .next_wait(self.env.rng.as_ref())
            .unwrap_or(policy_max);
        self.retry_at = Some(self.env.clock.now() + wait.max(at_least));
    }

    /// Gathers the next message from the lanes in turn.
    fn fill_message(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_free()) else {
            return;
        };
        let now = self.env.clock.now();
        let mut entries = Vec::new();
        let mut bytes = 0;
        let turn = self.turn;
        let order: Vec<u32> = self
            .lanes
            .range(turn..)
            .chain(self.lanes.range(..turn))
            .map(|(at, _)| *at)
            .collect();
        for partition in order {
            let Some(lane) = self.lanes.get_mut(&partition) else {
                continue;
            };
            while bytes < MESSAGE_BYTES {
                let Some((id, batch)) = lane.next_to_send(now, &mut self.resolutions) else {
                    break;
                };
                bytes += batch.len();
                entries.push(v1::ProduceEntry {
                    correlation_id: id,
                    topic: self.topic.clone(),
                    partition: Some(partition),
                    data: Some(v1::produce_entry::Data::Batches(batch)),
                    ..v1::ProduceEntry::default()
                });
            }
            if bytes >= MESSAGE_BYTES {
                self.turn = partition.wrapping_add(1);
                break;
            }
        }
        if !entries.is_empty() {
            let token = self.client.token().get();
            link.put(v1::ProduceStreamRequest { entries, token });
        }
    }

    /// Waits for the next thing to do.
    async fn next_event(&mut self) -> Event {
        let delivery_timeout = self.shared.options().delivery_timeout;
        let lanes = self.lanes.values();
        let expiry = lanes
            .clone()
            .filter_map(|lane| lane.expiry(delivery_timeout));
        // A time at which nothing can be done is no reason to wake up: without a stream nothing is sent,
        // and nothing is asked for before what was asked for has come.
        let resumption = lanes.filter_map(Lane::resumption).min();
        let resumption = resumption.filter(|_| self.link.is_some());
        let retry_at = self.retry_at.filter(|_| self.preparing.is_none());
        let wake_at = [self.linger_at, retry_at, resumption, expiry.min()]
            .into_iter()
            .flatten()
            .min();
        let clock = &self.env.clock;
        let prepared = async {
            match &mut self.preparing {
                Some(preparing) => preparing.await,
                None => pending().await,
            }
        };
        let wake = async {
            match wake_at {
                Some(at) => clock.sleep_until(at).await,
                None => pending().await,
            }
        };
        let link = async {
            match &mut self.link {
                Some(link) => link.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.dropped.cancelled() => Event::Dropped,
            prepared = prepared => {
                self.preparing = None;
                Event::Prepared(prepared)
            }
            event = link => Event::Link(event),
            () = self.shared.work.notified() => Event::Work,
            () = wake => Event::Work,
        }
    }

    // ---- Events ----

    /// One id serves all lanes that need one: state is kept per partition. A failure sets a time for the
    /// next attempt.
    fn on_writer(&mut self, answer: Result<(ProducerId, ProducerEpoch), ClientError>) {
        let lanes = self.lanes.values_mut().filter(|lane| lane.needs_writer());
        match answer {
            // `init_producer` has told of trouble itself.
            Ok((id, epoch)) => lanes.for_each(|lane| lane.set_writer(id, epoch)),
            Err(error) => {
                tracing::debug!(topic = self.topic, %error, "cannot get a producer id");
                if let ClientError::Api(error) = &error
                    && !error.is_retriable()
                {
                    lanes.for_each(|lane| lane.refuse(error, &mut self.resolutions));
                }
                self.wait_before_retry(Duration::ZERO);
            }
        }
    }

    fn on_answers(&mut self, answers: v1::ProduceStreamResponse) {
        self.client.token().set(answers.token);
        self.backoff = self.shared.options().backoff.start();
        for result in answers.results {
            self.on_result(result);
        }
        self.fail_what_was_gathered_behind();
    }

    fn on_result(&mut self, result: v1::ProduceResult) {
        // One batch was sent in each entry, so there is one result.
        let Some(batch) = result.batches.into_iter().next() else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&batch.partition) else {
            return;
        };
        let answer = match batch.outcome {
            Some(v1::batch_result::Outcome::Appended(appended)) => Ok(BatchProduced {
                partition: batch.partition,
                base_offset: appended.base_offset,
            }),
            Some(v1::batch_result::Outcome::Error(error)) => Err(ApiError::from_proto(error)),
            None => Err(
                ApiError::new(ErrorCode::Internal, "an answer without an outcome")
                    .with_unknown_outcome(),
            ),
        };
        if answer.is_ok() {
            self.client.trouble().passed();
        }
        if let Err(error) = &answer {
            if error.is_retriable() {
                let now = self.env.clock.now();
                self.client.trouble().failed(now, error);
            }
            let (partition, code) = (batch.partition, error.code);
            tracing::debug!(topic = self.topic, partition, %code, %error, "batch not appended");
        }
        let (clock, rng) = (&self.env.clock, &self.env.rng);
        let longest = self.shared.options().backoff.max;
        let wait = |backoff: &mut Backoff, error: &ApiError| {
            let wait = backoff.next_wait(rng.as_ref()).unwrap_or(longest);
            clock.now() + wait.max(error.retry_after.unwrap_or_default())
        };
        lane.answer(result.correlation_id, answer, wait, &mut self.resolutions);
    }

    /// The stream broke or could not be opened.
    fn on_link_lost(&mut self, error: &ApiError) {
        self.link = None;
        for lane in self.lanes.values_mut() {
            lane.connection_lost(&mut self.resolutions);
        }
        if error.is_retriable() || error.outcome_unknown {
            tracing::debug!(topic = self.topic, %error, "produce stream lost, connecting again");
            if !self.is_idle() {
                let now = self.env.clock.now();
                self.client.trouble().failed(now, error);
            }
        } else {
            // The service does not want this stream: every batch is refused for the same reason.
            for lane in self.lanes.values_mut() {
                lane.refuse(error, &mut self.resolutions);
            }
            self.fail_what_was_gathered_behind();
        }
        self.wait_before_retry(error.retry_after.unwrap_or_default());
    }

    /// The producer was dropped.
    fn abandon(mut self) {
        for closed in self.shared.abandon() {
            self.resolutions.push(Resolution {
                id: closed.batch.id,
                outcome: closed.batch.outcome,
                result: Err(ProduceError::Dropped {
                    outcome_unknown: false,
                }),
            });
        }
        for lane in self.lanes.values_mut() {
            lane.abandon(&mut self.resolutions);
        }
        self.publish();
    }
}
