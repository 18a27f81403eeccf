//! Reads ranges of rows, a page at a time, each page in a read of its own.

use bytes::Bytes;
use tidelog_env::Env;
use tidelog_store::{KeyRange, Retry, RowSource, ScanOptions, ScanPage, StoreError};

use crate::catalogue::RETRY;

/// A row: key and value.
pub(crate) type Row = (Bytes, Bytes);

/// Reads pages, again and again while the source is only out of reach.
#[derive(Debug)]
pub(crate) struct Pages<'a, R: ?Sized> {
    pub(crate) source: &'a R,
    pub(crate) env: &'a Env,
    /// How much one page has at most.
    pub(crate) options: ScanOptions,
}

/// What has yet to be read of a range.
#[derive(Debug)]
pub(crate) struct Rest(Option<KeyRange>);

impl Rest {
    pub(crate) const fn of(range: KeyRange) -> Self {
        Self(Some(range))
    }
}

impl<R: RowSource + ?Sized> Pages<'_, R> {
    /// The next rows of a range; `None` after the last ones.
    pub(crate) async fn next(&self, rest: &mut Rest) -> Result<Option<Vec<Row>>, StoreError> {
        let Some(range) = rest.0.take() else {
            return Ok(None);
        };
        let page = self.page(range.clone(), self.options).await?;
        rest.0 = page.next(&range, self.options.direction);
        Ok(Some(page.rows))
    }

    /// The value of one key.
    pub(crate) async fn value(&self, key: Bytes) -> Result<Option<Bytes>, StoreError> {
        let page = self
            .page(KeyRange::single(key), ScanOptions::limit(1))
            .await?;
        Ok(page.rows.into_iter().next().map(|(_, value)| value))
    }

    /// The last row of a range.
    pub(crate) async fn last(&self, range: KeyRange) -> Result<Option<Row>, StoreError> {
        let page = self.page(range, ScanOptions::limit(1).backward()).await?;
        Ok(page.rows.into_iter().next())
    }

    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let mut backoff = RETRY.start();
        loop {
            let error = match self.source.page(range.clone(), options).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let wait = backoff.next_wait(self.env.rng.as_ref());
            match (error.retry(), wait) {
                (Retry::Again | Retry::Later, Some(wait)) => self.env.clock.sleep(wait).await,
                _ => return Err(error),
            }
        }
    }
}
