//! S3 that answers 503, hangs, or does what it is told and does not say so. Writers wait and try again;
//! what was acknowledged is there once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ClientOptions};
use tidelog_e2e_harness::history::{Recorder, check};
use tidelog_e2e_harness::load::{Load, LoadOptions, drain};
use tidelog_e2e_harness::{Ended, Mode, Proxy, Server, ServerOptions, http_get, until, within};
use tidelog_env::BackoffPolicy;

use crate::support::{END_LIMIT, LOAD_LIMIT, World, records};

const TOPIC: &str = "outage";
/// How long S3 is in trouble.
const TROUBLE: Duration = Duration::from_secs(3);
/// An outage that nobody has to be woken for.
const OUTAGE: Duration = Duration::from_secs(30);
/// How often the server dies while answers are lost.
const KILLS: usize = 3;
/// A server that does not know what is durable stops itself with this code.
const FAIL_STOP: Ended = Ended::Code(9);

struct Scenario {
    // Servers first: they end while S3 still answers.
    server: Server,
    proxy: Proxy,
    recorder: Arc<Recorder>,
    _world: World,
}

impl Scenario {
    async fn start() -> Result<Self> {
        let world = World::s3().await?;
        let proxy = Proxy::start(world.minio()?.address()).await?;
        let options = ServerOptions::at(&world.place.through(proxy.address()))
            .with("requests.attempt_timeout", "1s");
        let server = Server::start(options).await?;
        server
            .client()?
            .admin()
            .create_topic(TOPIC, 4, [] as [(&str, &str); 0])
            .await?;
        Ok(Self {
            server,
            proxy,
            recorder: Arc::new(Recorder::default()),
            _world: world,
        })
    }

    async fn progress(&self, count: usize) -> Result<()> {
        let goal = self.recorder.acked() + count;
        until("the load goes on", LOAD_LIMIT, async || {
            (self.recorder.acked() >= goal).then_some(())
        })
        .await
    }

    /// A load runs into trouble and out of it.
    async fn through(mut self, trouble: Mode) -> Result<()> {
        let options = LoadOptions::on(TOPIC, 4);
        let load = Load::start(|| self.server.client(), &options, &self.recorder)?;
        self.progress(100).await?;
        self.proxy.set(trouble);
        tokio::time::sleep(TROUBLE).await;
        self.proxy.set(Mode::Pass);
        // Where nobody can know what is durable, stopping is the right answer; a supervisor restarts.
        if let Some(ended) = self.server.process().ended() {
            ensure!(ended == FAIL_STOP, "the server ended with {ended:?}");
            self.server.restart().await?;
        }
        let progress = self.progress(100).await;
        if progress.is_err() && self.server.process().ended() == Some(FAIL_STOP) {
            self.server.restart().await?;
            self.progress(100).await?;
        } else {
            progress?;
        }
        self.judge(load).await
    }

    async fn judge(&self, load: Load) -> Result<()> {
        load.finish(LOAD_LIMIT).await?;
        drain(&self.server.client()?, TOPIC, &self.recorder).await?;
        let report = check(&self.recorder.history());
        report.ensure_clean()?;
        ensure!(
            report.unknown == 0,
            "{} records without an answer",
            report.unknown
        );
        Ok(())
    }

    fn impatient(&self, limit: Duration) -> Result<Client> {
        self.server.client_with(ClientOptions {
            request_timeout: limit,
            backoff: BackoffPolicy::new(Duration::from_millis(50), Duration::from_millis(50), 1),
            ..ClientOptions::default()
        })
    }
}

#[tokio::test]
async fn writers_live_through_503() -> Result<()> {
    Scenario::start().await?.through(Mode::Unavailable).await
}

#[tokio::test]
async fn writers_live_through_silence() -> Result<()> {
    Scenario::start().await?.through(Mode::Hang).await
}

#[tokio::test]
async fn writers_live_through_answers_that_are_lost() -> Result<()> {
    Scenario::start()
        .await?
        .through(Mode::LoseWriteAnswers)
        .await
}

/// A server of one process lives through an outage that its store can wait out: nobody has to start it again.
#[tokio::test]
async fn one_process_lives_through_half_a_minute_without_s3() -> Result<()> {
    let mut scenario = Scenario::start().await?;
    let options = LoadOptions::on(TOPIC, 4);
    let load = Load::start(|| scenario.server.client(), &options, &scenario.recorder)?;
    scenario.progress(100).await?;
    scenario.proxy.set(Mode::Unavailable);
    tokio::time::sleep(OUTAGE).await;
    let acked = scenario.recorder.acked();
    ensure!(scenario.server.process().ended().is_none(), "it has ended");
    assert_eq!(http_get(scenario.server.http(), "/healthz").await?.0, 200);
    scenario.proxy.set(Mode::Pass);
    scenario.progress(100).await?;
    println!("{acked} records were acknowledged before the outage was over");
    ensure!(scenario.server.process().ended().is_none(), "it has ended");
    scenario.judge(load).await
}

/// What the bucket took without saying so is an orphan or a record, never both, also after a kill.
#[tokio::test]
async fn a_kill_while_answers_are_lost_harms_nothing() -> Result<()> {
    let mut scenario = Scenario::start().await?;
    let options = LoadOptions::on(TOPIC, 4);
    let load = Load::start(|| scenario.server.client(), &options, &scenario.recorder)?;
    for _ in 0..KILLS {
        scenario.progress(100).await?;
        scenario.proxy.set(Mode::LoseWriteAnswers);
        tokio::time::sleep(TROUBLE / 5).await;
        scenario.server.process().kill();
        scenario.proxy.set(Mode::Pass);
        scenario.server.wipe()?;
        scenario.server.restart().await?;
    }
    scenario.progress(100).await?;
    scenario.judge(load).await
}

#[tokio::test]
async fn a_deadline_that_passes_while_s3_is_silent_is_told_in_time() -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(2);
    let scenario = Scenario::start().await?;
    let log = scenario.impatient(DEADLINE)?.log();
    log.produce(vec![records(TOPIC, 0, ["before"])]).await?;

    scenario.proxy.set(Mode::Hang);
    let late = log.produce(vec![records(TOPIC, 0, ["during"])]);
    let error = within("the deadline", DEADLINE * 2, late)
        .await?
        .unwrap_err();
    ensure!(
        error.may_have_happened(),
        "nobody can know whether it happened: {error}"
    );
    // The process itself is well and says so.
    assert_eq!(http_get(scenario.server.http(), "/healthz").await?.0, 200);

    scenario.proxy.set(Mode::Pass);
    let mut scenario = scenario;
    let patient = scenario.server.client()?.log();
    until("writing goes on", END_LIMIT, async || {
        patient
            .produce(vec![records(TOPIC, 0, ["after"])])
            .await
            .ok()
    })
    .await?;
    assert_eq!(scenario.server.stop(END_LIMIT).await?, Ended::Code(0));
    Ok(())
}
