use std::pin::Pin;

use futures::poll;

use super::*;

/// Three quarters are for all: 24. Of the eight that are kept, a small request takes one at most.
const TOTAL: u64 = 32;

type Wait<'a> = Pin<Box<dyn Future<Output = FairHold> + 'a>>;

fn ask(share: &FairShare, holder: u64, need: Need) -> Wait<'_> {
    Box::pin(share.hold(HolderId(holder), need))
}

async fn got(wait: &mut Wait<'_>) -> Option<FairHold> {
    match poll!(wait) {
        std::task::Poll::Ready(hold) => Some(hold),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn whoever_holds_nothing_goes_first_and_then_whoever_came_first() {
    let share = FairShare::new(TOTAL);
    let large = share.hold(HolderId(1), Need::Exactly(20)).await;
    let _rest = share.hold(HolderId(2), Need::Exactly(4)).await;
    let mut greedy = ask(&share, 1, Need::Exactly(8));
    let mut modest = ask(&share, 2, Need::Exactly(8));
    let mut first = ask(&share, 3, Need::Exactly(8));
    let mut second = ask(&share, 4, Need::Exactly(8));
    for wait in [&mut greedy, &mut modest, &mut first, &mut second] {
        assert!(got(wait).await.is_none());
    }
    drop(large);
    // Twenty are free for two of them; by now the greedy one holds nothing, and came first of all.
    let greedy = got(&mut greedy).await.expect("it holds nothing any more");
    let first = got(&mut first).await.expect("it came before the second");
    assert!(got(&mut modest).await.is_none() && got(&mut second).await.is_none());
    drop(greedy);
    let second = got(&mut second).await;
    assert!(second.is_some() && got(&mut modest).await.is_none());
    drop(first);
    assert!(got(&mut modest).await.is_some());
}

#[tokio::test]
async fn one_holder_with_many_requests_gets_one_when_others_wait() {
    let share = FairShare::new(TOTAL);
    let all = share.hold(HolderId(9), Need::Exactly(24)).await;
    let mut many: Vec<Wait<'_>> = (0..10).map(|_| ask(&share, 1, Need::Exactly(8))).collect();
    for wait in &mut many {
        assert!(got(wait).await.is_none());
    }
    let mut others = [
        ask(&share, 2, Need::Exactly(8)),
        ask(&share, 3, Need::Exactly(8)),
    ];
    for wait in &mut others {
        assert!(got(wait).await.is_none());
    }
    drop(all);
    let mut served = Vec::new();
    for wait in &mut many {
        served.extend(got(wait).await);
    }
    assert_eq!(served.len(), 1);
    for wait in &mut others {
        served.extend(got(wait).await);
    }
    assert_eq!((served.len(), share.used_bytes()), (3, 24));
}

#[tokio::test]
async fn a_small_request_of_a_newcomer_is_served_at_once_however_full_the_rest_is() {
    let share = FairShare::new(TOTAL);
    let _all = share.hold(HolderId(1), Need::Exactly(24)).await;
    let mut large: Vec<Wait<'_>> = (2..100)
        .map(|holder| ask(&share, holder, Need::Exactly(2)))
        .collect();
    for wait in &mut large {
        assert!(got(wait).await.is_none());
    }
    let mut again = ask(&share, 1, Need::Exactly(1));
    assert!(got(&mut again).await.is_none(), "it holds much already");
    let mut small = Vec::new();
    for holder in 100..108 {
        let mut wait = ask(&share, holder, Need::Exactly(1));
        small.push(got(&mut wait).await.expect("there is some for it"));
    }
    let mut next = ask(&share, 108, Need::Exactly(1));
    assert!(got(&mut next).await.is_none());
    small.pop();
    assert!(got(&mut next).await.is_some());
}

#[tokio::test]
async fn turns_are_given_for_what_is_free_and_a_huge_request_waits_for_half() {
    let share = FairShare::new(TOTAL);
    let mut all = share.hold(HolderId(1), Need::Exactly(24)).await;
    let mut turns: Vec<Wait<'_>> = (2..10)
        .map(|holder| ask(&share, holder, Need::Room(8)))
        .collect();
    for wait in &mut turns {
        assert!(got(wait).await.is_none());
    }
    drop(all.split(16));
    let mut given = Vec::new();
    for wait in &mut turns {
        given.extend(got(wait).await);
    }
    assert_eq!((given.len(), all.bytes()), (2, 8));
    for hold in &mut given {
        // Who had a turn may bring more than there is.
        hold.add(30);
    }
    drop(turns);
    assert_eq!(share.used_bytes(), 68);
    let mut huge = ask(&share, 20, Need::Exactly(1_000));
    assert!(got(&mut huge).await.is_none());
    drop(given);
    // Eight are still held, and more than half is free.
    assert_eq!(got(&mut huge).await.map(|hold| hold.bytes()), Some(1_000));
    drop(all);
    drop(huge);
    assert_eq!((share.used_bytes(), share.waiting()), (0, 0));
    assert!(share.state.lock().holders.is_empty());
}
