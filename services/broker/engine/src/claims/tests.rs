//! Facts about claims: who may go on, who waits, and that nobody waits for ever.

use std::collections::VecDeque;
use std::task::Poll;

use futures::poll;

use super::*;

const KIB: u64 = 1_024;

#[tokio::test]
async fn a_share_gives_out_no_more_than_it_has_and_takes_it_back() {
    let share = ClaimShare::new(10 * KIB);
    let first = share.claim(6 * KIB);
    assert!(first.try_whole());
    let second = share.claim(5 * KIB);
    assert!(!second.try_whole() && second.try_grow(KIB));
    let mut rest = Box::pin(second.grow(4 * KIB));
    assert!(poll!(&mut rest).is_pending());
    assert_eq!((share.free_bytes(), share.waiting()), (3 * KIB, 1));
    drop(first);
    rest.await;
    assert_eq!(
        (second.held_bytes(), share.free_bytes()),
        (5 * KIB, 5 * KIB)
    );
    drop(second);
    assert_eq!(share.free_bytes(), 10 * KIB);
}

#[tokio::test]
async fn halves_of_messages_never_take_what_all_of_them_need_to_come_in() {
    let share = ClaimShare::new(100 * KIB);
    let (first, second) = (share.claim(80 * KIB), share.claim(80 * KIB));
    assert!(first.try_grow(40 * KIB));
    // With 41 neither could come in: 19 would be free, and both need more.
    assert!(!second.try_grow(41 * KIB));
    assert!(second.try_grow(20 * KIB));
    let mut more = Box::pin(second.grow(KIB));
    assert!(poll!(&mut more).is_pending());
    first.grow(40 * KIB).await;
    assert_eq!((first.held_bytes(), share.free_bytes()), (80 * KIB, 0));
    drop(first);
    more.await;
    second.grow(u64::MAX).await;
    assert_eq!(second.held_bytes(), 80 * KIB);
}

#[tokio::test]
async fn a_message_that_fits_waits_for_nobody_who_wants_more() {
    let share = ClaimShare::new(1_000 * KIB);
    // Each has sent a little of much, until no more may come of any but one.
    let stalled: Vec<Claim> = (0..500).map(|_| share.claim(500 * KIB)).collect();
    let mut waiting: Vec<_> = stalled
        .iter()
        .map(|claim| Box::pin(claim.grow(KIB)))
        .collect();
    for grow in &mut waiting {
        let _ = poll!(grow);
    }
    assert_eq!(share.waiting(), 0, "what has come of all fits");
    let mut waiting: Vec<_> = stalled
        .iter()
        .map(|claim| Box::pin(claim.grow(KIB)))
        .collect();
    for grow in &mut waiting {
        let _ = poll!(grow);
    }
    assert!(share.waiting() > 400, "`{}` wait", share.waiting());
    let honest = share.claim(300 * KIB);
    let mut grow = Box::pin(honest.grow(300 * KIB));
    assert!(poll!(&mut grow).is_ready());
    assert_eq!(honest.held_bytes(), 300 * KIB);
}

#[tokio::test]
async fn who_begins_leaves_a_quarter_to_those_who_have_begun() {
    let share = ClaimShare::new(100 * KIB);
    let whole = share.claim(60 * KIB);
    assert!(whole.try_whole());
    let goes_on = share.claim(30 * KIB);
    assert!(goes_on.try_grow(5 * KIB));
    // The whole one stands still. What begins behind it takes all but a quarter.
    let begun: Vec<Claim> = (0..20).map(|_| share.claim(30 * KIB)).collect();
    let mut waiting: Vec<_> = begun
        .iter()
        .map(|one| Box::pin(one.grow(2 * KIB)))
        .collect();
    for grow in &mut waiting {
        let _ = poll!(grow);
    }
    assert_eq!((share.free_bytes(), share.waiting()), (25 * KIB, 15));
    goes_on.grow(25 * KIB).await;
    assert_eq!(share.free_bytes(), 0);
}

#[tokio::test]
async fn what_is_complete_counts_as_given_back() {
    let share = ClaimShare::new(100 * KIB);
    let done = share.claim(70 * KIB);
    assert!(done.try_grow(40 * KIB));
    let other = share.claim(90 * KIB);
    assert!(
        !other.try_grow(35 * KIB),
        "25 would be free, and `done` needs 30"
    );
    done.complete();
    assert!(other.try_grow(35 * KIB));
}

#[tokio::test]
async fn one_larger_than_the_share_waits_for_all_others_and_gets_all() {
    let share = ClaimShare::new(32 * KIB);
    let small = share.claim(4 * KIB);
    assert!(small.try_whole());
    let huge = share.claim(u64::MAX);
    assert!(!huge.try_whole());
    let mut grow = Box::pin(huge.grow(u64::from(u32::MAX)));
    assert!(poll!(&mut grow).is_pending());
    assert_eq!(
        huge.held_bytes(),
        16 * KIB,
        "the step after that does not fit"
    );
    drop(small);
    assert!(matches!(poll!(&mut grow), Poll::Ready(())));
    assert_eq!(huge.held_bytes(), 32 * KIB);
}

#[tokio::test]
async fn one_that_goes_while_it_waits_leaves_the_others_their_turn() {
    let share = ClaimShare::new(10 * KIB);
    let all = share.claim(10 * KIB);
    assert!(all.try_whole());
    let (first, second) = (share.claim(8 * KIB), share.claim(8 * KIB));
    let mut goes = Box::pin(first.grow(8 * KIB));
    let mut stays = Box::pin(second.grow(8 * KIB));
    assert!(poll!(&mut goes).is_pending() && poll!(&mut stays).is_pending());
    assert_eq!(share.waiting(), 2);
    drop(goes);
    drop(first);
    assert_eq!(share.waiting(), 1);
    drop(all);
    assert!(poll!(&mut stays).is_ready());
    drop(stays);
    drop(second);
    let state = share.state.lock();
    assert_eq!((state.free, state.complete), (10 * KIB, 0));
    assert!(state.claims.is_empty() && state.parts.is_empty());
    assert!(state.begun.is_empty() && state.beginning.is_empty());
}

#[tokio::test]
async fn all_who_go_on_sending_come_in_whatever_the_order() {
    for seed in 0..200_u64 {
        // Fewer than are looked at, and more.
        let count = if seed % 20 == 0 { 200 } else { 20 };
        let share = ClaimShare::new(100 * KIB);
        let mut random = seed;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let claims: Vec<Claim> = (0..count)
            .map(|_| share.claim(KIB + next(99 * KIB)))
            .collect();
        // Each sends a piece when it may, all at once, and is done when all of it has come.
        let mut sending: Vec<_> = claims
            .into_iter()
            .map(|claim| {
                let piece = KIB + next(19 * KIB);
                Box::pin(async move {
                    loop {
                        let before = claim.held_bytes();
                        claim.grow(piece).await;
                        if claim.held_bytes() == before {
                            return;
                        }
                        futures::pending!();
                    }
                })
            })
            .collect();
        let mut rounds = 0;
        while !sending.is_empty() {
            rounds += 1;
            assert!(
                rounds < 100_000,
                "seed {seed}: {} wait for ever: {share:?}",
                sending.len()
            );
            let mut left = Vec::new();
            for mut send in sending {
                if poll!(&mut send).is_pending() {
                    left.push(send);
                }
            }
            sending = left;
            // The runtime lets a task do only so much in one go.
            tokio::task::yield_now().await;
        }
        assert_eq!(share.free_bytes(), 100 * KIB);
    }
}

#[tokio::test]
async fn what_was_gathered_takes_no_more_than_was_claimed_and_keeps_its_order() {
    let share = ClaimShare::new(100 * KIB);
    let sent: Vec<u8> = (0..50_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    for piece in [1, 1_000, 4_096, 30_000, 50_000] {
        let mut gathered = Gathered::new(share.claim(50_000));
        for part in sent.chunks(piece) {
            assert!(gathered.has_room(part.len()));
            gathered.put(part);
            let held = 100 * KIB - share.free_bytes();
            assert!(
                gathered.allocated <= held && held <= gathered.len() as u64 + 4_096,
                "{held}"
            );
        }
        let (chunks, claim) = gathered.into_parts();
        assert_eq!(chunks.concat(), sent);
        assert_eq!(claim.held_bytes(), 50_000);
        drop(claim);
        assert_eq!(share.free_bytes(), 100 * KIB);
    }
}

#[tokio::test]
async fn a_crowd_that_cannot_begin_yet_keeps_nobody_from_going_on() {
    let share = ClaimShare::new(1_000 * KIB);
    let begun: Vec<Claim> = (0..30).map(|_| share.claim(100 * KIB)).collect();
    assert!(begun.iter().all(|claim| claim.try_grow(25 * KIB)));
    // All but a quarter is held. Those who want to begin need less, and wait longer.
    let crowd: Vec<Claim> = (0..200).map(|_| share.claim(50 * KIB)).collect();
    let mut waiting: Vec<_> = crowd
        .iter()
        .map(|claim| Box::pin(claim.grow(16 * KIB)))
        .collect();
    for grow in &mut waiting {
        assert!(poll!(grow).is_pending());
    }
    for claim in begun {
        let mut grow = Box::pin(claim.grow(75 * KIB));
        assert!(poll!(&mut grow).is_ready());
    }
    for grow in waiting.iter_mut().take(5) {
        assert!(poll!(grow).is_ready());
    }
}

#[tokio::test]
async fn small_ones_that_come_again_and_again_let_each_large_one_begin() {
    let share = ClaimShare::new(1_000 * KIB);
    // All but a quarter is held, and comes back little by little.
    let mut held: VecDeque<Claim> = (0..75)
        .map(|_| {
            let claim = share.claim(10 * KIB);
            assert!(claim.try_whole());
            claim
        })
        .collect();
    let large = share.claim(500 * KIB);
    let mut begins = Box::pin(large.grow(16 * KIB));
    assert!(poll!(&mut begins).is_pending());
    for round in 0.. {
        assert!(round < 100, "overtaken by `{round}`");
        let small = share.claim(10 * KIB);
        {
            let mut grow = Box::pin(small.grow(10 * KIB));
            let _ = poll!(&mut grow);
            drop(held.pop_front());
            let _ = poll!(&mut grow);
        }
        held.push_back(small);
        if poll!(&mut begins).is_ready() {
            break;
        }
    }
}
