//! How many rows of each kind a store has, and how large they are.

use tidelog_env::Env;
use tidelog_store::{KeyRange, RowSource, ScanOptions, StoreError};

use crate::backup::{Pages, Rest};
use crate::keyspace::{KeyKind, Keyspace};

/// Rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// The kind; `None` for rows of kinds that this program does not know.
    pub kind: Option<KeyKind>,
    /// How many there are.
    pub rows: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// Counts all rows, a page at a time: memory holds one page, and no transaction grows old. Rows that change
/// meanwhile may be counted as they were or as they are.
///
/// The answer has every known kind, in the order of keys, and unknown ones last if there are any.
pub async fn stats<R: RowSource + ?Sized>(
    source: &R,
    env: &Env,
) -> Result<Vec<KindStats>, StoreError> {
    let mut counted: Vec<KindStats> = KeyKind::ALL
        .map(|kind| KindStats {
            kind: Some(kind),
            ..KindStats::default()
        })
        .to_vec();
    let mut unknown = KindStats::default();
    let pages = Pages {
        source,
        env,
        options: ScanOptions::default(),
    };
    let mut rest = Rest::of(KeyRange::all());
    while let Some(rows) = pages.next(&mut rest).await? {
        for (key, value) in rows {
            let kind = Keyspace::kind_of(&key);
            let known = counted.iter_mut().find(|stats| stats.kind == kind);
            let stats = known.unwrap_or(&mut unknown);
            stats.rows += 1;
            stats.key_bytes += u64::try_from(key.len()).unwrap_or(u64::MAX);
            stats.value_bytes += u64::try_from(value.len()).unwrap_or(u64::MAX);
        }
    }
    counted.extend((unknown.rows > 0).then_some(unknown));
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelog_store::memory::{MemoryOptions, MemoryStore};
    use tidelog_types::{Incarnation, ShardId};

    use super::*;

    #[tokio::test]
    async fn rows_are_counted_by_kind_over_many_pages() {
        let keys = Keyspace::default();
        let floors = (0..2_500).map(|number| keys.floor(Incarnation::new(number)));
        let mut rows: Vec<(Bytes, Bytes)> = floors
            .map(|key| (key, Bytes::from_static(b"floor")))
            .collect();
        rows.push((keys.lease(ShardId::new(1)), Bytes::from_static(b"ab")));
        rows.push((Bytes::from_static(&[0, 0, 0, 0, 0xee, 1]), Bytes::new()));
        let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
        let counted = stats(&store, &Env::seeded(1)).await.expect("it answers");
        assert_eq!(counted.len(), KeyKind::ALL.len() + 1);
        let of = |kind| counted.iter().find(|stats| stats.kind == kind).copied();
        let floors = of(Some(KeyKind::Floor)).expect("every kind is there");
        assert_eq!((floors.rows, floors.key_bytes), (2_500, 2_500 * 14));
        assert_eq!(floors.value_bytes, 2_500 * 5);
        let lease = of(Some(KeyKind::Lease)).expect("every kind is there");
        assert_eq!((lease.rows, lease.value_bytes), (1, 2));
        assert_eq!(of(Some(KeyKind::Tail)).map(|stats| stats.rows), Some(0));
        assert_eq!(of(None).map(|stats| stats.rows), Some(1));
    }
}
