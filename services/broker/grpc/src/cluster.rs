//! `ClusterService`.

use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{ClusterError, ClusterView, KafkaAddress, Member, MemberState};
use tidelog_runtime::access::{Caller, Operation, Resource};
use tidelog_types::limits::{
    BATCH_BYTES_MAX_DEFAULT, BATCH_BYTES_MAX_LIMIT, FENCING_TOKEN_BYTES_MAX, TOPIC_PARTITIONS_MAX,
};
use tidelog_types::{MemberId, Role};

use crate::front::Front;
use crate::settings::{PRODUCE_ENTRIES_MAX, REQUEST_PARTITIONS_MAX};
use crate::topics::to_timestamp;

impl Front {
    pub(crate) async fn describe_cluster(
        &self,
        caller: &Caller,
        request: v1::DescribeClusterRequest,
    ) -> Result<v1::DescribeClusterResponse, ApiError> {
        let tokens = self
            .enter(
                caller,
                Operation::Describe,
                Resource::Cluster,
                &request.token,
            )
            .await?;
        let settings = &self.parts.settings;
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        Ok(v1::DescribeClusterResponse {
            cluster_id: self.engine().cluster().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: Vec::new(),
            limits: Some(v1::ClusterLimits {
                max_request_bytes: number(settings.request_bytes_max),
                default_batch_bytes: BATCH_BYTES_MAX_DEFAULT,
                max_batch_bytes: BATCH_BYTES_MAX_LIMIT,
                max_topic_partitions: TOPIC_PARTITIONS_MAX,
                default_partition_count: settings.default_partitions,
                max_fencing_token_bytes: number(FENCING_TOKEN_BYTES_MAX),
                max_produce_entries: number(PRODUCE_ENTRIES_MAX),
                max_request_partitions: number(REQUEST_PARTITIONS_MAX),
                max_fetch_bytes: settings.fetch_bytes_max,
            }),
            token: self.token(tokens),
            generation: self.view().generation.get(),
        })
    }

    pub(crate) async fn list_members(
        &self,
        caller: &Caller,
        request: v1::ListMembersRequest,
    ) -> Result<v1::ListMembersResponse, ApiError> {
        let tokens = self
            .enter(
                caller,
                Operation::Describe,
                Resource::Cluster,
                &request.token,
            )
            .await?;
        let view = self.view();
        let members = view.members.iter();
        Ok(v1::ListMembersResponse {
            members: members.map(|member| to_member(&view, member)).collect(),
            token: self.token(tokens),
        })
    }

    pub(crate) async fn list_shards(
        &self,
        caller: &Caller,
        request: v1::ListShardsRequest,
    ) -> Result<v1::ListShardsResponse, ApiError> {
        let tokens = self
            .enter(
                caller,
                Operation::Describe,
                Resource::Cluster,
                &request.token,
            )
            .await?;
        let view = self.view();
        let shards = view.shards.iter().map(|owner| v1::Shard {
            shard_id: owner.shard.get(),
            owner_member_id: owner.owner.map(|id| id.to_string()).unwrap_or_default(),
            epoch: owner.epoch,
        });
        Ok(v1::ListShardsResponse {
            shards: shards.collect(),
            token: self.token(tokens),
        })
    }

    pub(crate) async fn drain_member(
        &self,
        caller: &Caller,
        request: v1::DrainMemberRequest,
    ) -> Result<v1::DrainMemberResponse, ApiError> {
        let asked = (request.member_id.as_str(), &*request.token);
        let token = self.set_draining(caller, asked, true).await?;
        Ok(v1::DrainMemberResponse { token })
    }

    pub(crate) async fn undrain_member(
        &self,
        caller: &Caller,
        request: v1::UndrainMemberRequest,
    ) -> Result<v1::UndrainMemberResponse, ApiError> {
        let asked = (request.member_id.as_str(), &*request.token);
        let token = self.set_draining(caller, asked, false).await?;
        Ok(v1::UndrainMemberResponse { token })
    }

    /// Drains a member or ends that; `asked` is the member and the caller's token.
    async fn set_draining(
        &self,
        caller: &Caller,
        (member, token): (&str, &[u8]),
        draining: bool,
    ) -> Result<bytes::Bytes, ApiError> {
        let tokens = self
            .enter(caller, Operation::Alter, Resource::Cluster, token)
            .await?;
        let id: MemberId = member
            .parse()
            .map_err(|_| ApiError::invalid(format!("`{member}` is not the id of a member")))?;
        let done = self.parts.cluster.set_draining(id, draining).await;
        done.map_err(|error| cluster_error(&error))?;
        Ok(self.token(tokens))
    }

    /// The cluster as this process sees it now.
    fn view(&self) -> std::sync::Arc<ClusterView> {
        std::sync::Arc::clone(&self.parts.cluster.watch().borrow())
    }
}

fn cluster_error(error: &ClusterError) -> ApiError {
    ApiError::new(error.code(), error.to_string())
}

fn to_member(view: &ClusterView, member: &Member) -> v1::Member {
    let owned = view.shards.iter();
    let owned = owned.filter(|shard| shard.owner == Some(member.id)).count();
    v1::Member {
        member_id: member.id.to_string(),
        name: member.name.clone(),
        roles: member
            .roles
            .iter()
            .map(|role| to_role(role).into())
            .collect(),
        zone: member.zone.clone(),
        version: member.version.clone(),
        grpc_address: member.grpc_address.clone(),
        state: to_state(member.state).into(),
        join_time: Some(to_timestamp(member.joined_at)),
        shard_count: u32::try_from(owned).unwrap_or(u32::MAX),
        internal_address: member.internal_address.clone(),
        kafka_addresses: member.kafka_addresses.iter().map(to_kafka).collect(),
    }
}

fn to_kafka(address: &KafkaAddress) -> v1::KafkaAddress {
    v1::KafkaAddress {
        listener: address.listener.clone(),
        host: address.host.clone(),
        port: address.port.into(),
    }
}

const fn to_role(role: Role) -> v1::MemberRole {
    match role {
        Role::Metadata => v1::MemberRole::Metadata,
        Role::Broker => v1::MemberRole::Broker,
        Role::Reader => v1::MemberRole::Reader,
        Role::Janitor => v1::MemberRole::Janitor,
    }
}

const fn to_state(state: MemberState) -> v1::MemberState {
    match state {
        MemberState::Active => v1::MemberState::Active,
        MemberState::Draining => v1::MemberState::Draining,
    }
}
