//! Bytes of an extent as they come out of pages: in pieces, seldom in one.

use bytes::Bytes;
use smallvec::SmallVec;
use tidelog_format::batch::HEADER_BYTES;

/// Consecutive pieces of bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    pieces: SmallVec<[Bytes; 2]>,
    length: usize,
}

impl Pieces {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push(piece);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// The pieces.
    pub(crate) fn as_slice(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The header of the batch at a position; `None` if it does not fit.
    pub(crate) fn header_at(&self, position: usize) -> Option<[u8; HEADER_BYTES]> {
        let end = position
            .checked_add(HEADER_BYTES)
            .filter(|end| *end <= self.length)?;
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        self.for_each(position, end, |_, part| {
            header[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        });
        Some(header)
    }

    /// Visits the bytes from `start` up to `end`, piece by piece, each with the piece in which they lie.
    pub(crate) fn for_each(&self, start: usize, end: usize, mut visit: impl FnMut(&Bytes, &[u8])) {
        let mut before = 0;
        for piece in &self.pieces {
            let from = start.saturating_sub(before).min(piece.len());
            let to = end.saturating_sub(before).min(piece.len());
            if from < to {
                visit(piece, &piece[from..to]);
            }
            before += piece.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one_run_of_bytes_wherever_they_are_cut() {
        let whole: Vec<u8> = (0..200).collect();
        for cut in 0..200 {
            let mut pieces = Pieces::default();
            pieces.push(Bytes::copy_from_slice(&whole[..cut]));
            pieces.push(Bytes::copy_from_slice(&whole[cut..]));
            assert_eq!(pieces.len(), 200);
            assert_eq!(pieces.as_slice().concat(), whole);
            assert_eq!(pieces.header_at(100).unwrap(), whole[100..161]);
            assert_eq!(pieces.header_at(139).unwrap(), whole[139..]);
            assert_eq!(pieces.header_at(140), None);
            let mut out = Vec::new();
            pieces.for_each(10, 190, |piece, part| {
                assert_eq!(piece.slice_ref(part), part);
                out.extend_from_slice(part);
            });
            assert_eq!(out, whole[10..190]);
        }
    }
}
