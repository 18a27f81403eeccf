//! What coordinators of groups and of transactional ids have in common: each is one task beside the sequencer of a
//! shard, which drives state machines by name, stores what they say through the sequencer, and holds answers back
//! until that is durable.
//!
//! ```text
//!   request --> mailbox --> state machine --> rows --> the sequencer's group transaction
//!                 ^              |                        |
//!   time ---------+              +--> answers, held until <+ durable
//! ```

mod answers;
mod held;
mod memory;
mod row_queue;
mod sweep;

pub(crate) use answers::Answers;
pub(crate) use held::Held;
pub(crate) use memory::{Hold, KEPT_SHARE, Memory};
pub(crate) use row_queue::{Owner, RowQueue, Sent};
pub(crate) use sweep::{SWEEP_PAGE, SWEEP_RETRY, Sweep};
