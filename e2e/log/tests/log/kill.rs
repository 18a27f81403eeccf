//! `kill -9` under load, at random moments and at each step of the write path.
//!
//! Idempotent producers write on through all restarts, and a reader follows. At the end a second reader
//! reads everything, and the checker judges: what was acknowledged is there once, unchanged, in order, at
//! dense offsets. On S3 all that a server could have kept on its machine is deleted before each restart.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::history::{Recorder, Report, check};
use tidelog_e2e_harness::load::{Follower, Load, LoadOptions, drain};
use tidelog_e2e_harness::{CrashPoint, Ended, Server, ServerOptions, metric, until};
use tidelog_env::{Rng as _, SeededRng};

use crate::support::{LOAD_LIMIT, World};

const TOPIC: &str = "kill";
const PARTITIONS: u32 = 6;
const KILLS: u64 = 10;
/// A server that is up must acknowledge something within this time.
const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
/// The signal of a process that aborts.
const ABORTED: Ended = Ended::Signal(6);

/// What a local machine could have kept between kill and restart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    Stays,
    IsLost,
}

struct Scenario {
    server: Server,
    recorder: Arc<Recorder>,
    load: Load,
    follower: Follower,
    machine: Machine,
}

impl Scenario {
    async fn start(options: ServerOptions, machine: Machine) -> Result<Self> {
        Self::start_of(options, machine, None).await
    }

    /// The same with a topic of a storage class.
    async fn start_of(
        options: ServerOptions,
        machine: Machine,
        class: Option<&str>,
    ) -> Result<Self> {
        let server = Server::start(options).await?;
        let client = server.client()?;
        client
            .admin()
            .create_topic(
                TOPIC,
                PARTITIONS,
                class.map(|name| ("tidelog.storage.class", name)),
            )
            .await?;
        let recorder = Arc::new(Recorder::default());
        let options = LoadOptions::on(TOPIC, PARTITIONS);
        let load = Load::start(|| server.client(), &options, &recorder)?;
        let follower = Follower::start(&client, TOPIC, &recorder);
        Ok(Self {
            server,
            recorder,
            load,
            follower,
            machine,
        })
    }

    /// Waits until `count` more records have been acknowledged.
    async fn progress(&self, count: usize) -> Result<()> {
        let goal = self.recorder.acked() + count;
        let recorder = &self.recorder;
        until(
            format!("{goal} records are acknowledged"),
            PROGRESS_LIMIT,
            async || (recorder.acked() >= goal).then_some(()),
        )
        .await
    }

    fn lose_machine(&self) -> Result<()> {
        match self.machine {
            Machine::Stays => Ok(()),
            Machine::IsLost => self.server.wipe(),
        }
    }

    async fn restart(&mut self, options: ServerOptions) -> Result<()> {
        self.lose_machine()?;
        self.server.restart_with(options).await
    }

    /// Stops the load and judges.
    async fn judge(self) -> Result<Report> {
        self.progress(1).await?;
        self.load.finish(LOAD_LIMIT).await?;
        self.follower.finish().await?;
        drain(&self.server.client()?, TOPIC, &self.recorder).await?;
        let report = check(&self.recorder.history());
        report.ensure_clean()?;
        // Producers that are idempotent get an answer for each record in the end.
        ensure!(
            report.unknown == 0,
            "{} records without an answer",
            report.unknown
        );
        Ok(report)
    }
}

async fn at_random_moments(world: &World, machine: Machine, seed: u64) -> Result<()> {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let mut scenario = Scenario::start(ServerOptions::at(&world.place), machine).await?;
    for _ in 0..KILLS {
        scenario.progress(20).await?;
        tokio::time::sleep(Duration::from_millis(rng.below(400))).await;
        scenario.server.process().kill();
        scenario.restart(ServerOptions::at(&world.place)).await?;
    }
    let report = scenario.judge().await?;
    println!("{} records acknowledged over {KILLS} kills", report.acked);
    Ok(())
}

async fn at_each_step(world: &World, machine: Machine, seed: u64) -> Result<()> {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let plain = ServerOptions::at(&world.place);
    let mut scenario = Scenario::start(plain.clone(), machine).await?;
    for point in CrashPoint::ALL {
        scenario.progress(20).await?;
        scenario.server.process().kill();
        // The first ones pass, so that the server dies in the midst of work.
        let crashing = plain.clone().crashing_at(point, 2 + rng.below(10));
        scenario.lose_machine()?;
        scenario.server.respawn(crashing)?;
        let ended = scenario.server.process().wait(PROGRESS_LIMIT).await;
        let ended = ended.with_context(|| format!("it passes {point:?}"))?;
        ensure!(ended == ABORTED, "at {point:?} it ended with {ended:?}");
        scenario.restart(plain.clone()).await?;
    }
    let report = scenario.judge().await?;
    println!(
        "{} records acknowledged over all crash points",
        report.acked
    );
    Ok(())
}

#[tokio::test]
async fn ten_kills_at_random_moments_harm_nothing_in_a_folder() -> Result<()> {
    at_random_moments(&World::folder()?, Machine::Stays, 11).await
}

#[tokio::test]
async fn ten_kills_at_random_moments_and_lost_machines_harm_nothing_on_s3() -> Result<()> {
    at_random_moments(&World::s3().await?, Machine::IsLost, 12).await
}

#[tokio::test]
async fn a_crash_at_each_step_harms_nothing_in_a_folder() -> Result<()> {
    at_each_step(&World::folder()?, Machine::Stays, 13).await
}

#[tokio::test]
async fn a_crash_at_each_step_and_lost_machines_harm_nothing_on_s3() -> Result<()> {
    at_each_step(&World::s3().await?, Machine::IsLost, 14).await
}

/// Small batches go with their commits; merges move them into the bucket all the while.
async fn express(world: &World, machine: Machine, seed: u64) -> Result<()> {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let options = ServerOptions::at(&world.place)
        .with("storage.classes.quick.express_bytes", "64KiB")
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("janitor.grace", "1s");
    let mut scenario = Scenario::start_of(options.clone(), machine, Some("quick")).await?;
    let mut inline = 0.0;
    for _ in 0..KILLS {
        scenario.progress(20).await?;
        tokio::time::sleep(Duration::from_millis(rng.below(1_500))).await;
        inline += inline_segments(&scenario.server).await?;
        scenario.server.process().kill();
        scenario.restart(options.clone()).await?;
    }
    scenario.progress(20).await?;
    inline += inline_segments(&scenario.server).await?;
    ensure!(inline > 0.0, "nothing has gone with its commit");
    let report = scenario.judge().await?;
    println!(
        "{} records acknowledged over {KILLS} kills, {inline} segments with their commits",
        report.acked
    );
    Ok(())
}

async fn inline_segments(server: &Server) -> Result<f64> {
    let page = server.metrics().await?;
    let sent = metric(&page, "tidelog_append_inline_segments_total", &[]);
    Ok(sent.unwrap_or_default())
}

#[tokio::test]
async fn ten_kills_harm_no_express_topic_in_a_folder() -> Result<()> {
    express(&World::folder()?, Machine::Stays, 15).await
}

#[tokio::test]
async fn ten_kills_and_lost_machines_harm_no_express_topic_on_s3() -> Result<()> {
    express(&World::s3().await?, Machine::IsLost, 16).await
}
