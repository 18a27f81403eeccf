//! The bytes of a message on their way, with the memory that they have claimed.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Claim;

/// The least that is claimed at a time, unless less is still to come: pieces may be single bytes.
const GRAIN_BYTES: u64 = 4 * 1_024;

/// What has come of a message. It takes no more memory than its claim holds, whatever sizes the pieces have.
#[derive(Debug)]
pub struct Gathered {
    claim: Arc<Claim>,
    chunks: Vec<Bytes>,
    last: BytesMut,
    /// What the chunks take, of what the claim holds.
    pub(super) allocated: u64,
    bytes: usize,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(claim: Claim) -> Self {
        Self {
            claim: Arc::new(claim),
            chunks: Vec::new(),
            last: BytesMut::new(),
            allocated: 0,
            bytes: 0,
        }
    }

    /// How many bytes have come.
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing has come.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What the claim has to grow by for so many bytes more.
    fn needs(&self, more: usize) -> u64 {
        let spare = (self.last.capacity() - self.last.len()) as u64;
        let room = spare + self.claim.held_bytes().saturating_sub(self.allocated);
        match (more as u64).saturating_sub(room) {
            0 => 0,
            missing => missing.max(GRAIN_BYTES),
        }
    }

    /// Whether so many bytes more may come now.
    pub fn has_room(&self, more: usize) -> bool {
        let needs = self.needs(more);
        needs == 0 || self.claim.try_grow(needs)
    }

    /// Waits until so many bytes more may come.
    pub fn room(&self, more: usize) -> impl Future<Output = ()> + Send + use<> {
        let needs = self.needs(more);
        let claim = Arc::clone(&self.claim);
        async move { claim.grow(needs).await }
    }

    /// Takes bytes for which there is room.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let spare = self.last.capacity() - self.last.len();
        let (first, rest) = bytes.split_at(spare.min(bytes.len()));
        self.last.put_slice(first);
        if rest.is_empty() {
            return;
        }
        let granted = self.claim.held_bytes().saturating_sub(self.allocated);
        let granted = usize::try_from(granted).unwrap_or(usize::MAX);
        // A message that is larger than the whole share has claimed no more than that.
        let chunk = BytesMut::with_capacity(granted.max(rest.len()));
        let full = std::mem::replace(&mut self.last, chunk);
        if !full.is_empty() {
            self.chunks.push(full.freeze());
        }
        self.allocated += self.last.capacity() as u64;
        self.last.put_slice(rest);
    }

    /// All of it has come: its bytes in their order, and the memory that they have.
    pub fn into_parts(mut self) -> (Vec<Bytes>, Arc<Claim>) {
        self.claim.complete();
        if !self.last.is_empty() {
            self.chunks.push(self.last.freeze());
        }
        (self.chunks, self.claim)
    }
}
