//! `tidelog group describe`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::StreamExt as _;
use serde::Serialize;
use tidelog_client::v1::partition_data::Data;
use tidelog_client::{ApiError, Client, LogClient, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_types::Timestamp;

use super::assigned::{Assigned, assigned};
use super::{in_group, protocol_name, state_name};
use crate::cli::output::{Table, counted, print, print_text};
use crate::cli::{Global, Output, Result, connect, times};

/// Partitions whose next records are looked at, at a time.
const LOOKS_AT_ONCE: usize = 8;

/// A group.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    protocol: &'static str,
    protocol_type: String,
    state: &'static str,
    epoch: i32,
    assignor: String,
    /// Records that are there and not read, in all.
    lag: u64,
    members: Vec<Member>,
    partitions: Vec<Progress>,
}

/// A member.
#[derive(Debug, Serialize)]
struct Member {
    id: String,
    instance: String,
    client: String,
    host: String,
    zone: String,
    epoch: i32,
    assigned: Assigned,
}

/// How far the group has come in a partition.
#[derive(Debug, Default, Serialize)]
struct Progress {
    topic: String,
    partition: u32,
    committed: Option<u64>,
    committed_at: Option<String>,
    earliest: Option<u64>,
    latest: Option<u64>,
    lag: Option<u64>,
    /// For how long the next record to read has been there.
    lag_seconds: Option<u64>,
    /// The id of the member that has it.
    member: Option<String>,
    metadata: String,
    error: Option<String>,
}

pub(super) async fn run(name: &str, global: &Global, env: Env) -> Result<Exit> {
    let now = env.clock.wall();
    let client = connect::client(global, env)?;
    let shown = look(&client, name, now).await?;
    match global.output {
        Output::Json => print(global.output, &shown, || partitions_table(&shown))?,
        Output::Table => {
            print_text(&headline(&shown))?;
            print(global.output, &shown.members, || members_table(&shown))?;
            print_text("\n")?;
            print(global.output, &shown.partitions, || {
                partitions_table(&shown)
            })?;
        }
    }
    Ok(Exit::Ok)
}

async fn look(client: &Client, name: &str, now: Timestamp) -> Result<Shown> {
    let groups = client.groups();
    let described = groups.describe(&[name.to_owned()]).await?.pop();
    let described = described.unwrap_or_default();
    if let Some(error) = described.error {
        return Err(in_group(name, ApiError::from_proto(error)).into());
    }
    let group = described.group.unwrap_or_default();
    let (protocol, state) = (group.protocol(), group.state());
    let kind = group.protocol_type.clone();
    let members: Vec<Member> = group
        .members
        .into_iter()
        .map(|it| to_member(&kind, it))
        .collect();
    let offsets = groups.offsets(name).await?;
    let partitions = partitions(&client.log(), offsets, &members, now).await;
    Ok(Shown {
        name: name.to_owned(),
        protocol: protocol_name(protocol),
        state: state_name(state),
        protocol_type: kind,
        epoch: group.epoch,
        assignor: group.assignor,
        lag: partitions.iter().filter_map(|it| it.lag).sum(),
        members,
        partitions,
    })
}

fn to_member(protocol_type: &str, member: v1::GroupMember) -> Member {
    Member {
        assigned: assigned(protocol_type, &member),
        id: member.member_id,
        instance: member.instance_id,
        client: member.client_id,
        host: member.client_host,
        zone: member.zone,
        epoch: member.epoch,
    }
}

/// The partitions with a committed offset, and those that a member has, in order.
async fn partitions(
    log: &LogClient,
    offsets: Vec<v1::GroupOffset>,
    members: &[Member],
    now: Timestamp,
) -> Vec<Progress> {
    let mut holders = BTreeMap::new();
    for member in members {
        for (topic, partitions) in &member.assigned {
            let its = partitions
                .iter()
                .map(|partition| (topic.clone(), *partition));
            holders.extend(its.map(|at| (at, member.id.clone())));
        }
    }
    let committed = futures::stream::iter(offsets).map(|offset| committed(log, offset, now));
    let mut rows: Vec<Progress> = committed.buffered(LOOKS_AT_ONCE).collect().await;
    for row in &mut rows {
        row.member = holders.remove(&(row.topic.clone(), row.partition));
    }
    let without = holders.into_iter();
    rows.extend(without.map(|((topic, partition), member)| Progress {
        topic,
        partition,
        member: Some(member),
        ..Progress::default()
    }));
    rows.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    rows
}

async fn committed(log: &LogClient, offset: v1::GroupOffset, now: Timestamp) -> Progress {
    let is_known = offset.error.is_none();
    let known = |number: u64| is_known.then_some(number);
    let lag_seconds = match known(offset.lag) {
        Some(0) | None => None,
        Some(_) => next_record_time(log, &offset).await.map(|time| {
            let millis = now.as_millis().saturating_sub(time).max(0);
            u64::try_from(millis / 1_000).unwrap_or_default()
        }),
    };
    Progress {
        committed: Some(offset.committed_offset),
        committed_at: offset.commit_time.map(times::format_proto),
        earliest: known(offset.log_start_offset),
        latest: known(offset.end_offset),
        lag: known(offset.lag),
        lag_seconds,
        member: None,
        metadata: offset.metadata,
        error: offset.error.map(|error| error.message),
        topic: offset.topic,
        partition: offset.partition,
    }
}

/// Markers of transactions that are passed over to find the next record.
const MARKERS_PASSED: usize = 4;

/// The time of the next record to read, if it can be read now, whatever becomes of its transaction.
async fn next_record_time(log: &LogClient, offset: &v1::GroupOffset) -> Option<i64> {
    let mut next = offset.committed_offset.max(offset.log_start_offset);
    for _ in 0..=MARKERS_PASSED {
        let request = v1::FetchRequest {
            partitions: vec![v1::FetchPartition {
                topic: offset.topic.clone(),
                partition: offset.partition,
                offset: next,
                max_bytes: 1,
            }],
            record_format: v1::RecordFormat::Records.into(),
            isolation: v1::Isolation::Uncommitted.into(),
            ..v1::FetchRequest::default()
        };
        let found = log.fetch(request).await.ok()?.pop()?;
        if let Some(Data::Records(records)) = found.data {
            return records.records.first()?.timestamp_ms;
        }
        if found.next_offset <= next {
            return None;
        }
        next = found.next_offset;
    }
    None
}

/// The group in a line or two.
fn headline(shown: &Shown) -> String {
    let mut text = format!(
        "group `{}`: {} protocol, {}, epoch {}",
        shown.name, shown.protocol, shown.state, shown.epoch
    );
    if !shown.assignor.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, ", assigned by {}", shown.assignor);
    }
    let lag = counted(shown.lag, "record");
    let _ = writeln!(text, "\nlag: {lag}\n");
    text
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

fn members_table(shown: &Shown) -> Table {
    let headings = [
        "member",
        "instance",
        "client",
        "host",
        "zone",
        ">partitions",
    ];
    let mut table = Table::new(&headings);
    for member in &shown.members {
        let partitions: usize = member.assigned.values().map(Vec::len).sum();
        table.row(vec![
            member.id.clone(),
            or_dash(&member.instance),
            or_dash(&member.client),
            or_dash(&member.host),
            or_dash(&member.zone),
            partitions.to_string(),
        ]);
    }
    table
}

fn partitions_table(shown: &Shown) -> Table {
    let headings = [
        "topic",
        ">partition",
        ">committed",
        ">latest",
        ">lag",
        ">lag time",
        "member",
        "error",
    ];
    let mut table = Table::new(&headings);
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    for row in &shown.partitions {
        let time = row.lag_seconds.map(std::time::Duration::from_secs);
        let time = time.map(|time| humantime::format_duration(time).to_string());
        table.row(vec![
            row.topic.clone(),
            row.partition.to_string(),
            number(row.committed),
            number(row.latest),
            number(row.lag),
            or_dash(&time.unwrap_or_default()),
            or_dash(row.member.as_deref().unwrap_or_default()),
            row.error.clone().unwrap_or_default(),
        ]);
    }
    table
}
