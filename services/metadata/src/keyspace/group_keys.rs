//! Keys of groups. All keys of a group begin with its shard and its name, so that they lie together.

use bytes::Bytes;
use tidelog_metadata_api::GroupName;
use tidelog_store::KeyRange;
use tidelog_types::{PartitionIndex, ProducerId, ShardId, TopicNumber, TopicPartition};

use super::key::{Key, KeyKind, Keyspace};

/// Where the name stands in a key: after tenant, kind, version and shard.
const NAME_AT: usize = 10;
/// Bytes of a partition at the end of a key.
const PARTITION_BYTES: usize = 12;
/// Bytes of a producer's id in a key.
const PRODUCER_BYTES: usize = 8;
/// Bytes of a piece's number at the end of a key.
const PIECE_BYTES: usize = 2;

impl Keyspace {
    fn group_key(self, kind: KeyKind, shard: ShardId) -> Key {
        self.key(kind).u32(shard.get())
    }

    /// A zero byte ends the name: no name has one, so no name is a prefix of another's keys.
    fn group_part(self, kind: KeyKind, shard: ShardId, name: &GroupName) -> Key {
        self.group_key(kind, shard)
            .fixed(name.as_str().as_bytes())
            .u8(0)
    }

    /// A group.
    pub fn group(self, shard: ShardId, name: &GroupName) -> Bytes {
        self.group_key(KeyKind::Group, shard)
            .fixed(name.as_str().as_bytes())
            .finish()
    }

    /// The groups of a shard whose names come after `name`; all without one.
    pub fn groups_after(self, shard: ShardId, name: Option<&GroupName>) -> KeyRange {
        let all = KeyRange::prefix(self.group_key(KeyKind::Group, shard).finish());
        match name {
            None => all,
            Some(name) => KeyRange {
                start: KeyRange::successor(&self.group(shard, name)),
                end: all.end,
            },
        }
    }

    /// The name in a key of [`Keyspace::group`].
    pub fn group_name(key: &[u8]) -> Option<GroupName> {
        let name = std::str::from_utf8(key.get(NAME_AT..)?).ok()?;
        GroupName::new(name).ok()
    }

    /// A piece of a member of a group.
    pub fn group_member(
        self,
        shard: ShardId,
        name: &GroupName,
        member_id: &str,
        piece: u16,
    ) -> Bytes {
        self.group_part(KeyKind::GroupMember, shard, name)
            .fixed(member_id.as_bytes())
            .u8(0)
            .fixed(&piece.to_be_bytes())
            .finish()
    }

    /// All pieces of all members of a group.
    pub fn group_members(self, shard: ShardId, name: &GroupName) -> KeyRange {
        KeyRange::prefix(self.group_part(KeyKind::GroupMember, shard, name).finish())
    }

    /// The member and the number of the piece in a key of [`Keyspace::group_member`].
    pub fn member_piece<'a>(key: &'a [u8], name: &GroupName) -> Option<(&'a str, u16)> {
        let rest = key.get(NAME_AT + name.as_str().len() + 1..)?;
        let at = rest.len().checked_sub(PIECE_BYTES)?;
        let (member, piece) = rest.split_at_checked(at)?;
        let (zero, member) = member.split_last()?;
        let piece: [u8; PIECE_BYTES] = piece.try_into().ok()?;
        let member = std::str::from_utf8(member).ok()?;
        (*zero == 0).then_some((member, u16::from_be_bytes(piece)))
    }

    /// The committed offset of a group in a partition.
    pub fn group_offset(
        self,
        shard: ShardId,
        name: &GroupName,
        partition: TopicPartition,
    ) -> Bytes {
        self.group_part(KeyKind::GroupOffset, shard, name)
            .partition(partition)
            .finish()
    }

    /// All committed offsets of a group.
    pub fn group_offsets(self, shard: ShardId, name: &GroupName) -> KeyRange {
        KeyRange::prefix(self.group_part(KeyKind::GroupOffset, shard, name).finish())
    }

    /// A producer whose transactions have ended in a group.
    pub fn group_producer(self, shard: ShardId, name: &GroupName, producer: ProducerId) -> Bytes {
        self.group_part(KeyKind::GroupProducer, shard, name)
            .u64(producer.get().cast_unsigned())
            .finish()
    }

    /// All such producers of a group.
    pub fn group_producers(self, shard: ShardId, name: &GroupName) -> KeyRange {
        KeyRange::prefix(
            self.group_part(KeyKind::GroupProducer, shard, name)
                .finish(),
        )
    }

    /// The producer in a key of [`Keyspace::group_producer`].
    pub fn group_producer_id(key: &[u8]) -> Option<ProducerId> {
        let at = key.len().checked_sub(PRODUCER_BYTES)?;
        let id = key.get(at..)?.try_into().ok()?;
        Some(ProducerId::new(i64::from_be_bytes(id)))
    }

    /// An offset that waits for the end of a producer's transaction.
    pub fn group_pending(
        self,
        shard: ShardId,
        name: &GroupName,
        producer: ProducerId,
        partition: TopicPartition,
    ) -> Bytes {
        self.group_part(KeyKind::GroupPending, shard, name)
            .u64(producer.get().cast_unsigned())
            .partition(partition)
            .finish()
    }

    /// All offsets of a group that wait for the end of a transaction.
    pub fn group_all_pending(self, shard: ShardId, name: &GroupName) -> KeyRange {
        KeyRange::prefix(self.group_part(KeyKind::GroupPending, shard, name).finish())
    }

    /// The producer and the partition in a key of [`Keyspace::group_pending`].
    pub fn pending_of(key: &[u8]) -> Option<(ProducerId, TopicPartition)> {
        let (rest, _) = key.split_at_checked(key.len().checked_sub(PARTITION_BYTES)?)?;
        Some((Self::group_producer_id(rest)?, Self::offset_partition(key)?))
    }

    /// The partition in a key of [`Keyspace::group_offset`].
    pub fn offset_partition(key: &[u8]) -> Option<TopicPartition> {
        let at = key.len().checked_sub(PARTITION_BYTES)?;
        let (topic, partition) = key.get(at..)?.split_at_checked(8)?;
        Some(TopicPartition::new(
            TopicNumber::new(u64::from_be_bytes(topic.try_into().ok()?)),
            PartitionIndex::new(u32::from_be_bytes(partition.try_into().ok()?)),
        ))
    }

    /// Whether a key is of a group of this shard.
    pub fn is_of_groups(self, shard: ShardId, key: &[u8]) -> bool {
        [
            KeyKind::Group,
            KeyKind::GroupMember,
            KeyKind::GroupOffset,
            KeyKind::GroupProducer,
            KeyKind::GroupPending,
        ]
        .into_iter()
        .any(|kind| key.starts_with(&self.group_key(kind, shard).finish()))
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::{GROUP_NAME_BYTES_MAX, MEMBER_ID_BYTES_MAX};
    use tidelog_types::limits::STORE_KEY_BYTES_MAX;

    use super::*;

    fn name(text: &str) -> GroupName {
        GroupName::new(text).expect("a good name")
    }

    #[test]
    fn keys_of_one_group_are_not_those_of_another_whose_name_begins_alike() {
        let (keys, shard) = (Keyspace::default(), ShardId::new(1));
        let at = TopicPartition::new(TopicNumber::new(7), PartitionIndex::new(3));
        let short = keys.group_offsets(shard, &name("a"));
        assert!(short.contains(&keys.group_offset(shard, &name("a"), at)));
        assert!(!short.contains(&keys.group_offset(shard, &name("ab"), at)));
        assert!(!short.contains(&keys.group_offset(ShardId::new(2), &name("a"), at)));
        let members = keys.group_members(shard, &name("a"));
        assert!(members.contains(&keys.group_member(shard, &name("a"), "m", 0)));
        assert!(!members.contains(&keys.group_member(shard, &name("ab"), "m", 0)));
    }

    #[test]
    fn what_is_in_a_key_is_read_back() {
        let (keys, shard) = (Keyspace::default(), ShardId::new(1));
        let group = name("orders");
        assert_eq!(
            Keyspace::group_name(&keys.group(shard, &group)),
            Some(group.clone())
        );
        let key = keys.group_member(shard, &group, "m-1", 300);
        assert_eq!(Keyspace::member_piece(&key, &group), Some(("m-1", 300)));
        let at = TopicPartition::new(TopicNumber::new(7), PartitionIndex::new(3));
        let key = keys.group_offset(shard, &group, at);
        assert_eq!(Keyspace::offset_partition(&key), Some(at));
        assert!(keys.is_of_groups(shard, &key));
        assert!(!keys.is_of_groups(ShardId::new(2), &key));
        assert!(!keys.is_of_groups(shard, &keys.lease(shard)));
        let producer = ProducerId::new(1 << 40);
        let key = keys.group_producer(shard, &group, producer);
        assert_eq!(Keyspace::group_producer_id(&key), Some(producer));
        assert!(keys.is_of_groups(shard, &key));
        assert!(keys.group_producers(shard, &group).contains(&key));
        let key = keys.group_pending(shard, &group, producer, at);
        assert_eq!(Keyspace::pending_of(&key), Some((producer, at)));
        assert!(keys.is_of_groups(shard, &key));
        assert!(keys.group_all_pending(shard, &group).contains(&key));
        assert!(!keys.group_all_pending(shard, &name("order")).contains(&key));
    }

    #[test]
    fn groups_are_listed_from_after_a_name() {
        let (keys, shard) = (Keyspace::default(), ShardId::new(1));
        let after = keys.groups_after(shard, Some(&name("b")));
        assert!(!after.contains(&keys.group(shard, &name("b"))));
        assert!(after.contains(&keys.group(shard, &name("ba"))));
        assert!(
            keys.groups_after(shard, None)
                .contains(&keys.group(shard, &name("a")))
        );
    }

    #[test]
    fn the_longest_key_fits_the_store() {
        let group = name(&"g".repeat(GROUP_NAME_BYTES_MAX));
        let member = "m".repeat(MEMBER_ID_BYTES_MAX);
        let key = Keyspace::default().group_member(ShardId::new(1), &group, &member, 1);
        assert!(key.len() <= STORE_KEY_BYTES_MAX);
    }
}
