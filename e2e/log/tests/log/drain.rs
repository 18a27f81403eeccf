//! SIGTERM under load: what is open is finished, the process ends with 0, and nothing is missing.

use std::sync::Arc;

use anyhow::Result;
use tidelog_e2e_harness::history::{Recorder, check};
use tidelog_e2e_harness::load::{Load, LoadOptions, drain};
use tidelog_e2e_harness::{Ended, Server, ServerOptions, until};

use crate::support::{END_LIMIT, LOAD_LIMIT, World};

const TOPIC: &str = "drain";
const ROUNDS: usize = 3;

async fn under_load(world: &World) -> Result<()> {
    let mut server = Server::start(ServerOptions::at(&world.place)).await?;
    server
        .client()?
        .admin()
        .create_topic(TOPIC, 4, [] as [(&str, &str); 0])
        .await?;
    let recorder = Arc::new(Recorder::default());
    let load = Load::start(|| server.client(), &LoadOptions::on(TOPIC, 4), &recorder)?;
    for _ in 0..ROUNDS {
        let goal = recorder.acked() + 200;
        until("the load goes on", LOAD_LIMIT, async || {
            (recorder.acked() >= goal).then_some(())
        })
        .await?;
        assert_eq!(server.stop(END_LIMIT).await?, Ended::Code(0));
        server.restart().await?;
    }
    load.finish(LOAD_LIMIT).await?;
    drain(&server.client()?, TOPIC, &recorder).await?;
    let report = check(&recorder.history());
    report.ensure_clean()?;
    assert_eq!(report.unknown, 0);
    Ok(())
}

#[tokio::test]
async fn sigterm_under_load_loses_nothing_in_a_folder() -> Result<()> {
    under_load(&World::folder()?).await
}

#[tokio::test]
async fn sigterm_under_load_loses_nothing_on_s3() -> Result<()> {
    under_load(&World::s3().await?).await
}
