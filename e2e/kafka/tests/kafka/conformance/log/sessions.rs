//! Of fetch sessions.

use anyhow::Result;
use tidelog_kafka_codec::messages::FetchRequest;
use tidelog_kafka_codec::messages::fetch_request::ForgottenTopic;

use super::fetch::{Topic, fetch, from, note, topic};
use crate::conformance::peer::Peer;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    for version in [7, 12, 13, 18] {
        session(peer, version).await?;
    }
    Ok(())
}

/// A request within a session, and what it is.
struct Step {
    what: &'static str,
    /// What is added or changed: partitions and offsets.
    wanted: Vec<(i32, i64)>,
    /// What is no longer wanted.
    forgotten: Vec<i32>,
    /// How far its epoch and its id are from those that they should be.
    off: (i32, i32),
}

fn steps() -> Vec<Step> {
    let step = |what, wanted: &[(i32, i64)]| Step {
        what,
        wanted: wanted.to_vec(),
        forgotten: Vec::new(),
        off: (0, 0),
    };
    vec![
        step("goes on", &[]),
        step("goes back", &[(0, 1)]),
        step("wants another", &[(1, 0)]),
        step("wants none that is there", &[(9, 0)]),
        step("hears again of what is not there", &[]),
        Step {
            forgotten: vec![0, 9],
            ..step("forgets", &[])
        },
        step("goes on with what is left", &[(1, 2)]),
        Step {
            off: (5, 0),
            ..step("is in another epoch", &[])
        },
        Step {
            off: (0, 1),
            ..step("is another", &[])
        },
        step("goes on as if nothing had been", &[]),
    ]
}

async fn session(peer: &mut Peer, version: i16) -> Result<()> {
    let t: Topic = ("t", peer.topic);
    let begin = FetchRequest {
        session_epoch: 0,
        ..fetch(vec![topic(t, vec![from(0, 2)])], version)
    };
    let answer = peer.answer(&begin, version).await?;
    let id = answer.session_id;
    note(peer, "a session begins", version, answer);
    let mut epoch = 0;
    for step in steps() {
        let wanted = step
            .wanted
            .iter()
            .map(|(index, offset)| from(*index, *offset));
        let wanted: Vec<_> = wanted.collect();
        let topics = if wanted.is_empty() {
            Vec::new()
        } else {
            vec![topic(t, wanted)]
        };
        let named = fetch(vec![topic(t, Vec::new())], version).topics.remove(0);
        let forgotten = (!step.forgotten.is_empty()).then(|| ForgottenTopic {
            topic: named.topic,
            topic_id: named.topic_id,
            partitions: step.forgotten,
        });
        let request = FetchRequest {
            session_id: id + step.off.1,
            session_epoch: epoch + 1 + step.off.0,
            forgotten_topics_data: forgotten.into_iter().collect(),
            ..fetch(topics, version)
        };
        let answer = peer.answer(&request, version).await?;
        if answer.error_code == 0 {
            epoch += 1;
        }
        note(peer, &format!("a session {}", step.what), version, answer);
    }
    let end = FetchRequest {
        session_id: id,
        session_epoch: -1,
        ..fetch(vec![topic(t, vec![from(0, 2)])], version)
    };
    let answer = peer.answer(&end, version).await?;
    note(peer, "a session ends", version, answer);
    let late = FetchRequest {
        session_id: id,
        session_epoch: epoch + 1,
        ..fetch(Vec::new(), version)
    };
    let answer = peer.answer(&late, version).await?;
    note(peer, "a session that has ended", version, answer);
    Ok(())
}
