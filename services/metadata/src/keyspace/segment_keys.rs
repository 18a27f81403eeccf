//! Keys of segments and of their writers: the incarnation, then the sequence of the segment, then the shard.

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{Incarnation, SegmentName, SegmentSequence, ShardId};

use super::key::{KeyKind, Keyspace};

impl Keyspace {
    /// The proof of a commit.
    pub fn receipt(self, segment: SegmentName, shard: ShardId) -> Bytes {
        self.key(KeyKind::Receipt)
            .segment(segment)
            .u32(shard.get())
            .finish()
    }

    /// The floor of an incarnation.
    pub fn floor(self, incarnation: Incarnation) -> Bytes {
        self.key(KeyKind::Floor).u64(incarnation.get()).finish()
    }

    /// The segment in a key of [`Keyspace::receipt`].
    pub fn receipt_segment(key: &[u8]) -> Option<SegmentName> {
        let number = |bytes: Option<&[u8]>| Some(u64::from_be_bytes(bytes?.try_into().ok()?));
        Some(SegmentName::new(
            Incarnation::new(number(key.get(6..14))?),
            SegmentSequence::new(number(key.get(14..22))?),
        ))
    }

    /// The shard in a key of [`Keyspace::receipt`].
    pub fn receipt_shard(key: &[u8]) -> Option<ShardId> {
        let number = key.get(22..)?.try_into().ok()?;
        Some(ShardId::new(u32::from_be_bytes(number)))
    }

    /// Receipts of an incarnation, in all shards.
    pub fn receipts_of(self, incarnation: Incarnation) -> KeyRange {
        let start = self.key(KeyKind::Receipt).u64(incarnation.get());
        KeyRange::prefix(start.finish())
    }

    /// Receipts of an incarnation and of those after it.
    pub fn receipts_from(self, incarnation: Incarnation) -> KeyRange {
        let start = self.key(KeyKind::Receipt).u64(incarnation.get());
        KeyRange {
            start: start.finish(),
            end: self.all(KeyKind::Receipt).end,
        }
    }

    /// The floors of an incarnation and of those after it.
    pub fn floors_from(self, incarnation: Incarnation) -> KeyRange {
        KeyRange {
            start: self.floor(incarnation),
            end: self.all(KeyKind::Floor).end,
        }
    }

    /// The incarnation in a key of [`Keyspace::floor`].
    pub fn floor_incarnation(key: &[u8]) -> Option<Incarnation> {
        let number = key.get(6..)?.try_into().ok()?;
        Some(Incarnation::new(u64::from_be_bytes(number)))
    }

    /// The floors of incarnations below one.
    pub fn floors_below(self, incarnation: Incarnation) -> KeyRange {
        KeyRange::new(self.all(KeyKind::Floor).start, self.floor(incarnation))
    }

    /// What is kept of a writer that has ended.
    pub fn ended_writer(self, incarnation: Incarnation) -> Bytes {
        self.key(KeyKind::EndedWriter)
            .u64(incarnation.get())
            .finish()
    }

    /// The live bytes of a segment in a shard.
    pub fn live_bytes(self, segment: SegmentName, shard: ShardId) -> Bytes {
        self.key(KeyKind::LiveBytes)
            .segment(segment)
            .u32(shard.get())
            .finish()
    }
}
