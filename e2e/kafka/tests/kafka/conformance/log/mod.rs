//! Of records: written, read, found, deleted.

mod batches;
mod fetch;
mod offsets;
mod produce;
mod sessions;

use anyhow::Result;

use super::peer::Peer;

/// Asks for everything there is to ask for of records.
pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    produce::ask(peer).await?;
    produce::ask_in_order(peer).await?;
    fetch::ask(peer).await?;
    sessions::ask(peer).await?;
    offsets::ask(peer).await
}
