//! A second server on the same bucket takes it over. The first one answers clear errors, ends with a code
//! of its own, and what it had acknowledged is all there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ClientError, ClientOptions, ErrorCode};
use tidelog_e2e_harness::history::{Recorder, check};
use tidelog_e2e_harness::load::{Load, LoadOptions, drain};
use tidelog_e2e_harness::{Ended, Server, ServerOptions, until};
use tidelog_env::BackoffPolicy;

use crate::support::{END_LIMIT, LOAD_LIMIT, World, records, refusal};

const TOPIC: &str = "fence";
/// Written to by no sender.
const PROBE: &str = "probe";
/// How a process ends that another one has fenced.
const FENCED: Ended = Ended::Code(3);

/// A client that gives up soon and tries nothing twice.
fn impatient(server: &Server) -> Result<Client> {
    server.client_with(ClientOptions {
        request_timeout: Duration::from_secs(5),
        backoff: BackoffPolicy::new(Duration::from_millis(50), Duration::from_millis(50), 1),
        ..ClientOptions::default()
    })
}

/// Writes through a server until it refuses; what it said.
async fn first_error(server: &Server) -> Result<ErrorCode> {
    let log = impatient(server)?.log();
    until(
        "the fenced server refuses a write",
        END_LIMIT,
        async || match log.produce(vec![records(PROBE, 0, ["late"])]).await {
            Ok(results) => refusal(&results).ok().map(|error| {
                ensure!(!error.message.is_empty(), "an error without a text");
                let name = error.code().as_str_name().trim_start_matches("ERROR_CODE_");
                ErrorCode::from_name(name).ok_or_else(|| anyhow::anyhow!("`{name}` is no code"))
            }),
            Err(ClientError::TimedOut { .. }) => Some(Ok(ErrorCode::Unavailable)),
            Err(error) => Some(error.code().ok_or_else(|| error.into())),
        },
    )
    .await?
}

async fn taken_over(world: &World) -> Result<()> {
    let mut first = Server::start(ServerOptions::at(&world.place)).await?;
    let topics = first.client()?.admin();
    topics
        .create_topic(TOPIC, 4, [] as [(&str, &str); 0])
        .await?;
    topics
        .create_topic(PROBE, 1, [] as [(&str, &str); 0])
        .await?;
    let recorder = Arc::new(Recorder::default());
    let options = LoadOptions {
        delivery_timeout: Duration::from_secs(3),
        ..LoadOptions::on(TOPIC, 4)
    };
    let load = Load::start(|| impatient(&first), &options, &recorder)?;
    acked(&recorder, 200).await?;

    let second = Server::start(ServerOptions::at(&world.place)).await?;
    let said = first_error(&first).await?;
    ensure!(
        matches!(said, ErrorCode::Fenced | ErrorCode::Unavailable),
        "the fenced server says `{said}`"
    );
    assert_eq!(first.process().wait(END_LIMIT).await?, FENCED);
    let log = first.process().log();
    ensure!(
        log.contains("another process has taken over"),
        "its log does not say why: {log}"
    );

    // Records that the first one could not acknowledge may be there or not, but only once.
    load.finish(LOAD_LIMIT).await?;
    let more = Load::start(|| second.client(), &options, &recorder)?;
    acked(&recorder, 200).await?;
    more.finish(LOAD_LIMIT).await?;
    drain(&second.client()?, TOPIC, &recorder).await?;

    check(&recorder.history()).ensure_clean()?;
    Ok(())
}

/// A server is frozen, as a machine is that swaps or migrates; another one takes over; the first one wakes
/// with requests under way and must not complete any of them.
async fn frozen(world: &World) -> Result<()> {
    let mut first = Server::start(ServerOptions::at(&world.place)).await?;
    let none = [] as [(&str, &str); 0];
    first.client()?.admin().create_topic(TOPIC, 4, none).await?;
    let recorder = Arc::new(Recorder::default());
    let options = LoadOptions {
        delivery_timeout: Duration::from_secs(3),
        ..LoadOptions::on(TOPIC, 4)
    };
    let load = Load::start(|| impatient(&first), &options, &recorder)?;
    acked(&recorder, 200).await?;
    first.process().pause()?;

    let second = Server::start(ServerOptions::at(&world.place)).await?;
    let more = Load::start(|| second.client(), &options, &recorder)?;
    acked(&recorder, 200).await?;
    first.process().resume()?;
    assert_eq!(first.process().wait(END_LIMIT).await?, FENCED);
    load.finish(LOAD_LIMIT).await?;
    acked(&recorder, 200).await?;
    more.finish(LOAD_LIMIT).await?;
    drain(&second.client()?, TOPIC, &recorder).await?;
    check(&recorder.history()).ensure_clean()
}

/// Waits until `count` more records are acknowledged.
async fn acked(recorder: &Recorder, count: usize) -> Result<()> {
    let goal = recorder.acked() + count;
    let what = format!("{goal} records are acknowledged");
    until(what, END_LIMIT, async || {
        (recorder.acked() >= goal).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_frozen_server_that_wakes_after_a_takeover_harms_nothing_in_a_folder() -> Result<()> {
    frozen(&World::folder()?).await
}

#[tokio::test]
async fn a_frozen_server_that_wakes_after_a_takeover_harms_nothing_on_s3() -> Result<()> {
    frozen(&World::s3().await?).await
}

#[tokio::test]
async fn a_second_server_fences_the_first_in_a_folder() -> Result<()> {
    taken_over(&World::folder()?).await
}

#[tokio::test]
async fn a_second_server_fences_the_first_on_s3() -> Result<()> {
    taken_over(&World::s3().await?).await
}
