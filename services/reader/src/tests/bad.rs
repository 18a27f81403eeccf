//! Readers that answer wrongly, late or not at all, and brokers that do so.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::reader_service_client::ReaderServiceClient;
use tidelog_api::internal::v1::reader_service_server::{ReaderService, ReaderServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use super::world::{Broker, Bucket, Served, body, cluster, key, member, patient, serve, until};
use crate::metrics::{Asked, Offered};
use crate::settings::TierSettings;
use crate::wire;

#[derive(Clone, Copy, Debug)]
enum Fault {
    FlipsBits,
    CutsShort,
    SaysTooMuch,
    SendsNoHead,
    ClaimsMuch,
    SendsNothing,
    Breaks,
    Refuses,
    Hangs,
    HangsHalfway,
}

/// A reader with a fault.
#[derive(Debug)]
struct Bad(Fault);

type Answer = Result<v1::GetPageResponse, Status>;

#[expect(clippy::unnecessary_wraps, reason = "a stream answers with results")]
fn head(head: v1::PageHead) -> Answer {
    let part = Some(v1::get_page_response::Part::Head(head));
    Ok(v1::GetPageResponse { part })
}

#[expect(clippy::unnecessary_wraps, reason = "a stream answers with results")]
fn data(bytes: Bytes) -> Answer {
    let part = Some(v1::get_page_response::Part::Data(bytes));
    Ok(v1::GetPageResponse { part })
}

#[tonic::async_trait]
impl ReaderService for Bad {
    type GetPageStream = BoxStream<'static, Answer>;

    async fn get_page(
        &self,
        _: Request<v1::GetPageRequest>,
    ) -> Result<Response<Self::GetPageStream>, Status> {
        let page = body(2);
        let good = wire::head_of(&page);
        let flipped: Bytes = page.iter().map(|byte| byte ^ 1).collect();
        let much = v1::PageHead {
            length: u32::MAX,
            ..good
        };
        let answers = match self.0 {
            Fault::FlipsBits => vec![head(good), data(flipped)],
            Fault::CutsShort => vec![head(good), data(page.slice(..10))],
            Fault::SaysTooMuch => vec![head(good), data(page.clone()), data(page)],
            Fault::SendsNoHead => vec![data(page)],
            Fault::ClaimsMuch => vec![head(much), data(page)],
            Fault::SendsNothing => Vec::new(),
            Fault::Breaks => vec![head(good), Err(Status::unavailable("gone"))],
            Fault::Refuses => return Err(Status::resource_exhausted("no room")),
            Fault::Hangs => std::future::pending().await,
            Fault::HangsHalfway => {
                let begun = futures::stream::iter([head(good), data(page.slice(..10))]);
                let stream = begun.chain(futures::stream::pending());
                return Ok(Response::new(stream.boxed()));
            }
        };
        Ok(Response::new(futures::stream::iter(answers).boxed()))
    }

    async fn put_page(
        &self,
        _: Request<Streaming<v1::PutPageRequest>>,
    ) -> Result<Response<v1::PutPageResponse>, Status> {
        match self.0 {
            Fault::Hangs => std::future::pending().await,
            _ => Err(Status::internal("no")),
        }
    }

    async fn forget_pages(
        &self,
        _: Request<v1::ForgetPagesRequest>,
    ) -> Result<Response<v1::ForgetPagesResponse>, Status> {
        Err(Status::internal("no"))
    }
}

async fn broker_of(fault: Fault, settings: TierSettings) -> Broker {
    let (address, _) = serve(Routes::new(ReaderServiceServer::new(Bad(fault)))).await;
    Broker::with(&[&member(1, &address.to_string())], settings)
}

#[tokio::test]
async fn a_reader_that_answers_wrongly_gives_no_page_and_is_left_alone() {
    for (fault, outcome) in [
        (Fault::FlipsBits, Asked::Corrupt),
        (Fault::CutsShort, Asked::Corrupt),
        (Fault::SaysTooMuch, Asked::Corrupt),
        (Fault::SendsNoHead, Asked::Corrupt),
        (Fault::ClaimsMuch, Asked::Corrupt),
        (Fault::SendsNothing, Asked::Corrupt),
        (Fault::Breaks, Asked::Failed),
    ] {
        let broker = broker_of(fault, patient()).await;
        assert_eq!(broker.page(2).await, None, "{fault:?}");
        assert_eq!(broker.asked(outcome), 1, "{fault:?}");
        assert_eq!(broker.page(2).await, None, "{fault:?}");
        assert_eq!(broker.asked(Asked::Nobody), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_reader_without_room_is_asked_again() {
    let broker = broker_of(Fault::Refuses, patient()).await;
    for _ in 0..3 {
        assert_eq!(broker.page(2).await, None);
    }
    assert_eq!(broker.asked(Asked::Refused), 3);
}

#[tokio::test]
async fn a_reader_that_does_not_answer_in_time_is_left_alone() {
    for fault in [Fault::Hangs, Fault::HangsHalfway] {
        let settings = TierSettings {
            patience: Duration::from_millis(20),
            offer_timeout: Duration::from_millis(20),
            ..patient()
        };
        let broker = broker_of(fault, settings).await;
        assert_eq!(broker.page(2).await, None, "{fault:?}");
        assert_eq!(broker.asked(Asked::Slow), 1, "{fault:?}");
    }
    let settings = TierSettings {
        offer_timeout: Duration::from_millis(20),
        ..patient()
    };
    let broker = broker_of(Fault::Hangs, settings).await;
    tidelog_cache::NearPages::offer(&broker.tier, key(2), body(2));
    until(|| broker.offered(Offered::Failed) == 1).await;
}

/// A page that comes in parts, as the test sends them.
struct Sending {
    parts: mpsc::Sender<v1::PutPageRequest>,
    ended: tokio::task::JoinHandle<Result<(), Status>>,
}

fn start_of(page: u32, cluster_id: [u8; 16]) -> v1::put_page_request::Part {
    v1::put_page_request::Part::Start(v1::PutPageStart {
        cluster_id: Bytes::copy_from_slice(&cluster_id),
        key: Some(wire::key_to_wire(key(page))),
        head: Some(wire::head_of(&body(page))),
    })
}

fn part_of(bytes: Bytes) -> v1::put_page_request::Part {
    v1::put_page_request::Part::Data(bytes)
}

impl Sending {
    async fn to(reader: &Served) -> Self {
        let address = format!("http://{}", reader.member.internal_address);
        let mut client = ReaderServiceClient::connect(address).await.unwrap();
        let (parts, coming) = mpsc::channel(1);
        let ended = tokio::spawn(async move {
            let put = client.put_page(ReceiverStream::new(coming)).await;
            put.map(drop)
        });
        Self { parts, ended }
    }

    async fn send(&self, part: v1::put_page_request::Part) {
        let message = v1::PutPageRequest { part: Some(part) };
        // A reader that has refused takes no more.
        let _ = self.parts.send(message).await;
    }

    async fn end(self) -> Result<(), Status> {
        drop(self.parts);
        self.ended.await.unwrap()
    }
}

#[tokio::test]
async fn whoever_wants_a_page_that_is_being_put_waits_for_it() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let broker = Broker::new(&[&reader.member]);
    let sending = Sending::to(&reader).await;
    sending.send(start_of(2, cluster().to_bytes())).await;
    until(|| reader.pages.fetches() == 1).await;
    let mut asking = Box::pin(broker.page(2));
    let shared = || reader.pages.snapshot(tidelog_cache::Pool::CatchUp).shared;
    tokio::select! {
        given = &mut asking => panic!("{given:?}"),
        () = until(|| shared() == 1) => {}
    }
    sending.send(part_of(body(2))).await;
    sending.end().await.unwrap();
    assert_eq!(asking.await, Some(body(2)));
    assert_eq!(bucket.gets(), 0);
}

#[tokio::test]
async fn a_page_that_is_put_wrongly_is_refused_and_never_given() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let broker = Broker::new(&[&reader.member]);
    let good = || start_of(2, cluster().to_bytes());
    let wrong: Bytes = body(2).iter().map(|byte| byte ^ 1).collect();
    let cases = [
        (vec![good(), part_of(wrong)], Code::Aborted),
        (vec![good(), part_of(body(2).slice(..10))], Code::Aborted),
        (
            vec![good(), part_of(body(2)), part_of(body(2))],
            Code::Aborted,
        ),
        (vec![good(), good()], Code::Aborted),
        (vec![part_of(body(2))], Code::InvalidArgument),
        (vec![start_of(2, [1; 16])], Code::FailedPrecondition),
        (Vec::new(), Code::InvalidArgument),
    ];
    for (parts, code) in cases {
        let shown = format!("{parts:?}").chars().take(200).collect::<String>();
        let sending = Sending::to(&reader).await;
        for part in parts {
            sending.send(part).await;
        }
        let ended = sending.end().await;
        assert_eq!(ended.unwrap_err().code(), code, "{shown}");
        assert_eq!(broker.page(2).await, Some(body(2)), "{shown}");
        reader.pages.remove(&key(2));
    }
}

#[tokio::test]
async fn whoever_waits_for_a_page_that_is_put_wrongly_has_it_from_the_bucket() {
    let bucket = Bucket::new().await;
    let reader = Served::new(1, &bucket).await;
    let broker = Broker::new(&[&reader.member]);
    let sending = Sending::to(&reader).await;
    sending.send(start_of(2, cluster().to_bytes())).await;
    until(|| reader.pages.fetches() == 1).await;
    let mut asking = Box::pin(broker.page(2));
    let shared = || reader.pages.snapshot(tidelog_cache::Pool::CatchUp).shared;
    tokio::select! {
        given = &mut asking => panic!("{given:?}"),
        () = until(|| shared() == 1) => {}
    }
    sending.send(part_of(body(2).slice(..10))).await;
    assert_eq!(sending.end().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(asking.await, Some(body(2)));
    assert_eq!(bucket.gets(), 1);
}
