//! Keys of transactional ids: the shard, then the id, which ends the key.

use bytes::Bytes;
use tidelog_metadata_api::TransactionalId;
use tidelog_store::KeyRange;
use tidelog_types::ShardId;

use super::key::{Key, KeyKind, Keyspace};

/// Where the id stands in a key: after tenant, kind, version and shard.
const ID_AT: usize = 10;

impl Keyspace {
    fn transaction_key(self, shard: ShardId) -> Key {
        self.key(KeyKind::Transaction).u32(shard.get())
    }

    /// A transactional id.
    pub fn transaction(self, shard: ShardId, id: &TransactionalId) -> Bytes {
        self.transaction_key(shard)
            .fixed(id.as_str().as_bytes())
            .finish()
    }

    /// The transactional ids of a shard that come after `id`; all without one.
    pub fn transactions_after(self, shard: ShardId, id: Option<&TransactionalId>) -> KeyRange {
        let all = KeyRange::prefix(self.transaction_key(shard).finish());
        match id {
            None => all,
            Some(id) => KeyRange {
                start: KeyRange::successor(&self.transaction(shard, id)),
                end: all.end,
            },
        }
    }

    /// The id in a key of [`Keyspace::transaction`].
    pub fn transactional_id(key: &[u8]) -> Option<TransactionalId> {
        let id = std::str::from_utf8(key.get(ID_AT..)?).ok()?;
        TransactionalId::new(id).ok()
    }

    /// Whether a key is of a transactional id of this shard.
    pub fn is_of_transactions(self, shard: ShardId, key: &[u8]) -> bool {
        key.starts_with(&self.transaction_key(shard).finish())
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::limits::STORE_KEY_BYTES_MAX;

    use super::*;

    fn id(text: &str) -> TransactionalId {
        TransactionalId::new(text).expect("a good id")
    }

    #[test]
    fn the_id_in_a_key_is_read_back_and_the_longest_fits_the_store() {
        let (keys, shard) = (Keyspace::default(), ShardId::new(1));
        for text in ["a", "orders-1", &"t".repeat(TransactionalId::BYTES_MAX)] {
            let key = keys.transaction(shard, &id(text));
            assert_eq!(Keyspace::transactional_id(&key), Some(id(text)));
            assert!(key.len() <= STORE_KEY_BYTES_MAX);
            assert!(keys.is_of_transactions(shard, &key));
            assert!(!keys.is_of_transactions(ShardId::new(2), &key));
            assert!(!keys.is_of_groups(shard, &key));
        }
        assert!(!keys.is_of_transactions(shard, &keys.lease(shard)));
    }

    #[test]
    fn ids_are_listed_from_after_one() {
        let (keys, shard) = (Keyspace::default(), ShardId::new(1));
        let after = keys.transactions_after(shard, Some(&id("b")));
        assert!(!after.contains(&keys.transaction(shard, &id("b"))));
        assert!(after.contains(&keys.transaction(shard, &id("ba"))));
        assert!(!after.contains(&keys.transaction(ShardId::new(2), &id("c"))));
        let all = keys.transactions_after(shard, None);
        assert!(all.contains(&keys.transaction(shard, &id("a"))));
    }
}
