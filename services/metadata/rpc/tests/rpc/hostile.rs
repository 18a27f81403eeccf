//! Peers that send too much, nonsense or nothing harm nobody else.

use std::sync::Arc;
use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_api::internal::v1::cluster_service_client::ClusterServiceClient;
use tidelog_api::internal::v1::sequencer_service_client::SequencerServiceClient;
use tidelog_api::internal::v1::writer_service_client::WriterServiceClient;
use tidelog_metadata_api::*;
use tidelog_metadata_rpc::{Parts, Peer, PeerAuthorizer, PeerDenied, ServerSettings, Standing};
use tidelog_types::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::fake::Fake;
use crate::world::*;

async fn channel(server: &Served) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address))
        .expect("a test process answers");
    endpoint.connect().await.expect("a test process answers")
}

async fn is_well(server: &Served) {
    let node = remote(&server.address).await;
    committed(&node, commit(7, 1, 0, 0))
        .await
        .expect("a test process answers");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let channel = channel(&server).await;
    let huge = v1::ShardCommit {
        manifest: vec![7; 17 * 1024 * 1024].into(),
        ..Default::default()
    };
    let request = v1::CommitRequest {
        request_id: 1,
        commits: vec![huge],
    };
    let mut client =
        SequencerServiceClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
    let stream = client.commit(futures::stream::iter([request])).await;
    let mut stream = stream.unwrap().into_inner();
    assert!(stream.message().await.is_err());
    let many = v1::LocateRequest {
        lookups: vec![v1::Lookup::default(); 10_001],
    };
    let refused = client.locate(many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let member = v1::Member {
        member_id: vec![1; 16].into(),
        name: "n".repeat(100_000),
        ..Default::default()
    };
    let request = v1::JoinRequest {
        request: Some(v1::join_request::Request::Member(member)),
    };
    let mut cluster = ClusterServiceClient::new(channel);
    let joined = cluster.join(futures::stream::iter([request])).await;
    assert!(joined.unwrap().into_inner().message().await.is_err());
    assert!(fake.said.lock().members.is_empty());
    is_well(&server).await;
}

#[tokio::test]
async fn nonsense_in_a_commit_is_refused_for_itself() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let mut client = SequencerServiceClient::new(channel(&server).await);
    let good = v1::ShardCommit {
        manifest: commit(7, 5, 0, 0).manifest.encode().into(),
        ..Default::default()
    };
    let bad = |manifest: &'static [u8]| v1::ShardCommit {
        manifest: manifest.into(),
        ..Default::default()
    };
    let request = v1::CommitRequest {
        request_id: 3,
        commits: vec![bad(b""), good.clone(), bad(b"\x01garbage"), good],
    };
    let stream = client.commit(futures::stream::iter([request])).await;
    let answer = stream
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.request_id, 3);
    let is_good = |result: &v1::CommitResult| {
        matches!(result.result, Some(v1::commit_result::Result::Answer(_)))
    };
    let told: Vec<bool> = answer.results.iter().map(is_good).collect();
    assert_eq!(told, [false, true, false, true]);
    assert_eq!(fake.said.lock().commits, [5, 5]);
    is_well(&server).await;
}

#[tokio::test]
async fn a_peer_that_speaks_no_http_or_nothing_loses_its_connection_and_its_seat() {
    let fake = Fake::owning(&[0]);
    let settings = ServerSettings {
        connections_max: 2,
        greeting_timeout: Duration::from_millis(200),
        ..ServerSettings::default()
    };
    let standing = Standing::Active(Parts::of(Arc::clone(&fake)));
    let server = served_with(
        standing,
        settings,
        Arc::new(tidelog_metadata_rpc::AllowPeers),
    )
    .await;
    let mut garbage = TcpStream::connect(&server.address).await.unwrap();
    garbage.write_all(&[0xff; 200]).await.unwrap();
    let mut silent = TcpStream::connect(&server.address).await.unwrap();
    silent.write_all(b"PRI * ").await.unwrap();
    let mut nothing = Vec::new();
    for mut stream in [garbage, silent] {
        // The server ends it, with or without a word.
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut nothing));
        let _ = read.await.unwrap();
    }
    // Both seats are free again; one connection does not need the other to end.
    is_well(&server).await;
}

#[tokio::test]
async fn a_deadline_of_the_caller_is_honoured() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let mut client = WriterServiceClient::new(channel(&server).await);
    let mut request = Request::new(v1::RaiseFloorRequest::default());
    request.set_timeout(Duration::from_millis(50));
    let late = tokio::time::timeout(LONG, client.raise_floor(request)).await;
    let code = late.unwrap().unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled));
}

/// Refuses one method.
#[derive(Debug)]
struct Refuses(&'static str);

impl PeerAuthorizer for Refuses {
    fn authorize(&self, peer: &Peer, method: &'static str) -> Result<(), PeerDenied> {
        assert!(peer.address.is_some() && peer.certificates.is_empty());
        if method == self.0 {
            return Err(PeerDenied { method });
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_call_asks_whether_its_peer_may() {
    let methods = [
        "SequencerService/Commit",
        "WriterService/RegisterWriter",
        "CatalogueService/GetTopic",
        "CatalogueService/CreateTopic",
        "ClusterService/Join",
    ];
    for method in methods {
        let fake = Fake::owning(&[0]);
        let standing = Standing::Active(Parts::of(Arc::clone(&fake)));
        let settings = ServerSettings::default();
        let server = served_with(standing, settings, Arc::new(Refuses(method))).await;
        let node = remote(&server.address).await;
        let selector = TopicSelector::Number(TopicNumber::new(1));
        let refused = [
            committed(&node, commit(7, 1, 0, 0)).await.is_err(),
            node.register_writer().await.is_err(),
            node.topic(&selector).await.is_err(),
            // The fake makes no topics, but it would say so.
            node.create_topic(new_topic("x", 1)).await
                == Err(CatalogueError::Unavailable {
                    reason: format!("this peer may not call `{method}`"),
                }),
        ];
        let wanted = methods.map(|other| other == method);
        assert_eq!(refused, wanted[..4], "{method}");
    }
}
