//! What consumers of the classic protocol say to each other: subscriptions in their metadata, partitions in their
//! assignments. A group only hands it on, but for questions that need to know what it means.
//!
//! Both begin with a version; a later one has more fields at its end, so that whoever knows fewer reads what he
//! knows.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// A partition by the name of its topic.
pub type NamedPartition = (String, i32);

/// What a consumer wants and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it wants.
    pub topics: Vec<String>,
    /// Whatever its assignor added.
    pub user_data: Bytes,
    /// What it has; from version 1.
    pub owned: Vec<NamedPartition>,
    /// The generation in which it was given that; from version 2.
    pub generation: Option<i32>,
    /// Where it is; from version 3.
    pub rack: Option<String>,
}

impl Subscription {
    /// Reads a subscription; `None` if it is none.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader(bytes);
        let version = reader.i16()?;
        if version < 0 {
            return None;
        }
        let mut subscription = Self::default();
        for _ in 0..reader.count()? {
            subscription.topics.push(reader.text()?);
        }
        subscription.user_data = reader.bytes()?;
        if version >= 1 && !reader.0.is_empty() {
            subscription.owned = reader.partitions()?;
        }
        if version >= 2 && !reader.0.is_empty() {
            subscription.generation = Some(reader.i32()?).filter(|generation| *generation >= 0);
        }
        if version >= 3 && !reader.0.is_empty() {
            let has_rack = Reader(reader.0.clone()).i16()? >= 0;
            subscription.rack = has_rack.then(|| reader.text()).flatten();
        }
        Some(subscription)
    }
}

/// What a consumer is to read, as an assignment of version 0, which all consumers know; partitions of a topic stand
/// together.
pub fn encode_assignment(partitions: &[NamedPartition]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    let topics: Vec<&[NamedPartition]> = partitions.chunk_by(|a, b| a.0 == b.0).collect();
    out.put_i32(count(topics.len()));
    for topic in topics {
        let name = topic.first().map_or("", |(name, _)| name.as_str());
        out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_bytes());
        out.put_i32(count(topic.len()));
        for (_, index) in topic {
            out.put_i32(*index);
        }
    }
    // No user data.
    out.put_i32(-1);
    out.freeze()
}

/// Reads an assignment back; `None` if it is none.
pub fn decode_assignment(bytes: Bytes) -> Option<Vec<NamedPartition>> {
    let mut reader = Reader(bytes);
    if reader.i16()? < 0 {
        return None;
    }
    reader.partitions()
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Reads what somebody else wrote: nothing is believed, nothing is allocated that is not there.
struct Reader(Bytes);

impl Reader {
    fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    fn count(&mut self) -> Option<u32> {
        u32::try_from(self.i32()?).ok()
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    /// Bytes, or none at all.
    fn bytes(&mut self) -> Option<Bytes> {
        match self.i32()? {
            length if length < 0 => Some(Bytes::new()),
            length => self.take(usize::try_from(length).ok()?),
        }
    }

    fn partitions(&mut self) -> Option<Vec<NamedPartition>> {
        let mut partitions = Vec::new();
        for _ in 0..self.count()? {
            let topic = self.text()?;
            for _ in 0..self.count()? {
                partitions.push((topic.clone(), self.i32()?));
            }
        }
        Some(partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subscription of version 3, field by field.
    fn subscription() -> BytesMut {
        let mut out = BytesMut::new();
        out.put_i16(3);
        out.put_i32(2);
        for topic in ["a", "bc"] {
            out.put_i16(i16::try_from(topic.len()).expect("short"));
            out.put_slice(topic.as_bytes());
        }
        out.put_i32(1);
        out.put_u8(9);
        out.put_i32(1);
        out.put_i16(1);
        out.put_slice(b"a");
        out.put_i32(1);
        out.put_i32(7);
        out.put_i32(4);
        out.put_i16(1);
        out.put_slice(b"r");
        out
    }

    #[test]
    fn a_subscription_is_read_as_far_as_its_version_goes() {
        let read = Subscription::decode(subscription().freeze()).expect("a whole one");
        assert_eq!(read.topics, ["a", "bc"]);
        assert_eq!(read.user_data.as_ref(), [9]);
        assert_eq!(read.owned, [("a".to_owned(), 7)]);
        assert_eq!(read.generation, Some(4));
        assert_eq!(read.rack.as_deref(), Some("r"));
        let mut old = subscription();
        old[1] = 0;
        let read = Subscription::decode(old.freeze()).expect("what it knows");
        assert_eq!(read.topics, ["a", "bc"]);
        assert!(read.owned.is_empty());
    }

    #[test]
    fn what_is_no_subscription_is_none_and_takes_no_memory() {
        assert_eq!(Subscription::decode(Bytes::new()), None);
        let mut many = BytesMut::new();
        many.put_i16(0);
        many.put_i32(i32::MAX);
        assert_eq!(Subscription::decode(many.freeze()), None);
        let whole = subscription().freeze();
        for cut in 0..14 {
            assert_eq!(Subscription::decode(whole.slice(..cut)), None, "{cut}");
        }
    }

    #[test]
    fn an_assignment_is_read_back() {
        let partitions = [
            ("a".to_owned(), 0),
            ("a".to_owned(), 2),
            ("b".to_owned(), 1),
        ];
        let bytes = encode_assignment(&partitions);
        assert_eq!(decode_assignment(bytes), Some(partitions.to_vec()));
        assert_eq!(decode_assignment(encode_assignment(&[])), Some(Vec::new()));
        assert_eq!(decode_assignment(Bytes::from_static(&[0, 0, 0])), None);
    }
}
