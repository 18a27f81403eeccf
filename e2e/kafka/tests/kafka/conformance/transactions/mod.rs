//! Of transactions, in both protocols.

mod requests;

use anyhow::{Result, ensure};
use tidelog_kafka_codec::messages::*;
use tidelog_kafka_codec::{ErrorCode, Records};

use super::peer::{Peer, first};
use requests::{
    By, aborts, add, add_group, commits, describe, fetch, init, latest, offsets, produce,
    producers, records,
};

/// Nobody has it.
const NOBODY: By = ("nobody", 77_777, 0);

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    begin(peer).await?;
    strangers(peer).await?;
    by_the_first_protocol(peer).await?;
    by_the_second_protocol(peer).await?;
    fenced(peer).await
}

/// A new producer of an id.
async fn producer(peer: &mut Peer, id: &'static str) -> Result<By> {
    // Kafka reads its topic first, and both end what the producer before has left.
    for _ in 0..600 {
        let answer = peer.answer(&init(id), 5).await?;
        if answer.error_code == 0 {
            return Ok((id, answer.producer_id, answer.producer_epoch));
        }
        let code = ErrorCode::from_code(answer.error_code);
        ensure!(code.is_some_and(ErrorCode::is_retriable), "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("no producer for `{id}`")
}

/// Waits until everybody is told how the last transaction has ended.
async fn ended(peer: &mut Peer, id: &str) -> Result<()> {
    for _ in 0..600 {
        let answer = peer.answer(&describe(&[id]), 0).await?;
        if first(&answer.transaction_states)?
            .transaction_state
            .starts_with("Complete")
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("the transaction of `{id}` does not end")
}

async fn begin(peer: &mut Peer) -> Result<()> {
    // Kafka makes its topic of transactions when somebody looks for a coordinator.
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["first".into()],
        ..Default::default()
    };
    peer.answer(&find, 4).await?;
    // Kafka's first number is 0, which also stands for nobody.
    producer(peer, "zeroth").await?;
    let (id, number, epoch) = producer(peer, "first").await?;
    peer.call_it(&format!("producer_id: {number},"), "producer_id: FIRST,");
    for version in 0..=5 {
        peer.ask("the same again", init(id), version).await?;
    }
    let half = InitProducerIdRequest {
        producer_id: number,
        producer_epoch: -1,
        ..init(id)
    };
    peer.ask("half a producer", half, 5).await?;
    for version in 3..=5 {
        let old = InitProducerIdRequest {
            producer_id: number,
            producer_epoch: epoch,
            ..init(id)
        };
        peer.ask("an old producer", old, version).await?;
    }
    for timeout in [0, -1, i32::MAX] {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: timeout,
            ..init(id)
        };
        peer.ask(&format!("a timeout of {timeout}"), request, 5)
            .await?;
    }
    peer.ask("an id without a character", init(""), 5).await?;
    Ok(())
}

/// Of ids that are not there and producers that are others.
async fn strangers(peer: &mut Peer) -> Result<()> {
    let now = peer.now;
    producer(peer, "stranger").await?;
    let known = producer(peer, "stranger").await?;
    let older = (known.0, known.1, known.2 - 1);
    let other = (known.0, known.1 + 5_000, 0);
    for (who, by) in [("nobody", NOBODY), ("an older", older), ("another", other)] {
        for version in 0..=5 {
            let request = add(by, &[("t", &[0])], version);
            peer.ask(&format!("{who} adds"), request, version).await?;
        }
        for version in 0..=4 {
            let request = add_group(by, "g");
            peer.ask(&format!("{who} adds a group"), request, version)
                .await?;
        }
        for version in 0..=5 {
            peer.ask(&format!("{who} commits"), commits(by), version)
                .await?;
            let request = offsets(by, "nobodys", &[(0, 5)]);
            peer.ask(&format!("{who} commits offsets"), request, version)
                .await?;
        }
        for version in 9..=12 {
            let request = produce(by, (now, 0), &[(0, "x")]);
            let answer = peer.answer(&request, version).await?;
            peer.note_codes(&format!("{who} produces v{version}"), &answer);
        }
    }
    for version in 0..=5 {
        peer.ask("nothing is committed", commits(known), version)
            .await?;
        let known = producer(peer, "stranger").await?;
        peer.ask("nothing is aborted", aborts(known), version.min(4))
            .await?;
    }
    let known = producer(peer, "stranger").await?;
    let request = add(known, &[("t", &[0, 9]), ("nowhere", &[0])], 3);
    peer.ask("some that are not there", request, 3).await?;
    let request = describe(&["", "nobody"]);
    peer.ask("nobody is described", request, 0).await?;
    Ok(())
}

/// Shows a reader's and an operator's view of partition 0.
async fn shown(peer: &mut Peer, when: &str) -> Result<()> {
    for committed in [false, true] {
        let what = format!("{when}: {}", if committed { "committed" } else { "all" });
        let answer = peer.answer(&fetch(0, committed), 12).await?;
        let part = first(&first(&answer.responses)?.partitions)?;
        let aborted = part.aborted_transactions.as_ref();
        let aborted = aborted.map(|all| all.iter().map(|it| it.first_offset).collect::<Vec<_>>());
        let bytes = part.records.as_ref().map(Records::to_bytes);
        let text = format!(
            "high watermark {}, last stable {}, aborted {aborted:?}, records {:?}",
            part.high_watermark,
            part.last_stable_offset,
            records(bytes.unwrap_or_default()),
        );
        peer.note(&format!("{what} records"), text);
        peer.ask(&format!("{what} ends"), latest(0, committed), 7)
            .await?;
    }
    let what = format!("{when}: who has written");
    peer.ask(&what, producers(0), 0).await?;
    Ok(())
}

async fn by_the_first_protocol(peer: &mut Peer) -> Result<()> {
    let now = peer.now;
    let by = producer(peer, "one").await?;
    peer.call_it(&format!("producer_id: {},", by.1), "producer_id: ONE,");
    let early = peer.answer(&produce(by, (now, 0), &[(0, "x")]), 11).await?;
    peer.note_codes("a batch before its partition is added v11", &early);
    let early = peer.answer(&produce(by, (now, 0), &[(0, "x")]), 10).await?;
    peer.note_codes("a batch before its partition is added v10", &early);
    peer.ask("a partition is added", add(by, &[("t", &[0])], 3), 3)
        .await?;
    let first = peer.answer(&produce(by, (now, 0), &[(0, "a")]), 11).await?;
    peer.note_codes("a batch", &first);
    let again = peer.answer(&produce(by, (now, 0), &[(0, "a")]), 11).await?;
    peer.note_codes("the same batch", &again);
    let gap = peer.answer(&produce(by, (now, 7), &[(0, "c")]), 11).await?;
    peer.note_codes("a batch behind a gap", &gap);
    for version in [3, 4] {
        let request = offsets(by, "txn", &[(0, 5)]);
        peer.ask("offsets before the group is added", request, version)
            .await?;
    }
    peer.ask("a group is added", add_group(by, "txn"), 4)
        .await?;
    let request = offsets(by, "txn", &[(0, 5), (9, 5)]);
    peer.ask("offsets of a transaction", request, 4).await?;
    shown(peer, "open").await?;
    for version in [0, 1, 2] {
        peer.ask("those that are open", open(), version).await?;
    }
    peer.ask("it ends", commits(by), 4).await?;
    ended(peer, "one").await?;
    peer.ask("it ends again", commits(by), 4).await?;
    peer.ask("it ends the other way", aborts(by), 4).await?;
    let late = peer.answer(&produce(by, (now, 1), &[(0, "b")]), 11).await?;
    peer.note_codes("a batch after the end", &late);
    shown(peer, "committed").await?;
    // Another one, which is aborted.
    let request = add(by, &[("t", &[0, 1])], 3);
    peer.ask("two are added", request, 3).await?;
    let batches = peer.answer(&produce(by, (now, 1), &[(0, "d")]), 11).await?;
    peer.note_codes("a batch of the next", &batches);
    peer.ask("it is aborted", aborts(by), 4).await?;
    ended(peer, "one").await?;
    shown(peer, "aborted").await
}

fn open() -> ListTransactionsRequest {
    ListTransactionsRequest {
        state_filters: vec!["Ongoing".into(), "odd".into()],
        ..Default::default()
    }
}

async fn by_the_second_protocol(peer: &mut Peer) -> Result<()> {
    let now = peer.now;
    let by = producer(peer, "two").await?;
    peer.call_it(&format!("producer_id: {},", by.1), "producer_id: TWO,");
    let first = peer.answer(&produce(by, (now, 0), &[(1, "a")]), 12).await?;
    peer.note_codes("a batch that joins", &first);
    let request = offsets(by, "txn", &[(1, 6)]);
    peer.ask("offsets that join", request, 5).await?;
    peer.ask("another epoch", commits(by), 5).await?;
    ended(peer, "two").await?;
    peer.ask("the same end again", commits(by), 5).await?;
    peer.ask("the other end", aborts(by), 5).await?;
    let late = peer.answer(&produce(by, (now, 1), &[(1, "b")]), 12).await?;
    peer.note_codes("a batch of the old epoch", &late);
    let next = (by.0, by.1, by.2 + 1);
    peer.ask("nothing is committed", commits(next), 5).await?;
    peer.ask("nothing is aborted", aborts(next), 5).await?;
    let next = (by.0, by.1, by.2 + 2);
    let batch = peer
        .answer(&produce(next, (now, 0), &[(1, "c")]), 12)
        .await?;
    peer.note_codes("the next batch", &batch);
    peer.ask("it is aborted", aborts(next), 5).await?;
    ended(peer, "two").await
}

/// A producer that another has replaced, with a transaction open.
async fn fenced(peer: &mut Peer) -> Result<()> {
    let now = peer.now;
    let old = producer(peer, "fenced").await?;
    peer.call_it(&format!("producer_id: {},", old.1), "producer_id: FENCED,");
    let first = peer
        .answer(&produce(old, (now, 0), &[(1, "a")]), 12)
        .await?;
    peer.note_codes("a batch", &first);
    let new = producer(peer, "fenced").await?;
    peer.note("epochs go up", format!("{}", new.2 - old.2));
    ended_or_empty(peer).await?;
    for version in 10..=12 {
        let late = peer
            .answer(&produce(old, (now, 1), &[(1, "b")]), version)
            .await?;
        peer.note_codes(&format!("a batch of the fenced v{version}"), &late);
    }
    for version in 1..=5 {
        peer.ask("the fenced commits", commits(old), version)
            .await?;
    }
    let request = offsets(old, "txn", &[(1, 7)]);
    peer.ask("offsets of the fenced", request, 5).await?;
    Ok(())
}

async fn ended_or_empty(peer: &mut Peer) -> Result<()> {
    let answer = peer.ask("the new one", describe(&["fenced"]), 0).await?;
    ensure!(answer.transaction_states.len() == 1, "{answer:?}");
    Ok(())
}
