//! How much memory a decoded message may take.

/// What is left of the memory that decoding may take beside the frame itself.
///
/// Strings, bytes and records are slices of the frame and cost nothing. Arrays do: one byte on the wire
/// can become an element of some hundred bytes. Each array is charged before it is allocated with the
/// number of its elements times their size, and a message that would cost more than is left is refused.
/// A list of names of one letter becomes sixteen times as many bytes as it was. Names are longer in earnest,
/// so sixteen bytes for each byte of a request, and a few thousand for small ones, are enough.
///
/// ```
/// use bytes::Bytes;
/// use tidelog_kafka_codec::messages::OffsetDeleteRequest;
/// use tidelog_kafka_codec::{Budget, Message};
///
/// // A group without a name, and a million topics that are not there.
/// let frame = Bytes::from_static(&[0, 0, 0, 0x0f, 0x42, 0x40]);
/// let mut budget = Budget::bytes(64 << 10);
/// assert!(OffsetDeleteRequest::decode(frame, 0, &mut budget).is_err());
/// assert_eq!(budget.left(), 64 << 10);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Budget {
    left: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub const fn bytes(left: usize) -> Self {
        Self { left }
    }

    /// What has not been spent yet, in bytes.
    pub const fn left(&self) -> usize {
        self.left
    }

    /// Spends so many bytes; false if there are not as many, and then none are spent.
    pub(crate) const fn spend(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
