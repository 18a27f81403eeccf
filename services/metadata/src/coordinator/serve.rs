//! What a group does with a request. Nothing here waits: who has to is given a ticket, and what has to be durable
//! first is noted.

use tidelog_env::{Env, MonoTime};
use tidelog_groups::assign::Assignor;
use tidelog_groups::classic::{ClassicGroup, Join, Leaver, Protocol, Sync};
use tidelog_groups::consumer::{Beat, ConsumerGroup, Told};
use tidelog_metadata_api::{
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, EPOCH_JOIN, GroupClient, GroupHeartbeat,
    GroupsError, JoinGroup, JoinedGroup, LeaveGroup, SyncGroup, SyncedGroup,
};
use tidelog_types::Timestamp;
use uuid::Uuid;

use super::ask::{Outcomes, Reply};
use super::errors::of_group;
use super::group::{Group, Waiting, joined, synced_group};
use super::limits;
use super::machine::Machine;
use super::metrics::CoordinatorMetrics;
use super::settings::GroupSettings;
use super::topics::{View, compile};

/// Bytes of a client's name that its members' ids begin with.
const ID_NAME_BYTES_MAX: usize = 100;

/// What a request is served with.
pub(super) struct Moment<'a> {
    pub(super) settings: &'a GroupSettings,
    pub(super) metrics: &'a CoordinatorMetrics,
    pub(super) env: &'a Env,
    pub(super) now: MonoTime,
    pub(super) wall: Timestamp,
}

impl Moment<'_> {
    /// An id that no member has or had, which begins with what people know of it.
    fn new_id(&self, instance: Option<&str>, client: &GroupClient) -> String {
        let name = instance.unwrap_or(&client.id);
        let plain: String = name.chars().filter(|c| !c.is_control()).collect();
        let mut end = plain.len().min(ID_NAME_BYTES_MAX);
        while !plain.is_char_boundary(end) {
            end -= 1;
        }
        let id = Uuid::from_bytes(self.env.rng.bytes_16());
        let id = uuid::Builder::from_random_bytes(id.into_bytes()).into_uuid();
        format!("{}-{id}", &plain[..end])
    }
}

impl Group {
    // ----- members of the classic protocol --------------------------------------------------------

    pub(super) fn join(
        &mut self,
        request: JoinGroup,
        reply: Reply<JoinedGroup>,
        topics: Option<&View<'_>>,
        at: &Moment<'_>,
    ) {
        if let Err(error) = limits::join(&request) {
            self.answer(reply, Err(error));
            return;
        }
        if let Machine::Consumer(group) = &mut self.machine {
            if group.has_members() {
                let answer = topics.ok_or(GroupsError::Loading).and_then(|topics| {
                    let joined = group.join(&join_of(request, at), topics, at.now);
                    joined.map_err(of_group)
                });
                let answer = self.told(answer);
                self.answer(reply, answer.map(joined));
                return;
            }
            // Nobody is there: the group moves to the protocol of whoever comes.
            let after = ClassicGroup::after(at.settings.classic, group.epoch());
            self.machine = Machine::Classic(after);
        }
        self.changes += 1;
        if let Some(reason) = &request.reason {
            tracing::debug!(
                group = self.place.name.as_str(),
                member = request.member_id,
                reason,
                "member joins"
            );
        }
        let join = join_of(request, at);
        let ticket = self.ticket(Waiting::Join(reply));
        if let Machine::Classic(group) = &mut self.machine {
            let effects = group.join(&join, ticket, at.now);
            self.take(effects);
        }
    }

    pub(super) fn sync(
        &mut self,
        request: SyncGroup,
        reply: Reply<SyncedGroup>,
        topics: Option<&View<'_>>,
        at: &Moment<'_>,
    ) {
        if let Err(error) = limits::sync(&request) {
            self.answer(reply, Err(error));
            return;
        }
        let sync = Sync {
            member_id: request.member_id,
            instance: request.instance,
            generation: request.generation,
            protocol_type: request.protocol_type,
            protocol: request.protocol,
            assignments: request.assignments,
        };
        if let Machine::Consumer(group) = &mut self.machine {
            let answer = topics.ok_or(GroupsError::Loading).and_then(|topics| {
                let names = |number| topics.snapshot.name(number);
                let synced = group.sync(&sync, &names, at.now);
                synced.map(synced_group).map_err(of_group)
            });
            self.answer(reply, answer);
            return;
        }
        let ticket = self.ticket(Waiting::Sync(reply));
        if let Machine::Classic(group) = &mut self.machine {
            let effects = group.sync(sync, ticket, at.now);
            self.take(effects);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        request: &GroupHeartbeat,
        reply: Reply<()>,
        at: &Moment<'_>,
    ) {
        let answer = match &mut self.machine {
            Machine::Classic(group) => group
                .heartbeat(
                    &request.member_id,
                    request.instance.as_deref(),
                    request.generation,
                    at.now,
                )
                .map_err(of_group),
            Machine::Consumer(group) => group
                .classic_heartbeat(
                    &request.member_id,
                    request.instance.as_deref(),
                    request.generation,
                    at.now,
                )
                .map_err(of_group),
        };
        self.answer(reply, answer);
    }

    /// Takes note of what an answer of a consumer group says is to be stored.
    fn told<T>(&mut self, told: Result<Told<T>, GroupsError>) -> Result<T, GroupsError> {
        let told = told?;
        if told.store {
            self.changes += 1;
            self.store();
        }
        Ok(told.answer)
    }

    pub(super) fn leave(&mut self, request: LeaveGroup, reply: Reply<Outcomes>, at: &Moment<'_>) {
        let members = request.members.into_iter().map(|member| {
            if let Some(reason) = &member.reason {
                tracing::debug!(
                    group = self.place.name.as_str(),
                    member = member.member_id,
                    reason,
                    "member leaves"
                );
            }
            Leaver {
                member_id: member.member_id,
                instance: member.instance,
            }
        });
        let leavers: Vec<Leaver> = members.collect();
        let outcomes = match &mut self.machine {
            Machine::Classic(group) => {
                let (outcomes, effects) = group.leave(&leavers, at.now);
                self.take(effects);
                outcomes
            }
            Machine::Consumer(group) => {
                let outcomes = group.evict(&leavers);
                if outcomes.iter().any(Result::is_ok) {
                    self.store();
                }
                outcomes
            }
        };
        let outcomes = outcomes.into_iter();
        let outcomes = outcomes.map(|outcome| outcome.map_err(of_group));
        self.answer(reply, Ok(outcomes.collect()));
    }

    // ----- members of the consumer protocol -------------------------------------------------------

    pub(super) fn beat(
        &mut self,
        request: ConsumerHeartbeat,
        reply: Reply<ConsumerHeartbeatAnswer>,
        topics: &View<'_>,
        at: &Moment<'_>,
    ) {
        let answer = self.try_beat(request, topics, at);
        self.answer(reply, answer);
    }

    fn try_beat(
        &mut self,
        request: ConsumerHeartbeat,
        topics: &View<'_>,
        at: &Moment<'_>,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        let beat = beat_of(request, at)?;
        let beaten = match &mut self.machine {
            Machine::Consumer(group) => group.heartbeat(&beat, topics, at.now),
            Machine::Classic(group) => {
                if beat.epoch != EPOCH_JOIN {
                    return Err(GroupsError::GroupNotFound);
                }
                let settings = at.settings.consumer;
                // The group moves to the protocol of whoever comes, with its members if it has some.
                let after = if group.is_idle() {
                    Some(ConsumerGroup::after(settings, group.generation()))
                } else {
                    ConsumerGroup::from_classic(settings, group, topics, at.now)
                };
                let mut after = after.ok_or(GroupsError::GroupNotFound)?;
                let beaten = after.heartbeat(&beat, topics, at.now);
                if beaten.is_ok() {
                    // Who comes is taken in: only then do the others hear of it.
                    let effects = group.give_up_waiting();
                    self.machine = Machine::Consumer(after);
                    self.take(effects);
                }
                beaten
            }
        };
        let beaten = beaten.map_err(of_group)?;
        if beat.epoch == EPOCH_JOIN {
            self.changes += 1;
        }
        if beaten.store {
            self.store();
        }
        let assignment = beaten.assignment;
        Ok(ConsumerHeartbeatAnswer {
            member_id: beaten.member_id,
            epoch: beaten.epoch,
            heartbeat: beaten.heartbeat,
            assignment: assignment.map(|partitions| partitions.into_iter().collect()),
        })
    }

    pub(super) fn check_fetch(&mut self, member_id: &str, epoch: i32, reply: Reply<()>) {
        let answer = match &self.machine {
            Machine::Consumer(group) => group.check_fetch(member_id, epoch).map_err(of_group),
            // Some members of the classic protocol say who they are, with their generation. As in Kafka that is not
            // looked at: what was committed holds for each generation.
            Machine::Classic(_) => Ok(()),
        };
        self.answer(reply, answer);
    }
}

fn join_of(request: JoinGroup, at: &Moment<'_>) -> Join {
    Join {
        new_id: at.new_id(request.instance.as_deref(), &request.client),
        member_id: request.member_id,
        instance: request.instance,
        client_id: request.client.id,
        client_host: request.client.host,
        session: request.session,
        rebalance: request.rebalance,
        protocol_type: request.protocol_type,
        protocols: protocols(request.protocols),
        id_first: request.id_first,
        may_skip: request.may_skip_assignment,
    }
}

fn protocols(protocols: Vec<tidelog_metadata_api::GroupProtocol>) -> Vec<Protocol> {
    let protocols = protocols.into_iter().map(|protocol| Protocol {
        name: protocol.name,
        metadata: protocol.metadata,
    });
    protocols.collect()
}

fn beat_of(request: ConsumerHeartbeat, at: &Moment<'_>) -> Result<Beat, GroupsError> {
    limits::beat(&request)?;
    if let Some(pattern) = request
        .pattern
        .as_ref()
        .filter(|pattern| !pattern.is_empty())
    {
        compile(pattern)?;
    }
    let assignor = request.assignor.map(|name| {
        let known = Assignor::from_name(&name);
        known.ok_or(GroupsError::UnsupportedAssignor(name))
    });
    let member_id = if request.member_id.is_empty() && request.epoch == EPOCH_JOIN {
        at.new_id(request.instance.as_deref(), &request.client)
    } else {
        request.member_id
    };
    Ok(Beat {
        member_id,
        epoch: request.epoch,
        instance: request.instance,
        rack: request.rack,
        client_id: request.client.id,
        client_host: request.client.host,
        rebalance: request.rebalance,
        topics: request.topics,
        pattern: request.pattern,
        assignor: assignor.transpose()?,
        owned: request.owned.map(|owned| owned.into_iter().collect()),
    })
}
