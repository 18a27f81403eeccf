//! The same requests of groups to Apache Kafka and to Tidelog: the answers are the same, or differ as the table
//! here says.

mod absent;
mod classic;
mod consumer;
mod offsets;
pub(crate) mod peer;
mod requests;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Place, Server, ServerOptions};

use peer::{Apache, Peer};

/// What is answered in another way, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("an old commit of a consumer v8", "any version may commit"),
    (
        "offsets are deleted v0",
        "partitions are told in the order in which they were asked for",
    ),
];

/// Asks for everything there is to ask for of groups.
async fn asked(mut peer: Peer) -> Result<Vec<(String, String)>> {
    peer.create_topic().await?;
    absent::ask(&mut peer).await?;
    offsets::ask(&mut peer).await?;
    classic::ask(&mut peer).await?;
    classic::ask_static(&mut peer).await?;
    consumer::ask(&mut peer).await?;
    consumer::ask_static(&mut peer).await?;
    Ok(peer.notes)
}

#[tokio::test]
async fn groups_are_answered_for_as_by_apache_kafka() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let apache = Apache::start(folder.path()).await?;
    let place = Place::folder(folder.path().join("tidelog"));
    let server = Server::start(ServerOptions::at(&place)).await?;
    let expected = asked(Peer::connect(apache.address).await?).await?;
    let got = asked(Peer::connect(server.kafka()).await?).await?;
    ensure!(expected.len() == got.len(), "not as many answers");
    let mut wrong = Vec::new();
    for ((what, expected), (_, got)) in expected.iter().zip(&got) {
        let may_differ = DIFFERENT.iter().any(|(known, _)| known == what);
        if may_differ == (expected == got) {
            wrong.push(format!("{what}\n  Kafka   {expected}\n  Tidelog {got}"));
        }
    }
    println!("{} answers compared", expected.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
