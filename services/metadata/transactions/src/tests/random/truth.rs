//! What is known to be true, from what is durable and from what clients were told.

use std::collections::BTreeMap;

use super::clients::{Ask, Instance, Request};
use super::*;

/// An id that is forgotten and used again counts from the beginning.
type Transaction = (u32, u64);

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) durable: Option<StoredTransaction>,
    era: u32,
    era_of: BTreeMap<ProducerId, u32>,
    /// Whom each producer was given to.
    given: BTreeMap<Producer, Instance>,
    /// The only one that may have anything done.
    rightful: Option<Instance>,
    decided: BTreeMap<Transaction, (Ending, Producer, BTreeSet<Participant>)>,
    /// The markers of each participant, in order.
    log: BTreeMap<Participant, Vec<(Transaction, Decision)>>,
    /// The last marker of a producer id at a participant.
    last: BTreeMap<(Participant, ProducerId), (u64, Producer, i32)>,
}

impl Truth {
    /// A state is durable; nothing that is decided is decided anew, and nobody's epoch goes back.
    pub(super) fn store(&mut self, after: &StoredTransaction) {
        let id = after.producer.id;
        if let Some(before) = self.durable.take() {
            if before.producer.id == id {
                assert!(before.producer.epoch <= after.producer.epoch, "back");
            } else {
                assert!(!self.era_of.contains_key(&id), "`{id}` is not new");
            }
            self.check_step(&before, after);
        } else {
            assert!(matches!(after.phase, Phase::Empty));
        }
        self.era_of.insert(id, self.era);
        if let Phase::Ending {
            ending,
            marker,
            missing,
        } = &after.phase
        {
            let key = (self.era, after.number);
            let new = (*ending, *marker, missing.clone());
            let (ending, marker, _) = self.decided.entry(key).or_insert(new.clone());
            assert_eq!((*ending, *marker), (new.0, new.1), "decided twice");
            assert!(marker.epoch <= after.producer.epoch || marker.id != id);
        }
        self.durable = Some(after.clone());
    }

    fn check_step(&self, before: &StoredTransaction, after: &StoredTransaction) {
        let key = (self.era, before.number);
        let is_marked = |participant: &Participant| {
            let log = self.log.get(participant);
            log.is_some_and(|log| log.iter().any(|(of, _)| *of == key))
        };
        match (&before.phase, &after.phase) {
            (Phase::Ongoing { participants }, Phase::Ongoing { participants: more }) => {
                assert!(participants.is_subset(more));
                assert_eq!(before.number, after.number);
            }
            (Phase::Ongoing { participants }, Phase::Ending { missing, .. }) => {
                assert_eq!(participants, missing);
                assert_eq!(before.number, after.number);
            }
            (Phase::Ending { missing, .. }, Phase::Ending { missing: less, .. }) => {
                assert!(missing.difference(less).all(is_marked));
                assert_eq!(before.number, after.number);
            }
            (
                Phase::Ending {
                    ending, missing, ..
                },
                Phase::Ended { ending: last },
            ) => {
                assert_eq!(ending, last);
                assert!(missing.iter().all(is_marked), "not everybody is told");
                assert_eq!(before.number, after.number);
            }
            (Phase::Empty | Phase::Ended { .. }, Phase::Ongoing { .. }) => {
                assert_eq!(before.number + 1, after.number);
            }
            (Phase::Empty | Phase::Ended { .. }, Phase::Empty | Phase::Ended { .. }) => {
                assert_eq!(before.number, after.number);
            }
            step => panic!("no such step: {step:?}"),
        }
    }

    /// The id is forgotten.
    pub(super) fn forget(&mut self) {
        let phase = self.durable.take().map(|before| before.phase);
        assert!(matches!(phase, Some(Phase::Empty | Phase::Ended { .. })));
        self.rightful = None;
        self.era += 1;
    }

    /// What a request has led to is durable: only who has the id has anything done.
    pub(super) fn answer(
        &mut self,
        request: &Request,
        answer: &Result<Option<Producer>, TransactionError>,
        was: Option<&StoredTransaction>,
    ) {
        let is_rightful = self.rightful == Some(request.from);
        match (request.ask, answer) {
            (Ask::Begin, Ok(_)) => self.rightful = Some(request.from),
            (Ask::GoOn, Ok(_)) => {
                assert!(is_rightful || was.is_none(), "a zombie goes on");
                self.rightful = Some(request.from);
            }
            (Ask::Begin | Ask::GoOn, Err(Concurrent)) => {
                let was_open = was.is_some_and(|was| was.state() == TransactionState::Ongoing);
                if was_open && !is_rightful {
                    assert_eq!(request.ask, Ask::Begin, "a zombie aborts");
                    self.rightful = None;
                }
            }
            (Ask::Add(_) | Ask::Verify(_) | Ask::End(_), Ok(_)) => {
                assert!(is_rightful, "a zombie is obeyed: {request:?}");
            }
            (_, Err(_)) => {}
        }
        if let Ok(Some(given)) = answer {
            let to = *self.given.entry(*given).or_insert(request.from);
            assert_eq!(to, request.from, "`{given}` was given to two");
            assert!(given.epoch.get() < i16::MAX);
        }
    }

    /// A client has heard that its transaction has ended.
    pub(super) fn ended(&self, told: &clients::Told, decision: Decision) {
        let (ending, _, participants) = &self.decided[&(self.era, told.number)];
        assert_eq!(ending.decision, decision, "not as it was told");
        assert!(told.participants.is_subset(participants), "not all of it");
    }

    /// A participant is asked for a marker. Returns whether it is there.
    pub(super) fn mark(&mut self, markers: &Markers, participant: &Participant) -> bool {
        let at = (participant.clone(), markers.producer.id);
        if let Some((number, producer, owner)) = self.last.get(&at) {
            if *number >= markers.number {
                return true;
            }
            if *owner > markers.coordinator_epoch {
                return false;
            }
            assert!(*producer <= markers.producer, "a marker of an older epoch");
        }
        let key = (self.era_of[&markers.producer.id], markers.number);
        let (ending, producer, participants) = &self.decided[&key];
        assert_eq!(ending.decision, markers.decision);
        assert_eq!(*producer, markers.producer);
        assert!(participants.contains(participant));
        let last = (markers.number, markers.producer, markers.coordinator_epoch);
        self.last.insert(at, last);
        let log = self.log.entry(participant.clone()).or_default();
        log.push((key, markers.decision));
        true
    }

    /// Each participant of each transaction has its marker, once, and nobody has another one.
    pub(super) fn finish(&self) {
        let mut wanted: BTreeMap<Participant, Vec<(Transaction, Decision)>> = BTreeMap::new();
        for (key, (ending, _, participants)) in &self.decided {
            for participant in participants {
                let log = wanted.entry(participant.clone()).or_default();
                log.push((*key, ending.decision));
            }
        }
        assert_eq!(self.log, wanted);
    }

    pub(super) fn number(&self) -> u64 {
        self.durable.as_ref().map_or(0, |durable| durable.number)
    }
}
