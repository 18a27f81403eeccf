//! The owner of every background task.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Clock;
use crate::clock::timeout;
use crate::workers::Workers;

/// A task that ended in a panic. After it nothing is known about the state it owned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("task `{task}` panicked: {message}")]
pub struct TaskFailure {
    /// The name the task was spawned with.
    pub task: &'static str,
    /// What it said.
    pub message: String,
}

/// Tasks did not end in time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("tasks still ran after `{waited:?}`: `{}`", .running.join("`, `"))]
pub struct ShutdownError {
    /// The names of those that ran, each as often as it did.
    pub running: Vec<&'static str>,
    /// How long they were given.
    pub waited: Duration,
}

struct Inner {
    tracker: TaskTracker,
    running: Running,
    token: CancellationToken,
    failure: watch::Sender<Option<TaskFailure>>,
    workers: Workers,
}

/// How many tasks run, by name.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// Counts a task for as long as it lives.
struct Counted {
    running: Running,
    task: &'static str,
}

impl Running {
    fn count(&self, task: &'static str) -> Counted {
        *self.0.lock().entry(task).or_default() += 1;
        Counted {
            running: self.clone(),
            task,
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let running = self.0.lock();
        let names = running
            .iter()
            .flat_map(|(task, count)| std::iter::repeat_n(*task, *count));
        names.collect()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = self.running.0.lock().get_mut(self.task) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Inner {
    /// Records a panic.
    fn note(&self, task: &'static str, panic: &(dyn std::any::Any + Send)) {
        let message = panic_message(panic);
        tracing::error!(task, message, "task panicked");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(TaskFailure { task, message });
            first
        });
    }
}

/// Spawns tasks, hears of their panics and waits for their end. Clones share the tasks.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("tasks", &self.inner.tracker.len())
            .finish()
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                tracker: TaskTracker::new(),
                running: Running::default(),
                token: CancellationToken::new(),
                failure: watch::Sender::new(None),
                workers: Workers::default(),
            }),
        }
    }

    /// Runs `future` as a task. A panic in it is recorded and told to [`Supervisor::failed`].
    ///
    /// The handle yields `None` after a panic. Dropping the handle does not stop the task.
    pub fn spawn<F>(&self, task: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let counted = self.inner.running.count(task);
        self.inner.tracker.spawn(async move {
            let _counted = counted;
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(output) => Some(output),
                Err(panic) => {
                    inner.note(task, panic.as_ref());
                    None
                }
            }
        })
    }

    /// Runs `work`, which takes long and awaits nothing, on one of a few threads for that; `None` after a panic in it,
    /// which is recorded as that of a task. Once begun it runs to its end, whoever waits for it.
    pub async fn run_blocking<F, T>(&self, task: &'static str, work: F) -> Option<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let (answer, done) = oneshot::channel();
        self.inner.workers.run(move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(work));
            let result = result.map_err(|panic| inner.note(task, panic.as_ref()));
            // Whoever waited may have gone.
            let _ = answer.send(result.ok());
        });
        done.await.ok().flatten()
    }

    /// Cancelled when the tasks shall end. Tasks take a clone.
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Ends with the first panic of a task. Cancel-safe.
    pub async fn failed(&self) -> TaskFailure {
        let mut failures = self.inner.failure.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().clone() {
                return failure;
            }
            if failures.changed().await.is_err() {
                // The sender lives in `self`, so this cannot be reached while we are borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks all tasks to end and waits for them, at most `deadline`.
    pub async fn shutdown(
        &self,
        clock: &dyn Clock,
        deadline: Duration,
    ) -> Result<(), ShutdownError> {
        self.inner.token.cancel();
        self.inner.tracker.close();
        timeout(clock, deadline, self.inner.tracker.wait())
            .await
            .map_err(|elapsed| ShutdownError {
                running: self.inner.running.names(),
                waited: elapsed.0,
            })
    }
}

/// The text of a panic, if it has one.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&'static str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[tokio::test]
    async fn a_panic_in_a_task_is_told_and_harms_no_other_task() {
        let supervisor = Supervisor::new();
        let token = supervisor.token();
        let healthy = supervisor.spawn("healthy", async move {
            token.cancelled().await;
            7
        });
        let broken = supervisor.spawn("broken", async { panic!("on purpose") });
        assert!(matches!(broken.await, Ok(None)));
        let failure = supervisor.failed().await;
        assert_eq!(
            (failure.task, failure.message.as_str()),
            ("broken", "on purpose")
        );
        supervisor
            .shutdown(&SystemClock::new(), Duration::from_secs(5))
            .await
            .expect("the healthy task ends when asked");
        assert!(matches!(healthy.await, Ok(Some(7))));
    }

    #[tokio::test]
    async fn work_that_panics_on_its_thread_is_told_as_well() {
        let supervisor = Supervisor::new();
        assert_eq!(supervisor.run_blocking("sum", || 3 + 4).await, Some(7));
        let none: Option<u8> = supervisor.run_blocking("broken", || panic!("oh")).await;
        assert_eq!(none, None);
        assert_eq!(supervisor.failed().await.task, "broken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_named() {
        let supervisor = Supervisor::new();
        supervisor.spawn("deaf", std::future::pending::<()>());
        let quick = supervisor.spawn("quick", std::future::ready(()));
        quick.await.expect("it ends");
        let error = supervisor
            .shutdown(&SystemClock::new(), Duration::from_secs(3))
            .await
            .expect_err("it never ends");
        assert_eq!(error.running, ["deaf"]);
        assert!(error.to_string().ends_with("`deaf`"), "{error}");
    }
}
