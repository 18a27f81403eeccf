//! What a commit says beside its manifest, and the check that it is said in order.

use tidelog_format::manifest::Manifest;
use tidelog_metadata_api::{BatchCondition, BatchPosition, OrderKey, ShardCommit};
use tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX;

/// Checks what the decisions over a commit rely on. An entry that is out of order or names no batch
/// would be passed over, and a condition with it; a manifest that breaks its format could not be read
/// back by the next owner.
pub(crate) fn check_commit(commit: &ShardCommit) -> Result<(), String> {
    let manifest = &commit.manifest;
    manifest.check().map_err(|error| error.to_string())?;
    let conditions = commit.conditions.iter().map(|(at, _)| *at);
    let orders = commit.orders.iter().map(|(at, _)| *at);
    let dropped = commit.dropped.iter().copied();
    let in_order = are_positions(manifest, conditions)
        && are_positions(manifest, orders)
        && are_positions(manifest, dropped);
    if !in_order {
        return Err("its conditions, orders or drops are out of order or name no batch".to_owned());
    }
    let mut named = commit.after.iter().chain([&manifest.segment]);
    if named.any(|segment| segment.sequence < commit.done_below) {
        return Err(format!(
            "its writer is done below `{}`, and it names a segment there",
            commit.done_below
        ));
    }
    check_inline(commit)
}

/// Checks that a segment comes along exactly where it is to lie in the store, and that it has what the manifest says:
/// nobody could make up for bytes that are not those.
fn check_inline(commit: &ShardCommit) -> Result<(), String> {
    let manifest = &commit.manifest;
    let Some(segment) = &commit.inline else {
        return if manifest.bucket.is_store() {
            Err("its segment is to lie in the store, and is not here".to_owned())
        } else {
            Ok(())
        };
    };
    if !manifest.bucket.is_store() {
        return Err("its segment comes along, and is to lie in a bucket".to_owned());
    }
    if segment.len() > INLINE_SEGMENT_BYTES_MAX as usize {
        let (bytes, max) = (segment.len(), INLINE_SEGMENT_BYTES_MAX);
        return Err(format!(
            "its segment has `{bytes}` bytes, and the store takes `{max}`"
        ));
    }
    for slice in &manifest.slices {
        let start = slice.position as usize;
        let bytes = segment.get(start..start.saturating_add(slice.length as usize));
        let is_proven = bytes.is_some_and(|bytes| tidelog_crc32c::crc32c(bytes) == slice.crc32c);
        if !is_proven {
            let partition = slice.partition;
            return Err(format!(
                "its segment does not have the slice of partition `{partition}`"
            ));
        }
    }
    Ok(())
}

/// Whether positions go up and each is that of a batch.
fn are_positions(manifest: &Manifest, positions: impl Iterator<Item = BatchPosition>) -> bool {
    let mut before = None;
    for position in positions {
        let slice = usize::try_from(position.slice).ok();
        let slice = slice.and_then(|slice| manifest.slices.get(slice));
        let has_batch = slice.is_some_and(|slice| {
            usize::try_from(position.batch).is_ok_and(|batch| batch < slice.batches.len())
        });
        if !has_batch || before.is_some_and(|before| before >= position) {
            return false;
        }
        before = Some(position);
    }
    true
}

/// What a commit says about a batch beside the manifest.
#[derive(Debug, Default)]
pub(crate) struct Aside<'a> {
    pub(crate) condition: Option<&'a BatchCondition>,
    pub(crate) order: Option<OrderKey>,
    pub(crate) dropped: bool,
}

/// Walks the three sorted lists of a commit along with its batches.
#[derive(Debug)]
pub(crate) struct Asides<'a> {
    conditions: std::iter::Peekable<std::slice::Iter<'a, (BatchPosition, BatchCondition)>>,
    orders: std::iter::Peekable<std::slice::Iter<'a, (BatchPosition, OrderKey)>>,
    dropped: std::iter::Peekable<std::slice::Iter<'a, BatchPosition>>,
}

impl<'a> Asides<'a> {
    pub(crate) fn new(commit: &'a ShardCommit) -> Self {
        Self {
            conditions: commit.conditions.iter().peekable(),
            orders: commit.orders.iter().peekable(),
            dropped: commit.dropped.iter().peekable(),
        }
    }

    pub(crate) fn take(&mut self, position: BatchPosition) -> Aside<'a> {
        Aside {
            condition: self
                .conditions
                .next_if(|(at, _)| *at == position)
                .map(|(_, condition)| condition),
            order: self
                .orders
                .next_if(|(at, _)| *at == position)
                .map(|(_, order)| *order),
            dropped: self.dropped.next_if(|at| **at == position).is_some(),
        }
    }
}
