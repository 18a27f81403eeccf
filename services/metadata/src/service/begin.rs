//! How a service comes by its shards and finds its members.

use std::sync::Arc;

use tidelog_metadata_api::{ClusterView, Member, MemberState, ShardOwner};
use tidelog_types::{MemberId, Role, RoleSet, ShardId, Timestamp};
use tokio::task::JoinHandle;

use super::cluster::Members;
use crate::OpenError;
use crate::keyspace::ClusterRow;
use crate::members::{AloneMembers, SharedMembers, SharedParts, Sweep, Writers};
use crate::ownership::{ClusterOptions, ClusterSettings, Keeper, Looker, Ownership, Shards, Touch};
use crate::sequencer::{Claim, End, Sequencer, SequencerParts};

/// What there is before the first shard.
pub(super) struct Begun {
    cluster: ClusterRow,
    parts: SequencerParts,
    shards: Arc<Shards>,
    touch: Touch,
}

/// A process that nobody has described.
pub(super) fn nameless(id: MemberId) -> ClusterOptions {
    ClusterOptions {
        member: Member {
            id,
            name: String::new(),
            roles: RoleSet::default().with(Role::Metadata),
            zone: String::new(),
            version: String::new(),
            internal_address: String::new(),
            grpc_address: String::new(),
            kafka_addresses: Vec::new(),
            incarnation: None,
            merger: None,
            state: MemberState::Active,
            joined_at: Timestamp::default(),
        },
        ownership: Ownership::Alone,
        settings: ClusterSettings::default(),
        probe: None,
    }
}

impl Begun {
    pub(super) fn of(
        cluster: ClusterRow,
        parts: SequencerParts,
        shards: &Arc<Shards>,
        touch: &Touch,
    ) -> Self {
        Self {
            cluster,
            parts,
            shards: Arc::clone(shards),
            touch: touch.clone(),
        }
    }

    /// Takes all shards now, or begins to share them.
    pub(super) async fn begin(self, options: ClusterOptions) -> Result<Members, OpenError> {
        match options.ownership {
            Ownership::Alone => self.alone(options).await,
            Ownership::Shared => Ok(self.shared(options)),
        }
    }

    fn empty_view(&self) -> ClusterView {
        ClusterView::empty(self.cluster.id, self.cluster.generation)
    }

    fn writers(&self) -> Writers {
        Writers {
            env: self.parts.env.clone(),
            store: Arc::clone(&self.parts.store),
            keys: self.parts.keys,
            generation: self.parts.generation.clone(),
            deletions: self.parts.deletions.clone(),
        }
    }

    async fn alone(self, options: ClusterOptions) -> Result<Members, OpenError> {
        let ClusterOptions {
            mut member,
            settings,
            ..
        } = options;
        let mut view = self.empty_view();
        for shard in (0..self.cluster.shards).map(ShardId::new) {
            let (sequencer, task) = Sequencer::start(self.parts.clone(), shard, Claim::Any)
                .await
                .map_err(OpenError::sequencer)?;
            self.forget_at_end(shard, task);
            view.shards.push(ShardOwner {
                shard,
                owner: Some(member.id),
                epoch: sequencer.epoch(),
            });
            self.shards.insert(shard, sequencer);
        }
        let env = &self.parts.env;
        member.joined_at = env.clock.wall();
        let (writers, grace) = (self.writers(), settings.member_grace);
        let members = AloneMembers::new(env.clone(), member, grace, writers.clone(), view);
        if !self.parts.settings.is_only_process {
            let sweep = Sweep::Alone.run(writers, settings, members.roster());
            drop(env.supervisor.spawn("member sweep", sweep));
        }
        Ok(Members::Alone(members))
    }

    /// Takes back what was reported of a shard when its sequencer ends, which comes with the end of the store:
    /// this process may stand by then, and open the store again later.
    fn forget_at_end(&self, shard: ShardId, task: JoinHandle<Option<End>>) {
        let metrics = self.parts.metrics.clone();
        metrics.shards_owned.inc();
        let supervisor = &self.parts.env.supervisor;
        drop(supervisor.spawn("end of a shard", async move {
            // However it ended, it is gone.
            let _ = task.await;
            metrics.forget(shard);
            metrics.shards_owned.dec();
        }));
    }

    fn shared(self, options: ClusterOptions) -> Members {
        let ClusterOptions {
            member,
            settings,
            probe,
            ..
        } = options;
        let (env, keys) = (self.parts.env.clone(), self.parts.keys);
        let store = || Arc::clone(&self.parts.store);
        let members = SharedMembers::new(
            SharedParts {
                env: env.clone(),
                store: store(),
                keys,
                generation: self.parts.generation.clone(),
                settings,
            },
            member,
            self.writers(),
            self.empty_view(),
        );
        let looker = Looker {
            env: env.clone(),
            store: store(),
            keys,
            generation: self.parts.generation.clone(),
            shards: self.cluster.shards,
        };
        let sweep = Sweep::Shared {
            shards: Arc::clone(&self.shards),
            members: Arc::clone(&members),
        };
        let sweep = sweep.run(self.writers(), settings, members.roster());
        drop(env.supervisor.spawn("member sweep", sweep));
        let (shards, kept) = (Arc::clone(&self.shards), Arc::clone(&members));
        let keeper = Keeper::new(
            self.parts, settings, looker, shards, kept, self.touch, probe,
        );
        drop(env.supervisor.spawn("shard keeper", keeper.run()));
        Members::Shared(members)
    }
}

/// How long a partition is taken to be in the shard that it was found in, where other processes change
/// topics too.
pub(super) const SHARD_KNOWN_FOR: std::time::Duration = std::time::Duration::from_secs(5);
