//! What takes part in a transaction: partitions, and groups that offsets are committed for (KIP-447).

use std::collections::BTreeSet;

use tidelog_metadata_api::{Participant, ProducerIdentity, TransactionError};

use super::Coordinator;
use crate::{Limits, Now, Outcome, Phase};

impl Coordinator {
    /// Partitions and groups join the transaction, which begins with the first of them: all of these or none.
    /// Asked for by the producer, or by whoever takes its records in and finds that they do not take part yet
    /// (KIP-890). Only when the answer is given may anything be sent to them.
    pub fn add(
        &mut self,
        producer: ProducerIdentity,
        added: &BTreeSet<Participant>,
        now: Now,
    ) -> Outcome<()> {
        match self.try_add(producer, added, now) {
            Ok(true) => Outcome::stored(Ok(()), None),
            Ok(false) => Outcome::of(Ok(())),
            Err(error) => Outcome::of(Err(error)),
        }
    }

    /// Returns whether anything has changed.
    fn try_add(
        &mut self,
        producer: ProducerIdentity,
        added: &BTreeSet<Participant>,
        now: Now,
    ) -> Result<bool, TransactionError> {
        let limits = self.limits;
        let state = self.known()?;
        state.must_be_current(producer)?;
        match &mut state.phase {
            Phase::Ending { .. } => return Err(TransactionError::Concurrent),
            Phase::Ongoing { participants } => {
                let new = added.difference(participants);
                let new: Vec<Participant> = new.cloned().collect();
                if new.is_empty() {
                    return Ok(false);
                }
                check_size(limits, participants.iter().chain(&new))?;
                participants.extend(new);
                state.changed_at = now.wall;
            }
            Phase::Empty | Phase::Ended { .. } => {
                if added.is_empty() {
                    return Ok(false);
                }
                check_size(limits, added.iter())?;
                // The producer knows who it is, so an earlier answer has come.
                state.previous = None;
                state.number = state.number.saturating_add(1);
                state.started_at = now.wall;
                state.changed_at = now.wall;
                state.phase = Phase::Ongoing {
                    participants: added.clone(),
                };
                self.set_wake(now);
            }
        }
        Ok(true)
    }

    /// Which of these do not take part in the producer's open transaction (KIP-890): nothing may be sent to them.
    /// The others may be sent to, as long as no marker comes between.
    pub fn verify(
        &self,
        producer: ProducerIdentity,
        asked: &BTreeSet<Participant>,
    ) -> Result<BTreeSet<Participant>, TransactionError> {
        if self.is_forgotten {
            return Err(TransactionError::Concurrent);
        }
        let state = self.state.as_ref();
        let state = state.ok_or(TransactionError::UnknownProducer)?;
        state.must_be_current(producer)?;
        match &state.phase {
            Phase::Ending { .. } => Err(TransactionError::Concurrent),
            Phase::Ongoing { participants } => {
                Ok(asked.difference(participants).cloned().collect())
            }
            Phase::Empty | Phase::Ended { .. } => Ok(asked.clone()),
        }
    }
}

fn check_size<'a>(
    limits: Limits,
    participants: impl Iterator<Item = &'a Participant>,
) -> Result<(), TransactionError> {
    let (mut partitions, mut groups) = (0_usize, 0_usize);
    for participant in participants {
        match participant {
            Participant::Partition(_) => partitions += 1,
            Participant::Group(_) => groups += 1,
        }
    }
    if partitions > limits.partitions_max || groups > limits.groups_max {
        return Err(TransactionError::TooLarge);
    }
    Ok(())
}
