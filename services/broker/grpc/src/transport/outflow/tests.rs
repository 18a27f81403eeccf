use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http_body::Body as _;
use prometheus_client::registry::Registry;
use tidelog_broker_engine::Batches;
use tidelog_env::ManualClock;
use tonic::body::Body;

use super::super::connections::{Limits, Seat};
use super::super::encode::Outgoing;
use super::*;
use crate::answer::{DataAnswer, PartitionAnswer};

const KIB: usize = 1024;
const STALL: Duration = Duration::from_secs(1);
/// How often time goes on in these tests, which is as often as one who waits looks around.
const STEP: Duration = Duration::from_millis(250);

/// An outflow and connections that it goes to.
pub(super) struct World {
    pub(super) outflow: Outflow,
    clock: ManualClock,
    connections: Connections,
}

/// A reader on a connection of its own.
struct Reader {
    seat: Seat,
    body: Option<MeteredAnswer>,
    /// What it has not taken of its answer.
    pieces: Vec<Bytes>,
}

impl World {
    /// A share of so many bytes, three quarters of which are for all.
    pub(super) fn new(bytes: usize) -> Self {
        let clock = ManualClock::default();
        let metrics = GrpcMetrics::new(&mut Registry::default());
        let limits = Limits {
            connections_max: 1_000,
            own_calls: 10,
            more_calls: 1,
            window_bytes: 0,
        };
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let connections = Connections::with(limits, Arc::clone(&time), metrics.clone());
        let outflow = Outflow::with(bytes as u64, STALL, connections.clone(), time, metrics);
        Self {
            outflow,
            clock,
            connections,
        }
    }

    fn reader(&self, bytes: usize) -> Reader {
        let mut reader = Reader {
            seat: self.connections.admit().unwrap(),
            body: None,
            pieces: Vec::new(),
        };
        reader.body = Some(self.answer(&reader.seat, bytes));
        reader
    }

    /// An answer of so many bytes of batches.
    fn answer(&self, seat: &Seat, bytes: usize) -> MeteredAnswer {
        let batches = Batches::from(Bytes::from(vec![7; bytes]));
        let partition = PartitionAnswer {
            batches,
            ..PartitionAnswer::default()
        };
        let answer = DataAnswer {
            partitions: vec![partition],
            ..DataAnswer::default()
        };
        let call = Arc::new(self.connections.open_call(&seat.peer).unwrap());
        let source = Source::new(Body::empty(), Some(Outgoing::one(answer)));
        self.outflow.meter(source, call, Answers::OurServices)
    }
}

impl Reader {
    /// Takes one piece if there is one. Tells whether there was.
    fn take(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let Some(body) = &mut self.body else {
            return false;
        };
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pieces.extend(frame.into_data());
                true
            }
            _ => false,
        }
    }

    fn is_closed(&self) -> bool {
        self.seat.peer.close.is_cancelled()
    }

    /// Its connection ends, as connections do that are closed.
    fn go(&mut self) {
        self.body = None;
        self.pieces.clear();
    }
}

/// Readers whose answers fill the share, and others that wait for as much. Each that can take something has
/// taken its first piece.
fn crowd(world: &World, count: usize) -> Vec<Reader> {
    let mut readers: Vec<Reader> = (0..count).map(|_| world.reader(200 * KIB)).collect();
    let served = readers
        .iter_mut()
        .filter_map(|reader| reader.take().then_some(()));
    assert_eq!(served.count(), 3);
    readers
}

#[test]
fn a_newcomer_who_wants_little_is_served_at_once_however_many_wait() {
    let world = World::new(1024 * KIB);
    let _crowd = crowd(&world, 50);
    let mut honest = world.reader(30 * KIB);
    assert!(honest.take());
    let mut next = world.answer(&honest.seat, 30 * KIB);
    std::mem::swap(honest.body.as_mut().unwrap(), &mut next);
    assert!(!honest.take(), "it holds something already");
}

#[test]
fn a_newcomer_goes_before_one_that_holds_something_already() {
    let world = World::new(1024 * KIB);
    let mut crowd = crowd(&world, 3);
    let mut again = world.answer(&crowd[0].seat, 200 * KIB);
    std::mem::swap(crowd[0].body.as_mut().unwrap(), &mut again);
    assert!(!crowd[0].take());
    let mut honest = world.reader(200 * KIB);
    assert!(!honest.take());
    crowd[1].go();
    assert!(!crowd[0].take());
    assert!(honest.take());
    crowd[2].go();
    assert!(crowd[0].take());
}

/// Others come and go meanwhile, so that there is always something given back.
#[test]
fn who_takes_nothing_is_closed_in_time_whatever_others_do() {
    let world = World::new(1024 * KIB);
    // Together they hold more than half of what is for all, which is what the large one waits for.
    let mut stalled = [world.reader(200 * KIB), world.reader(200 * KIB)];
    assert!(stalled.iter_mut().all(Reader::take));
    let mut large = world.reader(700 * KIB);
    let start = world.clock.now();
    while !stalled.iter().all(Reader::is_closed) {
        assert!(world.clock.now().saturating_since(start) < STALL + STEP);
        assert!(!large.take());
        let mut brisk = world.reader(30 * KIB);
        assert!(brisk.take());
        brisk.go();
        world.clock.advance(STEP);
    }
    assert!(!large.take());
    stalled[0].go();
    assert!(large.take(), "more than half is free");
}

#[test]
fn those_who_get_on_are_never_closed() {
    let world = World::new(1024 * KIB);
    let mut crowd = crowd(&world, 4);
    for _ in 0..3 {
        world.clock.advance(STEP * 3);
        for reader in &mut crowd {
            reader.take();
        }
    }
    assert!(!crowd.iter().any(Reader::is_closed));
    for _ in 0..4 {
        world.clock.advance(STEP);
        assert!(!crowd[3].take());
    }
    assert!(crowd[..3].iter().all(Reader::is_closed));
    assert!(!crowd[3].is_closed(), "it waits, and holds nothing");
}
