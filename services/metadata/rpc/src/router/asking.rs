//! Asks all processes at once for a view, so that one that hangs keeps nobody waiting.

use std::collections::BTreeSet;
use std::future::Future;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tidelog_env::{Backoff, BackoffPolicy, Env};

use super::LocalMember;
use crate::client::{PeerWatch, Probe};
use crate::metrics::RpcMetrics;
use crate::settings::ClientSettings;

/// The waits before a process is asked again.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    std::time::Duration::from_millis(50),
    std::time::Duration::from_millis(500),
    u32::MAX,
);
/// Addresses to ask at most: those that standbys name may lead in circles.
pub(super) const ADDRESSES_MAX: usize = 64;

/// A view from somewhere else, and the address that it comes from.
pub(super) struct Watched {
    pub(super) address: String,
    pub(super) watch: PeerWatch,
}

/// With what processes are asked.
pub(super) struct Asking<'a> {
    pub(super) env: &'a Env,
    pub(super) settings: &'a ClientSettings,
    pub(super) metrics: &'a RpcMetrics,
    /// This process, which does not ask itself.
    pub(super) local: Option<&'a LocalMember>,
}

/// What one process has answered, and how patiently it is asked again.
struct Answered {
    address: String,
    backoff: Backoff,
    answer: Result<PeerWatch, Probe>,
}

impl Asking<'_> {
    /// Asks each address, and those that the answers name, again and again until one has a view. Ends only
    /// with one. Cancel-safe.
    ///
    /// Each is asked at its own pace: one that hangs takes seconds to be given up, and who takes its place
    /// meanwhile is found as soon as that one says so.
    pub(super) async fn until_told(
        &self,
        addresses: impl IntoIterator<Item = String>,
        mut on_probe: impl FnMut(&str, &Probe),
    ) -> Watched {
        let mut known = BTreeSet::new();
        let mut asked = FuturesUnordered::new();
        for address in addresses {
            if self.is_new(&mut known, &address) {
                asked.push(self.ask(address, RETRY.start(), false));
            }
        }
        while let Some(answered) = asked.next().await {
            let Answered {
                address,
                backoff,
                answer,
            } = answered;
            let probe = match answer {
                Ok(watch) => return Watched { address, watch },
                Err(probe) => probe,
            };
            on_probe(&address, &probe);
            if let Probe::Standby {
                active: Some(active),
            } = probe
                && self.is_new(&mut known, &active)
            {
                asked.push(self.ask(active, RETRY.start(), false));
            }
            asked.push(self.ask(address, backoff, true));
        }
        // There is nobody to ask.
        std::future::pending().await
    }

    fn is_new(&self, known: &mut BTreeSet<String>, address: &str) -> bool {
        let is_local = self.local.is_some_and(|local| local.is_at(address));
        !is_local && known.len() < ADDRESSES_MAX && known.insert(address.to_owned())
    }

    fn ask(
        &self,
        address: String,
        mut backoff: Backoff,
        waits: bool,
    ) -> impl Future<Output = Answered> + use<'_> {
        async move {
            if waits {
                let wait = backoff.next_wait(self.env.rng.as_ref());
                self.env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
            }
            let answer = PeerWatch::open(self.env, &address, self.settings, self.metrics).await;
            Answered {
                address,
                backoff,
                answer,
            }
        }
    }
}
