//! Where our keys lie among `FoundationDB`'s: all under one prefix.

use tidelog_store::buffer::{Write, WriteBuffer};
use tidelog_store::occ::ReadSet;
use tidelog_store::{Bytes, KeyRange};

/// The client refuses a transaction that is larger by its own measure, which counts a written key three
/// times, in the mutation and as both ends of a conflict range, and a deleted one four times.
pub(crate) const CLIENT_BYTES_MAX: usize = 10_000_000;

/// What the client's measure adds to a mutation, and to a conflict range, besides keys and values; not
/// less than the sizes of its structures.
const MUTATION_BYTES: usize = 64;
const CONFLICT_BYTES: usize = 32;

/// The prefix, and the keys of `FoundationDB` that begin with it.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    prefix: Bytes,
    end: Bytes,
}

impl Keyspace {
    /// The keys under `prefix`, which has passed the check of the options.
    pub(crate) fn new(prefix: Bytes) -> Self {
        // A prefix that has passed the check begins with a byte below 0xff, so it has an end; the key that
        // stands in for it would end every range before its start and thus hold no key at all.
        let end = KeyRange::prefix_end(&prefix).unwrap_or_default();
        Self { prefix, end }
    }

    /// Our key as `FoundationDB` has it.
    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.prefix.len() + key.len());
        whole.extend_from_slice(&self.prefix);
        whole.extend_from_slice(key);
        whole
    }

    /// The bounds of our range as `FoundationDB` has them; a range without an end ends with the prefix.
    pub(crate) fn bounds(&self, range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
        let end = match &range.end {
            Some(end) => self.key(end),
            None => self.end.to_vec(),
        };
        (self.key(&range.start), end)
    }

    /// `FoundationDB`'s key as ours; nothing if it is not ours.
    pub(crate) fn strip(&self, key: &[u8]) -> Option<Bytes> {
        key.strip_prefix(self.prefix.as_ref())
            .map(Bytes::copy_from_slice)
    }

    /// The size of a transaction as the client measures it, or a little more.
    pub(crate) fn client_bytes(&self, reads: &ReadSet, writes: &WriteBuffer) -> usize {
        let range_bytes = |range: KeyRange| {
            let (start, end) = self.bounds(&range);
            start.len() + end.len() + CONFLICT_BYTES
        };
        let conflicts: usize = reads
            .ranges()
            .chain(writes.conflicts())
            .map(range_bytes)
            .sum();
        let cleared: usize = writes
            .cleared()
            .map(|range| 2 * range_bytes(range) + MUTATION_BYTES)
            .sum();
        let written: usize = writes
            .writes()
            .map(|(key, write)| {
                let key = self.prefix.len() + key.len();
                let param = match write {
                    Write::Put(value) => value.len(),
                    Write::Delete => key + 1,
                    Write::Add(_) => size_of::<i64>(),
                };
                3 * key + 1 + param + MUTATION_BYTES + CONFLICT_BYTES
            })
            .sum();
        conflicts + cleared + written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace() -> Keyspace {
        Keyspace::new(Bytes::from_static(b"t\xff"))
    }

    #[test]
    fn every_key_and_bound_lies_under_the_prefix() {
        let keyspace = keyspace();
        assert_eq!(keyspace.key(b"a"), b"t\xffa");
        let range = KeyRange::new(&b"a"[..], &b"b"[..]);
        assert_eq!(
            keyspace.bounds(&range),
            (b"t\xffa".to_vec(), b"t\xffb".to_vec())
        );
        let (start, end) = keyspace.bounds(&KeyRange::all());
        assert_eq!(
            (start.as_slice(), end.as_slice()),
            (&b"t\xff"[..], &b"u"[..])
        );
        assert!(
            keyspace.key(&[0xff; 8]) < end,
            "the last keys of all are ours too"
        );
    }

    #[test]
    fn only_own_keys_come_back() {
        let keyspace = keyspace();
        assert_eq!(keyspace.strip(b"t\xffkey").as_deref(), Some(&b"key"[..]));
        assert_eq!(keyspace.strip(b"t\xff").as_deref(), Some(&b""[..]));
        assert_eq!(keyspace.strip(b"u"), None);
        assert_eq!(keyspace.strip(b"t"), None);
    }

    #[test]
    fn the_clients_measure_counts_reads_and_each_key_three_or_four_times() {
        let (mut reads, mut writes) = (ReadSet::default(), WriteBuffer::default());
        assert_eq!(keyspace().client_bytes(&reads, &writes), 0);
        reads.add_key(b"read");
        assert_eq!(
            keyspace().client_bytes(&reads, &writes),
            6 + 7 + CONFLICT_BYTES
        );
        let before = keyspace().client_bytes(&reads, &writes);
        writes.put(Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        let put = (5 + 5) + (5 + 6) + MUTATION_BYTES + CONFLICT_BYTES;
        assert_eq!(keyspace().client_bytes(&reads, &writes), before + put);
        writes.delete(Bytes::from_static(b"other"));
        let delete = (7 + 8) + (7 + 8) + MUTATION_BYTES + CONFLICT_BYTES;
        let all = keyspace().client_bytes(&reads, &writes);
        assert_eq!(all, before + put + delete);
    }
}
