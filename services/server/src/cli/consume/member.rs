//! `tidelog consume --group`: as a member of a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_client::{
    ClientError, ErrorCode, GroupConsumer, GroupEvent, OffsetReset, Start, SubscribeError,
    SubscribeOptions, v1,
};
use tidelog_env::{Env, MonoTime};
use tidelog_runtime::Exit;
use tidelog_runtime::signals::Signals;

use super::closed::OutputClosed;
use super::{ConsumeArgs, Records};
use crate::cli::output::say;
use crate::cli::{CliError, Global, Output, Result, connect};

/// How long after it was written a record is committed, at most.
const COMMIT_WITHIN: Duration = Duration::from_millis(500);

/// Reads until there is enough, or nobody listens any more, or somebody says so.
pub(super) async fn run(
    args: &ConsumeArgs,
    group: &str,
    start: Start,
    global: &Global,
    env: Env,
) -> Result<Exit> {
    let offset_reset = match start {
        Start::Earliest => OffsetReset::Earliest,
        Start::Latest => OffsetReset::Latest,
        Start::Offset(_) | Start::Timestamp(_) => {
            let text = "with --group, --from is earliest or latest: a group goes on where it was; \
                        `tidelog group reset` sets where that is";
            return Err(CliError::usage(text));
        }
    };
    let client = connect::client(global, env.clone())?;
    // The group itself would wait for a topic that is not there yet.
    for topic in &args.topics {
        client.admin().topic(topic).await?;
    }
    let options = SubscribeOptions {
        instance_id: args.instance.clone().unwrap_or_default(),
        offset_reset,
        isolation: args.isolation(),
        ..SubscribeOptions::default()
    };
    let mut member = Member {
        consumer: client.subscribe(group, &args.topics, options),
        written: BTreeMap::new(),
        commit_at: None,
        output: global.output,
        env,
    };
    let mut out = Records::new(args, global);
    let mut signals =
        Signals::listen().map_err(|source| CliError::io("signals cannot be heard", source))?;
    let mut closed = OutputClosed::watch()?;
    let mut end = Ok(Exit::Ok);
    while out.left > 0 && end.is_ok() {
        let due = member.due();
        tokio::select! {
            biased;
            () = closed.wait() => end = Err(CliError::OutputClosed),
            _ = signals.next() => break,
            () = due => member.commit().await?,
            event = member.consumer.next() => end = match event {
                Ok(event) => member.on_event(event, &mut out).await,
                Err(error) => Err(failed(error)),
            },
        }
    }
    member.commit().await?;
    let left = member.consumer.leave().await;
    end.and_then(|exit| left.map(|()| exit).map_err(failed))
}

/// A member, and what it has written.
struct Member {
    consumer: GroupConsumer,
    /// By topic and partition, the offset after what was written and is not committed.
    written: BTreeMap<(String, u32), u64>,
    commit_at: Option<MonoTime>,
    output: Output,
    env: Env,
}

impl Member {
    /// Ends when it is time to commit. Cancel-safe.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let (clock, commit_at) = (Arc::clone(&self.env.clock), self.commit_at);
        async move {
            match commit_at {
                Some(time) => clock.sleep_until(time).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn on_event<W: std::io::Write>(
        &mut self,
        event: GroupEvent,
        out: &mut Records<W>,
    ) -> Result<Exit> {
        match event {
            GroupEvent::Chunk { topic, chunk } => {
                let next = out.write(&topic, &chunk)?;
                self.written.insert((topic, chunk.partition), next.get());
                let soon = self.env.clock.now() + COMMIT_WITHIN;
                self.commit_at.get_or_insert(soon);
            }
            // What is written is committed before the next call lets go.
            GroupEvent::Revoked(_) => self.commit().await?,
            GroupEvent::Lost(_) => self.written.clear(),
            GroupEvent::Assigned(_) => {}
        }
        Ok(Exit::Ok)
    }

    /// Commits what was written. What other members have by now is theirs to commit.
    async fn commit(&mut self) -> Result<()> {
        self.commit_at = None;
        let written = std::mem::take(&mut self.written).into_iter();
        let offsets = written.map(|((topic, partition), offset)| v1::SubscribeOffset {
            topic,
            partition,
            offset,
            metadata: String::new(),
        });
        match self.consumer.commit_offsets(offsets.collect()).await {
            Ok(()) => Ok(()),
            Err(SubscribeError::NotCommitted { failed })
                if failed
                    .iter()
                    .all(|(_, error)| error.code == ErrorCode::Fenced) =>
            {
                Ok(())
            }
            Err(SubscribeError::Broken) => {
                let text =
                    "the connection broke before records were committed: they may come again";
                say(self.output, "warning", text);
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: SubscribeError) -> CliError {
    match error {
        SubscribeError::Client(error) => error.into(),
        SubscribeError::Partition { ref error, .. } => {
            let error = tidelog_client::ApiError::new(error.code, error.to_string());
            ClientError::Api(error).into()
        }
        error => CliError::because(Exit::Error, format!("reading ended: {error}"), error),
    }
}
