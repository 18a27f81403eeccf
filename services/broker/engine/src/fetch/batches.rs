//! The bytes of an answer: whole batches, as pieces of the pages they came from.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::memory::MemoryHold;

/// Shorter pieces are copied into their neighbour: a piece of its own costs more than the copy.
const SHARED_BYTES_MIN: usize = 4 * 1024;

/// Whole record batches, one behind the other, with their offsets. They lie in pieces, most of which are
/// parts of cached pages: nothing is copied on the way to the socket.
#[derive(Clone, Debug, Default)]
pub struct Batches {
    parts: SmallVec<[Bytes; 4]>,
    length: usize,
}

impl Batches {
    /// Bytes in all.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces, in order; none is empty.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// The pieces, in order; none is empty.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> {
        self.parts.into_iter()
    }

    /// All bytes in one piece; copied if there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            parts => {
                let mut out = BytesMut::with_capacity(self.length);
                for part in parts {
                    out.extend_from_slice(part);
                }
                out.freeze()
            }
        }
    }
}

impl From<Bytes> for Batches {
    fn from(bytes: Bytes) -> Self {
        let length = bytes.len();
        let parts = std::iter::once(bytes).filter(|bytes| !bytes.is_empty());
        Self {
            parts: parts.collect(),
            length,
        }
    }
}

/// Memory for pages that an answer keeps; none if its bytes are copied out of them.
pub(super) type Pinned = Option<Arc<MemoryHold>>;

/// A part of a page, and the memory that is given back when the last reference to it goes.
struct Held {
    bytes: Bytes,
    _hold: Arc<MemoryHold>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Goes through batches from the front and takes over what is kept of them. Nothing is copied: runs that are kept
/// are parts of the pieces they lie in.
#[derive(Debug)]
pub(super) struct BatchesCutter<'a> {
    parts: &'a [Bytes],
    /// The piece that is next, and where in it; what was passed over may end at the end of a piece.
    part: usize,
    at: usize,
    /// The beginning of the run that is being kept, in this piece.
    run: Option<usize>,
    kept: Batches,
}

impl<'a> BatchesCutter<'a> {
    pub(super) fn new(batches: &'a Batches) -> Self {
        Self {
            parts: &batches.parts,
            part: 0,
            at: 0,
            run: None,
            kept: Batches::default(),
        }
    }

    /// Copies the bytes that come next; whether there are so many.
    pub(super) fn peek(&self, out: &mut [u8]) -> bool {
        let mut filled = 0;
        let mut at = self.at;
        for part in self.parts.iter().skip(self.part) {
            let from = part.get(at..).unwrap_or_default();
            let count = from.len().min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&from[..count]);
            filled += count;
            at = 0;
            if filled == out.len() {
                return true;
            }
        }
        false
    }

    /// Takes over so many bytes.
    pub(super) fn keep(&mut self, bytes: usize) {
        self.pass(bytes, true);
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.pass(bytes, false);
    }

    fn pass(&mut self, mut bytes: usize, keeps: bool) {
        while let Some(part) = self.parts.get(self.part) {
            if !keeps {
                self.end_run();
            } else if self.run.is_none() {
                self.run = Some(self.at);
            }
            let count = bytes.min(part.len() - self.at);
            self.at += count;
            bytes -= count;
            if self.at < part.len() {
                return;
            }
            self.end_run();
            self.part += 1;
            self.at = 0;
            if bytes == 0 {
                return;
            }
        }
    }

    fn end_run(&mut self) {
        let Some(from) = self.run.take() else { return };
        if let Some(part) = self.parts.get(self.part)
            && from < self.at
        {
            self.kept.length += self.at - from;
            self.kept.parts.push(part.slice(from..self.at));
        }
    }

    /// What was kept.
    pub(super) fn finish(mut self) -> Batches {
        self.end_run();
        self.kept
    }
}

/// Puts the batches of one partition together.
#[derive(Debug)]
pub(super) struct BatchesBuilder {
    pinned: Pinned,
    batches: Batches,
    /// Copied bytes that come behind the pieces.
    open: BytesMut,
}

impl BatchesBuilder {
    pub(super) fn new(pinned: Pinned) -> Self {
        Self {
            pinned,
            batches: Batches::default(),
            open: BytesMut::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.batches.length
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.batches.length == 0
    }

    /// Makes room for so many bytes, if they will be copied.
    pub(super) fn expect(&mut self, bytes: usize) {
        if self.pinned.is_none() {
            self.open.reserve(bytes);
        }
    }

    /// Appends a copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.batches.length += bytes.len();
    }

    /// Appends a part of a page.
    pub(super) fn share(&mut self, page: &Bytes, part: &[u8]) {
        match &self.pinned {
            Some(hold) if part.len() >= SHARED_BYTES_MIN => {
                let shared = Bytes::from_owner(Held {
                    bytes: page.slice_ref(part),
                    _hold: Arc::clone(hold),
                });
                self.close();
                self.batches.length += shared.len();
                self.batches.parts.push(shared);
            }
            _ => self.copy(part),
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.batches.parts.push(self.open.split().freeze());
        }
    }

    pub(super) fn finish(mut self) -> Batches {
        self.close();
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryShare;

    const PAGE_BYTES: u64 = 64 * 1024;

    fn page() -> Bytes {
        (0..u16::try_from(PAGE_BYTES / 2).unwrap())
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    fn built(pinned: Pinned) -> (Batches, Bytes) {
        let page = page();
        let mut builder = BatchesBuilder::new(pinned);
        builder.expect(20_000);
        builder.copy(b"head");
        builder.share(&page, &page[100..200]);
        builder.share(&page, &page[200..20_000]);
        builder.copy(b"tail");
        (builder.finish(), page)
    }

    #[test]
    fn pieces_are_the_same_bytes_whether_shared_or_copied() {
        let hold = MemoryShare::new(PAGE_BYTES).try_hold(PAGE_BYTES).unwrap();
        for pinned in [Some(Arc::new(hold)), None] {
            let pins = pinned.is_some();
            let (batches, page) = built(pinned);
            let expected = [b"head", &page[100..20_000], b"tail"].concat();
            assert_eq!(batches.len(), expected.len());
            assert_eq!(batches.to_bytes(), expected);
            assert_eq!(batches.parts().len(), if pins { 3 } else { 1 });
            let range = page.as_ptr_range();
            let shared = batches
                .parts()
                .filter(|part| range.contains(&part.as_ptr()));
            assert_eq!(shared.count(), usize::from(pins));
        }
    }

    #[test]
    fn what_is_kept_of_pieces_is_the_same_bytes_wherever_they_are_cut() {
        let whole: Vec<u8> = (0..200).collect();
        for cut in 1..200 {
            let parts = [&whole[..cut], &whole[cut..]];
            let parts = parts.map(Bytes::copy_from_slice);
            let batches = Batches {
                parts: parts.iter().cloned().collect(),
                length: 200,
            };
            let mut cutter = BatchesCutter::new(&batches);
            cutter.keep(40);
            cutter.keep(10);
            cutter.skip(50);
            cutter.skip(20);
            let mut next = [0; 60];
            assert!(cutter.peek(&mut next));
            assert_eq!(next, whole[120..180]);
            cutter.keep(60);
            assert!(!cutter.peek(&mut [0; 21]));
            cutter.skip(20);
            let kept = cutter.finish();
            assert_eq!(kept.to_bytes(), [&whole[..50], &whole[120..180]].concat());
            assert_eq!(kept.len(), 110);
            assert!(kept.parts().len() <= 3, "runs are not cut further");
            for kept in kept.parts() {
                let is_part = |part: &Bytes| part.as_ptr_range().contains(&kept.as_ptr());
                assert!(parts.iter().any(is_part), "nothing is copied");
            }
        }
    }

    #[test]
    fn memory_of_pages_is_given_back_with_the_last_piece() {
        let share = MemoryShare::new(PAGE_BYTES);
        let hold = Arc::new(share.try_hold(PAGE_BYTES).unwrap());
        let (batches, _) = built(Some(hold));
        let piece = batches.parts().nth(1).map(|part| part.slice(5..6));
        drop(batches);
        assert_eq!(share.free_bytes(), 0);
        drop(piece);
        assert_eq!(share.free_bytes(), PAGE_BYTES);
    }
}
