//! From a group to rows and back.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;

use bytes::Bytes;
use tidelog_groups::{classic, consumer};
use tidelog_metadata_api::{GroupName, GroupsError};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Store, Transaction};
use tidelog_types::{ShardId, Timestamp};

use super::errors::{of_row, of_store};
use super::machine::Machine;
use super::transactions::Transactions;
use crate::keyspace::{
    GroupKindRow, GroupMemberRow, GroupPendingRow, GroupProducerRow, GroupRow, Keyspace, RowError,
};
use crate::sequencer::{GROUP_ROWS_MESSAGE_BYTES_MAX, GroupRows, group_rows_bytes};

/// Which group, and how its keys are made.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) keys: Keyspace,
    pub(super) shard: ShardId,
    pub(super) name: GroupName,
}

/// What a group's row says that its state machine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// When it was created, or lost its last member.
    pub(super) empty_since: Timestamp,
    /// Whether it may have committed offsets.
    pub(super) has_offsets: bool,
    /// Whether there may be rows of transactions of it.
    pub(super) has_transactions: bool,
}

impl About {
    /// A group that there is not yet.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            empty_since: now,
            has_offsets: false,
            has_transactions: false,
        }
    }
}

/// What is stored of a group, or on its way there, in short: so that only what differs is written.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    head: Option<Bytes>,
    /// Of each member, a hash of its pieces and how many there are.
    members: HashMap<String, (u64, u16)>,
    /// Keys of members that no longer are, found when the group was read.
    stale: Vec<Bytes>,
}

impl Mirror {
    /// Whether there is a row of the group.
    pub(super) const fn exists(&self) -> bool {
        self.head.is_some()
    }

    /// The rows that make what is stored the same as the group, in messages to be written in this order. They are
    /// taken for written from now on.
    pub(super) fn update(
        &mut self,
        place: &Place,
        machine: &Machine,
        about: About,
    ) -> Vec<GroupRows> {
        let (mut head, members) = rows_of(machine, about);
        let mut rows = GroupRows::new();
        let stale = mem::take(&mut self.stale);
        rows.extend(stale.into_iter().map(|key| (key, None)));
        let mut before = mem::take(&mut self.members);
        for member in &members {
            let pieces = member.encode();
            let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
            let stands = (hash_of(&pieces), count);
            let id = member.member_id().to_owned();
            let key = |piece| {
                place
                    .keys
                    .group_member(place.shard, &place.name, &id, piece)
            };
            let was = before.remove(&id);
            if was != Some(stands) {
                let pieces = (0..).zip(pieces);
                rows.extend(pieces.map(|(piece, value)| (key(piece), Some(value))));
                let was_count = was.map_or(0, |(_, count)| count);
                rows.extend((count..was_count).map(|piece| (key(piece), None)));
            }
            self.members.insert(id, stands);
        }
        for (id, (_, count)) in before {
            let key = |piece| {
                place
                    .keys
                    .group_member(place.shard, &place.name, &id, piece)
            };
            rows.extend((0..count).map(|piece| (key(piece), None)));
        }
        let key = place.keys.group(place.shard, &place.name);
        let value = head.encode();
        if self.head.as_ref() != Some(&value) || !rows.is_empty() {
            self.head = Some(value.clone());
        } else {
            return Vec::new();
        }
        let last = (key.clone(), Some(value));
        if group_rows_bytes(&rows) + last.0.len() + 1_024 <= GROUP_ROWS_MESSAGE_BYTES_MAX {
            rows.push(last);
            return vec![rows];
        }
        // More than one transaction: whoever finds the group in between finds that it is not whole.
        head.is_torn = true;
        let mut messages = vec![vec![(key, Some(head.encode()))]];
        messages.extend(split(rows));
        messages.push(vec![last]);
        messages
    }

    /// The row that says of the group as it is stored what is known beside its state now. Its members stay as they
    /// are there: a group between two generations is not to be found so.
    pub(super) fn tell(
        &mut self,
        place: &Place,
        machine: &Machine,
        about: About,
    ) -> Option<(Bytes, Option<Bytes>)> {
        let stored = self.head.clone();
        let stored = stored.and_then(|value| GroupRow::decode(value).ok());
        let head = match stored {
            Some(stored) => GroupRow {
                has_offsets: about.has_offsets,
                has_transactions: about.has_transactions,
                empty_since: about.empty_since,
                ..stored
            },
            None => without_members(rows_of(machine, about).0),
        };
        let value = head.encode();
        if self.head.as_ref() == Some(&value) {
            return None;
        }
        self.head = Some(value.clone());
        Some((place.keys.group(place.shard, &place.name), Some(value)))
    }

    /// The rows that delete the group, its own last.
    pub(super) fn delete(&mut self, place: &Place) -> GroupRows {
        let mut rows: GroupRows = mem::take(&mut self.stale)
            .into_iter()
            .map(|key| (key, None))
            .collect();
        for (id, (_, count)) in mem::take(&mut self.members) {
            let key = |piece| {
                place
                    .keys
                    .group_member(place.shard, &place.name, &id, piece)
            };
            rows.extend((0..count).map(|piece| (key(piece), None)));
        }
        self.head = None;
        rows.push((place.keys.group(place.shard, &place.name), None));
        rows
    }
}

/// Cuts rows into messages of the size that is written together.
pub(super) fn split(rows: GroupRows) -> Vec<GroupRows> {
    let mut messages = Vec::new();
    let mut message = GroupRows::new();
    let mut bytes = 0;
    for row in rows {
        let row_bytes = group_rows_bytes(std::slice::from_ref(&row));
        if bytes + row_bytes > GROUP_ROWS_MESSAGE_BYTES_MAX && !message.is_empty() {
            messages.push(mem::take(&mut message));
            bytes = 0;
        }
        bytes += row_bytes;
        message.push(row);
    }
    if !message.is_empty() {
        messages.push(message);
    }
    messages
}

/// Any hash will do that is the same while the process lives.
fn hash_of(pieces: &[Bytes]) -> u64 {
    let mut hasher = DefaultHasher::new();
    pieces.hash(&mut hasher);
    hasher.finish()
}

fn rows_of(machine: &Machine, about: About) -> (GroupRow, Vec<GroupMemberRow>) {
    let (epoch, kind, members): (_, _, Vec<_>) = match machine {
        Machine::Classic(group) => {
            let stored = group.stored();
            let kind = GroupKindRow::Classic {
                protocol_type: stored.protocol_type,
                protocol: stored.protocol,
                leader: stored.leader,
            };
            let members = stored.members.into_iter().map(GroupMemberRow::Classic);
            (stored.generation, kind, members.collect())
        }
        Machine::Consumer(group) => {
            let stored = group.stored();
            let kind = GroupKindRow::Consumer {
                target_epoch: stored.target_epoch,
                topics_hash: stored.topics_hash,
            };
            let members = stored.members.into_iter().map(GroupMemberRow::Consumer);
            (stored.epoch, kind, members.collect())
        }
    };
    let head = GroupRow {
        epoch,
        members: u32::try_from(members.len()).unwrap_or(u32::MAX),
        is_torn: false,
        has_offsets: about.has_offsets,
        has_transactions: about.has_transactions,
        empty_since: about.empty_since,
        kind,
    };
    (head, members)
}

/// The row of a group of which no member is stored.
fn without_members(mut head: GroupRow) -> GroupRow {
    head.members = 0;
    if let GroupKindRow::Classic { leader, .. } = &mut head.kind {
        *leader = None;
    }
    head
}

/// A group as it was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) head: GroupRow,
    pub(super) members: Vec<GroupMemberRow>,
    pub(super) mirror: Mirror,
    pub(super) transactions: Transactions,
}

impl Loaded {
    pub(super) const fn is_consumer(&self) -> bool {
        matches!(self.head.kind, GroupKindRow::Consumer { .. })
    }

    pub(super) const fn about(&self) -> About {
        About {
            empty_since: self.head.empty_since,
            has_offsets: self.head.has_offsets,
            has_transactions: self.head.has_transactions,
        }
    }

    /// What outlives its owner of a classic group.
    pub(super) fn into_classic(self) -> classic::StoredGroup {
        let mut stored = classic::StoredGroup {
            generation: self.head.epoch,
            ..classic::StoredGroup::default()
        };
        if let GroupKindRow::Classic {
            protocol_type,
            protocol,
            leader,
        } = self.head.kind
        {
            stored.protocol_type = protocol_type;
            stored.protocol = protocol;
            stored.leader = leader;
        }
        let members = self.members.into_iter();
        stored.members = members.filter_map(classic_member).collect();
        stored
    }

    /// What outlives its owner of a group of the consumer protocol.
    pub(super) fn into_consumer(self) -> consumer::StoredGroup {
        let mut stored = consumer::StoredGroup {
            epoch: self.head.epoch,
            ..consumer::StoredGroup::default()
        };
        if let GroupKindRow::Consumer {
            target_epoch,
            topics_hash,
        } = self.head.kind
        {
            stored.target_epoch = target_epoch;
            stored.topics_hash = topics_hash;
        }
        let members = self.members.into_iter();
        stored.members = members.filter_map(consumer_member).collect();
        stored
    }
}

fn classic_member(row: GroupMemberRow) -> Option<classic::StoredMember> {
    match row {
        GroupMemberRow::Classic(member) => Some(member),
        GroupMemberRow::Consumer(_) => None,
    }
}

fn consumer_member(row: GroupMemberRow) -> Option<consumer::StoredMember> {
    match row {
        GroupMemberRow::Consumer(member) => Some(member),
        GroupMemberRow::Classic(_) => None,
    }
}

/// Reads a group; `None` if there is no row of it. One that is not whole, or has a member that cannot be read, is read as
/// one without members, whose epoch has gone up: whoever believes to be a member hears that it is none.
pub(super) async fn load(store: &dyn Store, place: &Place) -> Result<Option<Loaded>, GroupsError> {
    let mut transaction = store.begin().await.map_err(of_store)?;
    let key = place.keys.group(place.shard, &place.name);
    let value = transaction.get(&key, ReadMode::Snapshot).await;
    let value = value.map_err(of_store)?;
    let mut rows: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    let mut keys = Vec::new();
    let mut is_whole = true;
    let all = place.keys.group_members(place.shard, &place.name);
    for (key, value) in scan_all(transaction.as_mut(), all).await? {
        let Some((id, piece)) = Keyspace::member_piece(&key, &place.name) else {
            let what = "its key is not that of a member";
            return Err(of_row(RowError {
                kind: "group member",
                what,
            }));
        };
        let pieces = rows.entry(id.to_owned()).or_default();
        is_whole &= pieces.len() == usize::from(piece);
        pieces.push(value);
        keys.push(key);
    }
    let Some(value) = value else {
        return Ok(None);
    };
    let mut head = GroupRow::decode(value.clone()).map_err(of_row)?;
    is_whole &= !head.is_torn && usize::try_from(head.members) == Ok(rows.len());
    let mut mirror = Mirror {
        head: Some(value),
        ..Mirror::default()
    };
    let mut members = Vec::new();
    if is_whole {
        let read = decode_members(place, rows, &mut mirror);
        is_whole = read.is_some();
        members = read.unwrap_or_default();
    }
    is_whole &= fits(&head, &members);
    if !is_whole {
        members.clear();
        mirror.members.clear();
        head.epoch = head.epoch.saturating_add(1);
        mirror.stale = keys;
    }
    let transactions = if head.has_transactions {
        load_transactions(transaction.as_mut(), place).await?
    } else {
        Transactions::default()
    };
    Ok(Some(Loaded {
        head,
        members,
        mirror,
        transactions,
    }))
}

/// Reads what is stored of the transactions of a group.
async fn load_transactions(
    transaction: &mut dyn Transaction,
    place: &Place,
) -> Result<Transactions, GroupsError> {
    let foreign = |kind| {
        of_row(RowError {
            kind,
            what: "its key is too short",
        })
    };
    let mut transactions = Transactions::default();
    let producers = place.keys.group_producers(place.shard, &place.name);
    for (key, value) in scan_all(transaction, producers).await? {
        let id = Keyspace::group_producer_id(&key).ok_or_else(|| foreign("group producer"))?;
        let row = GroupProducerRow::decode(value).map_err(of_row)?;
        transactions.restore_ended(id, row);
    }
    let pending = place.keys.group_all_pending(place.shard, &place.name);
    for (key, value) in scan_all(transaction, pending).await? {
        let at = Keyspace::pending_of(&key).ok_or_else(|| foreign("group pending"))?;
        let row = GroupPendingRow::decode(value).map_err(of_row)?;
        transactions.restore_pending(place, at, row);
    }
    Ok(transactions)
}

/// All rows of a range, which is bounded by what is written there.
pub(super) async fn scan_all(
    transaction: &mut dyn Transaction,
    range: KeyRange,
) -> Result<Vec<(Bytes, Bytes)>, GroupsError> {
    let mut rows = Vec::new();
    let mut rest = Some(range);
    while let Some(range) = rest.take() {
        let options = ScanOptions::default().snapshot();
        let page = transaction.scan(range.clone(), options).await;
        let page = page.map_err(of_store)?;
        rest = page.next(&range, options.direction);
        rows.extend(page.rows);
    }
    Ok(rows)
}

/// The members of a group, if all can be read. One that cannot is as good as none at all: its group must not be out
/// of reach for good.
fn decode_members(
    place: &Place,
    rows: BTreeMap<String, Vec<Bytes>>,
    mirror: &mut Mirror,
) -> Option<Vec<GroupMemberRow>> {
    let mut members = Vec::new();
    for (id, pieces) in rows {
        match GroupMemberRow::decode(&id, &pieces) {
            Ok(member) => members.push(member),
            Err(error) => {
                tracing::error!(
                    shard = place.shard.get(),
                    group = place.name.as_str(),
                    error = &error as &dyn std::error::Error,
                    "member of a group cannot be read, and the group goes on without members"
                );
                return None;
            }
        }
        let count = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        mirror.members.insert(id, (hash_of(&pieces), count));
    }
    Some(members)
}

/// Whether members are of the group's protocol, and the leader is one of them.
fn fits(head: &GroupRow, members: &[GroupMemberRow]) -> bool {
    match &head.kind {
        GroupKindRow::Classic { leader, .. } => {
            let is_leader = |member: &GroupMemberRow| Some(member.member_id()) == leader.as_deref();
            members
                .iter()
                .all(|member| matches!(member, GroupMemberRow::Classic(_)))
                && (members.is_empty() || members.iter().any(is_leader))
        }
        GroupKindRow::Consumer { .. } => members
            .iter()
            .all(|member| matches!(member, GroupMemberRow::Consumer(_))),
    }
}
