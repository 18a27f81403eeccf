//! `tidelog cluster`.

use clap::Subcommand;
use serde::Serialize;
use tidelog_client::{ClusterClient, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{Table, print, print_done};
use super::{CliError, Global, Result, connect, times};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show which cluster it is and whether all is well.
    Status,
    /// List the processes of the cluster.
    Members,
    /// List the shards and who owns them.
    Shards,
    /// Drain a process: it serves on, but gives its shards to others and is not recommended to clients.
    Drain {
        /// The member's id, or its name if only one has it.
        member: String,
    },
    /// End the draining of a process.
    Undrain {
        /// The member's id, or its name if only one has it.
        member: String,
    },
}

/// The cluster in short.
#[derive(Debug, Serialize)]
struct Status {
    cluster: String,
    generation: u32,
    version: String,
    members: usize,
    metadata: usize,
    brokers: usize,
    draining: usize,
    shards: usize,
    shards_without_owner: usize,
}

/// A process of the cluster.
#[derive(Debug, Serialize)]
struct MemberRow {
    id: String,
    name: String,
    roles: Vec<&'static str>,
    zone: String,
    state: &'static str,
    shards: u32,
    version: String,
    /// Where clients reach it, or where other members do if it serves no clients.
    address: String,
    internal_address: String,
    kafka: Vec<String>,
    joined: Option<String>,
}

/// A shard.
#[derive(Debug, Serialize)]
struct ShardRow {
    shard: u32,
    owner: Option<String>,
    owner_name: Option<String>,
    epoch: u64,
}

pub(crate) async fn run(command: ClusterCommand, global: &Global, env: Env) -> Result<Exit> {
    let client = connect::client(global, env)?;
    let cluster = client.cluster();
    match command {
        ClusterCommand::Status => {
            let described = client.describe_cluster().await?;
            let status = status(described, &cluster).await?;
            print(global.output, &status, || status_table(&status))?;
        }
        ClusterCommand::Members => {
            let members = cluster.members().await?;
            let rows: Vec<MemberRow> = members.into_iter().map(member_row).collect();
            print(global.output, &rows, || members_table(&rows))?;
        }
        ClusterCommand::Shards => {
            let rows = shard_rows(cluster.shards().await?, &cluster.members().await?);
            print(global.output, &rows, || shards_table(&rows))?;
        }
        ClusterCommand::Drain { member } => {
            let id = find(&cluster, &member).await?;
            cluster.drain(&id).await?;
            let sentence =
                format!("`{member}` drains; `tidelog cluster members` shows its shards go");
            print_done(
                global.output,
                &serde_json::json!({ "drained": id }),
                &sentence,
            )?;
        }
        ClusterCommand::Undrain { member } => {
            let id = find(&cluster, &member).await?;
            cluster.undrain(&id).await?;
            let sentence = format!("`{member}` takes on work again");
            print_done(
                global.output,
                &serde_json::json!({ "undrained": id }),
                &sentence,
            )?;
        }
    }
    Ok(Exit::Ok)
}

/// The id of the member that is meant.
async fn find(cluster: &ClusterClient, text: &str) -> Result<String> {
    let members = cluster.members().await?;
    let by_id = members.iter().find(|member| member.member_id == text);
    let mut by_name = members.iter().filter(|member| member.name == text);
    match (by_id, by_name.next(), by_name.next()) {
        (Some(member), _, _) | (None, Some(member), None) => Ok(member.member_id.clone()),
        (None, Some(_), Some(_)) => Err(CliError::usage(format!(
            "several members are called `{text}`: give the id, as `tidelog cluster members` shows it"
        ))),
        (None, None, _) => Err(CliError::other(
            Exit::NotFound,
            format!("no member is `{text}`: `tidelog cluster members` lists them"),
        )),
    }
}

async fn status(described: v1::DescribeClusterResponse, cluster: &ClusterClient) -> Result<Status> {
    let (members, shards) = (cluster.members().await?, cluster.shards().await?);
    let with = |role: v1::MemberRole| {
        let members = members.iter();
        members
            .filter(|member| member.roles().any(|its| its == role))
            .count()
    };
    let draining = |member: &&v1::Member| member.state() == v1::MemberState::Draining;
    Ok(Status {
        cluster: described.cluster_id,
        generation: described.generation,
        version: described.version,
        members: members.len(),
        metadata: with(v1::MemberRole::Metadata),
        brokers: with(v1::MemberRole::Broker),
        draining: members.iter().filter(draining).count(),
        shards: shards.len(),
        shards_without_owner: shards
            .iter()
            .filter(|shard| shard.owner_member_id.is_empty())
            .count(),
    })
}

fn status_table(status: &Status) -> Table {
    let mut table = Table::new(&["what", "is"]);
    let mut row = |what: &str, is: String| table.row(vec![what.to_owned(), is]);
    row("cluster", status.cluster.clone());
    row("generation", status.generation.to_string());
    row("version", status.version.clone());
    row(
        "members",
        format!(
            "{} ({} metadata, {} brokers, {} draining)",
            status.members, status.metadata, status.brokers, status.draining
        ),
    );
    let unowned = match status.shards_without_owner {
        0 => "all with an owner".to_owned(),
        count => format!("{count} WITHOUT AN OWNER: writes to them wait"),
    };
    row("shards", format!("{} ({unowned})", status.shards));
    table
}

fn member_row(member: v1::Member) -> MemberRow {
    let roles = member.roles().map(role_name).collect();
    let state = match member.state() {
        v1::MemberState::Active => "active",
        v1::MemberState::Draining => "draining",
        v1::MemberState::Unspecified => "unknown",
    };
    let kafka = member.kafka_addresses.iter().map(kafka_address).collect();
    let serves_clients = !member.grpc_address.is_empty();
    let address = if serves_clients {
        member.grpc_address
    } else {
        member.internal_address.clone()
    };
    MemberRow {
        roles,
        state,
        id: member.member_id,
        name: member.name,
        zone: member.zone,
        shards: member.shard_count,
        version: member.version,
        address,
        internal_address: member.internal_address,
        kafka,
        joined: member.join_time.map(times::format_proto),
    }
}

fn kafka_address(address: &v1::KafkaAddress) -> String {
    let (host, port) = (&address.host, address.port);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

const fn role_name(role: v1::MemberRole) -> &'static str {
    match role {
        v1::MemberRole::Metadata => "metadata",
        v1::MemberRole::Broker => "broker",
        v1::MemberRole::Reader => "reader",
        v1::MemberRole::Janitor => "janitor",
        v1::MemberRole::Unspecified => "unknown",
    }
}

fn members_table(rows: &[MemberRow]) -> Table {
    let headings = [
        "name", "roles", "state", ">shards", "zone", "address", "kafka", "version", "joined", "id",
    ];
    let mut table = Table::new(&headings);
    let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    for row in rows {
        table.row(vec![
            row.name.clone(),
            row.roles.join(","),
            row.state.to_owned(),
            row.shards.to_string(),
            or_dash(&row.zone),
            or_dash(&row.address),
            or_dash(&row.kafka.join(",")),
            row.version.clone(),
            or_dash(row.joined.as_deref().unwrap_or_default()),
            row.id.clone(),
        ]);
    }
    table
}

fn shard_rows(shards: Vec<v1::Shard>, members: &[v1::Member]) -> Vec<ShardRow> {
    let rows = shards.into_iter().map(|shard| {
        let owner = Some(shard.owner_member_id).filter(|owner| !owner.is_empty());
        let member = members
            .iter()
            .find(|member| Some(&member.member_id) == owner.as_ref());
        ShardRow {
            shard: shard.shard_id,
            owner_name: member.map(|member| member.name.clone()),
            owner,
            epoch: shard.epoch,
        }
    });
    rows.collect()
}

fn shards_table(rows: &[ShardRow]) -> Table {
    let mut table = Table::new(&[">shard", "owner", ">epoch", "owner id"]);
    for row in rows {
        let nobody = || "nobody".to_owned();
        table.row(vec![
            row.shard.to_string(),
            row.owner_name.clone().unwrap_or_else(nobody),
            row.epoch.to_string(),
            row.owner.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}
