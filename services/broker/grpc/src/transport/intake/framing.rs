//! Where messages begin and end in the bytes of a body.

/// Bytes before each message: a flag and the length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Where in the sequence of messages a body is.
#[derive(Clone, Debug, Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX_BYTES],
    pub(super) prefix_len: usize,
    /// What is still to come of the message that has begun.
    pub(super) left: u64,
    /// Its whole length.
    length: u64,
}

/// What a frame brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brings {
    /// Messages that begin in it.
    pub(super) begun: usize,
    /// Their lengths together.
    pub(super) bytes: u64,
    /// The longest of them.
    pub(super) longest: u64,
    /// Messages that end in it.
    pub(super) ended: usize,
    /// Where what is whole in it ends.
    pub(super) whole: usize,
}

impl Framing {
    /// Passes over bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Brings {
        let all = bytes.len();
        let mut brings = Brings::default();
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.left -= taken as u64;
                bytes = &bytes[taken..];
                if self.left == 0 {
                    brings.ended += 1;
                    brings.whole = all - bytes.len();
                }
                continue;
            }
            let missing = (PREFIX_BYTES - self.prefix_len).min(bytes.len());
            let (taken, rest) = bytes.split_at(missing);
            self.prefix[self.prefix_len..self.prefix_len + missing].copy_from_slice(taken);
            self.prefix_len += missing;
            bytes = rest;
            if self.prefix_len == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.length = u64::from(u32::from_be_bytes(length));
                self.left = self.length;
                self.prefix_len = 0;
                brings.begun += 1;
                brings.bytes += self.length + PREFIX_BYTES as u64;
                brings.longest = brings.longest.max(self.length);
                if self.length == 0 {
                    brings.ended += 1;
                    brings.whole = all - bytes.len();
                }
            }
        }
        brings
    }
}
