//! A member of a group, and what it holds.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_env::MonoTime;

use super::Topics;
use super::classic::ClassicPart;
use crate::assign::{Assignor, Partitions};

/// How far a member is on its way to what it is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It has what it was to have in its epoch.
    #[default]
    Stable,
    /// It has been told to let go of partitions and has not said yet that it has.
    Unrevoked,
    /// It waits for partitions that others have not let go of.
    Unreleased,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    /// How long it may take to let go.
    pub(super) rebalance: Duration,
    pub(super) topics: BTreeSet<String>,
    pub(super) pattern: Option<String>,
    pub(super) assignor: Option<Assignor>,
    pub(super) epoch: i32,
    /// The epoch before: it may not have heard yet of the one that it has now.
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    /// What it may read.
    pub(super) assigned: Partitions,
    /// What it has to let go of.
    pub(super) revoking: Partitions,
    /// A static member that has left and may come back.
    pub(super) is_away: bool,
    pub(super) session_until: MonoTime,
    pub(super) release_until: Option<MonoTime>,
    /// What it has if it speaks the classic protocol.
    pub(super) classic: Option<ClassicPart>,
}

impl Member {
    /// The topics that it wants, by name.
    pub(super) fn wants(&self, topics: &dyn Topics) -> Vec<String> {
        let mut names: Vec<String> = self.topics.iter().cloned().collect();
        if let Some(pattern) = &self.pattern {
            names.extend(topics.matching(pattern));
        }
        names
    }

    /// After how long without a word it is taken for dead, if it does not say so itself.
    pub(super) fn session(&self, session: Duration) -> Duration {
        self.classic.as_ref().map_or(session, |part| part.session)
    }

    /// Whether it has come as far as another one, and has the same.
    pub(super) fn stands_as(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.previous_epoch == other.previous_epoch
            && self.state == other.state
            && self.assigned == other.assigned
            && self.revoking == other.revoking
    }
}
