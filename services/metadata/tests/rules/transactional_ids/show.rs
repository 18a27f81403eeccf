//! What operators see (KIP-664, KIP-994).

use std::time::Duration;

use tidelog_metadata_api::{
    Decision, TransactionFilter, TransactionListing, TransactionState, TransactionVersion,
    Transactions, TransactionsError,
};
use tidelog_types::{ProducerId, Timestamp};

use super::{Client, TIMEOUT, at, group, id, open, opened, producer, soon};
use crate::world::World;

async fn list(to: &impl Transactions, filter: &TransactionFilter, count: usize) -> Vec<String> {
    let (mut next, mut names) = (Vec::new(), Vec::new());
    loop {
        let page = to.list_transactions(filter, &next, count).await;
        let page = page.expect("it answers");
        assert!(page.transactions.len() <= count);
        let ids = page.transactions.iter();
        names.extend(ids.map(|listed| listed.id.as_str().to_owned()));
        if page.next.is_empty() {
            return names;
        }
        next = page.next;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_described_with_who_takes_part_and_was_not_told() {
    let (_, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    client.add(one, &[group("g")]).await.expect("it takes part");
    let describe = || async {
        let ids = [id("t"), id("nobody")];
        let mut described = process.describe_transactions(&ids).await;
        assert_eq!(described.pop(), Some(Err(TransactionsError::NotFound)));
        described.pop().expect("one for one").expect("it is there")
    };
    let shown = describe().await;
    assert_eq!(shown.state, TransactionState::Ongoing);
    assert_eq!((shown.timeout, shown.producer), (TIMEOUT, one));
    assert_eq!(shown.started_at, Some(Timestamp::from_millis(1_000_000)));
    assert_eq!(shown.participants, [at(0), group("g")].into());
    told.hold(true);
    client.commit(one).await.expect("it is decided");
    let shown = describe().await;
    assert_eq!(shown.state, TransactionState::PrepareCommit);
    assert_eq!(shown.producer, producer(1, 1));
    assert_eq!(shown.participants.len(), 2);
    assert_eq!(process.transactions("ending"), 1);
    told.hold(false);
    soon().await;
    let shown = describe().await;
    assert_eq!(shown.state, TransactionState::CompleteCommit);
    assert!(shown.participants.is_empty());
    assert_eq!(process.transactions("ending"), 0);
    assert_eq!(process.transactions("markers_total"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_known_stays_in_no_memory() {
    let (_, process, _) = opened().await;
    let asked: Vec<_> = (0..20).map(|_| id("nobody")).collect();
    let described = process.describe_transactions(&asked).await;
    assert_eq!(described, vec![Err(TransactionsError::NotFound); 20]);
    assert_eq!(process.transactions("ids_held"), 0);
}

#[tokio::test(start_paused = true)]
async fn ids_of_all_shards_are_listed_in_pages_as_the_filter_says() {
    let mut world = World::new();
    world.shards = 4;
    let told = super::ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    let mut all = Vec::new();
    for number in 0..30 {
        let name = format!("t{number:02}");
        let client = Client::new(&process.service, &name);
        let one = client.init(None).await.expect("nobody has it");
        if number % 3 == 0 {
            client.add(one, &[at(0)]).await.expect("it takes part");
        }
        if number % 6 == 0 {
            let aborted = client.end(one, Decision::Abort, TransactionVersion::One);
            aborted.await.expect("it is open");
        }
        all.push(name);
    }
    soon().await;
    for count in [1, 7, 1_000] {
        let mut listed = list(&process.service, &TransactionFilter::default(), count).await;
        listed.sort_unstable();
        assert_eq!(listed, all, "{count} at a time");
    }
    let of = |states: &[TransactionState]| TransactionFilter {
        states: states.to_vec(),
        ..TransactionFilter::default()
    };
    let service = &process.service;
    let ongoing = list(service, &of(&[TransactionState::Ongoing]), 4).await;
    assert_eq!(ongoing.len(), 5);
    let aborted = list(service, &of(&[TransactionState::CompleteAbort]), 4).await;
    assert_eq!(aborted.len(), 5);
    let of_producer = TransactionFilter {
        producers: vec![ProducerId::new(5)],
        ..TransactionFilter::default()
    };
    assert_eq!(list(service, &of_producer, 4).await, ["t04"]);
    let longer = TransactionFilter {
        longer_than: Some(Duration::from_secs(5)),
        ..of(&[TransactionState::Ongoing])
    };
    assert!(list(service, &longer, 4).await.is_empty());
    world.clock.jump_wall(6_000);
    assert_eq!(list(service, &longer, 4).await.len(), 5);
    let nonsense = service.list_transactions(&of(&[]), &[1], 1).await;
    assert!(matches!(
        nonsense,
        Err(TransactionsError::InvalidRequest { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_listing_shows_the_state_that_is_durable() {
    let (_, process, _) = opened().await;
    open(&process.service, "t").await;
    let filter = TransactionFilter::default();
    let page = process.list_transactions(&filter, &[], 10).await;
    let listed = TransactionListing {
        id: id("t"),
        producer: ProducerId::new(1),
        state: TransactionState::Ongoing,
    };
    assert_eq!(page.expect("it answers").transactions, [listed]);
}
