//! From serving to the end: why a process ends, and in which order.

use std::time::Duration;

use tidelog_broker_engine::{Engine, IncarnationEnded};
use tidelog_env::{Env, TaskFailure};
use tidelog_runtime::{End, Exit, Signals};

use super::assemble::{Broker, Running};
use crate::cli::{CliError, Result};

/// How long callers may take to hear that the process is going, when there is nothing to finish.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why serving ended.
enum Cause {
    /// Somebody asked.
    Asked(&'static str),
    /// The metadata service is no longer ours or no longer works.
    Metadata(CliError),
    /// The cluster goes on without this broker.
    Ended(IncarnationEnded),
    /// A task panicked.
    Task(TaskFailure),
    /// The gRPC server ended by itself.
    Grpc(String),
}

/// Waits for a reason to end and ends as it asks for.
pub(super) async fn until_end(
    mut running: Running,
    signals: &mut Signals,
    deadline: Duration,
    env: &Env,
) -> Result<Exit> {
    let engine = running.broker.as_ref().map(|broker| broker.engine.clone());
    let cause = tokio::select! {
        biased;
        error = running.metadata.ended() => Cause::Metadata(error),
        end = signals.end(&env.supervisor) => match end {
            End::Asked(name) => Cause::Asked(name),
            End::TaskFailed(failure) => Cause::Task(failure),
        },
        ended = engine_ended(engine) => Cause::Ended(ended),
        reason = grpc_ended(running.broker.as_mut()) => Cause::Grpc(reason),
    };
    match cause {
        Cause::Asked(name) => {
            tracing::info!(signal = name, "asked to end, draining");
            running.serving.unmet("draining");
            let exit = signals
                .drain(env.clock.as_ref(), deadline, drain(running, env))
                .await;
            tracing::info!(code = exit.code(), "ended");
            Ok(exit)
        }
        Cause::Metadata(error) => Err(stop(running, env, error).await),
        Cause::Ended(ended) => {
            let error = CliError::other(Exit::Fenced, ended.to_string());
            Err(stop(running, env, error).await)
        }
        Cause::Task(failure) => {
            let error = CliError::because(Exit::FailStop, failure.to_string(), failure);
            Err(stop(running, env, error).await)
        }
        Cause::Grpc(reason) => {
            let message = format!("the gRPC server failed: {reason}");
            Err(stop(running, env, CliError::other(Exit::FailStop, message)).await)
        }
    }
}

/// Waits until the cluster has ended the incarnation of this broker. Cancel-safe.
async fn engine_ended(engine: Option<Engine>) -> IncarnationEnded {
    match engine {
        Some(engine) => engine.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits until the gRPC server ends by itself, and says why. Cancel-safe.
async fn grpc_ended(broker: Option<&mut Broker>) -> String {
    let Some(broker) = broker else {
        return std::future::pending().await;
    };
    match (&mut broker.grpc).await.ok().flatten() {
        Some(Err(error)) => error.to_string(),
        Some(Ok(())) | None => "it stopped without being asked".to_owned(),
    }
}

/// Finishes what was begun, in an order in which nothing is cut off: no new calls, every append answered,
/// readers told to go on elsewhere; when the last call is answered the process leaves its cluster, gives its
/// shards away, and only then the tasks that answer members end, the store and `/metrics`.
async fn drain(running: Running, env: &Env) -> Exit {
    if let Some(broker) = running.broker {
        broker.stop.cancel();
        broker.engine.drain().await;
        // A failure of a server that is going is of no interest any more.
        let _ = broker.grpc.await;
        let _ = broker.kafka.await;
        // Tasks that serve the last handle end with it.
        drop(broker.engine);
    }
    if let Some(janitor) = running.janitor {
        janitor.end().await;
    }
    if let Some(listed) = running.listed {
        listed.leave(env).await;
    }
    running.metadata.close(&env.supervisor.token()).await;
    if let Some(peers) = running.peers {
        peers.stop().await;
    }
    running.stop_admin.cancel();
    if let Err(error) = env
        .supervisor
        .shutdown(env.clock.as_ref(), LAST_WORDS)
        .await
    {
        tracing::warn!(%error, "tasks were left");
    }
    Exit::Ok
}

/// Ends without finishing anything: what is true is in the bucket, and this process may no longer add to
/// it. Callers are told, for a moment.
async fn stop(running: Running, env: &Env, error: CliError) -> CliError {
    tracing::error!(code = error.exit().code(), %error, "stopping");
    running.health.fail(error.to_string());
    env.supervisor.token().cancel();
    if let Some(broker) = running.broker {
        broker.stop.cancel();
        let told = tidelog_env::clock::timeout(env.clock.as_ref(), LAST_WORDS, async {
            if !broker.grpc.is_finished() {
                let _ = broker.grpc.await;
            }
            let _ = broker.kafka.await;
        });
        if told.await.is_err() {
            tracing::warn!("connections were cut");
        }
    }
    running.stop_admin.cancel();
    error
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidelog_metadata_api::NewTopic;
    use tidelog_runtime::telemetry::Identity;
    use tidelog_types::{Offset, PartitionIndex};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::super::tests::settings;
    use super::super::{Listeners, assemble};
    use super::*;

    async fn running(env: &Env, folder: &std::path::Path) -> Running {
        let settings = settings(&[("data", folder.to_str().unwrap())]);
        let identity = Identity {
            version: "0",
            instance: String::new(),
            zone: String::new(),
        };
        let listeners = Listeners {
            grpc: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            kafka: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            internal: None,
        };
        assemble::start(&settings, &identity, listeners, env.clone())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_call_that_is_under_way_has_its_metadata_until_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::system();
        let mut running = Box::pin(running(&env, folder.path())).await;
        let broker = running.broker.as_mut().unwrap();
        let engine = broker.engine.clone();
        let topic = NewTopic {
            name: "t".parse().unwrap(),
            partitions: 1,
            config: BTreeMap::new(),
            validate_only: false,
        };
        let topic = engine.catalogue().create_topic(topic).await.unwrap();
        let (at, _) = topic.partition(PartitionIndex::new(0)).unwrap();
        // A server whose last call comes to the metadata long after the last append is answered.
        let stop = broker.stop.clone();
        let (tell, told) = oneshot::channel();
        broker.grpc = env.supervisor.spawn("server with a slow call", async move {
            stop.cancelled().await;
            engine.drain().await;
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            tell.send(engine.delete_records(at, Some(Offset::ZERO)).await)
                .unwrap();
            Ok(())
        });
        assert_eq!(drain(running, &env).await, Exit::Ok);
        told.await.unwrap().unwrap();
    }
}
