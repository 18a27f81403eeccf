//! A process that waits while it starts lives, and says what it waits for.

use anyhow::Result;
use tidelog_e2e_harness::{Server, ServerOptions, free_port, http_get, until};

use crate::support::{PROGRESS_LIMIT, bucket};

#[tokio::test]
async fn a_broker_that_waits_for_metadata_is_alive_and_says_what_it_waits_for() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let nobody = free_port()?.to_string();
    let broker = ServerOptions::at(&options.place)
        .with("roles", "broker")
        .with("cluster.metadata", &nobody);
    let broker = Server::spawn(broker)?;
    until("it says what it waits for", PROGRESS_LIMIT, async || {
        let (code, text) = http_get(broker.http(), "/readyz").await.ok()?;
        (code == 503 && text.contains(&nobody)).then_some(())
    })
    .await?;
    assert_eq!(http_get(broker.http(), "/healthz").await?.0, 200);
    Ok(())
}
