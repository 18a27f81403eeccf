//! Transactional ids, asked from another process.

use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata_api::*;
use tidelog_store::memory::MemoryStore;
use tidelog_types::*;

use crate::fake::Fake;
use crate::groups::{at, commit_of, fetched};
use crate::world::*;

fn id(text: &str) -> TransactionalId {
    TransactionalId::new(text).expect("a good id")
}

fn init(text: &str) -> InitTransactions {
    InitTransactions {
        id: id(text),
        timeout: Duration::from_mins(1),
        expected: None,
    }
}

fn work(text: &str, producer: ProducerIdentity) -> TransactionWork {
    let group = GroupName::new("g").expect("a good name");
    TransactionWork {
        id: id(text),
        producer,
        participants: [Participant::Partition(at(0)), Participant::Group(group)].into(),
    }
}

fn end(text: &str, producer: ProducerIdentity) -> EndTransaction {
    EndTransaction {
        id: id(text),
        producer,
        decision: Decision::Commit,
        version: TransactionVersion::Two,
    }
}

/// Everything that a producer and an operator ask, with offsets that show when it has committed.
#[tokio::test]
async fn a_transactional_id_is_the_same_from_another_process() {
    let service = real(&MemoryStore::new()).await;
    service.reaches_itself();
    let server = active(&service).await;
    let node = remote(&server.address).await;
    let one = node.init(init("t")).await.expect("nobody has it");
    assert_eq!(one.epoch, ProducerEpoch::new(0));
    let number = node.add(work("t", one)).await;
    assert_eq!(number, Ok(TransactionNumber(1)));
    let verified = node.verify(work("t", one)).await.expect("it is open");
    assert_eq!(verified.number, TransactionNumber(1));
    assert!(verified.missing.is_empty());
    let commit = CommitOffsets {
        transaction: Some(OpenTransaction {
            producer: one,
            number: TransactionNumber(1),
        }),
        ..commit_of("g", 7)
    };
    let outcomes = node.commit_offsets(commit).await;
    assert_eq!(outcomes, Ok(vec![Ok(())]));
    assert_eq!(fetched(&node, "g").await, None);
    let ids = [id("t"), id("other")];
    let known = service.describe_transactions(&ids).await;
    assert_eq!(node.describe_transactions(&ids).await, known);
    let filter = TransactionFilter::default();
    let page = node.list_transactions(&filter, &[], 10).await;
    let page = page.expect("an answer");
    assert_eq!(page.transactions[0].state, TransactionState::Ongoing);
    let next = node.end(end("t", one)).await.expect("it is open");
    assert_eq!(next.epoch, ProducerEpoch::new(1));
    for _ in 0..200 {
        if fetched(&node, "g").await == Some(7) {
            let fenced = TransactionsError::Refused(TransactionError::Fenced);
            assert_eq!(node.add(work("t", one)).await, Err(fenced));
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the group does not hear of the end");
}

/// The id of a shard that moves is found at its next owner, also by who waits at the one before.
#[tokio::test]
async fn a_router_asks_the_coordinator_of_an_id_and_the_next_one() {
    let (a, b) = (Fake::owning(&[0]), Fake::owning(&[1]));
    let servers = [active(&a).await, active(&b).await];
    let owners = |owners: &[u8], epoch| {
        let seen = view(&[&servers[0].address, &servers[1].address], owners, epoch);
        a.view.send_replace(Arc::clone(&seen));
        b.view.send_replace(seen);
    };
    owners(&[1, 2], 1);
    let router = Arc::new(router(&[&servers[0]], None).await);
    let in_shard = |shard| {
        let names = (0..).map(|number| format!("t{number}"));
        let is_in = |text: &String| transaction_shard(&id(text), 2) == ShardId::new(shard);
        names.into_iter().find(is_in).expect("names spread")
    };
    let producer = ProducerIdentity::new(ProducerId::new(1), ProducerEpoch::new(0));
    for shard in [0, 1] {
        let asked = work(&in_shard(shard), producer);
        assert_eq!(router.add(asked).await, Ok(TransactionNumber(7)));
    }
    // What the producer has to hear is not asked again.
    let concurrent = TransactionsError::Refused(TransactionError::Concurrent);
    let ended = router.end(end(&in_shard(0), producer)).await;
    assert_eq!(ended, Err(concurrent));
    let missing = vec![Err(TransactionsError::NotFound); 2];
    let ids = [0, 1].map(|shard| id(&in_shard(shard)));
    assert_eq!(router.describe_transactions(&ids).await, missing);
    let filter = TransactionFilter::default();
    let (mut next, mut listed) = (Vec::new(), Vec::new());
    loop {
        let page = router.list_transactions(&filter, &next, 10).await;
        let page = page.expect("an answer");
        listed.extend(page.transactions.into_iter().map(|one| one.id));
        if page.next.is_empty() {
            break;
        }
        next = page.next;
    }
    assert_eq!(listed, [id("of-0"), id("of-1")]);
    // One waits at the first owner, which then loses the shard.
    a.joins.send_replace(0);
    a.gate.send_replace(false);
    let waiting = Arc::clone(&router);
    let asked = work(&in_shard(0), producer);
    let waiting = tokio::spawn(async move { waiting.add(asked).await });
    let mut joined = a.joins.subscribe();
    let one = joined.wait_for(|joins| *joins == 1);
    drop(tokio::time::timeout(LONG, one).await.expect("it waits"));
    b.said.lock().groups.insert(ShardId::new(0), 1);
    a.said.lock().groups.remove(&ShardId::new(0));
    owners(&[2, 2], 2);
    let told = tokio::time::timeout(LONG, waiting).await.expect("soon");
    assert_eq!(told.expect("it ends"), Ok(TransactionNumber(7)));
}

#[tokio::test]
async fn of_a_request_that_is_not_answered_in_time_nothing_is_known() {
    let fake = Fake::owning(&[0, 1]);
    fake.gate.send_replace(false);
    let server = active(&fake).await;
    fake.view.send_replace(view(&[&server.address], &[1, 1], 1));
    let node = remote(&server.address).await;
    let producer = ProducerIdentity::new(ProducerId::new(1), ProducerEpoch::new(0));
    let asked = node.add(work("t", producer));
    let refused = tokio::time::timeout(LONG, asked).await;
    assert_eq!(refused.expect("soon"), Err(TransactionsError::Unknown));
}
