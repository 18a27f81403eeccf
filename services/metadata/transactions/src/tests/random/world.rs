//! An owner, what it has on its way to the store, and messages on their way.

use std::collections::VecDeque;

use super::clients::{Ask, Client, Request, Told, Waits, participant};
use super::truth::Truth;
use super::*;

type Answer = Result<Option<Producer>, TransactionError>;

/// What follows from an event when all before it is durable.
struct Turn {
    store: Option<StoredTransaction>,
    forget: bool,
    markers: Option<Markers>,
    /// To a client that waits for it, or to nobody.
    answer: Option<(Request, Answer, bool)>,
}

pub(super) struct Play {
    now: Now,
    owner: Coordinator,
    owner_epoch: i32,
    turns: VecDeque<Turn>,
    truth: Truth,
    clients: Vec<Client>,
    /// All requests that were ever sent.
    sent: Vec<Request>,
    /// Markers on their way.
    markers: Vec<Markers>,
    next_id: i64,
}

impl Play {
    /// An id that nobody has used, or one that is at an epoch.
    pub(super) fn new(epoch: Option<i16>) -> Self {
        let now = World::new().now;
        let mut play = Self {
            now,
            owner: Coordinator::new(Limits::default(), 0),
            owner_epoch: 0,
            turns: VecDeque::new(),
            truth: Truth::default(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            sent: Vec::new(),
            markers: Vec::new(),
            next_id: 100,
        };
        if let Some(epoch) = epoch {
            let stored = StoredTransaction {
                producer: producer(99, epoch),
                previous: None,
                timeout: TIMEOUT,
                number: 0,
                started_at: Timestamp::NONE,
                changed_at: now.wall,
                phase: Phase::Empty,
            };
            play.truth.store(&stored);
            play.fail(0);
        }
        play
    }

    pub(super) fn event(&mut self, event: &Event) {
        match *event {
            Event::Ask { client, ask } => {
                if let Some(request) = self.clients[client].ask(ask) {
                    self.sent.push(request.clone());
                    self.handle(request, true);
                }
            }
            Event::Again { client } => {
                if let Some(request) = self.clients[client].ask_again() {
                    self.handle(request, true);
                }
            }
            Event::Echo { which } => self.echo(which),
            Event::Durable { is_lost } => self.durable(is_lost),
            Event::Fail { durable } => self.fail(durable),
            Event::Mark {
                which,
                participant,
                stays,
                is_lost,
            } => self.mark(which, participant, stays, is_lost),
            Event::Pass { millis } => {
                let time = Duration::from_millis(millis);
                self.now.mono = self.now.mono + time;
                let wall = self.now.wall.as_millis() + i64::try_from(millis).unwrap();
                self.now.wall = Timestamp::from_millis(wall);
                let effects = self.owner.tick(self.now);
                self.turn(effects, None);
            }
        }
    }

    /// The first protocol cannot tell an end from a later one of the same producer, as in Kafka.
    fn echo(&mut self, which: usize) {
        if self.sent.is_empty() {
            return;
        }
        let request = self.sent[which % self.sent.len()].clone();
        if request.version == Two || !matches!(request.ask, Ask::End(_)) {
            self.handle(request, false);
        }
    }

    fn handle(&mut self, request: Request, is_awaited: bool) {
        let mut request = request;
        if !is_awaited && request.ask == Ask::Begin {
            // Nobody is there whom the answer could reach.
            request.from = (usize::MAX, u32::try_from(self.sent.len()).unwrap());
        }
        let spare = Some(ProducerId::new(self.next_id));
        let by = request.producer.unwrap_or(producer(-1, -1));
        let (answer, effects) = match request.ask {
            Ask::Begin | Ask::GoOn => {
                let init = begins(TIMEOUT, request.producer);
                let outcome = self.owner.init(&init, spare, self.now);
                (outcome.answer.map(Some), outcome.effects)
            }
            Ask::Add(index) => {
                let outcome = self.owner.add(by, &set(&[participant(index)]), self.now);
                (outcome.answer.map(|()| None), outcome.effects)
            }
            Ask::Verify(index) => {
                let answer = self.owner.verify(by, &set(&[participant(index)]));
                // Who does not take part may not send.
                let answer = answer.and_then(|not_in| {
                    if not_in.is_empty() {
                        Ok(None)
                    } else {
                        Err(InvalidState)
                    }
                });
                (answer, Effects::default())
            }
            Ask::End(decision) => {
                let end = ends(by, decision, request.version);
                let outcome = self.owner.end(&end, spare, self.now);
                (outcome.answer.map(Some), outcome.effects)
            }
        };
        self.next_id += 1;
        self.turn(effects, Some((request, answer, is_awaited)));
    }

    fn turn(&mut self, effects: Effects, answer: Option<(Request, Answer, bool)>) {
        let stored = self.owner.stored().cloned();
        self.turns.push_back(Turn {
            store: stored.filter(|_| effects.store),
            forget: effects.forget,
            markers: effects.markers,
            answer,
        });
    }

    /// The first turn is durable, and what follows happens.
    fn durable(&mut self, is_lost: bool) {
        let Some(turn) = self.turns.pop_front() else {
            return;
        };
        let was = self.truth.durable.clone();
        if let Some(stored) = &turn.store {
            self.truth.store(stored);
        }
        if turn.forget {
            self.truth.forget();
            assert!(self.turns.iter().all(|turn| turn.store.is_none()));
            self.owner = Coordinator::new(Limits::default(), self.owner_epoch);
        }
        self.markers.extend(turn.markers);
        let Some((request, answer, is_awaited)) = turn.answer else {
            return;
        };
        self.truth.answer(&request, &answer, was.as_ref());
        let client = self.clients.get_mut(request.from.0);
        let client = client.filter(|client| is_awaited && client.instance == request.from);
        match client {
            Some(client) if is_lost => client.lose(),
            Some(client) => hear(client, &request, answer, &self.truth),
            None => {}
        }
    }

    /// The owner fails; the last that it has stored is durable without anybody knowing.
    fn fail(&mut self, durable: usize) {
        for _ in 0..durable {
            let on_their_way = self.markers.len();
            self.durable(true);
            self.markers.truncate(on_their_way);
        }
        for turn in self.turns.drain(..) {
            let Some((request, _, true)) = turn.answer else {
                continue;
            };
            let client = &mut self.clients[request.from.0];
            if client.instance == request.from {
                client.lose();
            }
        }
        self.owner_epoch += 1;
        let (limits, epoch) = (Limits::default(), self.owner_epoch);
        self.owner = match &self.truth.durable {
            Some(stored) => Coordinator::restore(limits, epoch, stored.clone(), self.now),
            None => Coordinator::new(limits, epoch),
        };
        assert_eq!(self.owner.stored(), self.truth.durable.as_ref());
        self.markers.extend(self.owner.missing_markers());
    }

    fn mark(&mut self, which: usize, participant: usize, stays: bool, is_lost: bool) {
        if self.markers.is_empty() {
            return;
        }
        let at = which % self.markers.len();
        let asked = &mut self.markers[at];
        let index = participant % asked.participants.len();
        let one = asked.participants.iter().nth(index).unwrap().clone();
        let is_there = self.truth.mark(asked, &one);
        let written = Markers {
            participants: set(std::slice::from_ref(&one)),
            ..asked.clone()
        };
        if !stays && !is_lost {
            asked.participants.remove(&one);
            if asked.participants.is_empty() {
                self.markers.remove(at);
            }
        }
        if is_there && !is_lost {
            let effects = self.owner.marked(&written, self.now);
            self.turn(effects, None);
        }
    }

    /// Everything arrives in the end, and a producer that comes then finds everything in order.
    pub(super) fn finish(mut self) {
        self.settle();
        for ask in [
            Ask::Begin,
            Ask::Add(0),
            Ask::Add(PARTICIPANTS),
            Ask::End(Commit),
        ] {
            for _ in 0..3 {
                self.event(&Event::Ask { client: 0, ask });
                self.settle();
                if self.clients[0].producer.is_some() {
                    break;
                }
            }
            assert!(self.clients[0].producer.is_some(), "{ask:?} is not done");
        }
        let stored = self.truth.durable.as_ref().unwrap();
        assert_eq!(stored.state(), TransactionState::CompleteCommit);
        self.truth.finish();
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            while !self.turns.is_empty() {
                self.durable(false);
            }
            self.markers.extend(self.owner.missing_markers());
            while !self.markers.is_empty() {
                let last = self.markers.len() - 1;
                self.mark(last, 0, false, false);
            }
        }
    }
}

/// A client hears an answer.
fn hear(client: &mut Client, request: &Request, answer: Answer, truth: &Truth) {
    client.waits = Waits::Nothing;
    match (request.ask, answer) {
        (Ask::Begin | Ask::GoOn, Ok(given)) => {
            client.producer = given;
            client.told = None;
        }
        (Ask::End(decision), Ok(given)) => {
            if let Some(told) = client.told.take() {
                truth.ended(&told, decision);
            }
            if client.version == Two {
                client.producer = given;
            }
        }
        (Ask::Add(index), Ok(_)) => {
            let told = client.told.get_or_insert_with(|| Told {
                number: truth.number(),
                participants: BTreeSet::new(),
            });
            assert_eq!(told.number, truth.number());
            told.participants.insert(participant(index));
        }
        (Ask::Verify(_), Ok(_)) | (_, Err(_)) => {}
    }
}
