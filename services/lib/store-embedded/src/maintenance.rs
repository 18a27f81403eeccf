//! Compaction and collection of garbage: after writes, never by a timer.
//!
//! The committer counts flushes and wakes this task when tables wait or when it is time to move rows
//! from the log to a table. A pass moves the rows, runs the compactor until nothing is left to do, and
//! then the collector, but not more often than garbage gets old, since it lists all objects. Between
//! passes there is no request to the bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slatedb::admin::Admin;
use slatedb::compactor::Compaction;
use slatedb::config::{FlushOptions, FlushType};
use slatedb::{CompactorBuilder, GarbageCollectorBuilder};
use tidelog_env::{BackoffPolicy, CancellationToken, Env, MonoTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::engine::Engine;

/// How often a running compactor looks for its next step, and this task whether it is done.
const STEP: Duration = Duration::from_millis(50);

/// A compactor that has not finished by then is stopped; the next pass continues its work.
const COMPACTION_TIME_MAX: Duration = Duration::from_mins(10);

/// Waits after failed passes.
const BACKOFF: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(500),
    Duration::from_secs(30),
    u32::MAX,
);

/// What the committer tells the task.
#[derive(Debug, Default)]
struct Wake {
    notify: Notify,
    /// Rows are to be moved from the log to a table.
    rows_due: AtomicBool,
}

/// Wakes and stops the task. Held by the committer.
pub(crate) struct MaintenanceHandle {
    engine: Arc<Engine>,
    wake: Arc<Wake>,
    stop: CancellationToken,
    task: Option<JoinHandle<Option<()>>>,
    flushes: u64,
}

impl MaintenanceHandle {
    /// Starts the task.
    pub(crate) fn start(engine: Arc<Engine>) -> Self {
        let wake = Arc::new(Wake::default());
        let stop = CancellationToken::new();
        let maintenance = Maintenance {
            engine: Arc::clone(&engine),
            wake: Arc::clone(&wake),
            stop: stop.clone(),
            collected: None,
        };
        let supervisor = engine.env.supervisor.clone();
        let task = supervisor.spawn("store maintenance", maintenance.run());
        Self {
            engine,
            wake,
            stop,
            task: Some(task),
            flushes: 0,
        }
    }

    /// Counts a flush and wakes the task if it may have work. Work left by an earlier run of the process
    /// is found with the first flush.
    pub(crate) fn on_flush(&mut self) {
        let tables = self.engine.tables();
        self.engine.metrics.set_tables(tables);
        let first = self.flushes == 0;
        self.flushes += 1;
        let rows_due = self
            .flushes
            .is_multiple_of(self.engine.options.flushes_per_table);
        if rows_due {
            self.wake.rows_due.store(true, Ordering::Relaxed);
        }
        if first || rows_due || tables >= self.engine.options.tables_max {
            self.wake.notify.notify_one();
        }
    }

    /// Stops the task, in the middle of a pass if need be, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A panic in the task was told to the supervisor.
            let _ = task.await;
        }
    }
}

struct Maintenance {
    engine: Arc<Engine>,
    wake: Arc<Wake>,
    stop: CancellationToken,
    /// When the collector ran last.
    collected: Option<MonoTime>,
}

impl Maintenance {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.wake.notify.notified() => {}
            }
            self.pass_until_done().await;
        }
    }

    /// Runs a pass, again after a wait as long as it fails: writers may be waiting for its work, and then
    /// no flush would wake this task.
    async fn pass_until_done(&mut self) {
        let mut backoff = BACKOFF.start();
        while let Err(error) = self.pass().await {
            self.engine.metrics.on_maintenance_failure();
            let wait = backoff.next_wait(self.engine.env.rng.as_ref());
            let wait = wait.unwrap_or(BACKOFF.max);
            tracing::warn!(%error, ?wait, "maintenance of the store failed and will be tried again");
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.engine.env.clock.sleep(wait) => {}
            }
        }
    }

    /// Tables are compacted before rows are moved: a full first level takes no table.
    async fn pass(&mut self) -> Result<(), slatedb::Error> {
        self.compact_if_due().await?;
        if self.wake.rows_due.swap(false, Ordering::Relaxed) {
            let moved = self.move_rows().await;
            self.wake
                .rows_due
                .fetch_or(moved.is_err(), Ordering::Relaxed);
            moved?;
            self.compact_if_due().await?;
        }
        self.collect_if_due().await;
        Ok(())
    }

    /// Moves the rows that are in memory and in the log to a table, after which the log's objects are
    /// garbage.
    async fn move_rows(&self) -> Result<(), slatedb::Error> {
        let flush_type = FlushType::MemTable;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            moved = self.engine.db.flush_with_options(FlushOptions { flush_type }) => moved,
        }
    }

    async fn compact_if_due(&self) -> Result<(), slatedb::Error> {
        if self.stop.is_cancelled() || self.engine.tables() < self.engine.options.tables_max {
            return Ok(());
        }
        // Hears of a newer writer before it touches anything.
        self.engine.db.refresh_manifest().await?;
        self.compact().await
    }

    async fn compact(&self) -> Result<(), slatedb::Error> {
        let engine = &self.engine;
        let compactor = CompactorBuilder::new(engine.root.clone(), engine.objects())
            .with_options(engine.options.compactor_options(STEP))
            .with_expected_epoch(engine.db.manifest().compactor_epoch())
            .with_system_clock(engine.clock())
            .with_seed(engine.seed())
            .build();
        engine.metrics.on_compaction();
        let mut running = Box::pin(compactor.run());
        let done = tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            ended = &mut running => return ended,
            done = self.until_compacted(&engine.env) => done,
        };
        compactor.stop().await?;
        running.await?;
        done?;
        engine.db.refresh_manifest().await
    }

    /// Waits until no compaction is planned or running.
    async fn until_compacted(&self, env: &Env) -> Result<(), slatedb::Error> {
        let deadline = env.clock.now() + COMPACTION_TIME_MAX;
        let admin = Admin::builder(self.engine.root.clone(), self.engine.objects())
            .with_system_clock(self.engine.clock())
            .build();
        loop {
            env.clock.sleep(STEP).await;
            if env.clock.now() > deadline {
                let late = "compaction took too long".to_owned();
                return Err(slatedb::Error::unavailable(late));
            }
            let view = admin.read_compactor_state_view().await?;
            let tables = view.manifest().l0().len();
            let active = view.compactions().is_some_and(|compactions| {
                compactions.recent_compactions().any(Compaction::active)
            });
            if !active && tables < self.engine.options.tables_max {
                return Ok(());
            }
        }
    }

    /// At most one run of the collector. It logs its own failures; what it leaves the next run finds.
    async fn collect_if_due(&mut self) {
        let engine = &self.engine;
        let now = engine.env.clock.now();
        let pause = engine.options.garbage_age_min / 2;
        if self.stop.is_cancelled() || self.collected.is_some_and(|last| now < last + pause) {
            return;
        }
        self.collected = Some(now);
        let collector = GarbageCollectorBuilder::new(engine.root.clone(), engine.objects())
            .with_options(engine.options.collector_options())
            .with_system_clock(engine.clock())
            .with_seed(engine.seed())
            .build();
        engine.metrics.on_collection();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = collector.run_gc_once() => {}
        }
    }
}
