//! Owners that say that they are none.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::MonoTime;
use tidelog_metadata_api::ShardOwner;
use tidelog_types::ShardId;

/// An owner may deny that it is one for so long before it is believed of the partition instead of the shard.
const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// Since when the owners that the view names deny that they are.
///
/// While a shard moves, its old owner denies it and the view follows within moments: which shard a partition
/// is in does not change by that. A view that stands by an owner which denies it is right about the shard; then
/// the partition may be in another.
#[derive(Debug, Default)]
pub(super) struct Denials {
    since: Mutex<HashMap<ShardId, (ShardOwner, MonoTime)>>,
}

impl Denials {
    /// The process that the view names as the owner of a shard denies it; tells whether it has for long.
    pub(super) fn note(&self, named: ShardOwner, now: MonoTime) -> bool {
        let mut since = self.since.lock();
        // There are no more shards than views name.
        let known = since.entry(named.shard).or_insert((named, now));
        if known.0 != named {
            *known = (named, now);
        }
        now - known.1 >= BELIEVED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::MemberId;

    use super::*;

    #[test]
    fn a_denial_counts_once_the_view_has_stood_by_the_owner_for_long() {
        let named = |number, epoch| ShardOwner {
            shard: ShardId::new(3),
            owner: Some(MemberId::from_bytes([number; 16])),
            epoch,
        };
        let (denials, start) = (Denials::default(), MonoTime::START);
        assert!(!denials.note(named(1, 1), start));
        assert!(!denials.note(named(1, 1), start + BELIEVED_AFTER / 2));
        assert!(denials.note(named(1, 1), start + BELIEVED_AFTER));
        // The view has followed: another owner, or the same one anew.
        assert!(!denials.note(named(2, 2), start + BELIEVED_AFTER));
        assert!(!denials.note(named(2, 3), start + BELIEVED_AFTER * 2));
    }
}
