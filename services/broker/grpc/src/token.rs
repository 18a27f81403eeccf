//! Read-your-writes tokens on the wire: one part per shard, the newest of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_api::ApiError;
use tidelog_metadata_api::ReadToken;
use tidelog_types::ShardId;

/// Bytes of one part.
const PART_BYTES: usize = 17;
/// Parts of a token: as many as fit into the 4,096 bytes that the API promises.
const PARTS_MAX: usize = 4_096 / PART_BYTES;

/// What a caller has seen of the shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenSet(BTreeMap<ShardId, ReadToken>);

impl TokenSet {
    /// Reads what a client sent.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ApiError> {
        let foreign = || ApiError::invalid("the token is not one that this service gave out");
        let (parts, rest) = bytes.as_chunks::<PART_BYTES>();
        if !rest.is_empty() || parts.len() > PARTS_MAX {
            return Err(foreign());
        }
        let mut tokens = Self::default();
        for part in parts {
            tokens.add(ReadToken::decode(part).map_err(|_| foreign())?);
        }
        Ok(tokens)
    }

    /// Adds what was seen of a shard; the newest stays.
    pub(crate) fn add(&mut self, token: ReadToken) {
        let newest = self.0.entry(token.shard).or_insert(token);
        let position = |token: &ReadToken| (token.generation, token.group);
        if position(&token) > position(newest) {
            *newest = token;
        }
    }

    /// The parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = ReadToken> {
        self.0.values().copied()
    }

    /// What a client is sent.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.0.len() * PART_BYTES);
        for token in self.0.values().take(PARTS_MAX) {
            out.extend_from_slice(&token.encode());
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{ClusterGeneration, GroupNumber};

    use super::*;

    fn token(shard: u32, group: u64) -> ReadToken {
        ReadToken {
            generation: ClusterGeneration::new(1),
            shard: ShardId::new(shard),
            group: GroupNumber::new(group),
        }
    }

    #[test]
    fn the_newest_part_of_each_shard_stays_and_survives_the_wire() {
        let mut tokens = TokenSet::default();
        for part in [token(1, 5), token(0, 9), token(1, 7), token(0, 2)] {
            tokens.add(part);
        }
        let read = TokenSet::decode(&tokens.encode()).unwrap();
        assert_eq!(read.parts().collect::<Vec<_>>(), [token(0, 9), token(1, 7)]);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert!(TokenSet::decode(b"").unwrap().0.is_empty());
        assert!(TokenSet::decode(b"x").is_err());
        assert!(TokenSet::decode(&[9; 17]).is_err());
        assert!(TokenSet::decode(&[1; 17 * 300]).is_err());
    }
}
