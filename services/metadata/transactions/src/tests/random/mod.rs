//! Any order of events: producers that crash, ask again, and come back as zombies; owners that fail between the
//! store and the answer; markers that are late, lost and written twice. What must be true is in `truth`.

mod clients;
mod truth;
mod world;

use proptest::prelude::*;

use super::*;
use clients::Ask;
use world::Play;

const CLIENTS: usize = 3;
const PARTICIPANTS: u32 = 3;

#[derive(Clone, Debug)]
enum Event {
    /// A client asks for something, if it has no answer to wait for.
    Ask { client: usize, ask: Ask },
    /// A client that has not heard asks again.
    Again { client: usize },
    /// A request that was on its way for long, or twice, arrives.
    Echo { which: usize },
    /// What was to be stored first is durable; its answer arrives or is lost.
    Durable { is_lost: bool },
    /// The owner fails when so much more is durable, and another one comes.
    Fail { durable: usize },
    /// A marker is written; the message may stay on its way, and the report be lost.
    Mark {
        which: usize,
        participant: usize,
        stays: bool,
        is_lost: bool,
    },
    /// Time passes.
    Pass { millis: u64 },
}

fn ask() -> impl Strategy<Value = Ask> {
    let participant = 0..=PARTICIPANTS;
    prop_oneof![
        1 => Just(Ask::Begin),
        1 => Just(Ask::GoOn),
        12 => participant.clone().prop_map(Ask::Add),
        1 => participant.prop_map(Ask::Verify),
        8 => Just(Ask::End(Commit)),
        2 => Just(Ask::End(Abort)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let which = || 0..1_000_usize;
    prop_oneof![
        12 => (0..CLIENTS, ask()).prop_map(|(client, ask)| Event::Ask { client, ask }),
        4 => (0..CLIENTS).prop_map(|client| Event::Again { client }),
        1 => which().prop_map(|which| Event::Echo { which }),
        14 => prop::bool::weighted(0.15).prop_map(|is_lost| Event::Durable { is_lost }),
        1 => (0..4_usize).prop_map(|durable| Event::Fail { durable }),
        10 => (which(), which(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(which, participant, stays, is_lost)| Event::Mark {
                which,
                participant,
                stays,
                is_lost
            }
        ),
        2 => (0..30_000_u64).prop_map(|millis| Event::Pass { millis }),
        1 => prop_oneof![4 => Just(70_000), 1 => Just(700_000_000)]
            .prop_map(|millis| Event::Pass { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_transaction_ends_once_as_decided_by_the_producer_that_has_the_id(
        epoch in prop_oneof![Just(None), Just(Some(0)), (i16::MAX - 4..i16::MAX).prop_map(Some)],
        events in prop::collection::vec(event(), 1..250)
    ) {
        let mut play = Play::new(epoch);
        for event in events {
            play.event(&event);
        }
        play.finish();
    }
}
