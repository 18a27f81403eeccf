//! Reads topics as a member of a group.

mod event;
mod link;
mod options;
mod take;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use tidelog_api::v1::subscribe_request::Kind;
use tidelog_api::{ApiError, v1};
use tidelog_env::clock::timeout;
use tidelog_env::{Backoff, MonoTime};
use tidelog_types::ErrorCode;

pub use event::{GroupEvent, GroupPartition, SubscribeError};
pub use options::{OffsetReset, SubscribeOptions};

use crate::consumer::Breaks;
use crate::{Client, ClientError};
use link::Link;

/// No attempt is begun that would have less time.
const ATTEMPT_MIN: Duration = Duration::from_millis(20);
/// The part of the window of which the service is told when the caller is done with it.
const CREDIT_PART: u64 = 4;

/// How far the caller has come in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The offset after what was handed out.
    next: u64,
    /// Whether more was handed out than is committed.
    is_new: bool,
}

/// Something for the caller, and the credit that it takes.
type Ready = (Result<GroupEvent, SubscribeError>, u64);

/// What the next call of the caller says to the service.
#[derive(Clone, Copy, Debug)]
enum Confirm {
    /// The caller has let go of partitions.
    Release(u64),
    /// The caller is done with this broker, which goes away.
    End,
}

/// Reads topics as a member of a group: the service spreads the partitions over the members, and keeps how far they have
/// come. Other members may be Kafka's consumers.
///
/// Each record is handed out at least once to some member. What was handed out and not committed comes again when a
/// partition goes to another member without a word, or when the stream breaks, which [`GroupEvent::Lost`] tells.
///
/// ```no_run
/// # async fn example(client: tidelog_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use tidelog_client::{GroupEvent, SubscribeOptions};
///
/// let mut consumer = client.subscribe("billing", &["orders"], SubscribeOptions::from_earliest());
/// loop {
///     match consumer.next().await? {
///         GroupEvent::Chunk { topic, chunk } => {
///             for record in chunk.records() {
///                 println!("{topic}/{}: {:?}", chunk.partition, record?);
///             }
///             consumer.commit().await?;
///         }
///         other => println!("{other:?}"),
///     }
/// }
/// # }
/// ```
pub struct GroupConsumer {
    client: Client,
    group: String,
    topics: Vec<String>,
    options: SubscribeOptions,
    /// Empty before the first stream stands.
    member_id: String,
    link: Option<Link>,
    positions: BTreeMap<GroupPartition, Position>,
    ready: VecDeque<Ready>,
    /// What the next call says, since the caller was told to let go.
    confirm: Option<Confirm>,
    /// The partitions that the caller lets go of by its next call.
    released: Vec<GroupPartition>,
    /// For those that the caller has not been told of yet, in their order.
    revoking: VecDeque<Confirm>,
    /// Partitions whose seek is not answered: what comes of them before is not for the caller.
    seeking: BTreeMap<GroupPartition, usize>,
    /// Credit of the chunk that the caller has.
    in_hand: u64,
    /// Credit to give back.
    owed: u64,
    /// Credit that was given beyond the window, for a batch that is larger, and is not given back.
    beyond: u64,
    commits: u64,
    backoff: Backoff,
    /// Since when a stream is being opened of which nothing has come yet.
    opening: Option<MonoTime>,
    breaks: Option<Breaks>,
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("member_id", &self.member_id)
            .field("positions", &self.positions)
            .finish_non_exhaustive()
    }
}

impl GroupConsumer {
    pub(crate) fn new(
        client: Client,
        group: &str,
        topics: Vec<String>,
        options: SubscribeOptions,
    ) -> Self {
        let backoff = options.backoff.unwrap_or(client.options().backoff).start();
        Self {
            client,
            group: group.to_owned(),
            topics,
            options,
            member_id: String::new(),
            link: None,
            positions: BTreeMap::new(),
            ready: VecDeque::new(),
            confirm: None,
            released: Vec::new(),
            revoking: VecDeque::new(),
            seeking: BTreeMap::new(),
            in_hand: 0,
            owed: 0,
            beyond: 0,
            commits: 0,
            backoff,
            opening: None,
            breaks: None,
        }
    }

    /// The member's id; empty before there was a stream.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// The partitions that the caller has, and the offset after what was handed out of each.
    pub fn positions(&self) -> impl Iterator<Item = (&GroupPartition, u64)> {
        let positions = self.positions.iter();
        positions.map(|(partition, position)| (partition, position.next))
    }

    /// The next event. It says that the caller is done with the one before: that it has let go of partitions that were
    /// taken away, and has room for more records. Cancel-safe.
    pub async fn next(&mut self) -> Result<GroupEvent, SubscribeError> {
        self.confirm();
        loop {
            if let Some((ready, bytes)) = self.ready.pop_front() {
                self.in_hand = bytes;
                self.note(&ready);
                return ready;
            }
            match self.receive().await {
                Ok(Some(message)) => {
                    self.take(message);
                }
                Ok(None) => self.on_end().await?,
                Err(error) => self.on_break(error).await?,
            }
        }
    }

    /// Commits everything that was handed out, and returns when that is durable.
    ///
    /// # Errors
    /// When some of it was not committed, such as that of a partition that another member has by now.
    pub async fn commit(&mut self) -> Result<(), SubscribeError> {
        let positions = self.positions.iter();
        let new = positions.filter(|(_, position)| position.is_new);
        let offsets = new.map(|(partition, position)| offset(partition, position.next));
        self.commit_offsets(offsets.collect()).await
    }

    /// Commits these offsets, each of the next record to read, and returns when they are durable. Retried while it makes
    /// sense.
    pub async fn commit_offsets(
        &mut self,
        mut offsets: Vec<v1::SubscribeOffset>,
    ) -> Result<(), SubscribeError> {
        let options = self.client.options().clone();
        let clock = options.env.clock.as_ref();
        let deadline = clock.now() + options.request_timeout;
        let mut backoff = options.backoff.start();
        let mut lost = Vec::new();
        while !offsets.is_empty() {
            let left = deadline.saturating_since(clock.now());
            let once = self.commit_once(&offsets);
            let Ok(failed) = timeout(clock, left, once).await else {
                return Err(ClientError::TimedOut {
                    endpoints: self.client.trouble().endpoints().to_owned(),
                    waited: options.request_timeout,
                    last: None,
                }
                .into());
            };
            let failed = failed?;
            let wait = backoff.next_wait(options.env.rng.as_ref());
            let left = deadline.saturating_since(clock.now());
            let again = wait.filter(|wait| *wait + ATTEMPT_MIN < left);
            let (again_later, for_good): (Vec<_>, Vec<_>) =
                failed.into_iter().partition(|(_, error)| {
                    again.is_some() && error.is_retriable() && error.code != ErrorCode::Fenced
                });
            lost.extend(for_good);
            let left_over: BTreeSet<GroupPartition> =
                again_later.into_iter().map(|(at, _)| at).collect();
            offsets
                .retain(|offset| left_over.contains(&partition(&offset.topic, offset.partition)));
            if let Some(wait) = again.filter(|_| !offsets.is_empty()) {
                clock.sleep(wait).await;
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        Err(SubscribeError::NotCommitted { failed: lost })
    }

    /// Says what to commit, and takes what comes until that is answered.
    async fn commit_once(
        &mut self,
        offsets: &[v1::SubscribeOffset],
    ) -> Result<Vec<(GroupPartition, ApiError)>, SubscribeError> {
        self.commits += 1;
        let correlation_id = self.commits;
        let Some(link) = &mut self.link else {
            return Err(SubscribeError::Broken);
        };
        link.say(Kind::Commit(v1::SubscribeCommit {
            correlation_id,
            offsets: offsets.to_vec(),
        }));
        loop {
            let committed = match self.receive().await {
                Ok(Some(message)) => self.take(message),
                Ok(None) => {
                    self.lose();
                    return Err(SubscribeError::Broken);
                }
                Err(error) => {
                    tracing::debug!(%error, "stream lost before a commit was answered");
                    self.lose();
                    return Err(SubscribeError::Broken);
                }
            };
            let Some(committed) = committed.filter(|it| it.correlation_id == correlation_id) else {
                continue;
            };
            let failed = committed.failed.into_iter().map(|failed| {
                let error = ApiError::from_proto(failed.error.unwrap_or_default());
                (partition(&failed.topic, failed.partition), error)
            });
            let failed: Vec<_> = failed.collect();
            self.note_committed(offsets, &failed);
            return Ok(failed);
        }
    }

    fn note_committed(
        &mut self,
        offsets: &[v1::SubscribeOffset],
        failed: &[(GroupPartition, ApiError)],
    ) {
        for offset in offsets {
            let at = partition(&offset.topic, offset.partition);
            let has_failed = failed.iter().any(|(failed, _)| *failed == at);
            if let Some(position) = self.positions.get_mut(&at)
                && !has_failed
            {
                position.is_new &= position.next > offset.offset;
            }
        }
    }

    /// Goes on reading a partition at another offset. Nothing is committed.
    pub fn seek(&mut self, topic: &str, index: u32, offset: u64) {
        let at = partition(topic, index);
        let (Some(position), Some(link)) = (self.positions.get_mut(&at), &mut self.link) else {
            return;
        };
        position.next = offset;
        link.say(Kind::Seek(v1::SubscribeSeek {
            topic: topic.to_owned(),
            partition: index,
            offset,
        }));
        self.drop_ready(&BTreeSet::from([at.clone()]));
        *self.seeking.entry(at).or_default() += 1;
    }

    /// Leaves the group, once what was said before is done.
    pub async fn leave(mut self) -> Result<(), SubscribeError> {
        self.confirm();
        let Some(mut link) = self.link.take() else {
            return Ok(());
        };
        link.end();
        let options = self.client.options();
        let clock = options.env.clock.as_ref();
        let left = async {
            while link.next(&self.client).await?.is_some() {}
            Ok(())
        };
        // Who cannot say so leaves with the stream.
        let left = timeout(clock, options.request_timeout, left).await;
        left.unwrap_or(Ok(()))
            .map_err(|error: ApiError| ClientError::Api(error).into())
    }

    /// The caller is done with the last event.
    fn confirm(&mut self) {
        self.owed += std::mem::take(&mut self.in_hand);
        let paid = self.owed.min(self.beyond);
        self.owed -= paid;
        self.beyond -= paid;
        for released in std::mem::take(&mut self.released) {
            self.positions.remove(&released);
        }
        let confirm = self.confirm.take();
        let Some(link) = &mut self.link else {
            return;
        };
        match confirm {
            Some(Confirm::Release(revocation_id)) => {
                link.say(Kind::Release(v1::SubscribeRelease { revocation_id }));
            }
            Some(Confirm::End) => link.end(),
            None => {}
        }
        if self.owed >= self.options.window_bytes / CREDIT_PART {
            let bytes = Some(std::mem::take(&mut self.owed));
            let records = None;
            link.say(Kind::Credit(v1::SubscribeCredit { records, bytes }));
        }
    }

    async fn receive(&mut self) -> Result<Option<v1::SubscribeResponse>, ApiError> {
        if self.link.is_none() {
            self.opening = Some(self.client.options().env.clock.now());
            let mut join = self
                .options
                .join(&self.group, &self.topics, &self.member_id);
            join.token = self.client.token().get();
            self.link = Some(Link::open(&self.client, join).await?);
        }
        // Opened just above.
        let Some(link) = &mut self.link else {
            return Ok(None);
        };
        link.next(&self.client).await
    }

    /// The service has ended the stream in order.
    async fn on_end(&mut self) -> Result<(), SubscribeError> {
        let error = ApiError::new(ErrorCode::Unavailable, "the service ended the stream");
        self.on_break(error).await
    }

    /// Waits before the next attempt, or gives up.
    async fn on_break(&mut self, error: ApiError) -> Result<(), SubscribeError> {
        self.lose();
        if error.code == ErrorCode::Fenced {
            // The place is another's.
            self.member_id.clear();
        }
        if !(error.is_retriable() || error.outcome_unknown) {
            return Err(ClientError::Api(error).into());
        }
        let options = self.client.options();
        let (clock, patience) = (&options.env.clock, options.request_timeout);
        let now = clock.now();
        let began = self.opening.take().unwrap_or(now);
        let breaks = Breaks::after(self.breaks.take(), began, now, patience, None);
        let left = breaks.deadline.saturating_since(now);
        let wait = self.backoff.next_wait(options.env.rng.as_ref());
        let Some(wait) = wait.filter(|_| left > ATTEMPT_MIN) else {
            self.backoff = self.policy().start();
            return Err(ClientError::Api(error).into());
        };
        self.client.trouble().failed(now, &error);
        self.breaks = Some(breaks);
        tracing::debug!(group = self.group, %error, "stream lost, subscribing again");
        let wait = wait
            .max(error.retry_after.unwrap_or_default())
            .min(left / 2);
        clock.sleep(wait).await;
        Ok(())
    }

    fn policy(&self) -> tidelog_env::BackoffPolicy {
        self.options
            .backoff
            .unwrap_or(self.client.options().backoff)
    }
}

fn partition(topic: &str, partition: u32) -> GroupPartition {
    GroupPartition {
        topic: topic.to_owned(),
        partition,
    }
}

fn offset(at: &GroupPartition, offset: u64) -> v1::SubscribeOffset {
    v1::SubscribeOffset {
        topic: at.topic.clone(),
        partition: at.partition,
        offset,
        metadata: String::new(),
    }
}
