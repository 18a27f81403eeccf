//! Which brokers clients are told of.
//!
//! Every broker serves every partition and every group, whatever a client was told. What is said here only
//! spreads the load, and keeps clients within their zone.

mod address;
mod spread;
mod zone;

use tidelog_kafka_codec::ByteString;
use tidelog_metadata_api::{KafkaAddress, Member, MemberState};
use tidelog_types::{Incarnation, TopicId};

pub use address::{Address, AddressError};
pub(crate) use zone::client_zone;

use crate::front::Front;

/// The leader epoch of every partition: no broker leads, so it never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// The listener for Kafka clients: the name under which members say where they reach it.
pub const LISTENER: &str = "kafka";

/// A broker as clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) node_id: i32,
    pub(crate) host: ByteString,
    pub(crate) port: i32,
    pub(crate) rack: Option<ByteString>,
}

/// The number by which clients know a broker: that of its incarnation, which no other process has. Kafka has
/// room for 31 bits of it. Beyond 2^31 starts of brokers numbers come again: two of one number would have to
/// be alive at once to be taken for each other, and then only the younger is told of.
pub(crate) fn node_id(incarnation: Incarnation) -> i32 {
    let low = incarnation.get() & u64::from(i32::MAX.cast_unsigned());
    i32::try_from(low).unwrap_or_default()
}

/// The brokers as one client is told of them.
#[derive(Debug)]
pub(crate) struct Brokers {
    /// In the order of their numbers; never none.
    all: Vec<Broker>,
    /// Their numbers.
    ids: Vec<i32>,
    /// Whether several stand behind one address.
    share_address: bool,
    /// The numbers of those that the client shall use, in their order; never none.
    near: Vec<i32>,
    /// The broker that is asked, if the client shall use it.
    asked: Option<i32>,
    /// The broker that is asked, if clients are told of it.
    own: Option<i32>,
}

impl Brokers {
    /// All of them.
    pub(crate) fn all(&self) -> &[Broker] {
        &self.all
    }

    /// Who is named as the leader of each of the first `count` partitions of a topic.
    pub(crate) fn leaders(&self, topic: TopicId, count: u32) -> Vec<i32> {
        spread::leaders(topic, count, &self.near)
    }

    /// Who is named for what has one place: the same for all clients of a zone, whomever they ask.
    pub(crate) fn controller(&self) -> i32 {
        spread::best(b"controller", &self.near)
    }

    /// Who is named as the coordinator of a key: the broker that is asked, since it is reached already and any
    /// will do, or one of the client's zone.
    pub(crate) fn coordinator(&self, key: &[u8]) -> Option<&Broker> {
        let node = self.asked.unwrap_or_else(|| spread::best(key, &self.near));
        self.all.iter().find(|broker| broker.node_id == node)
    }

    /// Whether the broker that is asked is the one that lists a key, where clients ask all brokers and put the
    /// answers together. Where several stand behind one address each lists all: who is asked is not known there.
    pub(crate) fn lists(&self, key: &[u8]) -> bool {
        self.share_address || self.own == Some(spread::best(key, &self.ids))
    }

    /// Whether a leader that a client is told of is the broker that it asks. Where several stand behind one address
    /// each answers for all.
    pub(crate) fn is_asked(&self, leader: i32) -> bool {
        self.share_address || self.own == Some(leader)
    }

    /// Builds it of what is known of living brokers, in any order: of each its incarnation, itself, whether it
    /// takes on work, and its zone.
    fn of(own: Incarnation, mut known: Vec<Known>, client_zone: &str) -> Self {
        // Of two with one number, the younger first.
        known.sort_by_key(|it| (it.broker.node_id, std::cmp::Reverse(it.incarnation)));
        known.dedup_by_key(|it| it.broker.node_id);
        let own = known.iter().find(|it| it.incarnation == own).cloned();
        if known.iter().any(|it| it.is_active) {
            known.retain(|it| it.is_active);
        }
        let of_zone = |zone: &str| -> Vec<i32> {
            let near = known.iter().filter(|it| it.zone == zone);
            near.map(|it| it.broker.node_id).collect()
        };
        let mut near = of_zone(client_zone);
        if near.is_empty() || client_zone.is_empty() {
            near = of_zone(own.as_ref().map_or("", |own| own.zone.as_str()));
        }
        if near.is_empty() {
            near = known.iter().map(|it| it.broker.node_id).collect();
        }
        let asked = own.map(|own| own.broker.node_id);
        let is_told = |asked: &i32| known.iter().any(|it| it.broker.node_id == *asked);
        let mut addresses: Vec<_> = known
            .iter()
            .map(|it| (&it.broker.host, it.broker.port))
            .collect();
        addresses.sort_unstable();
        let of_all = addresses.len();
        addresses.dedup();
        Self {
            share_address: addresses.len() < of_all,
            ids: known.iter().map(|it| it.broker.node_id).collect(),
            asked: asked.filter(|asked| near.contains(asked)),
            own: asked.filter(is_told),
            all: known.into_iter().map(|it| it.broker).collect(),
            near,
        }
    }
}

/// What is known of a broker.
#[derive(Clone, Debug)]
struct Known {
    incarnation: Incarnation,
    broker: Broker,
    is_active: bool,
    zone: String,
}

impl Known {
    fn new(incarnation: Incarnation, address: &KafkaAddress, zone: &str, is_active: bool) -> Self {
        Self {
            incarnation,
            broker: Broker {
                node_id: node_id(incarnation),
                host: address.host.as_str().into(),
                port: i32::from(address.port),
                rack: (!zone.is_empty()).then(|| zone.into()),
            },
            is_active,
            zone: zone.to_owned(),
        }
    }

    /// A member, if it is reached through a listener.
    fn member(member: &Member, listener: &str) -> Option<Self> {
        let mut addresses = member.kafka_addresses.iter();
        let address = addresses.find(|address| address.listener == listener)?;
        let is_active = member.state == MemberState::Active;
        let incarnation = member.incarnation?;
        Some(Self::new(incarnation, address, &member.zone, is_active))
    }
}

impl Front {
    /// The number of this broker.
    pub(crate) fn node_id(&self) -> i32 {
        node_id(self.parts.engine.incarnation())
    }

    /// The brokers that a client in a zone is told of: those that live and do not drain, or all if all drain.
    /// It shall use those of its zone; where it does not say its zone, or nobody is there, those of the zone of
    /// the broker that it has asked.
    pub(crate) fn brokers(&self, client_zone: &str) -> Brokers {
        let parts = &self.parts;
        let listener = parts.advertised.listener.as_str();
        let own = parts.engine.incarnation();
        let view = parts.cluster.watch();
        let view = view.borrow();
        let members = view.members.iter();
        let mut known: Vec<Known> = members
            .filter_map(|member| Known::member(member, listener))
            .collect();
        // The cluster has not heard of it yet, or has forgotten it for a moment.
        if !known.iter().any(|it| it.incarnation == own) {
            known.push(Known::new(own, &parts.advertised, &parts.zone, true));
        }
        drop(view);
        Brokers::of(own, known, client_zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(number: u64, zone: &str, is_active: bool) -> Known {
        let address = KafkaAddress {
            listener: LISTENER.to_owned(),
            host: format!("h{number}"),
            port: 9092,
        };
        Known::new(Incarnation::new(number), &address, zone, is_active)
    }

    fn told(known: Vec<Known>, client_zone: &str) -> (Vec<i32>, Vec<i32>) {
        let brokers = Brokers::of(Incarnation::new(1), known, client_zone);
        let all = brokers.all.iter().map(|broker| broker.node_id);
        (all.collect(), brokers.near)
    }

    #[test]
    fn node_ids_are_positive_whatever_the_incarnation_is() {
        assert_eq!(node_id(Incarnation::new(7)), 7);
        for raw in [u64::MAX, 1 << 31, (1 << 31) + 5, 1 << 63] {
            assert!(node_id(Incarnation::new(raw)) >= 0);
        }
        assert_eq!(node_id(Incarnation::new((1 << 31) + 5)), 5);
    }

    #[test]
    fn a_client_is_sent_to_its_zone_or_stays_in_that_of_the_broker_it_has_asked() {
        let three = || {
            vec![
                known(3, "b", true),
                known(2, "a", true),
                known(1, "a", true),
            ]
        };
        assert_eq!(told(three(), "b"), (vec![1, 2, 3], vec![3]));
        for said in ["", "a", "nowhere"] {
            assert_eq!(told(three(), said), (vec![1, 2, 3], vec![1, 2]));
        }
        let nameless = vec![known(1, "", true), known(2, "", true), known(3, "a", true)];
        assert_eq!(told(nameless, "").1, [1, 2]);
    }

    #[test]
    fn who_drains_is_not_named_while_another_takes_on_work() {
        let one = vec![
            known(1, "a", false),
            known(2, "a", true),
            known(3, "b", true),
        ];
        assert_eq!(told(one, ""), (vec![2, 3], vec![2]));
        let zone = vec![known(1, "a", false), known(3, "b", true)];
        assert_eq!(told(zone, ""), (vec![3], vec![3]));
        let all = vec![known(1, "a", false), known(2, "b", false)];
        assert_eq!(told(all, ""), (vec![1, 2], vec![1]));
    }

    #[test]
    fn the_broker_that_is_asked_coordinates_unless_the_client_shall_use_others() {
        let named = |known: Vec<Known>, zone: &str, key: &[u8]| {
            let brokers = Brokers::of(Incarnation::new(1), known, zone);
            brokers.coordinator(key).map(|broker| broker.node_id)
        };
        let all = |is_active| {
            let own = known(1, "a", is_active);
            vec![
                own,
                known(2, "a", true),
                known(3, "b", true),
                known(4, "b", true),
            ]
        };
        assert_eq!(named(all(true), "", b"g"), Some(1));
        assert_eq!(named(all(false), "", b"g"), Some(2));
        let of_b = (0..50_u8).map(|key| named(all(true), "b", &[key]));
        let of_b: std::collections::BTreeSet<_> = of_b.collect();
        assert_eq!(Vec::from_iter(of_b), [Some(3), Some(4)]);
    }

    #[test]
    fn each_key_is_listed_by_one_broker_unless_they_share_an_address() {
        let three = || {
            vec![
                known(1, "a", true),
                known(2, "a", true),
                known(3, "b", true),
            ]
        };
        for key in 0..50_u8 {
            let lists = (1..=3).filter(|own| {
                let brokers = Brokers::of(Incarnation::new(*own), three(), "");
                brokers.lists(&[key])
            });
            assert_eq!(lists.count(), 1);
        }
        let mut shared = three();
        shared[2].broker.host = shared[0].broker.host.clone();
        assert!(
            (0..50_u8)
                .all(|key| Brokers::of(Incarnation::new(1), shared.clone(), "").lists(&[key]))
        );
        let mut draining = three();
        draining[0].is_active = false;
        let brokers = Brokers::of(Incarnation::new(1), draining, "");
        assert!(!(0..50_u8).any(|key| brokers.lists(&[key])));
    }

    #[test]
    fn of_two_brokers_with_one_number_the_younger_is_told_of() {
        let again = (1 << 31) + 2;
        let both = vec![
            known(2, "old", true),
            known(1, "a", true),
            known(again, "a", true),
        ];
        let brokers = Brokers::of(Incarnation::new(1), both, "");
        assert_eq!(brokers.near, [1, 2]);
        assert_eq!(&*brokers.all[1].host, format!("h{again}"));
    }
}
