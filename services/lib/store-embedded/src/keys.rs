//! Keys inside `SlateDB`: one byte says whose key it is, then comes the key.
//!
//! | first byte | meaning |
//! | --- | --- |
//! | 0 | the store's own rows |
//! | 1 | rows of transactions |
//!
//! These numbers are on disk and must not change. The byte also lets a transaction use the empty key,
//! which `SlateDB` does not take.

use bytes::Bytes;
use tidelog_store::KeyRange;

const ROW: u8 = 1;
const AFTER_ROWS: u8 = 2;

/// A row that each flush writes, so that none is empty, and whose time says, after a restart, how far
/// the clock had come.
pub(crate) const HEARTBEAT: &[u8] = &[0, b'h'];

/// The stored form of a transaction's key.
pub(crate) fn encode(key: &[u8]) -> Bytes {
    let mut stored = Vec::with_capacity(key.len() + 1);
    stored.push(ROW);
    stored.extend_from_slice(key);
    Bytes::from(stored)
}

/// The transaction's key in a stored one. A copy, since the stored one is a slice of a whole block.
pub(crate) fn decode(stored: &[u8]) -> Bytes {
    Bytes::copy_from_slice(stored.get(1..).unwrap_or_default())
}

/// The stored form of a range.
pub(crate) fn encode_range(range: &KeyRange) -> std::ops::Range<Bytes> {
    let end = range
        .end
        .as_ref()
        .map_or(Bytes::from_static(&[AFTER_ROWS]), |end| encode(end));
    encode(&range.start)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_stored_keys_of_their_keys() {
        let all = encode_range(&KeyRange::all());
        for key in [&b""[..], b"a", &[0xff; 512]] {
            assert!(all.contains(&encode(key)));
            assert_eq!(decode(&encode(key)), key);
        }
        assert!(!all.contains(&Bytes::from_static(HEARTBEAT)));
        let some = encode_range(&KeyRange::new(&b"b"[..], &b"c"[..]));
        assert!(some.contains(&encode(b"b\xff")));
        assert!(!some.contains(&encode(b"c")));
    }
}
