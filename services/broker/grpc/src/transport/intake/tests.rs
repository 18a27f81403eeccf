//! Facts about messages that come whole, in pieces, slowly or not at all.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http_body::{Body as _, Frame};
use prometheus_client::registry::Registry;
use tidelog_env::ManualClock;

use super::super::connections::{Connections, Limits, Seat};
use super::framing::{Brings, PREFIX_BYTES};
use super::*;

/// Frames of a test, then nothing more for ever. An empty one is the end.
struct Frames(VecDeque<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            None => Poll::Pending,
            Some(data) if data.is_empty() => Poll::Ready(None),
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
        }
    }
}

/// An intake and connections that send to it.
struct World {
    intake: Intake,
    clock: ManualClock,
    connections: Connections,
    seats: Vec<Seat>,
}

impl World {
    fn new(bytes: u64) -> Self {
        let clock = ManualClock::default();
        let metrics = GrpcMetrics::new(&mut Registry::default());
        let intake = Intake {
            whole: MemoryShare::new(bytes),
            pieces: ClaimShare::new(bytes),
            decode: Decode::for_tests(bytes),
            waiting: Arc::default(),
            clock: Arc::new(clock.clone()),
            timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_secs(2),
            message_bytes_max: 1 << 20,
            metrics: metrics.clone(),
        };
        let limits = Limits {
            connections_max: 100,
            own_calls: 1,
            more_calls: 1,
            window_bytes: 0,
        };
        Self {
            intake,
            connections: Connections::with(limits, Arc::new(clock.clone()), metrics),
            clock,
            seats: Vec::new(),
        }
    }

    /// A body on a connection of its own.
    fn body(&mut self, frames: &[&[u8]]) -> (MeteredBody<Frames>, Received) {
        let seat = self.connections.admit().unwrap();
        let call = Arc::new(self.connections.open_call(&seat.peer).unwrap());
        self.seats.push(seat);
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame));
        self.intake.meter(Frames(frames.collect()), &call)
    }
}

fn message(length: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.resize(PREFIX_BYTES + length as usize, 7);
    bytes
}

/// The length of the next frame, or its error; `None` while it waits.
fn poll(body: &mut MeteredBody<Frames>) -> Option<Result<usize, ErrorCode>> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(body).poll_frame(&mut context) {
        Poll::Pending => None,
        Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().unwrap().len())),
        Poll::Ready(Some(Err(error))) => {
            let status = error.downcast::<Status>().unwrap();
            Some(Err(ApiError::from_status(&status).code))
        }
        Poll::Ready(None) => panic!("the body has no end"),
    }
}

/// All that comes until it waits.
fn drain(body: &mut MeteredBody<Frames>) -> Vec<u8> {
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut context) {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    bytes
}

#[test]
fn a_large_message_waits_until_the_one_before_is_taken() {
    let mut world = World::new(64 * 1024);
    let large = message(50_000);
    let (head, tail) = large.split_at(1000);
    let (mut first, received) = world.body(&[head, tail, &message(1)]);
    let (mut second, _) = world.body(&[head, tail]);
    assert_eq!(poll(&mut first), Some(Ok(1000)));
    assert_eq!(poll(&mut second), None, "50,000 and 50,000 do not fit");
    assert_eq!(poll(&mut first), Some(Ok(tail.len())));
    assert_eq!(poll(&mut second), None, "the first is in, and not taken");
    received.taken();
    assert_eq!(drain(&mut second), large);
    assert_eq!(poll(&mut first), Some(Ok(6)), "whole messages need no turn");
}

#[test]
fn the_end_of_a_message_does_not_wait_for_what_begins_behind_it() {
    let mut world = World::new(64 * 1024);
    let two = [message(50_000), message(50_000)].concat();
    let (mut body, received) = world.body(&[&two[..1000], &two[1000..60_000], &two[60_000..]]);
    assert_eq!(poll(&mut body), Some(Ok(1000)));
    assert_eq!(poll(&mut body), Some(Ok(50_005 - 1000)));
    assert_eq!(poll(&mut body), None, "the first is not taken");
    received.taken();
    assert_eq!(poll(&mut body), Some(Ok(60_000 - 50_005)));
    assert_eq!(poll(&mut body), Some(Ok(40_010)));
    received.taken();
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024);
}

#[test]
fn whole_messages_that_come_together_are_held_until_the_last_is_taken() {
    let mut world = World::new(4 * 1024);
    let both = [message(1_000), message(2_000)].concat();
    let (mut body, received) = world.body(&[&both, &both]);
    assert_eq!(poll(&mut body), Some(Ok(3_010)));
    assert_eq!(world.intake.whole.free_bytes(), 4096 - 3010);
    received.taken();
    assert_eq!(poll(&mut body), None);
    received.taken();
    assert_eq!(poll(&mut body), Some(Ok(3_010)));
}

#[test]
fn a_body_that_ends_early_gives_its_share_back() {
    let mut world = World::new(64 * 1024);
    let large = message(60_000);
    let (mut first, received) = world.body(&[&large[..10]]);
    assert_eq!(poll(&mut first), Some(Ok(10)));
    assert!(world.intake.pieces.free_bytes() < 60_000);
    drop((first, received));
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024);
}

#[test]
fn who_sends_slowly_is_refused_in_the_end_and_soon_when_others_wait() {
    let mut world = World::new(64 * 1024);
    let begun = &message(60_000)[..10];
    let (mut slow, received) = world.body(&[begun]);
    assert_eq!(poll(&mut slow), Some(Ok(10)));
    assert_eq!(poll(&mut slow), None);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(poll(&mut slow), None, "nobody waits");
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(poll(&mut slow), Some(Err(ErrorCode::DeadlineExceeded)));
    drop((slow, received));

    let whole = message(60_000);
    let (mut slow, received) = world.body(&[begun]);
    let (mut other, _) = world.body(&[begun, &whole[10..]]);
    assert_eq!(poll(&mut slow), Some(Ok(10)));
    assert_eq!(poll(&mut other), None);
    assert_eq!(poll(&mut slow), None);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(poll(&mut slow), Some(Err(ErrorCode::ResourceExhausted)));
    drop((slow, received));
    assert_eq!(drain(&mut other), whole);
}

#[test]
fn halves_of_messages_leave_room_for_whole_ones_and_go_all_at_once() {
    let mut world = World::new(64 * 1024);
    let half = &message(60_000)[..1000];
    let mut stalled: Vec<_> = (0..50).map(|_| world.body(&[half])).collect();
    for (body, _) in &mut stalled {
        let _ = poll(body);
    }
    // The first has memory for all of it, and leaves too little for anybody who begins.
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024 - 60_005);
    let whole = message(30_000);
    let (mut honest, received) = world.body(&[&whole[..1000], &whole[1000..]]);
    assert_eq!(drain(&mut honest), [0; 0]);
    world.clock.advance(Duration::from_secs(3));
    // Those that have waited since have sent nothing more when it is their turn.
    for round in 0..2 {
        let is_over = |body: &mut MeteredBody<Frames>| matches!(poll(body), Some(Err(_)));
        stalled.retain_mut(|(body, _)| !is_over(body));
        let came = drain(&mut honest);
        if !came.is_empty() {
            assert_eq!(came, whole, "after {round} rounds");
            break;
        }
        world.clock.advance(Duration::from_secs(2));
    }
    received.taken();
    world.clock.advance(Duration::from_secs(2));
    let before = stalled.len();
    assert!(
        before > 10,
        "`{before}` are left, and cost what has come of them"
    );
    let (mut honest, _) = world.body(&[&whole[..1000], &whole[1000..]]);
    assert_eq!(
        drain(&mut honest),
        whole,
        "at once, while `{before}` stand still"
    );
}

#[test]
fn a_message_that_is_gathered_is_held_until_it_is_taken_and_comes_in_its_order() {
    let mut world = World::new(64 * 1024);
    let first = world.intake.pieces.claim(40_000);
    assert!(first.try_whole());
    let sent: Vec<u8> = [message(0), message(3), message(25_000), message(7)].concat();
    let mut frames: Vec<&[u8]> = sent.chunks(700).collect();
    frames.push(&[]);
    let (mut body, received) = world.body(&frames);
    assert_eq!(drain(&mut body), sent);
    assert_eq!(
        world.intake.pieces.free_bytes(),
        64 * 1024 - 40_000 - 25_005
    );
    for _ in 0..4 {
        received.taken();
    }
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024 - 40_000);
}

#[test]
fn whole_messages_do_not_wait_for_one_that_begins_behind_them() {
    let mut world = World::new(64 * 1024);
    let all = world.intake.pieces.claim(64 * 1024);
    assert!(all.try_whole());
    let frame = [message(10), message(20), message(30_000)[..500].to_vec()].concat();
    let (mut body, _) = world.body(&[&frame]);
    assert_eq!(poll(&mut body), Some(Ok(40)));
    assert_eq!(poll(&mut body), None);
}

#[test]
fn a_call_that_ends_in_the_middle_of_a_gathered_message_fails() {
    let mut world = World::new(64 * 1024);
    let first = world.intake.pieces.claim(40_000);
    assert!(first.try_whole());
    let (mut body, _) = world.body(&[&message(30_000)[..1000], &[]]);
    assert_eq!(poll(&mut body), Some(Err(ErrorCode::InvalidArgument)));
    drop(body);
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024 - 40_000);
}

#[test]
fn a_connection_receives_one_large_message_at_a_time() {
    let mut world = World::new(1 << 20);
    let begun = &message(60_000)[..10];
    let (mut first, held) = world.body(&[begun]);
    let call = Arc::clone(&first.call);
    let frames = Frames([Bytes::copy_from_slice(begun)].into());
    let (mut second, _) = world.intake.meter(frames, &call);
    assert_eq!(poll(&mut first), Some(Ok(10)));
    assert_eq!(poll(&mut second), None);
    drop((first, held));
    assert_eq!(poll(&mut second), Some(Ok(10)));
}

#[test]
fn of_messages_that_fill_the_window_of_their_connection_the_newest_gives_way() {
    let mut world = World::new(64 * 1024);
    let begun = &message(60_000)[..10];
    let (mut holder, held) = world.body(&[&message(60_000)]);
    let (mut first, _) = world.body(&[begun]);
    let beside = || {
        let frames = Frames([Bytes::copy_from_slice(begun)].into());
        world.intake.meter(frames, &first.call).0
    };
    let (mut second, mut third) = (beside(), beside());
    // A message in one frame has memory of its own, so the pieces are taken here.
    let pieces = world.intake.pieces.claim(64 * 1024);
    assert!(pieces.try_whole());
    assert_eq!(poll(&mut holder), Some(Ok(60_005)));
    for body in [&mut first, &mut second, &mut third] {
        assert_eq!(poll(body), None);
    }
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(poll(&mut first), None);
    assert_eq!(poll(&mut second), None, "a newer one waits");
    assert_eq!(poll(&mut third), Some(Err(ErrorCode::ResourceExhausted)));
    first.call.peer.lane.frame_came();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(poll(&mut second), None, "something came");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(poll(&mut second), Some(Err(ErrorCode::ResourceExhausted)));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(poll(&mut first), None, "alone it leaves half of the window");
    drop((pieces, held));
    assert_eq!(poll(&mut first), None, "it is gathered");
    assert_eq!(world.intake.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn messages_are_told_apart_however_they_are_cut() {
    let sent = [message(0), message(3), message(300), message(5)].concat();
    for cut in 1..sent.len() {
        let mut framing = Framing::default();
        let mut all = Brings::default();
        for frame in sent.chunks(cut) {
            let brings = framing.pass(frame);
            all.begun += brings.begun;
            all.ended += brings.ended;
            all.bytes += brings.bytes;
        }
        let expected = (4, 4, sent.len() as u64);
        assert_eq!((all.begun, all.ended, all.bytes), expected, "{cut}");
        assert_eq!((framing.left, framing.prefix_len), (0, 0), "{cut}");
    }
}

#[test]
fn a_message_over_the_limit_is_left_to_the_transport() {
    let mut world = World::new(64 * 1024);
    let (mut body, _) = world.body(&[&message(2 << 20)[..100]]);
    assert_eq!(poll(&mut body), Some(Ok(100)));
    assert_eq!(world.intake.pieces.free_bytes(), 64 * 1024);
}
