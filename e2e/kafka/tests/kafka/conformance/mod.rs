//! The same requests to Apache Kafka and to Tidelog: the answers are the same, or differ as a table here says.

mod about;
mod differences;
mod groups;
mod log;
pub(crate) mod peer;
mod text;
mod tools;
mod topics;
mod transactions;

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use tidelog_e2e_harness::{Place, Server, ServerOptions};

use differences::Different;
use peer::{Apache, Notes, Peer};

/// Asks both, and compares; if they differ, once more.
///
/// A broker of Apache Kafka does some things after it has answered for them, and on a busy machine it may take longer
/// than a question waits for. What differs by that does not differ again, from the beginning and with new brokers.
async fn compared(
    asked: impl AsyncFn(&mut Peer) -> Result<()>,
    different: &[Different],
) -> Result<()> {
    let Err(first) = compared_once(&asked, different).await else {
        return Ok(());
    };
    println!("a second time, since the first one has ended with: {first:?}");
    compared_once(&asked, different).await
}

async fn compared_once(
    asked: &impl AsyncFn(&mut Peer) -> Result<()>,
    different: &[Different],
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let apache = Apache::start(folder.path()).await?;
    let place = Place::folder(folder.path().join("tidelog"));
    let server = Server::start(ServerOptions::at(&place)).await?;
    // The same to both: what is written says when.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = i64::try_from(now.as_millis())?;
    // Apache Kafka comes second, which does some things after it has answered: it is waited for where that is known.
    let mut notes = [Notes::new(), Notes::new()];
    for (turn, (who, address)) in [
        ("Tidelog", server.kafka()),
        ("Apache Kafka", apache.address),
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = Peer::connect(address).await?;
        peer.now = now;
        peer.other = std::mem::take(&mut notes[0]);
        peer.create_topic("t", 2).await?;
        asked(&mut peer).await.context(who)?;
        notes[0] = peer.other;
        notes[turn] = peer.notes;
    }
    let [got, expected] = notes;
    let wrong = differing(&expected, &got, different)?;
    println!("{} answers compared", expected.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is not as it should be: answers that differ, and answers that should and do not.
fn differing(expected: &Notes, got: &Notes, different: &[Different]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (known, _) in different {
        if !expected.iter().any(|(what, _)| is_meant(known, what)) {
            wrong.push(format!("{known}\n  was not asked"));
        }
    }
    for ((what, expected), (same, got)) in expected.iter().zip(got) {
        ensure!(
            what == same,
            "`{what}` was asked of one and `{same}` of the other"
        );
        let may_differ = different.iter().any(|(known, _)| is_meant(known, what));
        if may_differ == text::is_same(expected, got) {
            wrong.push(format!("{what}\n  Kafka   {expected}\n  Tidelog {got}"));
        }
    }
    ensure!(expected.len() == got.len(), "not as many answers");
    Ok(wrong)
}

/// Whether a line of a table means a question: in one version, or in all.
fn is_meant(known: &str, what: &str) -> bool {
    let version = what
        .strip_prefix(known)
        .and_then(|rest| rest.strip_prefix(" v"));
    known == what || version.is_some_and(|it| it.bytes().all(|c| c.is_ascii_digit()))
}

#[tokio::test]
async fn groups_are_answered_for_as_by_apache_kafka() -> Result<()> {
    compared(groups::ask, differences::GROUPS).await
}

#[tokio::test]
async fn transactions_are_answered_for_as_by_apache_kafka() -> Result<()> {
    compared(transactions::ask, differences::TRANSACTIONS).await
}

#[tokio::test]
async fn tools_are_answered_as_by_apache_kafka() -> Result<()> {
    compared(tools::ask, differences::TOOLS).await
}

#[tokio::test]
async fn what_is_served_is_told_as_by_apache_kafka() -> Result<()> {
    compared(about::ask, differences::ABOUT).await
}

#[tokio::test]
async fn topics_are_answered_for_as_by_apache_kafka() -> Result<()> {
    compared(topics::ask, differences::TOPICS).await
}

#[tokio::test]
async fn records_are_answered_for_as_by_apache_kafka() -> Result<()> {
    compared(log::ask, differences::RECORDS).await
}
