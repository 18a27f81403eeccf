//! Signals, and how a process ends: drain with a deadline, and at once when asked twice.

use std::future::Future;
use std::io;
use std::time::Duration;

use tidelog_env::{Clock, Supervisor, TaskFailure};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// The signals that ask the process to end: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, by the signal of this name.
    Asked(&'static str),
    /// A task panicked; its state cannot be trusted.
    TaskFailed(TaskFailure),
}

impl Signals {
    /// Begins to listen; from here on the signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ends with the name of the next signal. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends with the first reason to end. Cancel-safe.
    pub async fn end(&mut self, supervisor: &Supervisor) -> End {
        tokio::select! {
            biased;
            failure = supervisor.failed() => End::TaskFailed(failure),
            name = self.next() => End::Asked(name),
        }
    }

    /// Runs `drain` to its end, but no longer than `deadline`, and not past another signal.
    pub async fn drain(
        &mut self,
        clock: &dyn Clock,
        deadline: Duration,
        drain: impl Future<Output = Exit>,
    ) -> Exit {
        drain_until(clock.sleep(deadline), self.next(), drain).await
    }
}

/// The first of: the drain's own result, the deadline, another signal.
async fn drain_until(
    deadline: impl Future<Output = ()>,
    signal: impl Future<Output = &'static str>,
    drain: impl Future<Output = Exit>,
) -> Exit {
    tokio::select! {
        biased;
        exit = drain => exit,
        name = signal => {
            tracing::warn!(signal = name, "asked to end a second time, not waiting any longer");
            Exit::Interrupted
        }
        () = deadline => {
            tracing::error!("work was left when the deadline for ending passed");
            Exit::DrainDeadline
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_drain_that_ends_in_time_says_how() {
        assert_eq!(
            drain_until(pending(), pending(), ready(Exit::Ok)).await,
            Exit::Ok
        );
    }

    #[tokio::test]
    async fn the_deadline_and_a_second_signal_end_a_drain_that_does_not() {
        assert_eq!(
            drain_until(ready(()), pending(), pending()).await,
            Exit::DrainDeadline
        );
        assert_eq!(
            drain_until(pending(), ready("SIGINT"), pending()).await,
            Exit::Interrupted
        );
    }

    #[tokio::test]
    async fn a_task_that_panics_is_a_reason_to_end() {
        let mut signals = Signals::listen().unwrap();
        let supervisor = Supervisor::new();
        supervisor.spawn("broken", async { panic!("as the test wants it") });
        let End::TaskFailed(failure) = signals.end(&supervisor).await else {
            panic!("no signal was sent");
        };
        assert_eq!(failure.task, "broken");
    }
}
