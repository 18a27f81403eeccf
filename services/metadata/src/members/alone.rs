//! Members of a cluster whose store one process has to itself: they are known in memory, for as long as
//! they are connected. Nothing is written, so that an idle cluster makes no request (invariant I8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::Env;
use tidelog_env::clock::{MonoTime, timeout};
use tidelog_metadata_api::{ClusterError, ClusterView, Member, MemberState, Membership};
use tidelog_types::MemberId;
use tokio::sync::watch;

use super::check;
use super::sweep::Roster;
use super::writers::Writers;

/// The members of this process's cluster.
#[derive(Debug)]
pub(crate) struct AloneMembers {
    env: Env,
    me: MemberId,
    grace: Duration,
    /// From then on whoever is not listed is not there: before, members of an earlier active process may not
    /// have come over yet.
    complete_at: MonoTime,
    writers: Writers,
    listed: Mutex<Listed>,
    view: watch::Sender<Arc<ClusterView>>,
    roster: watch::Sender<Arc<Roster>>,
}

#[derive(Debug)]
struct Listed {
    members: BTreeMap<MemberId, (Member, u64)>,
    /// Counts joins, so that an earlier end is not taken for a later one's.
    sessions: u64,
}

impl AloneMembers {
    /// Begins with this process alone. The view has its shards already.
    pub(crate) fn new(
        env: Env,
        member: Member,
        grace: Duration,
        writers: Writers,
        view: ClusterView,
    ) -> Arc<Self> {
        let me = member.id;
        let complete_at = env.clock.now() + grace;
        let members = Arc::new(Self {
            env,
            me,
            grace,
            complete_at,
            writers,
            listed: Mutex::new(Listed {
                members: BTreeMap::from([(me, (member, 0))]),
                sessions: 0,
            }),
            view: watch::Sender::new(Arc::new(view)),
            roster: watch::Sender::default(),
        });
        members.show();
        members
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.subscribe()
    }

    pub(crate) fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// A writer has registered, which no member may ever become.
    pub(crate) fn note_writer(&self) {
        self.roster
            .send_modify(|roster| Arc::make_mut(roster).registered += 1);
    }

    pub(crate) fn join(self: &Arc<Self>, mut member: Member) -> Result<Membership, ClusterError> {
        check(&member)?;
        let id = member.id;
        let session = {
            let mut listed = self.listed.lock();
            if let Some((before, _)) = listed.members.get(&id) {
                member.state = before.state;
                member.joined_at = before.joined_at;
            } else {
                member.joined_at = self.env.clock.wall();
            }
            listed.sessions += 1;
            let session = listed.sessions;
            tracing::info!(member = %id, name = member.name, roles = %member.roles, "member joined");
            listed.members.insert(id, (member, session));
            session
        };
        self.show();
        let (membership, ended) = Membership::new();
        let kept = Arc::clone(self).keep(id, session, ended);
        drop(self.env.supervisor.spawn("member", kept));
        Ok(membership)
    }

    /// Waits for the end of a membership and draws the consequences.
    async fn keep(
        self: Arc<Self>,
        id: MemberId,
        session: u64,
        ended: tokio::sync::oneshot::Receiver<()>,
    ) {
        let drained = self.env.supervisor.token();
        let has_left = tokio::select! {
            ended = ended => ended.is_ok(),
            () = drained.cancelled() => return,
        };
        if !has_left {
            tracing::info!(member = %id, grace = ?self.grace, "member was lost");
            tokio::select! {
                () = self.env.clock.sleep(self.grace) => {}
                () = drained.cancelled() => return,
            }
        }
        let Some(member) = self.remove(id, session) else {
            return;
        };
        tracing::info!(member = %id, name = member.name, has_left, "member has gone");
        self.show();
        for incarnation in member.writers().filter(|_| has_left) {
            // What is not written when the store closes is found by whoever opens it next.
            drained
                .run_until_cancelled(self.writers.end_patiently(incarnation))
                .await;
        }
    }

    /// Takes a member off the list, unless it has joined again. This process stays on it, though it may
    /// write no more.
    fn remove(&self, id: MemberId, session: u64) -> Option<Member> {
        let mut listed = self.listed.lock();
        let (member, now) = listed.members.get_mut(&id)?;
        if *now != session {
            return None;
        }
        let gone = member.clone();
        if id == self.me {
            drop(member.take_writers());
        } else {
            listed.members.remove(&id);
        }
        Some(gone)
    }

    /// Marks a member, which may be on its way here.
    pub(crate) async fn set_draining(
        &self,
        id: MemberId,
        draining: bool,
    ) -> Result<(), ClusterError> {
        let mut views = self.view.subscribe();
        let comes = views.wait_for(|view| view.member(id).is_some());
        let clock = self.env.clock.as_ref();
        let patience = self.complete_at.saturating_since(clock.now());
        // Whether it came or not, the list says it.
        drop(timeout(clock, patience, comes).await);
        {
            let mut listed = self.listed.lock();
            let listed = listed.members.get_mut(&id);
            let (member, _) = listed.ok_or(ClusterError::UnknownMember(id))?;
            member.state = if draining {
                MemberState::Draining
            } else {
                MemberState::Active
            };
        }
        self.show();
        Ok(())
    }

    /// Shows the list as it is.
    fn show(&self) {
        // The lock is held, so that a later list is not overtaken by this one.
        let listed = self.listed.lock();
        let members: Vec<_> = listed
            .members
            .values()
            .map(|(member, _)| member.clone())
            .collect();
        let writers: BTreeSet<_> = members.iter().flat_map(Member::writers).collect();
        self.view.send_if_modified(|view| {
            let changes = view.members != members;
            if changes {
                Arc::make_mut(view).members = members;
            }
            changes
        });
        self.roster.send_if_modified(|roster| {
            let changes = roster.writers != writers;
            if changes {
                Arc::make_mut(roster).writers = writers;
            }
            changes
        });
        drop(listed);
    }
}
