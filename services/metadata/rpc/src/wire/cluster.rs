//! Members and views of the cluster.

use bytes::Bytes;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    ClusterView, KAFKA_ADDRESSES_MAX, KafkaAddress, Member, MemberState, ShardOwner,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, MemberId, RoleSet, ShardId, Timestamp,
};

use super::{WireError, id, id_bytes};

/// The longest text about a member.
const TEXT_BYTES_MAX: usize = 256;
/// Members, and shards, of one view.
const VIEW_ITEMS_MAX: usize = 20_000;

pub(crate) fn member_to(member: &Member) -> v1::Member {
    let addresses = member.kafka_addresses.iter();
    let addresses = addresses.map(|address| v1::KafkaAddress {
        listener: address.listener.clone(),
        host: address.host.clone(),
        port: u32::from(address.port),
    });
    v1::Member {
        member_id: id_bytes(member.id.to_bytes()),
        name: member.name.clone(),
        roles: member.roles.bits(),
        zone: member.zone.clone(),
        version: member.version.clone(),
        internal_address: member.internal_address.clone(),
        grpc_address: member.grpc_address.clone(),
        kafka_addresses: addresses.collect(),
        incarnation: member.incarnation.map(Incarnation::get),
        merger: member.merger.map(Incarnation::get),
        draining: member.state == MemberState::Draining,
        joined_at: member.joined_at.as_millis(),
    }
}

pub(crate) fn member_from(member: v1::Member) -> Result<Member, WireError> {
    let state = if member.draining {
        MemberState::Draining
    } else {
        MemberState::Active
    };
    Ok(Member {
        id: member_id(&member.member_id)?,
        name: text("name", member.name)?,
        roles: RoleSet::from_bits(member.roles),
        zone: text("zone", member.zone)?,
        version: text("version", member.version)?,
        internal_address: text("internal_address", member.internal_address)?,
        grpc_address: text("grpc_address", member.grpc_address)?,
        kafka_addresses: kafka_addresses(member.kafka_addresses)?,
        incarnation: member.incarnation.map(Incarnation::new),
        merger: member.merger.map(Incarnation::new),
        state,
        joined_at: Timestamp::from_millis(member.joined_at),
    })
}

fn kafka_addresses(addresses: Vec<v1::KafkaAddress>) -> Result<Vec<KafkaAddress>, WireError> {
    let field = "kafka_addresses";
    if addresses.len() > KAFKA_ADDRESSES_MAX {
        let max = KAFKA_ADDRESSES_MAX;
        return Err(WireError::TooLong { field, max });
    }
    let addresses = addresses.into_iter().map(|address| {
        let value = u64::from(address.port);
        let port = u16::try_from(address.port);
        Ok(KafkaAddress {
            listener: text("listener", address.listener)?,
            host: text("host", address.host)?,
            port: port.map_err(|_| WireError::Range {
                field: "port",
                value,
            })?,
        })
    });
    addresses.collect()
}

/// Reads the id of a member.
pub(crate) fn member_id(bytes: &[u8]) -> Result<MemberId, WireError> {
    id("member_id", bytes).map(MemberId::from_bytes)
}

fn text(field: &'static str, text: String) -> Result<String, WireError> {
    if text.len() > TEXT_BYTES_MAX {
        let max = TEXT_BYTES_MAX;
        return Err(WireError::TooLong { field, max });
    }
    Ok(text)
}

pub(crate) fn view_to(view: &ClusterView) -> v1::ClusterView {
    let owner_bytes = |owner: MemberId| id_bytes(owner.to_bytes());
    let shards = view.shards.iter().map(|shard| v1::ShardOwner {
        shard: shard.shard.get(),
        owner: shard.owner.map_or_else(Bytes::new, owner_bytes),
        epoch: shard.epoch,
    });
    v1::ClusterView {
        cluster_id: id_bytes(view.cluster.to_bytes()),
        generation: view.generation.get(),
        members: view.members.iter().map(member_to).collect(),
        shards: shards.collect(),
    }
}

/// Reads a view. Both lists are searched by halves, so they are put in order again.
pub(crate) fn view_from(view: v1::ClusterView) -> Result<ClusterView, WireError> {
    let max = VIEW_ITEMS_MAX;
    for (field, count) in [
        ("members", view.members.len()),
        ("shards", view.shards.len()),
    ] {
        if count > max {
            return Err(WireError::TooLong { field, max });
        }
    }
    let members = view.members.into_iter().map(member_from);
    let mut members: Vec<_> = members.collect::<Result<_, _>>()?;
    members.sort_by_key(|member| member.id);
    let shards = view.shards.into_iter().map(|shard| {
        let owner = if shard.owner.is_empty() {
            None
        } else {
            Some(MemberId::from_bytes(id("owner", &shard.owner)?))
        };
        Ok(ShardOwner {
            shard: ShardId::new(shard.shard),
            owner,
            epoch: shard.epoch,
        })
    });
    let mut shards: Vec<_> = shards.collect::<Result<_, WireError>>()?;
    shards.sort_by_key(|shard| shard.shard);
    Ok(ClusterView {
        cluster: ClusterId::from_bytes(id("cluster_id", &view.cluster_id)?),
        generation: ClusterGeneration::new(view.generation),
        members,
        shards,
    })
}
