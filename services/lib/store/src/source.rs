//! Rows to read, page by page, without a transaction around all of them.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{KeyRange, ScanOptions, ScanPage, Store, StoreError};

/// Where rows are read from: a store, or what only reads one that another process has open.
///
/// Each page is of one durable state, and that state is never older than the one of an earlier call that
/// has ended. Two pages may be of two states.
#[async_trait]
pub trait RowSource: Debug + Send + Sync {
    /// Rows of `range`, at most one page. Cancel-safe.
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError>;
}

#[async_trait]
impl<S: Store + ?Sized> RowSource for S {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.scan(range, options.snapshot()).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::memory::{MemoryOptions, MemoryStore};

    #[tokio::test]
    async fn a_store_gives_its_rows_a_page_at_a_time() {
        let rows = [("a", "1"), ("b", "2"), ("c", "3")];
        let rows = rows.map(|(key, value)| (Bytes::from(key), Bytes::from(value)));
        let store = MemoryStore::with_rows(MemoryOptions::default(), rows.clone());
        let mut rest = Some(KeyRange::all());
        let mut read = Vec::new();
        while let Some(range) = rest {
            let options = ScanOptions::limit(2);
            let page = store.page(range.clone(), options).await;
            let page = page.expect("the store answers");
            rest = page.next(&range, options.direction);
            read.extend(page.rows);
        }
        assert_eq!(read, rows);
    }
}
