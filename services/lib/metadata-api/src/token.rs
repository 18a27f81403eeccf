//! Read-your-writes tokens.

use thiserror::Error;
use tidelog_types::{ClusterGeneration, GroupNumber, ShardId};

/// Length of an encoded token.
const TOKEN_BYTES: usize = 17;
/// First byte of every encoded token. On the wire for ever: a new layout takes a new number.
const TOKEN_VERSION: u8 = 1;

/// How far a caller has seen a shard: (cluster generation, shard, group number). Opaque to clients.
///
/// A read that carries it is answered from a state that has reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadToken {
    /// Which life of the cluster the group number counts in.
    pub generation: ClusterGeneration,
    /// The shard.
    pub shard: ShardId,
    /// The last group whose effects the caller has seen.
    pub group: GroupNumber,
}

/// The bytes are not a token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the read token is not one that this service gave out")]
pub struct ReadTokenError;

impl ReadToken {
    /// The bytes that are given to clients.
    pub fn encode(&self) -> [u8; TOKEN_BYTES] {
        let mut out = [0; TOKEN_BYTES];
        out[0] = TOKEN_VERSION;
        out[1..5].copy_from_slice(&self.generation.get().to_be_bytes());
        out[5..9].copy_from_slice(&self.shard.get().to_be_bytes());
        out[9..17].copy_from_slice(&self.group.get().to_be_bytes());
        out
    }

    /// Reads a token back.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadTokenError> {
        let bytes: &[u8; TOKEN_BYTES] = bytes.try_into().map_err(|_| ReadTokenError)?;
        let [version, g0, g1, g2, g3, s0, s1, s2, s3, group @ ..] = *bytes;
        if version != TOKEN_VERSION {
            return Err(ReadTokenError);
        }
        Ok(Self {
            generation: ClusterGeneration::new(u32::from_be_bytes([g0, g1, g2, g3])),
            shard: ShardId::new(u32::from_be_bytes([s0, s1, s2, s3])),
            group: GroupNumber::new(u64::from_be_bytes(group)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_wire_and_foreign_bytes_are_refused() {
        let token = ReadToken {
            generation: ClusterGeneration::new(3),
            shard: ShardId::new(7),
            group: GroupNumber::new(u64::MAX - 1),
        };
        let bytes = token.encode();
        assert_eq!(ReadToken::decode(&bytes), Ok(token));
        assert_eq!(ReadToken::decode(&bytes[..16]), Err(ReadTokenError));
        assert_eq!(ReadToken::decode(&[]), Err(ReadTokenError));
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(ReadToken::decode(&newer), Err(ReadTokenError));
    }
}
