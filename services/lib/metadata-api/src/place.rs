//! Which shard a group or a transactional id is of, and where a list of them goes on.

use thiserror::Error;
use tidelog_types::ShardId;

use crate::{GroupName, GroupsError, TransactionalId, TransactionsError};

/// The shard of a group, of so many as the cluster has. A group's rows name it: one that is to be moved will have a
/// row that says so. The same in every version: rows are found by it.
pub fn group_shard(group: &GroupName, shards: u32) -> ShardId {
    shard_of_name(group.as_str(), shards)
}

/// The shard of a transactional id, of so many as the cluster has: that of a group of the same name. The same in every
/// version, since rows are found by it.
pub fn transaction_shard(id: &TransactionalId, shards: u32) -> ShardId {
    shard_of_name(id.as_str(), shards)
}

/// FNV-1a of the name and the finalizer of murmur3, so that names that differ little spread well.
fn shard_of_name(name: &str, shards: u32) -> ShardId {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let shard = hash % u64::from(shards.max(1));
    ShardId::new(u32::try_from(shard).unwrap_or_default())
}

/// What a shard has a list of.
pub trait ShardName: Sized {
    /// The name as text, which is never empty.
    fn text(&self) -> &str;
    /// The text as a name, if it is one.
    fn parse(text: &str) -> Option<Self>;
}

impl ShardName for GroupName {
    fn text(&self) -> &str {
        self.as_str()
    }

    fn parse(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

impl ShardName for TransactionalId {
    fn text(&self) -> &str {
        self.as_str()
    }

    fn parse(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

/// Where a list goes on: a shard, and a name of it after which to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlace<N> {
    /// The shard.
    pub shard: ShardId,
    /// The last name that was looked at, if one of this shard was.
    pub after: Option<N>,
}

/// Where a list of groups goes on.
pub type GroupPlace = ShardPlace<GroupName>;
/// Where a list of transactional ids goes on.
pub type TransactionPlace = ShardPlace<TransactionalId>;

/// The bytes are no place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the page token is not one of ours")]
pub struct UnknownPlace;

impl From<UnknownPlace> for GroupsError {
    fn from(error: UnknownPlace) -> Self {
        Self::InvalidRequest {
            reason: error.to_string(),
        }
    }
}

impl From<UnknownPlace> for TransactionsError {
    fn from(error: UnknownPlace) -> Self {
        Self::InvalidRequest {
            reason: error.to_string(),
        }
    }
}

impl<N> Default for ShardPlace<N> {
    /// The beginning of the first shard.
    fn default() -> Self {
        Self {
            shard: ShardId::default(),
            after: None,
        }
    }
}

impl<N: ShardName> ShardPlace<N> {
    /// The place as the `next` of a page: the shard, and the name if there is one.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.shard.get().to_be_bytes().to_vec();
        let name = self.after.as_ref().map(N::text);
        bytes.extend_from_slice(name.unwrap_or_default().as_bytes());
        bytes
    }

    /// Reads the `next` of a page back; nothing is where lists begin.
    pub fn decode(next: &[u8]) -> Result<Self, UnknownPlace> {
        if next.is_empty() {
            return Ok(Self::default());
        }
        let (shard, name) = next.split_first_chunk::<4>().ok_or(UnknownPlace)?;
        let name = std::str::from_utf8(name).map_err(|_| UnknownPlace)?;
        let after = if name.is_empty() {
            None
        } else {
            Some(N::parse(name).ok_or(UnknownPlace)?)
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

    fn name(text: &str) -> GroupName {
        GroupName::new(text).expect("a good name")
    }

    #[test]
    fn the_shard_of_a_name_never_changes_and_names_spread() {
        // Rows are found by these: they must stay as they are.
        assert_eq!(group_shard(&name("orders"), 32).get(), 25);
        assert_eq!(group_shard(&name("a"), 32).get(), 27);
        assert_eq!(group_shard(&name("a"), 1).get(), 0);
        let id = TransactionalId::new("orders").expect("a good id");
        assert_eq!(transaction_shard(&id, 32).get(), 25);
        let mut counts = [0; 32];
        for number in 0..3_200 {
            let shard = group_shard(&name(&format!("group-{number}")), 32);
            counts[usize::try_from(shard.get()).expect("small")] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_place_is_read_back_and_anything_else_is_refused() {
        let place = GroupPlace {
            shard: ShardId::new(3),
            after: Some(name("b")),
        };
        assert_eq!(GroupPlace::decode(&place.encode()), Ok(place.clone()));
        let next = place.next_shard(5).expect("one more");
        assert_eq!(GroupPlace::decode(&next.encode()), Ok(next.clone()));
        assert_eq!(next.next_shard(5), None);
        assert_eq!(GroupPlace::decode(&[]), Ok(GroupPlace::default()));
        assert_eq!(GroupPlace::decode(&[1, 2]), Err(UnknownPlace));
        assert_eq!(GroupPlace::decode(&[0, 0, 0, 1, 0xff]), Err(UnknownPlace));
        assert_eq!(TransactionPlace::decode(b"\0\0\0\x01\n"), Err(UnknownPlace));
    }
}
