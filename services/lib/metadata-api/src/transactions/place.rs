//! Which shard a transactional id is of, and where a list of ids goes on.

use tidelog_types::ShardId;

use super::{TransactionalId, TransactionsError};
use crate::groups::shard_of_name;

/// The shard of a transactional id, of so many as the cluster has: that of a group of the same name. The same in every
/// version, since rows are found by it.
pub fn transaction_shard(id: &TransactionalId, shards: u32) -> ShardId {
    shard_of_name(id.as_str(), shards)
}

/// Where a list of transactional ids goes on: a shard, and an id of it after which to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The shard.
    pub shard: ShardId,
    /// The last id that was looked at, if one of this shard was.
    pub after: Option<TransactionalId>,
}

impl TransactionPlace {
    /// The place as the `next` of a page: the shard, and the id if there is one.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.shard.get().to_be_bytes().to_vec();
        let id = self.after.as_ref().map(TransactionalId::as_str);
        bytes.extend_from_slice(id.unwrap_or_default().as_bytes());
        bytes
    }

    /// Reads the `next` of a page back; nothing is where lists begin.
    pub fn decode(next: &[u8]) -> Result<Self, TransactionsError> {
        if next.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || TransactionsError::InvalidRequest {
            reason: "the page token is not one of ours".to_owned(),
        };
        let (shard, id) = next.split_first_chunk::<4>().ok_or_else(wrong)?;
        let id = std::str::from_utf8(id).map_err(|_| wrong())?;
        let after = if id.is_empty() {
            None
        } else {
            Some(TransactionalId::new(id).map_err(|_| wrong())?)
        };
        Ok(Self {
            shard: ShardId::new(u32::from_be_bytes(*shard)),
            after,
        })
    }

    /// The beginning of the next shard, if there is one.
    pub fn next_shard(&self, shards: u32) -> Option<Self> {
        let shard = self.shard.get().checked_add(1)?;
        (shard < shards).then(|| Self {
            shard: ShardId::new(shard),
            after: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TransactionalId {
        TransactionalId::new(text).expect("a good id")
    }

    #[test]
    fn the_shard_of_an_id_never_changes() {
        // Rows are found by these: they must stay as they are.
        assert_eq!(transaction_shard(&id("orders"), 32).get(), 25);
        assert_eq!(transaction_shard(&id("a"), 32).get(), 27);
        assert_eq!(transaction_shard(&id("a"), 1).get(), 0);
    }

    #[test]
    fn a_place_is_read_back_and_anything_else_is_refused() {
        let place = TransactionPlace {
            shard: ShardId::new(3),
            after: Some(id("b")),
        };
        assert_eq!(TransactionPlace::decode(&place.encode()), Ok(place.clone()));
        let next = place.next_shard(5).expect("one more");
        assert_eq!(TransactionPlace::decode(&next.encode()), Ok(next.clone()));
        assert_eq!(next.next_shard(5), None);
        assert_eq!(
            TransactionPlace::decode(&[]),
            Ok(TransactionPlace::default())
        );
        assert!(TransactionPlace::decode(&[1, 2]).is_err());
        assert!(TransactionPlace::decode(&[0, 0, 0, 1, 0xff]).is_err());
    }
}
