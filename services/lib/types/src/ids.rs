//! Identifiers. Each is a type of its own, so that two of them cannot be swapped.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Defines a newtype over an integer with the conversions that all identifiers share.
macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// Wraps the raw number.
            pub const fn new(raw: $int) -> Self {
                Self(raw)
            }

            /// The raw number, as it is stored and sent.
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// Defines a newtype over a random UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an existing UUID.
            pub const fn new(raw: Uuid) -> Self {
                Self(raw)
            }

            /// Builds the id from 16 random bytes, as a version 4 UUID.
            pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// Builds the id from its 16 stored bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes that are stored and sent.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// Names one cluster for ever; every object in its bucket carries it.
    ClusterId
);
uuid_id!(
    /// Names one topic for ever. A topic that is deleted and created again has another id.
    TopicId
);
uuid_id!(
    /// Names one run of a process as a member of the cluster; a process that starts again has another id.
    MemberId
);

integer_id!(
    /// The tenant that a key belongs to; 0 until tenants exist.
    Tenant(u32)
);
integer_id!(
    /// The compact number of a topic, unique within the cluster; rows of the store key on it.
    TopicNumber(u64)
);
integer_id!(
    /// A partition of a topic, from 0.
    PartitionIndex(u32)
);
integer_id!(
    /// The unit of ownership in the metadata service.
    ShardId(u32)
);
integer_id!(
    /// Which bucket of the cluster an object lies in; 0 is the one the cluster began with.
    BucketId(u16)
);

impl BucketId {
    /// No bucket, but the metadata store itself: segments that were committed together with their bytes lie there.
    pub const STORE: Self = Self(u16::MAX);

    /// Whether it is the metadata store.
    pub const fn is_store(self) -> bool {
        self.0 == Self::STORE.0
    }
}

integer_id!(
    /// Given by the store to a writer process at its start; never given twice.
    Incarnation(u64)
);
integer_id!(
    /// Counts the group transactions of a shard.
    GroupNumber(u64)
);
integer_id!(
    /// Counts the restores of a cluster's metadata from a backup.
    ClusterGeneration(u32)
);
integer_id!(
    /// An idempotent producer. Negative values stand for "not idempotent", as in Kafka.
    ProducerId(i64)
);
integer_id!(
    /// The epoch of an idempotent producer; a higher one fences the lower ones.
    ProducerEpoch(i16)
);

impl ProducerId {
    /// The producer id of a batch that is not idempotent.
    pub const NONE: Self = Self(-1);

    /// Whether batches of this producer carry sequences that are checked.
    pub const fn is_idempotent(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// The epoch of a batch that is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// A partition of a topic by the compact topic number: the key of everything per partition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicNumber,
    /// The partition in it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Names a partition of a topic.
    pub const fn new(topic: TopicNumber, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_make_a_version_4_uuid_and_stored_bytes_stay_as_they_are() {
        let random = TopicId::from_random_bytes([0xff; 16]);
        assert_eq!(random.as_uuid().get_version_num(), 4);
        assert_eq!(TopicId::from_bytes(random.to_bytes()), random);
        assert_eq!(ClusterId::from_bytes([7; 16]).to_bytes(), [7; 16]);
    }

    #[test]
    fn a_uuid_id_reads_back_from_its_text() {
        let id = ClusterId::from_random_bytes([3; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("not-a-uuid".parse::<ClusterId>().is_err());
        assert_eq!(format!("{id:?}"), format!("ClusterId({id})"));
    }

    #[test]
    fn uuid_ids_order_as_their_bytes_do() {
        let mut high = [0; 16];
        high[0] = 1;
        let mut low = [0xff; 16];
        low[0] = 0;
        assert!(TopicId::from_bytes(low) < TopicId::from_bytes(high));
    }

    #[test]
    fn only_producers_from_zero_on_are_idempotent() {
        assert!(ProducerId::new(0).is_idempotent());
        assert!(!ProducerId::NONE.is_idempotent());
        assert_eq!(ProducerId::NONE.get(), -1);
        assert_eq!(ProducerEpoch::NONE.get(), -1);
    }

    #[test]
    fn partitions_order_by_topic_and_then_by_index() {
        let at = |topic, partition| {
            TopicPartition::new(TopicNumber::new(topic), PartitionIndex::new(partition))
        };
        assert!([at(1, 0), at(1, 9), at(1, 10), at(2, 0)].is_sorted());
        assert_eq!(at(7, 3).to_string(), "7/3");
    }
}
