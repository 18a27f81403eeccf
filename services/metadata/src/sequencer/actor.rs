//! The task that owns a shard.

use std::sync::Arc;

use parking_lot::RwLock;
use tidelog_env::{CancellationToken, MonoTime};
use tidelog_metadata_api::{BrokenOrders, ReadToken};
use tidelog_store::Transaction;
use tidelog_types::{GroupNumber, ShardId};
use tokio::sync::{mpsc, watch};

use super::SequencerParts;
use super::checkpoint::{CheckpointDue, CheckpointPass};
use super::error::{Next, SequencerError};
use super::floors::Floors;
use super::group::{Decided, Group};
use super::inlined::Inlined;
use super::lately::Lately;
use super::lease::{Claim, Lease};
use super::load::load;
use super::merging::{Again, MergeMessage, MergeQueue, Sparse, Unmerged};
use super::message::{Answer, Message, decide};
use super::needed::{Known, read_needed, recall};
use super::own_receipts::OwnReceipts;
use super::purge::Purge;
use super::reclaim::Reclaim;
use super::retention::Retention;
use super::state::ShardState;
use super::tidy::Tidy;
use super::view::ShardView;

/// Members of one group.
const GROUP_MEMBERS_MAX: usize = 256;
/// Bytes of manifests in one group. Their rows and receipts together stay below the store's 1 MB.
const GROUP_BYTES_MAX: usize = 320 * 1024;

/// Partitions with something to take off the books that may wait, also where few are kept in memory.
const RECLAIMED_MIN: usize = 1_024;

/// The task must end. The reason was logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Another owns the shard.
    pub(super) fenced: bool,
}

/// How a sequencer came to its end. What waited was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has given the shard back.
    Released,
    /// The process ends; the shard is still its own.
    Drained,
    /// Another owns the shard.
    Lost,
    /// The store or its contents are unusable.
    Broken,
}

/// What a sequencer shares with its handle.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) view: Arc<RwLock<ShardView>>,
    pub(super) shown: watch::Sender<GroupNumber>,
    pub(super) unmerged: watch::Sender<Unmerged>,
    pub(super) again: Arc<Again>,
    pub(super) sparse: Arc<Sparse>,
    /// Cancelled when the shard is to be given back.
    pub(super) release: CancellationToken,
}

/// A group as it was sent to the store.
#[derive(Debug)]
struct Sent {
    decided: Decided,
    answers: Vec<Answer>,
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(super) parts: SequencerParts,
    pub(super) lease: Lease,
    pub(super) state: ShardState,
    orders: BrokenOrders,
    pub(super) view: Arc<RwLock<ShardView>>,
    pub(super) shown: watch::Sender<GroupNumber>,
    pub(super) due: CheckpointDue,
    pub(super) pass: Option<CheckpointPass>,
    pub(super) floors: Floors,
    pub(super) own_receipts: OwnReceipts,
    pub(super) lately: Lately,
    pub(super) tidy: Tidy,
    pub(super) retention: Retention,
    pub(super) reclaim: Reclaim,
    pub(super) purge: Purge,
    pub(super) merges: MergeQueue,
    /// What is in the tail and not merged, and who is told of it.
    pub(super) unmerged: Unmerged,
    /// What lies in the store and is not merged.
    pub(super) inlined: Inlined,
    pub(super) unmerged_shown: watch::Sender<Unmerged>,
    /// What is merged and small.
    pub(super) again: Arc<Again>,
    /// Of what is merged little is named.
    pub(super) sparse: Arc<Sparse>,
    /// Whether the last step between groups was one of retention.
    pub(super) has_kept: bool,
    /// Steps of checkpoints since rows were last looked at that nobody needs.
    pub(super) checkpoint_steps: u32,
    pub(super) drained: CancellationToken,
    /// Cancelled when the shard is to be given back.
    release: CancellationToken,
    /// Whether it is about to be.
    pub(super) is_leaving: bool,
}

impl Actor {
    /// Takes the shard and loads it.
    pub(crate) async fn start(
        parts: SequencerParts,
        shard: ShardId,
        claim: Claim,
        outside: Outside,
    ) -> Result<Self, SequencerError> {
        let Outside {
            view,
            shown,
            unmerged: unmerged_shown,
            again,
            sparse,
            release,
        } = outside;
        let store = parts.store.as_ref();
        let (owner, generation) = (parts.owner, &parts.generation);
        let taken = Lease::take(store, &parts.env, generation, shard, owner, claim);
        let (lease, since) = taken.await?;
        let state = ShardState::new(parts.keys, parts.settings.producer_expiry);
        let (state, loaded) = load(store, state, shard, since).await?;
        tracing::info!(
            shard = shard.get(),
            epoch = lease.epoch,
            group = state.group.get(),
            extents = loaded.extent_count(),
            "took over shard"
        );
        let mut due = CheckpointDue::default();
        if state.has_changes() {
            due.group(0, parts.env.clock.now());
        }
        parts.metrics.held.report(shard, &loaded, &state);
        *view.write() = loaded;
        shown.send_replace(state.group);
        let drained = parts.env.supervisor.token();
        let floors = Floors::new(parts.settings.floor_step, parts.settings.floor_age);
        let (settings, now) = (&parts.settings, parts.env.clock.now());
        let most = settings.partitions_in_memory;
        let retention = Retention::new(settings.retention_interval, most, parts.is_shared, now);
        let reclaim = Reclaim::new(most.max(RECLAIMED_MIN), now);
        let purge = Purge::new(now);
        let kept = now + settings.tail_kept;
        let merges = MergeQueue::new(state.merged, kept);
        let unmerged = Unmerged::loaded(&state);
        let actor = Self {
            parts,
            lease,
            state,
            orders: BrokenOrders::default(),
            view,
            shown,
            due,
            pass: None,
            floors,
            own_receipts: OwnReceipts::default(),
            lately: Lately::default(),
            tidy: Tidy::default(),
            retention,
            reclaim,
            purge,
            merges,
            unmerged,
            inlined: Inlined::default(),
            unmerged_shown,
            again,
            sparse,
            has_kept: false,
            checkpoint_steps: 0,
            drained,
            release,
            is_leaving: false,
        };
        actor.publish_unmerged();
        Ok(actor)
    }

    /// The epoch of the lease.
    pub(super) const fn epoch(&self) -> u64 {
        self.lease.epoch
    }

    /// Works until the process drains, the shard is lost or somebody asks for it.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut merges: mpsc::Receiver<MergeMessage>,
    ) -> End {
        let end = match self.work(&mut messages, &mut merges).await {
            Ok(()) if self.is_leaving => End::Released,
            Ok(()) => End::Drained,
            Err(Ended { fenced: true }) => End::Lost,
            Err(Ended { fenced: false }) => End::Broken,
        };
        self.purge_ends();
        messages.close();
        // Who merges hears of it by the dropped replies.
        drop(merges);
        let has_gone = matches!(end, End::Released | End::Lost);
        while let Ok(message) = messages.try_recv() {
            message.give_up(has_gone, "the sequencer has ended");
        }
        if end == End::Released {
            self.give_back().await
        } else {
            end
        }
    }

    /// Ends well when the process drains or the shard is to be given back, and badly when the shard or the
    /// store is lost.
    async fn work(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        merges: &mut mpsc::Receiver<MergeMessage>,
    ) -> Result<(), Ended> {
        let mut topics = self.parts.catalogue.listen();
        loop {
            if self.release.is_cancelled() && self.is_ready_to_leave() {
                return Ok(());
            }
            let first = tokio::select! {
                biased;
                message = messages.recv() => message,
                () = self.drained.cancelled() => None,
                () = self.release.cancelled(), if !self.is_leaving => continue,
                () = self.checkpoint_time() => {
                    self.checkpoint_step().await?;
                    self.report();
                    continue;
                }
                changed = topics.recv() => {
                    self.topic_changed(&changed);
                    continue;
                }
                Some(message) = merges.recv() => {
                    self.merge_step(message).await?;
                    self.report();
                    continue;
                }
                () = self.floor_time() => {
                    self.floor_step().await;
                    continue;
                }
                () = self.keeping_time() => {
                    self.keeping_step().await?;
                    self.report();
                    continue;
                }
            };
            let Some(first) = first else {
                self.is_leaving = false;
                return Ok(());
            };
            let group = gather(first, messages);
            self.run_group(group).await?;
            if self.is_checkpoint_turn(!merges.is_empty()) {
                self.checkpoint_step().await?;
            } else if let Some(message) = self.merges.turn(merges) {
                self.merge_step(message).await?;
            } else if !self.trim_step().await? {
                self.tidy_step().await?;
            }
            self.make_room().await?;
            self.report();
        }
    }

    // ----- groups ---------------------------------------------------------------------------------

    /// Commits a group, in more than one transaction if its rows need that.
    pub(super) async fn run_group(&mut self, mut group: Vec<Message>) -> Result<(), Ended> {
        while !group.is_empty() {
            group = self.run_transaction(group).await?;
        }
        Ok(())
    }

    /// Commits as many members as one transaction takes, answers them and gives the others back.
    async fn run_transaction(&mut self, group: Vec<Message>) -> Result<Vec<Message>, Ended> {
        let started = self.parts.env.clock.now();
        let mut backoff = self.parts.settings.retry.start();
        loop {
            let mut sent = None;
            let Err(error) = self.try_group(&group, &mut sent).await else {
                return Ok(self.finish(group, sent, true, started));
            };
            self.parts.metrics.group_failures.inc();
            self.warn("group was not committed", &error);
            let may_pass = matches!(error.next(), Next::Wait | Next::Recover);
            let wait = backoff.next_wait(self.parts.env.rng.as_ref());
            let (true, Some(wait), false) = (may_pass, wait, self.drained.is_cancelled()) else {
                return Err(self.end(group, &error));
            };
            self.parts.env.clock.sleep(wait).await;
            match self.recover_patiently().await {
                Ok(true) => return Ok(self.finish(group, sent, false, started)),
                Ok(false) => {}
                Err(error) => return Err(self.end(group, &error)),
            }
        }
    }

    /// Decides and commits. What is sent to the store is left in `sent`, in case it lands although the
    /// store says otherwise.
    async fn try_group(
        &mut self,
        group: &[Message],
        sent: &mut Option<Sent>,
    ) -> Result<(), SequencerError> {
        let store = Arc::clone(&self.parts.store);
        let before = (&self.own_receipts, &self.lately);
        let now = self.parts.env.clock.now();
        let recalled = recall(store.as_ref(), &self.state, &self.lease, before, group, now)?;
        if let Some((transaction, known)) = recalled {
            match self.commit_group(transaction, known, group, sent).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => {}
                Err(error) if error.left_no_trace() => {}
                Err(error) => return Err(error),
            }
            // Something has changed, or the answers need a look at the store.
            self.lately.forget();
            *sent = None;
        }
        let mut transaction = store.begin().await?;
        let (state, receipts) = (&mut self.state, &mut self.own_receipts);
        let needed = read_needed(state, &self.lease, receipts, transaction.as_mut(), group);
        let known = needed.await?;
        let committed = self.commit_group(transaction, known, group, sent).await?;
        let answered = sent.as_ref().map_or(0, |sent| sent.answers.len());
        let answered = group.iter().take(answered);
        if committed.is_none() && answered.into_iter().any(Message::is_linearizable) {
            // There is nothing to write, but only a durable write shows that nobody has taken over.
            self.lately.forget();
            self.lease.touch(store.as_ref()).await?;
        }
        Ok(())
    }

    /// Decides, and commits if there is something to write; `None` if not.
    async fn commit_group(
        &mut self,
        mut transaction: Box<dyn Transaction>,
        mut known: Known,
        group: &[Message],
        sent: &mut Option<Sent>,
    ) -> Result<Option<()>, SequencerError> {
        let shard = self.lease.shard;
        let now = self.parts.env.clock.wall();
        known.overload = self.overload(now);
        let inline_max = self.parts.settings.inline_bytes_max;
        self.inlined.merged(self.state.merged);
        known.inline_room = self.inlined.room(inline_max, self.parts.env.clock.now());
        let mut deciding = Group::new(&self.state, &self.orders, now);
        let mut answers = Vec::with_capacity(group.len());
        for message in group {
            if deciding.is_full() {
                break;
            }
            answers.push(decide(&mut deciding, &known, shard, message));
        }
        let decided = deciding.finish();
        for (key, value) in &decided.rows {
            transaction.put(key.clone(), value.clone());
        }
        for (key, value) in &decided.group_rows {
            match value {
                Some(value) => transaction.put(key.clone(), value.clone()),
                None => transaction.delete(key.clone()),
            }
        }
        let writes = !decided.rows.is_empty() || !decided.group_rows.is_empty();
        *sent = Some(Sent { decided, answers });
        if !writes {
            return Ok(None);
        }
        let version = transaction.commit().await?;
        let now = self.parts.env.clock.now();
        self.lately.committed(version, now, &known);
        Ok(Some(()))
    }

    /// Applies a durable group, shows it, answers its members and gives back those that had no room.
    /// After a recovery the state has been read anew and is not to be changed again.
    fn finish(
        &mut self,
        mut group: Vec<Message>,
        sent: Option<Sent>,
        apply: bool,
        started: MonoTime,
    ) -> Vec<Message> {
        let Some(Sent { decided, answers }) = sent else {
            // Nothing of this attempt was sent, so that all is to be decided, against what was read.
            return group;
        };
        let rest = group.split_off(answers.len());
        let now = self.parts.env.clock.now();
        self.parts.metrics.observe_group(
            self.lease.shard,
            &decided,
            &answers,
            group.len(),
            now - started,
        );
        for (key, reason) in &decided.broken {
            self.orders.insert(*key, reason.clone());
        }
        if !decided.rows.is_empty() {
            let entries = decided.manifests + decided.markers.entries;
            self.due.group(entries, now);
            let (bytes, segments) = (decided.inline_bytes, decided.inline_segments);
            self.inlined.committed(decided.group, bytes, segments, now);
            let advances = self.show(&decided, apply);
            if apply {
                self.apply(&decided);
            }
            self.tell(decided.group, advances);
            if decided.has_dying {
                self.parts.deletions.tell();
            }
        }
        let token = ReadToken {
            generation: self.parts.generation.number(),
            shard: self.lease.shard,
            group: self.state.group,
        };
        for (message, answer) in group.into_iter().zip(answers) {
            self.floors.note(&message, &answer, now);
            self.own_receipts.note(&message, &answer);
            message.reply(answer, token);
        }
        rest
    }
}

/// Takes what waits in the mailbox into one group, up to its limits.
fn gather(first: Message, messages: &mut mpsc::Receiver<Message>) -> Vec<Message> {
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(message) = messages.try_recv() else {
            break;
        };
        bytes += message.bytes();
        group.push(message);
    }
    group
}
