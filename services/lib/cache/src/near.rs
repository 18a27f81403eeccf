//! Who may have a page nearer than the bucket.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::page::PageKey;
use crate::settings::Pool;

/// Others who have pages, such as the readers of the zone. Whatever happens to them costs a request to the bucket and
/// no more: there are no errors here.
///
/// What they give is not proven. Who reads a page proves what it takes by the checksums of the log; if they do not
/// hold, it says so with [`NearPages::distrust`] and asks the bucket.
#[async_trait]
pub trait NearPages: fmt::Debug + Send + Sync + 'static {
    /// The page, if somebody near gives it within a short time. Cancel-safe.
    async fn page(&self, key: PageKey, pool: Pool) -> Option<Bytes>;

    /// What was given of a page did not prove true. Never blocks.
    fn distrust(&self, key: PageKey);

    /// Whether there is anybody to take an offer, so that no page is copied for nobody.
    fn takes_offers(&self) -> bool;

    /// Offers a page that was just written, so that others need not ask the bucket for it. It may get lost.
    /// Never blocks.
    fn offer(&self, key: PageKey, page: Bytes);
}
