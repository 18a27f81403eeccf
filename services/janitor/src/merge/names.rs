//! The names of merged segments, and up to where they are done with.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata_api::LogError;
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use super::Writers;

/// So many names that are done with, the floor is raised over them. Whoever looks for orphans behind the floor of a
/// writer that has died looks at a multiple of that.
pub(crate) const DONE_MAX: u64 = 8;

/// Gives out names, each once.
#[derive(Debug)]
pub(crate) struct Names {
    writers: Arc<dyn Writers>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writer: Incarnation,
    next: u64,
    in_use: BTreeSet<u64>,
    /// As the writers' keeper knows it.
    floor: u64,
}

impl State {
    const fn new(writer: Incarnation) -> Self {
        Self {
            writer,
            next: 1,
            in_use: BTreeSet::new(),
            floor: 1,
        }
    }

    /// Nothing below it is in use.
    fn done_below(&self) -> u64 {
        self.in_use.first().copied().unwrap_or(self.next)
    }
}

/// A name that may be stored and swapped in until this is dropped.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) segment: SegmentName,
    names: Arc<Names>,
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut state = self.names.state.lock();
        if state.writer == self.segment.incarnation {
            state.in_use.remove(&self.segment.sequence.get());
        }
    }
}

impl Names {
    pub(super) const fn new(writers: Arc<dyn Writers>, writer: Incarnation) -> Self {
        Self {
            writers,
            state: Mutex::new(State::new(writer)),
        }
    }

    /// A name that nobody has had.
    pub(super) fn take(self: &Arc<Self>) -> Name {
        let mut state = self.state.lock();
        let sequence = state.next;
        state.next += 1;
        state.in_use.insert(sequence);
        Name {
            segment: SegmentName::new(state.writer, SegmentSequence::new(sequence)),
            names: Arc::clone(self),
        }
    }

    /// How many names are done with and still above the floor.
    pub(crate) fn done(&self) -> u64 {
        let state = self.state.lock();
        state.done_below().saturating_sub(state.floor)
    }

    /// Raises the floor over all names that are done with. If that does not come about, a later time does it.
    pub(crate) async fn raise(&self) {
        let (writer, below) = {
            let state = self.state.lock();
            if state.done_below() <= state.floor {
                return;
            }
            (state.writer, state.done_below())
        };
        let raised = self
            .writers
            .raise_floor(writer, SegmentSequence::new(below));
        match raised.await {
            Ok(()) => {
                let mut state = self.state.lock();
                if state.writer == writer {
                    state.floor = state.floor.max(below);
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the floor of the writer of merged segments stays");
            }
        }
    }

    /// Goes on as another writer, if `ended` is the one that gives names out: nothing more is taken under it.
    pub(crate) async fn renew(&self, ended: Incarnation) -> Result<(), LogError> {
        if self.state.lock().writer != ended {
            return Ok(());
        }
        let writer = self.writers.register_writer().await?;
        tracing::info!(
            ended = ended.get(),
            writer = writer.get(),
            "merged segments have another writer from now on"
        );
        let mut state = self.state.lock();
        if state.writer == ended {
            *state = State::new(writer);
        }
        Ok(())
    }
}
