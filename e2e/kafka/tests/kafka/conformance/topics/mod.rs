//! Of topics: found, created, widened, deleted, configured.

mod change;
mod configs;
mod find;

use anyhow::Result;

use super::peer::Peer;

/// Asks for everything there is to ask for of topics.
pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    find::ask(peer).await?;
    change::ask(peer).await?;
    configs::ask(peer).await
}
