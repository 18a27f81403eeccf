//! Record data, in as many pieces as it is in.

use std::fmt;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Record data: bytes that the codec neither reads nor copies.
///
/// What is decoded is one piece, a slice of the frame. What is to be encoded may be many pieces, as a
/// fetch finds them in pages and patches the headers of batches: each goes out as it is. Two are equal
/// when their bytes are, wherever they are cut.
#[derive(Clone, Default)]
pub struct Records {
    pieces: SmallVec<[Bytes; 2]>,
}

impl Records {
    /// No bytes at all, which is not the same as null.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end; an empty one is dropped.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// How many bytes all pieces have.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All bytes in one piece; copies them only if they are in several.
    pub fn to_bytes(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [piece] => piece.clone(),
            pieces => {
                let mut whole = BytesMut::with_capacity(self.len());
                for piece in pieces {
                    whole.extend_from_slice(piece);
                }
                whole.freeze()
            }
        }
    }
}

impl From<Bytes> for Records {
    fn from(piece: Bytes) -> Self {
        let mut records = Self::new();
        records.push(piece);
        records
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut records = Self::new();
        records.extend(pieces);
        records
    }
}

impl Extend<Bytes> for Records {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, pieces: I) {
        for piece in pieces {
            self.push(piece);
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .pieces
                .iter()
                .flatten()
                .eq(other.pieces.iter().flatten())
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, pieces) = (self.len(), self.pieces.len());
        write!(f, "Records({bytes} bytes in {pieces} pieces)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_equal_when_their_bytes_are_wherever_they_are_cut() {
        let whole = Records::from(Bytes::from_static(b"abcdef"));
        let cut: Records = [&b"ab"[..], b"", b"cdef"]
            .map(Bytes::from_static)
            .into_iter()
            .collect();
        assert_eq!(cut.pieces().len(), 2);
        assert_eq!(whole, cut);
        assert_eq!(cut.to_bytes(), whole.to_bytes());
        assert_ne!(cut, Records::from(Bytes::from_static(b"abcdeg")));
        assert_ne!(cut, Records::new());
    }
}
