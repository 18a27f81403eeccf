//! Which of several metadata processes on one embedded store is active.
//!
//! ```text
//!             the active one is silent, or nobody is active
//!   standby --------------------------------------------------> opens the store, which fences the other
//!      ^                                                              |
//!      |                 another process has opened the store         v
//!      +----------------------------------------------------------- active
//! ```
//!
//! Safety is the store's: it takes commits of one writer alone. Here it is only decided when to try. Two
//! processes that cannot hear each other but both reach the bucket would fence each other again and again:
//! one that was fenced therefore stays away for a while, unless it hears the other, or that nobody is active.

use std::time::Duration;

use tidelog_env::clock::timeout;
use tidelog_env::{Backoff, BackoffPolicy, CancellationToken, Env, MonoTime, error_chain};
use tidelog_metadata_api::{Cluster as _, MemberState};
use tidelog_metadata_rpc::{ClientSettings, PeerWatch, Probe, RpcMetrics, Standing};
use tidelog_runtime::{Condition, Exit};
use tidelog_store::CloseReason;
use tokio::sync::watch;

use super::metadata::{MetadataOpener, OpenFailure, OpenedMetadata, store_error};
use crate::cli::{CliError, Result};

/// One that was fenced opens the store again after this long at the earliest, if it cannot hear the other.
const FENCED_REST: Duration = Duration::from_secs(30);
/// A random time up to this keeps standbys from opening the store at the same moment.
const RANDOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often peers are asked that do not say who is active.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// One that says that it opens the store has this long before it counts for nothing.
const OPENING_MAX: Duration = Duration::from_secs(30);
/// The waits after the store could not be opened.
const OPEN_AGAIN: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(250), Duration::from_secs(5), u32::MAX);
/// How long a process may take to say whether it is active. One that was active and has been silent for a
/// while gets less: it has had its time.
const PATIENCE: Duration = Duration::from_secs(3);
pub(super) const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// A process that did not run for this long may have been replaced, and asks the store.
const PAUSE_NOTICED: Duration = Duration::from_secs(1);

/// What the peers say.
pub(super) enum Look {
    /// One is active.
    Active(String, Box<PeerWatch>),
    /// One is about to be: it opens the store.
    Opening(String),
    /// All that run say that they are not, and the others do not run.
    Nobody,
    /// At least one does not answer: it may be active.
    Unclear,
}

/// Why a process is not active any more.
enum Past {
    /// It ends.
    Ends,
    /// It drains, and there is another.
    Drains,
    /// Its store is closed.
    Lost(CloseReason),
}

/// Takes part in the election.
#[derive(Debug)]
pub(super) struct Election {
    pub(super) env: Env,
    pub(super) opener: MetadataOpener,
    /// Where others reach this process.
    pub(super) own: String,
    /// The other metadata processes.
    pub(super) peers: Vec<String>,
    pub(super) client: ClientSettings,
    pub(super) metrics: RpcMetrics,
    /// What this process is, for those who ask.
    pub(super) standing: watch::Sender<Standing>,
    /// Met while this process is active or hears who is.
    pub(super) condition: Condition,
    /// What this process says of itself to whoever is active.
    pub(super) announced: watch::Receiver<MemberState>,
}

impl Election {
    /// Goes from standby to active and back until `stop` is cancelled. Fails when the store has failed, since
    /// what is durable is not known then, or cannot be opened for a reason that does not pass.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut fenced_at = None;
        // After a store that was given away in vain.
        let mut keeps_until = None;
        let mut backoff = OPEN_AGAIN.start();
        loop {
            let turn = stop.run_until_cancelled(self.turn(fenced_at));
            if turn.await.is_none() {
                return Ok(());
            }
            self.show_opening();
            let opened = match stop.run_until_cancelled(Box::pin(self.opener.open())).await {
                None => return Ok(()),
                Some(Ok(opened)) => opened,
                Some(Err(OpenFailure::Fenced(_))) => {
                    tracing::info!("another metadata process was faster to open the store");
                    fenced_at = Some(self.env.clock.now());
                    self.stand_by(None, "another process was faster to open the store");
                    continue;
                }
                Some(Err(OpenFailure::MayPass(error))) => {
                    let resting = self.rest(&error, &mut backoff);
                    if stop.run_until_cancelled(resting).await.is_none() {
                        return Ok(());
                    }
                    continue;
                }
                Some(Err(OpenFailure::Lasts(error))) => return Err(error),
            };
            backoff = OPEN_AGAIN.start();
            let reason = match self.be_active(&opened, &stop, keeps_until).await {
                Past::Ends => {
                    self.hand_over(&opened, "the process is about to end").await;
                    return Ok(());
                }
                Past::Drains => {
                    self.drain_is_announced().await;
                    self.hand_over(&opened, "the process drains").await;
                    drop(opened);
                    self.opener.forget();
                    let given = self.given_away();
                    let Some(rest) = stop.run_until_cancelled(given).await else {
                        return Ok(());
                    };
                    keeps_until = rest;
                    continue;
                }
                Past::Lost(reason) => reason,
            };
            if !matches!(reason, CloseReason::Fenced) {
                let error = store_error(&reason);
                if !self.opener.may_open_again() {
                    return Err(error);
                }
                drop(opened);
                let resting = self.rest(&error, &mut backoff);
                if stop.run_until_cancelled(resting).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            tracing::warn!("another metadata process has taken over; this one stands by");
            fenced_at = Some(self.env.clock.now());
            self.stand_by(None, "another process has taken over");
            drop(opened);
            self.opener.forget();
        }
    }

    /// Stands by for a while after the store could not be opened, and says why.
    async fn rest(&self, error: &CliError, backoff: &mut Backoff) {
        let why = error_chain(error);
        let wait = backoff.next_wait(self.env.rng.as_ref());
        let wait = wait.unwrap_or(OPEN_AGAIN.max);
        tracing::warn!(error = why, again_in = ?wait, "the metadata store cannot be opened");
        self.opener.forget();
        self.stand_by(None, &format!("the metadata store cannot be opened: {why}"));
        self.env.clock.sleep(wait).await;
    }

    /// Serves until the store is lost, it is time to end, or another process can do it for one that drains.
    async fn be_active(
        &self,
        opened: &OpenedMetadata,
        stop: &CancellationToken,
        keeps_until: Option<MonoTime>,
    ) -> Past {
        tracing::info!("this metadata process is active");
        self.standing.send_replace(Standing::Active(opened.parts()));
        self.condition.met();
        tokio::select! {
            biased;
            reason = opened.store.closed() => Past::Lost(reason),
            () = stop.cancelled() => Past::Ends,
            () = self.must_give_away(opened.service.watch(), keeps_until) => Past::Drains,
            () = self.mind_pauses(opened) => Past::Ends,
        }
    }

    /// Asks the store after each time in which the process did not run whether it is still its writer. Never
    /// ends: a store that is lost closes.
    async fn mind_pauses(&self, opened: &OpenedMetadata) {
        loop {
            let before = self.env.clock.now();
            self.env.clock.sleep(PAUSE_NOTICED / 2).await;
            let slept = self.env.clock.now() - before;
            if slept >= PAUSE_NOTICED {
                tracing::info!(
                    ?slept,
                    "the process did not run; asking the store who is its writer"
                );
                if let Err(error) = opened.store.confirm().await {
                    tracing::warn!(%error, "the store does not confirm this process");
                }
            }
        }
    }

    pub(super) fn stand_by(&self, active: Option<String>, reason: &str) {
        match &active {
            Some(_) => self.condition.met(),
            None => self.condition.unmet(reason),
        }
        self.standing.send_replace(Standing::Standby {
            active,
            reason: reason.to_owned(),
        });
    }

    /// Names this process as the one that will be active, so that no other one opens the store meanwhile: it
    /// would fence this one, and be fenced by it in turn for as long as both take longer than they wait.
    fn show_opening(&self) {
        let reason = "opening the store";
        self.condition.unmet(reason);
        self.standing.send_replace(Standing::Standby {
            active: Some(self.own.clone()),
            reason: reason.to_owned(),
        });
    }

    /// Ends when it is this process's turn to open the store.
    async fn turn(&self, mut fenced_at: Option<MonoTime>) {
        let mut has_waited = false;
        let mut opening_since = None;
        let mut patience = PATIENCE;
        loop {
            let look = self.look(patience).await;
            if !matches!(look, Look::Opening(_)) {
                opening_since = None;
            }
            match look {
                Look::Active(address, watch) => {
                    // They hear each other, so its silence will mean what it says.
                    fenced_at = None;
                    self.follow(address, *watch).await;
                    patience = PATIENCE_SILENT;
                    // Nobody else may think the same at this moment if there were only the two of them.
                    has_waited = self.peers.len() == 1;
                    continue;
                }
                Look::Opening(address) if self.may_open(&mut opening_since) => {
                    has_waited = false;
                    self.stand_by(None, "another process opens the store");
                    tracing::debug!(address, "another metadata process opens the store");
                    self.env.clock.sleep(LOOK_AGAIN).await;
                    continue;
                }
                Look::Unclear if self.must_rest(fenced_at) => {
                    self.env.clock.sleep(LOOK_AGAIN).await;
                    continue;
                }
                Look::Opening(_) | Look::Nobody | Look::Unclear => {}
            }
            if has_waited || self.peers.is_empty() {
                return;
            }
            // Others may think the same at this moment.
            has_waited = true;
            self.random_wait().await;
        }
    }

    pub(super) async fn look(&self, patience: Duration) -> Look {
        look(
            &self.env,
            &self.peers,
            &self.client,
            &self.metrics,
            patience,
        )
        .await
    }

    async fn random_wait(&self) {
        let most = u64::try_from(RANDOM_WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(self.env.rng.below(most));
        self.env.clock.sleep(wait).await;
    }

    fn must_rest(&self, fenced_at: Option<MonoTime>) -> bool {
        fenced_at.is_some_and(|at| self.env.clock.now() - at < FENCED_REST)
    }

    /// Whether one that opens the store has time left for that.
    fn may_open(&self, since: &mut Option<MonoTime>) -> bool {
        let now = self.env.clock.now();
        now - *since.get_or_insert(now) < OPENING_MAX
    }

    /// Stands by until the active process is silent.
    async fn follow(&self, address: String, mut watch: PeerWatch) {
        tracing::info!(active = address, "standing by");
        self.stand_by(Some(address.clone()), "another process is active");
        while watch.next().await.is_some() {}
        tracing::warn!(active = address, "the active metadata process is silent");
        self.stand_by(None, "the active process is silent");
    }
}

/// Asks all peers who is active, each for so long.
async fn look(
    env: &Env,
    peers: &[String],
    client: &ClientSettings,
    metrics: &RpcMetrics,
    patience: Duration,
) -> Look {
    let mut to_ask: Vec<String> = peers.to_vec();
    let mut asked: Vec<String> = Vec::new();
    let mut opening = None;
    let mut is_clear = true;
    while let Some(address) = to_ask.pop() {
        if asked.contains(&address) {
            continue;
        }
        let asking = PeerWatch::open(env, &address, client, metrics);
        let opened = timeout(env.clock.as_ref(), patience, asking).await;
        let opened = opened.unwrap_or_else(|elapsed| {
            let reason = format!("it has said nothing for `{:?}`", elapsed.0);
            Err(Probe::Silent { reason })
        });
        match opened {
            Ok(watch) => return Look::Active(address, Box::new(watch)),
            // Whoever names itself and is not active yet is about to be.
            Err(Probe::Standby { active }) if active.as_ref() == Some(&address) => {
                opening = Some(address.clone());
            }
            Err(Probe::Standby { active }) => to_ask.extend(active),
            Err(Probe::Refused) => {}
            Err(probe) => {
                tracing::info!(peer = address, %probe, "a metadata process does not answer");
                is_clear = false;
            }
        }
        asked.push(address);
    }
    match opening {
        Some(address) => Look::Opening(address),
        None if is_clear => Look::Nobody,
        None => Look::Unclear,
    }
}

/// Runs the election as a task; what it ends with comes through the receiver.
pub(super) fn start(
    election: Election,
    stop: CancellationToken,
) -> tokio::sync::oneshot::Receiver<Result<()>> {
    let (ended, receiver) = tokio::sync::oneshot::channel();
    let supervisor = election.env.supervisor.clone();
    drop(supervisor.spawn("election", async move {
        // Whoever waited for it may be gone.
        let _ = ended.send(Box::pin(election.run(stop)).await);
    }));
    receiver
}

/// What a process hears whose election has ended without a word.
pub(super) fn lost() -> CliError {
    CliError::other(
        Exit::FailStop,
        "the election of metadata processes ended without a word",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::registry::Registry;
    use tidelog_metadata_rpc::{AllowPeers, ServerParts, ServerSettings};
    use tokio::net::TcpListener;

    use super::*;

    /// Looks at a process that stands by and says that `active` is active; `None` for itself.
    async fn looked_at(active: Option<&str>) -> (Look, String) {
        let (env, metrics) = (Env::system(), RpcMetrics::new(&mut Registry::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let standing = watch::Sender::new(Standing::Standby {
            active: active.map_or(Some(address.clone()), |named| {
                (!named.is_empty()).then(|| named.to_owned())
            }),
            reason: String::new(),
        });
        let parts = ServerParts {
            env: env.clone(),
            standing: standing.subscribe(),
            authorizer: Arc::new(AllowPeers),
            settings: ServerSettings::default(),
            tls: None,
            metrics: metrics.clone(),
            beside: tonic::service::Routes::default(),
        };
        let serving = tidelog_metadata_rpc::serve(parts, listener, env.supervisor.token());
        drop(env.supervisor.spawn("peers", serving));
        let peers = [address.clone()];
        let look = look(&env, &peers, &ClientSettings::default(), &metrics, PATIENCE).await;
        env.supervisor.token().cancel();
        (look, address)
    }

    #[tokio::test]
    async fn one_that_opens_the_store_is_told_from_one_that_only_stands_by() {
        let (look, address) = looked_at(None).await;
        assert!(matches!(look, Look::Opening(named) if named == address));
        let (look, _) = looked_at(Some("")).await;
        assert!(matches!(look, Look::Nobody));
    }
}
