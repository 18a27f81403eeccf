//! Whether the store that metadata processes share answers this one, as it is shown to everybody.

use tidelog_env::CancellationToken;
use tidelog_metadata_rpc::{Parts, Standing};
use tidelog_runtime::Condition;
use tokio::sync::watch;

/// What other members and whoever asks for the health are told while it does not.
const LOST: &str = "the metadata store has not answered this process for `cluster.lease`: if others are in \
                    touch with it they take its shards; it takes part again once the store answers";

/// What follows from it.
pub(super) struct Shown {
    /// The service of this process.
    pub(super) parts: Parts,
    /// What other members are told: to ask elsewhere.
    pub(super) standing: watch::Sender<Standing>,
    /// Met while the store answers.
    pub(super) condition: Condition,
}

impl Shown {
    /// Shows every change until `stop`.
    pub(super) async fn follow(self, mut in_touch: watch::Receiver<bool>, stop: CancellationToken) {
        let mut was_in_touch = true;
        self.condition.met();
        let following = async {
            loop {
                let is_in_touch = *in_touch.borrow_and_update();
                if is_in_touch != was_in_touch {
                    was_in_touch = is_in_touch;
                    self.show(is_in_touch);
                }
                if in_touch.changed().await.is_err() {
                    return;
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    fn show(&self, is_in_touch: bool) {
        if is_in_touch {
            self.condition.met();
            let parts = self.parts.clone();
            self.standing.send_replace(Standing::Active(parts));
        } else {
            self.condition.unmet(LOST);
            let reason = LOST.to_owned();
            let active = None;
            self.standing
                .send_replace(Standing::Standby { active, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::registry::Registry;
    use tidelog_env::Env;
    use tidelog_metadata::{
        ClassBuckets, GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics,
        SequencerSettings, TransactionSettings,
    };
    use tidelog_runtime::Health;
    use tidelog_store::memory::MemoryStore;
    use tidelog_types::ClusterId;

    use super::*;

    async fn parts() -> Parts {
        let service = MetadataService::open(OpenOptions {
            env: Env::seeded(1),
            store: Arc::new(MemoryStore::new()),
            cluster: ClusterId::from_bytes([9; 16]),
            shards: 1,
            classes: ClassBuckets::default(),
            sequencer: SequencerSettings::default(),
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            reach: Reach::default(),
            metrics: SequencerMetrics::new(&mut Registry::default()),
        });
        Parts::of(Arc::new(service.await.unwrap()))
    }

    #[tokio::test]
    async fn members_and_the_health_are_told_while_the_store_does_not_answer() {
        let (health, env) = (Health::new(), Env::system());
        let parts = parts().await;
        let standing = watch::Sender::new(Standing::Active(parts.clone()));
        let mut told = standing.subscribe();
        let in_touch = watch::Sender::new(true);
        let condition = health.condition("metadata");
        let shown = Shown {
            parts,
            standing,
            condition,
        };
        let following = shown.follow(in_touch.subscribe(), env.supervisor.token());
        let task = env.supervisor.spawn("touch", following);
        in_touch.send_replace(false);
        told.changed().await.unwrap();
        let is_away = |standing: &Standing| match standing {
            Standing::Standby {
                active: None,
                reason,
            } => reason == LOST,
            _ => false,
        };
        assert!(is_away(&told.borrow_and_update()));
        assert_eq!(health.unmet()["metadata"], LOST);
        in_touch.send_replace(true);
        told.changed().await.unwrap();
        assert!(matches!(&*told.borrow_and_update(), Standing::Active(_)));
        assert!(health.unmet().is_empty());
        env.supervisor.token().cancel();
        task.await.unwrap();
    }
}
