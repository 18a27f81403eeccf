//! Of groups.

mod absent;
mod classic;
mod consumer;
mod offsets;
mod requests;

use anyhow::Result;

use super::peer::Peer;

/// Asks for everything there is to ask for of groups.
pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    absent::ask(peer).await?;
    offsets::ask(peer).await?;
    classic::ask(peer).await?;
    classic::ask_static(peer).await?;
    consumer::ask(peer).await?;
    consumer::ask_static(peer).await
}
