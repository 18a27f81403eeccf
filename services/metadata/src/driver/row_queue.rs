//! Rows on their way to the sequencer: few messages at a time, each with as much as is written together. So a burst of
//! small changes of many state machines is a few transactions, and the queue of the sequencer is left to others.
//!
//! Rows become durable in the order in which they were put here. When some are not, none of those behind them are, and
//! everybody who has some here reads again what is stored.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidelog_env::Clock;
use tidelog_metadata_api::CommitError;

use super::{Hold, Memory};
use crate::sequencer::{GROUP_ROWS_MESSAGE_BYTES_MAX, GroupRows, Sequencer, group_rows_bytes};

/// Messages that the sequencer has at a time: one is on its way to the store, the next one gathers.
const OUTSTANDING_MAX: usize = 2;
/// When the sequencer has no room it is asked again so soon.
const PAUSE: Duration = Duration::from_millis(10);

/// Rows that wait.
#[derive(Debug)]
struct Queued {
    rows: GroupRows,
    bytes: usize,
    /// With these rows everything up to this write is there; none if they are the middle of one.
    up_to: Option<u64>,
    /// Their part of the memory.
    holds: Vec<Hold>,
}

/// What has become of something that was sent.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Rows, up to a write if they are not the middle of one.
    Written {
        up_to: Option<u64>,
        result: Result<(), CommitError>,
    },
    /// The sequencer may have room again.
    Paused,
}

/// Something that was sent, to be waited for.
pub(crate) type Sending = BoxFuture<'static, Sent>;

/// Whose a write is.
#[derive(Debug)]
pub(crate) struct Owner<K> {
    /// The number of the write.
    pub(crate) write: u64,
    /// The name of the state machine.
    pub(crate) name: K,
    /// Tells it from others of the same name, before and after.
    pub(crate) instance: u64,
}

/// The rows on their way of state machines that have names of this type.
#[derive(Debug)]
pub(crate) struct RowQueue<K> {
    last: u64,
    queue: VecDeque<Queued>,
    /// Whose each write is, oldest first.
    owners: VecDeque<Owner<K>>,
    outstanding: usize,
    is_pausing: bool,
}

impl<K> Default for RowQueue<K> {
    fn default() -> Self {
        Self {
            last: 0,
            queue: VecDeque::new(),
            owners: VecDeque::new(),
            outstanding: 0,
            is_pausing: false,
        }
    }
}

impl<K> RowQueue<K> {
    /// Puts the messages of one write in their places. Gives its number.
    pub(crate) fn push(
        &mut self,
        name: K,
        instance: u64,
        messages: Vec<GroupRows>,
        memory: &Memory,
    ) -> u64 {
        self.last += 1;
        let count = messages.len();
        for (index, rows) in messages.into_iter().enumerate() {
            let bytes = group_rows_bytes(&rows);
            self.queue.push_back(Queued {
                rows,
                bytes,
                up_to: (index + 1 == count).then_some(self.last),
                holds: vec![memory.hold(bytes)],
            });
        }
        self.owners.push_back(Owner {
            write: self.last,
            name,
            instance,
        });
        self.last
    }

    /// As much from the front as is written together.
    fn pop(&mut self) -> Option<Queued> {
        let mut first = self.queue.pop_front()?;
        while let Some(next) = self.queue.front()
            && first.bytes + next.bytes <= GROUP_ROWS_MESSAGE_BYTES_MAX
        {
            let Some(next) = self.queue.pop_front() else {
                break;
            };
            first.rows.extend(next.rows);
            first.bytes += next.bytes;
            first.up_to = next.up_to.or(first.up_to);
            first.holds.extend(next.holds);
        }
        Some(first)
    }

    /// Hands over what the sequencer takes now. Gives what is to be waited for.
    pub(crate) fn pump(&mut self, sequencer: &Sequencer, clock: &dyn Clock) -> Vec<Sending> {
        let mut sent: Vec<Sending> = Vec::new();
        while self.outstanding < OUTSTANDING_MAX && !self.is_pausing {
            let Some(message) = self.pop() else {
                break;
            };
            let up_to = message.up_to;
            match sequencer.write_rows(message.rows.clone()) {
                Ok(write) => {
                    self.outstanding += 1;
                    let holds = message.holds;
                    let writing = async move {
                        let result = write.await;
                        drop(holds);
                        Sent::Written { up_to, result }
                    };
                    sent.push(writing.boxed());
                }
                Err(CommitError::Unavailable { .. }) => {
                    // It has no room: that of what it has will be free, and if it has nothing of ours, soon.
                    self.queue.push_front(message);
                    if self.outstanding == 0 {
                        self.is_pausing = true;
                        let pause = clock.sleep(PAUSE);
                        sent.push(pause.map(|()| Sent::Paused).boxed());
                    }
                    break;
                }
                Err(error) => {
                    self.outstanding += 1;
                    let result = Err(error);
                    sent.push(futures::future::ready(Sent::Written { up_to, result }).boxed());
                    break;
                }
            }
        }
        sent
    }

    /// The sequencer may have room again: it is to be [pumped](Self::pump).
    pub(crate) const fn paused(&mut self) {
        self.is_pausing = false;
    }

    /// Rows are durable. Gives whose writes have come to their end, oldest first.
    pub(crate) fn written(&mut self, up_to: Option<u64>) -> Vec<Owner<K>> {
        self.outstanding -= 1;
        let is_done = |owner: &Owner<K>| up_to.is_some_and(|up_to| owner.write <= up_to);
        let done = self
            .owners
            .iter()
            .take_while(|owner| is_done(owner))
            .count();
        self.owners.drain(..done).collect()
    }

    /// Rows may not be durable. Nothing is on its way any more; gives whose writes were.
    pub(crate) fn failed(&mut self) -> VecDeque<Owner<K>> {
        self.outstanding -= 1;
        self.queue.clear();
        std::mem::take(&mut self.owners)
    }
}
