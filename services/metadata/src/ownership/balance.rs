//! Which member shall own which shard: a pure function, the same in every process that sees the same rows.
//!
//! Every member gets as many shards as any other, or one more. Owners keep what they have within that, so
//! that few shards move; the rest is dealt out by rendezvous hashing.

use std::collections::HashMap;

use tidelog_types::MemberId;

/// A member on its way to its part.
struct Part {
    member: MemberId,
    /// What it has now; later what it keeps and gets.
    shards: Vec<u32>,
    /// How many it may have.
    quota: usize,
}

/// The owner that each shard shall have; nobody if there are no members. The order of `members` has no
/// meaning, and neither has a member that is there twice.
///
/// `present` says who owns each shard now, by number from 0; owners that are no members count as nobody.
pub(crate) fn balance(members: &[MemberId], present: &[Option<MemberId>]) -> Vec<Option<MemberId>> {
    let mut parts = parts(members, present);
    let mut owners = vec![None; present.len()];
    if parts.is_empty() {
        return owners;
    }
    set_quotas(&mut parts, present.len());
    for part in &mut parts {
        let member = part.member;
        part.shards
            .sort_unstable_by_key(|shard| std::cmp::Reverse((score(member, *shard), *shard)));
        part.shards.truncate(part.quota);
        for shard in &part.shards {
            if let Some(owner) = owners.get_mut(*shard as usize) {
                *owner = Some(member);
            }
        }
    }
    for (shard, owner) in (0..).zip(&mut owners) {
        if owner.is_some() {
            continue;
        }
        let has_room = |part: &&mut Part| part.shards.len() < part.quota;
        let free = parts.iter_mut().filter(has_room);
        // The quotas add up to the number of shards, so that one has room.
        if let Some(part) = free.max_by_key(|part| (score(part.member, shard), part.member)) {
            part.shards.push(shard);
            *owner = Some(part.member);
        }
    }
    owners
}

/// The members in the order of their ids, with what each has now.
fn parts(members: &[MemberId], present: &[Option<MemberId>]) -> Vec<Part> {
    let mut members = members.to_vec();
    members.sort_unstable();
    members.dedup();
    let mut held: HashMap<MemberId, Vec<u32>> = HashMap::new();
    for (shard, owner) in (0..).zip(present) {
        if let Some(owner) = owner {
            held.entry(*owner).or_default().push(shard);
        }
    }
    let part = |member| Part {
        member,
        shards: held.remove(&member).unwrap_or_default(),
        quota: 0,
    };
    members.into_iter().map(part).collect()
}

/// Where the shards do not divide evenly, those that have most now may have one more: so fewest move.
fn set_quotas(parts: &mut [Part], shards: usize) {
    let (least, more) = (shards / parts.len(), shards % parts.len());
    let mut order: Vec<&mut Part> = parts.iter_mut().collect();
    order.sort_by_key(|part| (std::cmp::Reverse(part.shards.len()), part.member));
    for (at, part) in order.into_iter().enumerate() {
        part.quota = least + usize::from(at < more);
    }
}

/// How much a member wants a shard: FNV-1a over both, then murmur3's finalizer. It need not be the same
/// in two versions of the program: then they agree as soon as one of them is left.
fn score(member: MemberId, shard: u32) -> u64 {
    let bytes = member.to_bytes().into_iter().chain(shard.to_be_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use tidelog_env::{Rng as _, SeededRng};

    use super::*;

    const SHARDS: [usize; 6] = [0, 1, 5, 32, 33, 50];

    fn draw_member(rng: &SeededRng) -> MemberId {
        MemberId::from_random_bytes(rng.bytes_16())
    }

    fn draw_members(rng: &SeededRng) -> Vec<MemberId> {
        let count = 1 + rng.below(12);
        (0..count).map(|_| draw_member(rng)).collect()
    }

    /// Owners of a cluster that has seen better days: some shards free, some with owners that have gone.
    fn draw_present(rng: &SeededRng, members: &[MemberId], shards: usize) -> Vec<Option<MemberId>> {
        let gone = draw_member(rng);
        let draw = |_| match rng.below(4) {
            0 => None,
            1 => Some(gone),
            _ => {
                let below = u64::try_from(members.len()).unwrap();
                Some(members[usize::try_from(rng.below(below)).unwrap()])
            }
        };
        (0..shards).map(draw).collect()
    }

    fn counts(members: &[MemberId], owners: &[Option<MemberId>]) -> Vec<usize> {
        let count = |member: &MemberId| {
            let of_member = owners.iter().filter(|owner| **owner == Some(*member));
            of_member.count()
        };
        members.iter().map(count).collect()
    }

    fn moves(before: &[Option<MemberId>], after: &[Option<MemberId>]) -> usize {
        let pairs = before.iter().zip(after);
        pairs.filter(|(before, after)| before != after).count()
    }

    /// Runs a check on many drawn clusters.
    fn for_each_cluster(check: impl Fn(&SeededRng, &[MemberId], &[Option<MemberId>])) {
        for seed in 0..100 {
            let rng = SeededRng::new(seed);
            let members = draw_members(&rng);
            for shards in SHARDS {
                check(&rng, &members, &draw_present(&rng, &members, shards));
            }
        }
    }

    #[test]
    fn every_shard_has_an_owner_and_no_two_members_differ_by_more_than_one() {
        for_each_cluster(|_, members, present| {
            let owners = balance(members, present);
            assert_eq!(owners.len(), present.len());
            let counts = counts(members, &owners);
            assert_eq!(counts.iter().sum::<usize>(), owners.len());
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
            assert!(*most <= present.len().div_ceil(members.len()));
        });
    }

    #[test]
    fn the_order_in_which_members_are_named_has_no_meaning() {
        for_each_cluster(|rng, members, present| {
            let wanted = balance(members, present);
            let mut shuffled = members.to_vec();
            for at in (1..shuffled.len()).rev() {
                let other = rng.below(u64::try_from(at + 1).unwrap());
                shuffled.swap(at, usize::try_from(other).unwrap());
            }
            shuffled.push(shuffled[0]);
            assert_eq!(balance(&shuffled, present), wanted);
        });
    }

    #[test]
    fn a_balanced_cluster_stays_as_it_is() {
        for_each_cluster(|_, members, present| {
            let owners = balance(members, present);
            assert_eq!(balance(members, &owners), owners);
        });
    }

    #[test]
    fn only_what_a_new_member_gets_moves_when_it_joins() {
        for_each_cluster(|rng, members, present| {
            let before = balance(members, present);
            let new = draw_member(rng);
            let after = balance(&[members, &[new]].concat(), &before);
            let got = counts(&[new], &after)[0];
            assert_eq!(moves(&before, &after), got);
            // Without the new member's part the others would have too much.
            assert_eq!(got, present.len() / (members.len() + 1));
        });
    }

    #[test]
    fn only_what_a_member_had_moves_when_it_leaves() {
        for_each_cluster(|_, members, present| {
            let before = balance(members, present);
            let (gone, rest) = members.split_first().unwrap();
            if rest.is_empty() {
                return;
            }
            let had = counts(&[*gone], &before)[0];
            assert_eq!(moves(&before, &balance(rest, &before)), had);
        });
    }

    /// Shards go from hand to hand one by one, each first released and then taken, in any order: nobody
    /// changes its mind on the way, so that no shard moves twice.
    #[test]
    fn a_hand_over_ends_where_it_was_meant_to_whatever_comes_first() {
        for_each_cluster(|rng, members, present| {
            let before = balance(members, present);
            let all = [members, &[draw_member(rng)]].concat();
            let mut now = before.clone();
            let mut steps = 0;
            loop {
                let wanted = balance(&all, &now);
                let open: Vec<usize> = (0..now.len())
                    .filter(|at| now[*at] != wanted[*at])
                    .collect();
                let Some(bound) = u64::try_from(open.len()).ok().filter(|count| *count > 0) else {
                    break;
                };
                let at = open[usize::try_from(rng.below(bound)).unwrap()];
                now[at] = if now[at].is_some() { None } else { wanted[at] };
                steps += 1;
                assert!(steps <= 2 * now.len(), "shards go round in circles");
            }
            assert_eq!(steps, 2 * moves(&before, &now));
            assert_eq!(balance(&all, &now), now);
        });
    }

    #[test]
    fn nobody_owns_anything_where_there_are_no_members() {
        assert_eq!(balance(&[], &[None, None]), [None, None]);
    }
}
