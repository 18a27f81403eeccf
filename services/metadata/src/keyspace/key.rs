//! Keys. Each begins with the tenant (u32), the key kind (u8) and the kind's version (u8); integers are
//! big-endian, so that the order of keys is the order of numbers.

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{
    GroupNumber, Offset, ProducerId, SegmentName, ShardId, Tenant, TopicId, TopicName, TopicNumber,
    TopicPartition,
};

/// The kinds of keys. On disk for ever: a number is never reused, also not for a kind that has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// The cluster itself.
    Cluster = 0x01,
    /// A counter of the whole cluster.
    Counter = 0x02,
    /// A member of the cluster.
    Member = 0x03,
    /// A restore of the whole store.
    Restore = 0x04,
    /// A topic, by number.
    Topic = 0x10,
    /// The number of a live topic, by name.
    TopicName = 0x11,
    /// The number of a topic, by id.
    TopicId = 0x12,
    /// A deleted topic, by name and number.
    DeletedTopic = 0x13,
    /// A shard that has nothing left of a topic that is purged.
    Emptied = 0x14,
    /// Who owns a shard.
    Lease = 0x20,
    /// How far the partition and producer rows of a shard have been written.
    Checkpoint = 0x21,
    /// The tail of a shard: what was committed, in order.
    Tail = 0x22,
    /// The proof of a commit, by segment and shard.
    Receipt = 0x23,
    /// The floor of an incarnation.
    Floor = 0x24,
    /// The live bytes of a segment in a shard.
    LiveBytes = 0x25,
    /// What is kept of a writer that has ended.
    EndedWriter = 0x26,
    /// A segment that may be dead.
    Dying = 0x27,
    /// How far the orphans of a writer have been looked for.
    Orphans = 0x28,
    /// How far the tail of a shard has been merged.
    Merged = 0x2A,
    /// A segment that lies in the store.
    Inline = 0x2B,
    /// A partition as of a group.
    Partition = 0x30,
    /// A producer in a partition as of a group.
    Producer = 0x31,
    /// Extents of a partition, by the offset at which they begin.
    Page = 0x32,
    /// An aborted transaction of a partition, by the offset of its marker.
    Aborted = 0x33,
    /// How far a partition is compacted by key.
    Compacted = 0x34,
    /// A group of consumers.
    Group = 0x40,
    /// A member of a group, in pieces.
    GroupMember = 0x41,
    /// The offset that a group has committed in a partition.
    GroupOffset = 0x42,
    /// A producer whose transactions have ended in a group.
    GroupProducer = 0x43,
    /// An offset of a group that waits for the end of a transaction.
    GroupPending = 0x44,
    /// A transactional id.
    Transaction = 0x50,
}

impl KeyKind {
    /// Every kind, in the order of keys.
    pub const ALL: [Self; 31] = [
        Self::Cluster,
        Self::Counter,
        Self::Member,
        Self::Restore,
        Self::Topic,
        Self::TopicName,
        Self::TopicId,
        Self::DeletedTopic,
        Self::Emptied,
        Self::Lease,
        Self::Checkpoint,
        Self::Tail,
        Self::Receipt,
        Self::Floor,
        Self::LiveBytes,
        Self::EndedWriter,
        Self::Dying,
        Self::Orphans,
        Self::Merged,
        Self::Inline,
        Self::Partition,
        Self::Producer,
        Self::Page,
        Self::Aborted,
        Self::Compacted,
        Self::Group,
        Self::GroupMember,
        Self::GroupOffset,
        Self::GroupProducer,
        Self::GroupPending,
        Self::Transaction,
    ];
}

/// The counters of the cluster. On disk for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// The last topic number given out.
    TopicNumber = 1,
    /// The last incarnation given out.
    Incarnation = 2,
    /// The end of the last block of producer ids given out.
    ProducerId = 3,
    /// The oldest incarnation whose process may still live: those below it have ended.
    OldestLiveIncarnation = 4,
    /// The last incarnation up to which all orphans have been looked for.
    SearchedIncarnation = 5,
}

/// The version of every key kind. A kind that changes its keys takes the next number.
const KEY_VERSION: u8 = 1;

/// Builds keys of one tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyspace {
    tenant: Tenant,
}

/// A key under construction.
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn partition(self, partition: TopicPartition) -> Self {
        self.u64(partition.topic.get())
            .u32(partition.partition.get())
    }

    pub(super) fn segment(self, segment: SegmentName) -> Self {
        self.u64(segment.incarnation.get())
            .u64(segment.sequence.get())
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

impl Keyspace {
    /// Keys of `tenant`.
    pub const fn new(tenant: Tenant) -> Self {
        Self { tenant }
    }

    pub(super) fn key(self, kind: KeyKind) -> Key {
        Key(Vec::with_capacity(40))
            .u32(self.tenant.get())
            .u8(kind as u8)
            .u8(KEY_VERSION)
    }

    /// All keys of a kind.
    pub fn all(self, kind: KeyKind) -> KeyRange {
        KeyRange::prefix(self.key(kind).finish())
    }

    /// The cluster's row.
    pub fn cluster(self) -> Bytes {
        self.key(KeyKind::Cluster).finish()
    }

    /// A counter.
    pub fn counter(self, counter: Counter) -> Bytes {
        self.key(KeyKind::Counter).u8(counter as u8).finish()
    }

    /// A topic.
    pub fn topic(self, number: TopicNumber) -> Bytes {
        self.key(KeyKind::Topic).u64(number.get()).finish()
    }

    /// The number in a key of [`Keyspace::topic`].
    pub fn topic_number(key: &[u8]) -> Option<TopicNumber> {
        let number = key.get(6..)?.try_into().ok()?;
        Some(TopicNumber::new(u64::from_be_bytes(number)))
    }

    /// The number of a live topic.
    pub fn topic_name(self, name: &TopicName) -> Bytes {
        self.key(KeyKind::TopicName)
            .fixed(name.as_str().as_bytes())
            .finish()
    }

    /// Live topics whose names come after `name`; all for an empty one.
    pub fn topic_names_after(self, name: &str) -> KeyRange {
        let all = self.all(KeyKind::TopicName);
        if name.is_empty() {
            return all;
        }
        let last = self.key(KeyKind::TopicName).fixed(name.as_bytes()).finish();
        KeyRange {
            start: KeyRange::successor(&last),
            end: all.end,
        }
    }

    /// The name in a key of [`Keyspace::topic_name`].
    pub fn name_of(key: &[u8]) -> Option<&str> {
        key.get(6..).and_then(|name| std::str::from_utf8(name).ok())
    }

    /// The number of a topic by its id.
    pub fn topic_id(self, id: TopicId) -> Bytes {
        self.key(KeyKind::TopicId).fixed(&id.to_bytes()).finish()
    }

    /// A deleted topic.
    pub fn deleted_topic(self, name: &TopicName, number: TopicNumber) -> Bytes {
        self.deleted_name(name).u64(number.get()).finish()
    }

    /// Deleted topics of a name, in the order of their numbers.
    pub fn deleted_topics(self, name: &TopicName) -> KeyRange {
        KeyRange::prefix(self.deleted_name(name).finish())
    }

    /// The number at the end of a key of [`Keyspace::deleted_topic`].
    pub fn deleted_number(key: &[u8]) -> Option<TopicNumber> {
        let number = key.get(key.len().checked_sub(8)?..)?.try_into().ok()?;
        Some(TopicNumber::new(u64::from_be_bytes(number)))
    }

    /// All deleted topics after a key of this kind; all for an empty one.
    pub fn deleted_topics_after(self, last: &[u8]) -> KeyRange {
        let all = self.all(KeyKind::DeletedTopic);
        if all.contains(last) {
            KeyRange {
                start: KeyRange::successor(last),
                end: all.end,
            }
        } else {
            all
        }
    }

    fn deleted_name(self, name: &TopicName) -> Key {
        // A zero byte ends the name: no name has one, so no name is a prefix of another's key.
        self.key(KeyKind::DeletedTopic)
            .fixed(name.as_str().as_bytes())
            .u8(0)
    }

    /// Who owns a shard.
    pub fn lease(self, shard: ShardId) -> Bytes {
        self.key(KeyKind::Lease).u32(shard.get()).finish()
    }

    /// The shard in a key of [`Keyspace::lease`].
    pub fn lease_shard(key: &[u8]) -> Option<ShardId> {
        let shard = key.get(6..)?.try_into().ok()?;
        Some(ShardId::new(u32::from_be_bytes(shard)))
    }

    /// A shard's checkpoint.
    pub fn checkpoint(self, shard: ShardId) -> Bytes {
        self.key(KeyKind::Checkpoint).u32(shard.get()).finish()
    }

    /// An entry of a shard's tail.
    pub fn tail(self, shard: ShardId, group: GroupNumber, index: u32) -> Bytes {
        self.key(KeyKind::Tail)
            .u32(shard.get())
            .u64(group.get())
            .u32(index)
            .finish()
    }

    /// A shard's whole tail.
    pub fn tail_of(self, shard: ShardId) -> KeyRange {
        KeyRange::prefix(self.key(KeyKind::Tail).u32(shard.get()).finish())
    }

    /// A shard's tail after a group.
    pub fn tail_after(self, shard: ShardId, group: GroupNumber) -> KeyRange {
        let all = self.tail_of(shard);
        let last = self.tail(shard, group, u32::MAX);
        KeyRange {
            start: KeyRange::successor(&last),
            end: all.end,
        }
    }

    /// The group of a key of [`Keyspace::tail`].
    pub fn tail_group(key: &[u8]) -> Option<GroupNumber> {
        let group: [u8; 8] = key.get(10..18)?.try_into().ok()?;
        Some(GroupNumber::new(u64::from_be_bytes(group)))
    }

    /// A partition.
    pub fn partition(self, partition: TopicPartition) -> Bytes {
        self.key(KeyKind::Partition).partition(partition).finish()
    }

    /// A producer in a partition.
    pub fn producer(self, partition: TopicPartition, producer: ProducerId) -> Bytes {
        // Ids of idempotent producers are not negative, so that their order is that of their bits.
        self.key(KeyKind::Producer)
            .partition(partition)
            .u64(producer.get().cast_unsigned())
            .finish()
    }

    /// All producers in a partition.
    pub fn producers_of(self, partition: TopicPartition) -> KeyRange {
        KeyRange::prefix(self.key(KeyKind::Producer).partition(partition).finish())
    }

    /// The producer in a key of [`Keyspace::producer`].
    pub fn producer_id(key: &[u8]) -> Option<ProducerId> {
        let id = key.get(18..)?.try_into().ok()?;
        Some(ProducerId::new(u64::from_be_bytes(id).cast_signed()))
    }
}

impl Keyspace {
    /// A page of a partition's extents, which begins at `base`.
    pub fn page(self, partition: TopicPartition, base: Offset) -> Bytes {
        self.key(KeyKind::Page)
            .partition(partition)
            .u64(base.get())
            .finish()
    }

    /// The pages of a partition that begin at or before `offset`.
    pub fn pages_until(self, partition: TopicPartition, offset: Offset) -> KeyRange {
        let last = self.page(partition, offset);
        KeyRange::new(
            self.page(partition, Offset::ZERO),
            KeyRange::successor(&last),
        )
    }

    /// All pages of a partition.
    pub fn pages_of(self, partition: TopicPartition) -> KeyRange {
        KeyRange::prefix(self.key(KeyKind::Page).partition(partition).finish())
    }

    /// The pages of a partition that begin after `offset`.
    pub fn pages_after(self, partition: TopicPartition, offset: Offset) -> KeyRange {
        KeyRange {
            start: KeyRange::successor(&self.page(partition, offset)),
            end: self.pages_of(partition).end,
        }
    }

    /// The offset in a key of [`Keyspace::page`].
    pub fn page_base(key: &[u8]) -> Option<Offset> {
        let base: [u8; 8] = key.get(18..26)?.try_into().ok()?;
        Some(Offset::new(u64::from_be_bytes(base)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_do_and_stay_short() {
        let keys = Keyspace::default();
        let shard = ShardId::new(1);
        let tail = |group, index| keys.tail(shard, GroupNumber::new(group), index);
        assert!(tail(1, 300) < tail(2, 0));
        assert!(tail(255, 0) < tail(256, 0));
        assert!(keys.tail_of(shard).contains(&tail(u64::MAX, u32::MAX)));
        assert!(
            !keys
                .tail_of(shard)
                .contains(&keys.tail(ShardId::new(2), GroupNumber::new(0), 0))
        );
        assert_eq!(
            Keyspace::tail_group(&tail(77, 3)),
            Some(GroupNumber::new(77))
        );
        assert!(tail(1, 1).len() <= 32);
    }

    #[test]
    fn kinds_have_distinct_numbers_in_the_order_of_the_list() {
        assert!(KeyKind::ALL.is_sorted_by(|a, b| (*a as u8) < (*b as u8)));
    }

    #[test]
    fn a_deleted_topic_is_not_found_under_a_longer_or_shorter_name() {
        let keys = Keyspace::default();
        let name = |text| TopicName::new(text).unwrap();
        let key = keys.deleted_topic(&name("orders"), TopicNumber::new(5));
        assert!(keys.deleted_topics(&name("orders")).contains(&key));
        assert!(!keys.deleted_topics(&name("order")).contains(&key));
        assert!(!keys.deleted_topics(&name("orders2")).contains(&key));
    }
}
