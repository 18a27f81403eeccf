//! Bytes in pieces, and how they are gathered.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes shorter than this are copied: that costs less than a piece of their own costs the socket.
const COPY_BELOW: usize = 256;

/// An encoded message: its bytes in pieces, some of them those that were put into it.
///
/// It is a [`Buf`], so that it can be written to a socket with one vectored write for many pieces, and an
/// iterator gives the pieces one by one.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Rope {
    /// How many bytes all pieces have.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order; none is empty.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// All bytes in one piece; copies them if they are in several.
    pub fn into_bytes(mut self) -> Bytes {
        self.copy_to_bytes(self.len)
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl IntoIterator for Rope {
    type Item = Bytes;
    type IntoIter = std::collections::vec_deque::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let filled = out.iter_mut().zip(&self.pieces);
        filled
            .map(|(slot, piece)| *slot = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(
            count <= self.len,
            "cannot go {count} bytes on, {} remain",
            self.len
        );
        self.len -= count;
        while count > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                return;
            };
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.pieces.front_mut() {
            Some(piece) if count < piece.len() => {
                self.len -= count;
                piece.split_to(count)
            }
            Some(piece) if count == piece.len() => {
                self.len -= count;
                self.pieces.pop_front().unwrap_or_default()
            }
            _ => {
                assert!(
                    count <= self.len,
                    "cannot copy {count} bytes, {} remain",
                    self.len
                );
                let mut copy = BytesMut::with_capacity(count);
                bytes::BufMut::put(&mut copy, self.take(count));
                copy.freeze()
            }
        }
    }
}

/// Gathers small things in one buffer and remembers which pieces belong between them; or only counts.
#[derive(Debug)]
pub(super) struct Gatherer {
    small: BytesMut,
    /// Each with the place in `small` in front of which it belongs.
    pieces: Vec<(usize, Bytes)>,
    /// The bytes of all so far.
    len: usize,
    counting: bool,
}

/// A place in what is gathered.
#[derive(Debug)]
pub(super) struct Mark {
    small: usize,
    pieces: usize,
    len: usize,
}

impl Mark {
    /// How many bytes are in front of it.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Gatherer {
    pub(super) fn new() -> Self {
        Self {
            small: BytesMut::new(),
            pieces: Vec::new(),
            len: 0,
            counting: false,
        }
    }

    pub(super) fn counting() -> Self {
        Self {
            counting: true,
            ..Self::new()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if !self.counting {
            self.small.extend_from_slice(bytes);
        }
    }

    /// Takes over a piece without copying it, if it is worth that.
    pub(super) fn push(&mut self, piece: &Bytes) {
        if self.counting || piece.len() < COPY_BELOW {
            return self.put(piece);
        }
        self.len += piece.len();
        self.pieces.push((self.small.len(), piece.clone()));
    }

    pub(super) fn put_uvarint(&mut self, value: u32) {
        let (bytes, length) = uvarint(value);
        self.put(&bytes[..length]);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            small: self.small.len(),
            pieces: self.pieces.len(),
            len: self.len,
        }
    }

    /// Puts a number in front of all that was gathered since the mark.
    pub(super) fn insert_uvarint(&mut self, mark: &Mark, value: u32) {
        let (bytes, length) = uvarint(value);
        self.len += length;
        if self.counting {
            return;
        }
        let end = self.small.len();
        self.small.extend_from_slice(&bytes[..length]);
        self.small.copy_within(mark.small..end, mark.small + length);
        self.small[mark.small..mark.small + length].copy_from_slice(&bytes[..length]);
        for (place, _) in &mut self.pieces[mark.pieces..] {
            *place += length;
        }
    }

    pub(super) fn finish(self) -> Rope {
        let mut rope = Rope::default();
        let mut small = self.small.freeze();
        let mut cut = 0;
        for (place, piece) in self.pieces {
            rope.push(small.split_to(place - cut));
            rope.push(piece);
            cut = place;
        }
        rope.push(small);
        rope
    }

    /// The same, with its first bytes, which were put there to hold the place, replaced.
    pub(super) fn finish_with_front<const N: usize>(mut self, front: [u8; N]) -> Rope {
        if let Some(place) = self.small.first_chunk_mut() {
            *place = front;
        }
        self.finish()
    }
}

/// Seven bits a byte, the lowest first, and how many bytes that takes.
fn uvarint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            *byte = low;
            break;
        }
        *byte = low | 0x80;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(byte: u8) -> Bytes {
        vec![byte; COPY_BELOW].into()
    }

    #[test]
    fn long_pieces_stay_where_and_what_they_are() {
        let piece = long(7);
        let mut out = Gatherer::new();
        out.put(b"ab");
        out.push(&piece);
        out.push(&Bytes::from_static(b"cd"));
        out.push(&piece);
        out.put(b"e");
        let rope = out.finish();
        assert_eq!(rope.len(), 5 + 2 * COPY_BELOW);
        let pieces: Vec<&Bytes> = rope.pieces().collect();
        assert_eq!(pieces.len(), 5);
        assert_eq!(
            [&pieces[0][..], pieces[2], pieces[4]],
            [&b"ab"[..], b"cd", b"e"]
        );
        assert_eq!(pieces[1].as_ptr(), piece.as_ptr());
        assert_eq!(pieces[3].as_ptr(), piece.as_ptr());
    }

    #[test]
    fn a_length_goes_in_front_of_what_it_measures() {
        let mut out = Gatherer::new();
        out.put(b"head");
        let mark = out.mark();
        out.put(b"x");
        out.push(&long(1));
        out.put(b"y");
        out.insert_uvarint(&mark, 300);
        let mut counted = Gatherer::counting();
        counted.put(&[0; 6 + COPY_BELOW]);
        counted.insert_uvarint(&mark, 300);
        assert_eq!(counted.len(), out.len());
        let mut expected = b"head\xac\x02x".to_vec();
        expected.extend_from_slice(&long(1));
        expected.push(b'y');
        assert_eq!(out.finish().into_bytes(), expected);
    }

    #[test]
    fn a_rope_is_read_across_its_pieces() {
        let mut out = Gatherer::new();
        out.put(b"abc");
        out.push(&long(9));
        out.put(b"z");
        let mut rope = out.finish();
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(rope.chunks_vectored(&mut slices), 3);
        assert_eq!(rope.copy_to_bytes(2), &b"ab"[..]);
        assert_eq!(rope.get_u16(), 0x6309);
        rope.advance(COPY_BELOW - 1);
        assert_eq!((rope.remaining(), rope.chunk()), (1, &b"z"[..]));
        rope.advance(1);
        assert!(rope.is_empty() && rope.chunk().is_empty());
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let bytes = |value| {
            let (bytes, length) = uvarint(value);
            bytes[..length].to_vec()
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [0x7f]);
        assert_eq!(bytes(128), [0x80, 1]);
        assert_eq!(bytes(u32::MAX), [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }
}
