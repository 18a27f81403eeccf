//! Any order of events: no partition is ever with two, and in the end each is with one.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Beat { consumer: usize, lost: bool },
    Obey { consumer: usize },
    Leave { consumer: usize },
    Die { consumer: usize },
    Topic { number: u64, partitions: u32 },
    Pass { millis: u32 },
    Restore,
}

const CONSUMERS: usize = 5;

fn event() -> impl Strategy<Value = Event> {
    let consumer = || 0..CONSUMERS;
    prop_oneof![
        8 => (consumer(), prop::bool::weighted(0.2))
            .prop_map(|(consumer, lost)| Event::Beat { consumer, lost }),
        6 => consumer().prop_map(|consumer| Event::Obey { consumer }),
        1 => consumer().prop_map(|consumer| Event::Leave { consumer }),
        1 => consumer().prop_map(|consumer| Event::Die { consumer }),
        1 => (1..4_u64, 1..9_u32)
            .prop_map(|(number, partitions)| Event::Topic { number, partitions }),
        2 => (0..20_000_u32).prop_map(|millis| Event::Pass { millis }),
        1 => Just(Event::Restore),
    ]
}

/// Whoever is thrown out gives up all it has before it joins again, as clients do.
fn beat(world: &mut World, consumer: &mut Consumer, lost: bool) {
    let answer = if lost {
        world.beat_in_vain(consumer)
    } else {
        world.beat(consumer)
    };
    if answer.is_err() {
        consumer.start_over();
    }
}

fn nothing_is_with_two(consumers: &[Consumer]) {
    let mut seen = Partitions::new();
    for one in consumers.iter().flat_map(|consumer| &consumer.owned) {
        assert!(seen.insert(*one), "{one} is with two");
    }
}

fn play(events: Vec<Event>) {
    let mut world = World::new();
    let names = ["a", "b", "c"];
    let mut consumers: Vec<Consumer> = (0..CONSUMERS)
        .map(|index| Consumer::new(&format!("c{index}"), &names[..=index % 3]))
        .collect();
    for event in events {
        match event {
            Event::Beat { consumer, lost } => beat(&mut world, &mut consumers[consumer], lost),
            Event::Obey { consumer } => consumers[consumer].obey(),
            Event::Leave { consumer } => {
                let consumer = &mut consumers[consumer];
                consumer.start_over();
                consumer.epoch = -1;
                let _ = world.beat_in_vain(consumer);
                consumer.start_over();
            }
            Event::Die { consumer } => consumers[consumer].start_over(),
            Event::Topic { number, partitions } => {
                let name = names[usize::try_from(number - 1).unwrap()];
                let before = world.topics.find(name).map_or(0, |shape| shape.partitions);
                world.topics.set(name, number, partitions.max(before));
            }
            Event::Pass { millis } => {
                world.pass(Duration::from_millis(millis.into()));
                // A member gives up what it has before its group does.
                for consumer in &mut consumers {
                    if !world.group.members.contains_key(&consumer.id) {
                        consumer.start_over();
                    }
                }
            }
            Event::Restore => {
                let (settings, stored) = (world.group.settings, world.group.stored());
                world.group = ConsumerGroup::restore(settings, stored.clone(), world.now);
                assert_eq!(world.group.stored(), stored);
            }
        }
        nothing_is_with_two(&consumers);
        assert_eq!(world.group.wake().is_none(), world.group.members.is_empty());
    }
    for _ in 0..20 {
        for consumer in &mut consumers {
            beat(&mut world, consumer, false);
            consumer.obey();
        }
        nothing_is_with_two(&consumers);
    }
    assert_eq!(world.group.state(), ConsumerState::Stable);
    let all: Partitions = consumers
        .iter()
        .flat_map(|consumer| consumer.owned.clone())
        .collect();
    let shapes = world.topics.topics.values();
    let wanted: Partitions = shapes
        .flat_map(|shape| of(shape.number.get(), 0..shape.partitions))
        .collect();
    assert_eq!(all, wanted, "each partition is with one");
}

proptest! {
    #[test]
    fn no_partition_is_ever_with_two_and_each_is_with_one_in_the_end(
        events in prop::collection::vec(event(), 1..150)
    ) {
        play(events);
    }
}
