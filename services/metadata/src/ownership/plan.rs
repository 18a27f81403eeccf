//! What a process does about its shards after a look: a pure function of what it saw.

use tidelog_metadata_api::MemberState;
use tidelog_types::{MemberId, Role, ShardId};

use super::balance::balance;
use super::look::{LeaseSeen, Observed};

/// What this process has of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// Nothing.
    Nothing,
    /// It is on its way, in or out.
    Moving,
    /// The shard, under this epoch.
    Owned(u64),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Shards to take from nobody, from the dead or from an earlier run, if their leases are still these.
    pub(crate) take: Vec<(ShardId, LeaseSeen)>,
    /// Shards to give back, since others shall have them.
    pub(crate) release: Vec<ShardId>,
    /// Shards whose leases still name this process, which has them no more and shall not have them.
    pub(crate) clear: Vec<(ShardId, LeaseSeen)>,
    /// Shards that others have taken already.
    pub(crate) lost: Vec<ShardId>,
    /// Whether every shard is where it shall be. If not, it pays to look again soon.
    pub(crate) is_settled: bool,
    /// Whether another process shall have shards of ours that nobody has yet.
    pub(crate) has_heirs: bool,
}

/// Who this process is, and whether it is about to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    pub(crate) id: MemberId,
    pub(crate) is_leaving: bool,
}

/// Makes the plan. `lives` says of a metadata process whether it lives, `here` what this one has.
pub(crate) fn plan(
    me: Me,
    observed: &Observed,
    lives: impl Fn(MemberId) -> bool,
    here: impl Fn(ShardId) -> Here,
) -> Plan {
    let is_alive = |id| (id == me.id) || lives(id);
    let present: Vec<_> = observed.leases.iter().map(|lease| lease.owner).collect();
    let wanted = balance(&candidates(me, observed, is_alive), &present);
    let mut plan = Plan {
        is_settled: wanted == present,
        ..Plan::default()
    };
    for ((shard, lease), wanted) in observed.leases().zip(wanted) {
        let is_free = lease
            .owner
            .is_none_or(|owner| owner == me.id || !is_alive(owner));
        let is_wanted = wanted == Some(me.id);
        match here(shard) {
            Here::Owned(epoch) if lease.epoch > epoch => plan.lost.push(shard),
            Here::Owned(_) if me.is_leaving || (wanted.is_some() && !is_wanted) => {
                plan.release.push(shard);
            }
            Here::Nothing if is_wanted && is_free && !me.is_leaving => {
                plan.take.push((shard, lease));
            }
            Here::Nothing if !is_wanted && lease.owner == Some(me.id) => {
                plan.clear.push((shard, lease));
            }
            Here::Nothing | Here::Moving | Here::Owned(_) => {}
        }
        plan.has_heirs |= lease.owner.is_none() && wanted.is_some() && !is_wanted;
    }
    plan
}

/// Who may own shards: the living metadata processes that take on work. Only who is listed can be seen to
/// live, and so keep what it takes. Where all of them drain, they all
/// go on: somebody has to.
fn candidates(me: Me, observed: &Observed, is_alive: impl Fn(MemberId) -> bool) -> Vec<MemberId> {
    let rows = observed.members.values().filter(|row| row.has_beat());
    let rows = rows.filter(|row| row.member.roles.contains(Role::Metadata));
    let living = rows.filter(|row| is_alive(row.member.id));
    let staying: Vec<_> = living
        .filter(|row| !(me.is_leaving && row.member.id == me.id))
        .collect();
    let ids = |state| {
        let rows = staying.iter().filter(move |row| row.member.state == state);
        rows.map(|row| row.member.id).collect::<Vec<_>>()
    };
    let active = ids(MemberState::Active);
    if active.is_empty() {
        ids(MemberState::Draining)
    } else {
        active
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidelog_env::MonoTime;
    use tidelog_metadata_api::Member;
    use tidelog_types::{RoleSet, Timestamp};

    use super::*;
    use crate::keyspace::MemberRow;
    use crate::ownership::lives::ReadAt;

    fn id(number: u8) -> MemberId {
        MemberId::from_bytes([number; 16])
    }

    const ME: Me = Me {
        id: MemberId::from_bytes([1; 16]),
        is_leaving: false,
    };

    fn row(number: u8, state: MemberState) -> (MemberId, MemberRow) {
        let member = Member {
            id: id(number),
            name: String::new(),
            roles: RoleSet::default().with(Role::Metadata),
            zone: String::new(),
            version: String::new(),
            internal_address: String::new(),
            grpc_address: String::new(),
            kafka_addresses: Vec::new(),
            incarnation: None,
            merger: None,
            state,
            joined_at: Timestamp::default(),
        };
        let row = MemberRow {
            member,
            via: id(number),
            session: 1,
            beat: 1,
        };
        (id(number), row)
    }

    /// A cluster of active members with the owners of its shards, 0 for none, all at epoch 3.
    fn observed(members: &[u8], owners: &[u8]) -> Observed {
        let at = ReadAt {
            begun: MonoTime::START,
            ended: MonoTime::START,
        };
        let lease = |owner: &u8| LeaseSeen {
            owner: Some(*owner).filter(|owner| *owner > 0).map(id),
            epoch: 3,
        };
        let members = members
            .iter()
            .map(|number| row(*number, MemberState::Active));
        Observed {
            at,
            members: members.collect(),
            leases: owners.iter().map(lease).collect(),
        }
    }

    fn shards(numbers: &[u32]) -> Vec<ShardId> {
        numbers.iter().copied().map(ShardId::new).collect()
    }

    fn taken(plan: &Plan) -> Vec<ShardId> {
        plan.take.iter().map(|(shard, _)| *shard).collect()
    }

    fn owns(numbers: &[u32]) -> impl Fn(ShardId) -> Here {
        move |shard| {
            if numbers.contains(&shard.get()) {
                Here::Owned(3)
            } else {
                Here::Nothing
            }
        }
    }

    #[test]
    fn free_shards_and_those_of_the_dead_and_of_an_earlier_run_are_taken() {
        let seen = observed(&[1, 2], &[0, 2, 1, 9]);
        let plan = plan(ME, &seen, |_| false, owns(&[]));
        assert_eq!(taken(&plan), shards(&[0, 1, 2, 3]));
        assert!(!plan.is_settled);
        assert_eq!(plan.release, []);
    }

    #[test]
    fn nothing_is_taken_from_the_living() {
        let seen = observed(&[1, 2], &[2, 2, 2, 2]);
        let plan = plan(ME, &seen, |_| true, owns(&[]));
        assert_eq!(taken(&plan), []);
        assert!(!plan.is_settled, "it waits for two of them");
        assert!(!plan.has_heirs);
    }

    #[test]
    fn who_is_not_listed_yet_takes_nothing() {
        let seen = observed(&[2], &[0, 0]);
        let plan = plan(ME, &seen, |_| false, owns(&[]));
        assert_eq!(plan.take, []);
    }

    #[test]
    fn shards_that_another_shall_have_are_released() {
        let seen = observed(&[1, 2], &[1, 1, 1, 1]);
        let plan = plan(ME, &seen, |_| true, owns(&[0, 1, 2, 3]));
        assert_eq!(plan.release.len(), 2);
        assert_eq!(plan.take, []);
    }

    #[test]
    fn a_lease_that_was_left_behind_is_given_up_for_whom_shall_have_the_shard() {
        let mut seen = observed(&[1, 2], &[1, 1]);
        seen.members.extend([row(1, MemberState::Draining)]);
        let plan = plan(ME, &seen, |_| true, owns(&[0]));
        assert_eq!(plan.release, shards(&[0]));
        assert_eq!(plan.clear, [(ShardId::new(1), seen.leases[1])]);
    }

    #[test]
    fn what_moves_is_left_alone() {
        let seen = observed(&[1, 2], &[1, 1, 0, 0]);
        let plan = plan(ME, &seen, |_| true, |_| Here::Moving);
        let idle = Plan {
            has_heirs: true,
            ..Plan::default()
        };
        assert_eq!(plan, idle);
    }

    #[test]
    fn a_shard_that_another_has_taken_is_lost_and_one_just_taken_is_not() {
        let seen = observed(&[1, 2], &[2, 1]);
        let here = |shard: ShardId| Here::Owned(if shard.get() == 0 { 2 } else { 4 });
        let plan = plan(ME, &seen, |_| true, here);
        assert_eq!(plan.lost, shards(&[0]));
        assert_eq!(plan.release, []);
    }

    #[test]
    fn a_draining_process_keeps_its_shards_only_while_nobody_else_is_there() {
        let mut seen = observed(&[1], &[1, 1]);
        seen.members = BTreeMap::from([row(1, MemberState::Draining)]);
        let alone = plan(ME, &seen, |_| true, owns(&[0, 1]));
        assert_eq!(alone.release, []);
        assert!(alone.is_settled);
        seen.members.extend([row(2, MemberState::Active)]);
        let relieved = plan(ME, &seen, |_| true, owns(&[0, 1]));
        assert_eq!(relieved.release, shards(&[0, 1]));
        let unheard = plan(ME, &seen, |_| false, owns(&[0, 1]));
        assert_eq!(unheard.release, []);
    }

    #[test]
    fn a_process_that_goes_releases_everything_whoever_is_there() {
        let me = Me {
            is_leaving: true,
            ..ME
        };
        let alone = plan(me, &observed(&[1], &[1, 0]), |_| true, owns(&[0]));
        assert_eq!((alone.release, alone.take), (shards(&[0]), Vec::new()));
        assert!(!alone.has_heirs);
        let other = plan(me, &observed(&[1, 2], &[1, 0]), |_| true, owns(&[0]));
        assert!(other.has_heirs);
        let done = plan(me, &observed(&[1, 2], &[2, 2]), |_| true, owns(&[]));
        assert!(!done.has_heirs);
        assert!(done.is_settled);
    }
}
