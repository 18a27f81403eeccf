//! Coordinators that do as they are told, and take notes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_env::CancellationToken;
use tidelog_metadata_api::{
    ClassicDescription, ClassicMember, CommitOffsets, CommittedOffset, ConsumerDescription,
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, ConsumerMember, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffsets, GroupClient, GroupDescription, GroupFilter, GroupHeartbeat,
    GroupKind, GroupListing, GroupName, GroupOffset, GroupPage, GroupState, Groups, GroupsError,
    JoinGroup, JoinedGroup, JoinedMember, LeaveGroup, SyncGroup, SyncedGroup,
};
use tidelog_types::{Timestamp, TopicPartition};

type Result<T> = std::result::Result<T, GroupsError>;

/// Says yes to everything, or the error that it is told to say.
#[derive(Debug, Default)]
pub struct FakeGroups {
    /// What requests are answered with.
    pub fails: Mutex<Option<GroupsError>>,
    /// The same for each member or partition of a request.
    pub fails_each: Mutex<Option<GroupsError>>,
    /// What was asked, as text.
    pub asked: Mutex<Vec<String>>,
    /// Partitions whose offsets open transactions may change.
    pub unstable: Mutex<BTreeSet<TopicPartition>>,
    /// What was committed.
    pub offsets: Mutex<BTreeMap<(GroupName, TopicPartition), GroupOffset>>,
    /// The partitions that members have.
    pub assigned: Mutex<Vec<TopicPartition>>,
    /// Members wait for ever in their requests to join until it is cancelled.
    pub lets_in: Mutex<Option<CancellationToken>>,
}

impl FakeGroups {
    /// What was asked last.
    pub fn last(&self) -> String {
        self.asked.lock().last().cloned().unwrap_or_default()
    }

    /// Answers every request with an error from now on.
    pub fn fail(&self, error: GroupsError) {
        *self.fails.lock() = Some(error);
    }

    fn hear(&self, request: &dyn Debug) -> Result<()> {
        self.asked.lock().push(format!("{request:?}"));
        self.fails.lock().clone().map_or(Ok(()), Err)
    }

    fn each(&self, count: usize) -> Vec<Result<()>> {
        let outcome = self.fails_each.lock().clone().map_or(Ok(()), Err);
        vec![outcome; count]
    }

    fn client() -> GroupClient {
        GroupClient {
            id: "c".to_owned(),
            host: "/10.0.0.1".to_owned(),
        }
    }

    fn consumer(&self) -> ConsumerDescription {
        let partitions = self.assigned.lock().clone();
        ConsumerDescription {
            state: GroupState::Reconciling,
            epoch: 5,
            target_epoch: 4,
            assignor: "uniform".to_owned(),
            members: vec![ConsumerMember {
                member_id: "m".to_owned(),
                instance: None,
                rack: Some("z1".to_owned()),
                client: Self::client(),
                epoch: 3,
                rebalance: Duration::from_secs(9),
                topics: vec!["t".to_owned()],
                pattern: None,
                assigned: partitions.clone(),
                target: partitions,
                is_classic: false,
            }],
        }
    }

    fn classic() -> ClassicDescription {
        ClassicDescription {
            state: GroupState::Stable,
            generation: 7,
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            members: vec![ClassicMember {
                member_id: "m".to_owned(),
                instance: Some("i".to_owned()),
                client: Self::client(),
                metadata: Bytes::from_static(b"wants"),
                assignment: Bytes::from_static(b"has"),
            }],
        }
    }
}

#[async_trait::async_trait]
impl Groups for FakeGroups {
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup> {
        let lets_in = self.lets_in.lock().clone();
        self.hear(&request)?;
        if let Some(lets_in) = lets_in {
            lets_in.cancelled().await;
        }
        Ok(JoinedGroup {
            generation: 7,
            protocol_type: Some(request.protocol_type),
            protocol: Some("range".to_owned()),
            leader: "m".to_owned(),
            member_id: "m".to_owned(),
            skip_assignment: request.may_skip_assignment,
            members: vec![JoinedMember {
                member_id: "m".to_owned(),
                instance: request.instance,
                metadata: Bytes::from_static(b"wants"),
            }],
        })
    }

    async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup> {
        self.hear(&request)?;
        Ok(SyncedGroup {
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignment: Bytes::from_static(b"has"),
        })
    }

    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<()> {
        self.hear(&request)
    }

    async fn leave(&self, request: LeaveGroup) -> Result<Vec<Result<()>>> {
        self.hear(&request)?;
        Ok(self.each(request.members.len()))
    }

    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer> {
        self.hear(&request)?;
        Ok(ConsumerHeartbeatAnswer {
            member_id: "m".to_owned(),
            epoch: request.epoch + 1,
            heartbeat: Duration::from_secs(5),
            assignment: request.owned.map(|_| self.assigned.lock().clone()),
        })
    }

    async fn commit_offsets(&self, request: CommitOffsets) -> Result<Vec<Result<()>>> {
        self.hear(&request)?;
        let outcomes = self.each(request.offsets.len());
        let offsets = request.offsets.into_iter().zip(&outcomes);
        let good = offsets.filter(|(_, outcome)| outcome.is_ok());
        let rows = good.map(|((at, offset), _)| ((request.group.clone(), at), offset));
        self.offsets.lock().extend(rows);
        Ok(outcomes)
    }

    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        let answers = requests.into_iter().map(|request| {
            self.hear(&request)?;
            let offsets = self.offsets.lock();
            let committed = |offset: &GroupOffset| CommittedOffset {
                offset: offset.clone(),
                committed_at: Timestamp::default(),
            };
            let of_group = offsets
                .iter()
                .filter(|((group, _), _)| *group == request.group);
            let all: BTreeMap<_, _> = of_group.map(|((_, at), it)| (*at, committed(it))).collect();
            let unstable = self.unstable.lock();
            let found = |at: TopicPartition| {
                if request.only_stable && unstable.contains(&at) {
                    return (at, Err(GroupsError::UnstableOffset));
                }
                (at, Ok(all.get(&at).cloned()))
            };
            Ok(match request.partitions {
                None => all.keys().copied().map(found).collect(),
                Some(wanted) => wanted.into_iter().map(found).collect(),
            })
        });
        answers.collect()
    }

    async fn delete_offsets(&self, request: DeleteOffsets) -> Result<Vec<Result<()>>> {
        self.hear(&request)?;
        for at in &request.partitions {
            self.offsets.lock().remove(&(request.group.clone(), *at));
        }
        Ok(self.each(request.partitions.len()))
    }

    async fn end_group_transactions(&self, ends: Vec<EndGroupTransaction>) -> Vec<Result<()>> {
        ends.iter().map(|end| self.hear(end)).collect()
    }

    async fn list_groups(
        &self,
        filter: &GroupFilter,
        after: &[u8],
        count: usize,
    ) -> Result<GroupPage> {
        self.hear(&(filter, after, count))?;
        let all = [
            ("a", GroupKind::Classic, GroupState::Stable),
            ("b", GroupKind::Consumer, GroupState::Empty),
        ];
        let mut groups = Vec::new();
        for (name, kind, state) in all {
            groups.extend(GroupName::new(name).map(|group| GroupListing {
                group,
                kind,
                protocol_type: "consumer".to_owned(),
                state,
            }));
        }
        groups.retain(|it| filter.takes(it.kind, it.state));
        // The first, nothing, the others.
        let at = after.first().copied().unwrap_or_default();
        let groups = groups.into_iter();
        let (groups, next) = match at {
            0 => (groups.take(1).collect(), vec![1]),
            1 => (Vec::new(), vec![2]),
            _ => (groups.skip(1).collect(), Vec::new()),
        };
        Ok(GroupPage { groups, next })
    }

    async fn describe_groups(&self, groups: &[GroupName]) -> Vec<Result<GroupDescription>> {
        let described = groups.iter().map(|group| {
            self.hear(group)?;
            Ok(match group.as_str() {
                "consumer" => GroupDescription::Consumer(self.consumer()),
                _ => GroupDescription::Classic(Self::classic()),
            })
        });
        described.collect()
    }

    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<()>> {
        groups.iter().map(|group| self.hear(group)).collect()
    }
}
