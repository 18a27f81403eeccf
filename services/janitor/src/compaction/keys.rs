//! The last offset of each key, within a fixed number of bytes.

use sha2::{Digest as _, Sha256};
use tidelog_types::Offset;

/// Bytes of one place.
pub(crate) const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
/// Of so many places three in four are filled at most, so that searches stay short.
const FILLED: (usize, usize) = (3, 4);
/// A map has a place for this many keys at least.
const KEYS_MIN: u64 = 16;

/// A key, by a hash of 128 bits, and its last offset. Two keys with one hash would lose records, as in Kafka; nobody who
/// does not know the secret can find such keys.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    offset: u64,
}

const EMPTY: Slot = Slot {
    hash: [0; 2],
    offset: u64::MAX,
};

/// The last offset of keys.
#[derive(Debug)]
pub(crate) struct Keys {
    secret: Sha256,
    slots: Vec<Slot>,
    len: usize,
}

impl Keys {
    /// A map with room for so many keys, but not for more than so many bytes.
    pub(crate) fn new(secret: [u8; 16], keys: u64, bytes: u64) -> Self {
        let (filled, of) = (FILLED.0 as u64, FILLED.1 as u64);
        let wanted = keys.max(KEYS_MIN).saturating_mul(of) / filled + of;
        let count = wanted.min((bytes / SLOT_BYTES).max(KEYS_MIN));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            secret: Sha256::new_with_prefix(secret),
            slots: vec![EMPTY; count],
            len: 0,
        }
    }

    const fn is_full(&self) -> bool {
        self.len >= self.slots.len() / FILLED.1 * FILLED.0
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let digest = self.secret.clone().chain_update(key).finalize();
        let part = |at: usize| {
            let bytes = digest.get(at..at + 8).and_then(|part| part.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        [part(0), part(8)]
    }

    /// Where a key is, or where it would be.
    fn place(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let wide = (u128::from(hash[0]) * count as u128) >> 64;
        let mut at = usize::try_from(wide).unwrap_or_default();
        // At least one place in four is empty.
        loop {
            match self.slots.get(at) {
                Some(slot) if slot.offset != EMPTY.offset && slot.hash != hash => at += 1,
                Some(_) => return at,
                None => at = 0,
            }
        }
    }

    /// Takes note of a key at an offset; whether there was room for it.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.place(hash);
        let is_full = self.is_full();
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        let is_new = slot.offset == EMPTY.offset;
        if is_new && is_full {
            return false;
        }
        let last = if is_new { 0 } else { slot.offset };
        *slot = Slot {
            hash,
            offset: last.max(offset.get()),
        };
        self.len += usize::from(is_new);
        true
    }

    /// Whether a later record of the key is known than one at an offset.
    pub(crate) fn is_superseded(&self, key: &[u8], offset: Offset) -> bool {
        if self.len == 0 {
            return false;
        }
        let slot = self.slots.get(self.place(self.hash(key)));
        slot.is_some_and(|slot| slot.offset != EMPTY.offset && slot.offset > offset.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_known_until_there_is_no_room() {
        let mut keys = Keys::new([1; 16], 100, 1 << 20);
        for offset in 0..300_u64 {
            assert!(keys.put(&(offset % 100).to_le_bytes(), Offset::new(offset)));
        }
        assert_eq!(keys.len, 100);
        for offset in 0..300_u64 {
            let key = (offset % 100).to_le_bytes();
            assert_eq!(keys.is_superseded(&key, Offset::new(offset)), offset < 200);
        }
        assert!(!keys.is_superseded(b"other", Offset::ZERO));
        // An earlier offset changes nothing.
        assert!(keys.put(&5_u64.to_le_bytes(), Offset::new(5)));
        assert!(keys.is_superseded(&5_u64.to_le_bytes(), Offset::new(204)));
    }

    #[test]
    fn no_more_memory_is_taken_than_was_given() {
        let mut keys = Keys::new([1; 16], u64::MAX, 100 * SLOT_BYTES);
        let taken = (0..1_000_u64).filter(|key| keys.put(&key.to_le_bytes(), Offset::new(*key)));
        assert_eq!(taken.count(), 75);
        assert_eq!(keys.slots.len(), 100);
        // Keys that are known are taken also then.
        assert!(keys.put(&3_u64.to_le_bytes(), Offset::new(5_000)));
        assert!(keys.is_superseded(&3_u64.to_le_bytes(), Offset::new(4_999)));
    }
}
