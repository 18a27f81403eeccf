//! A service in memory that does what a test tells it to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use tidelog_api::{ApiError, v1};
use tidelog_client::ErrorCode;
use tidelog_format::batch::{BatchBuf, BatchRules, DecodeLimit, patched_head};
use tidelog_types::Offset;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use v1::log_service_server::{LogService, LogServiceServer};
use v1::topic_service_server::{TopicService, TopicServiceServer};

pub(crate) const PARTITIONS: u32 = 4;

/// What goes wrong with one entry of a produce stream, or one chunk of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The stream breaks before anything is done.
    BreakBefore,
    /// The stream breaks after it is done and before the answer.
    BreakAfter,
    /// The answer is an error, and nothing is done.
    Refuse(ErrorCode),
}

#[derive(Default)]
struct State {
    logs: BTreeMap<u32, Vec<BatchBuf>>,
    /// Of each producer and partition: the next sequence, and where its batches went.
    producers: HashMap<(i64, u32), (i32, HashMap<i32, u64>)>,
    producers_given: i64,
    faults: VecDeque<Fault>,
    streams: usize,
    duplicates: usize,
    keeps_producer_ids: bool,
}

/// The service. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Fake {
    /// Serves on a port of its own until the test ends.
    pub(crate) async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(LogServiceServer::new(self.clone()))
            .add_service(TopicServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }

    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().faults.extend(faults);
    }

    /// Never answers who asks for a producer id.
    pub(crate) fn keep_producer_ids(&self) {
        self.0.lock().keeps_producer_ids = true;
    }

    pub(crate) fn streams(&self) -> usize {
        self.0.lock().streams
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.0.lock().duplicates
    }

    /// The values of a partition in the order of their offsets.
    pub(crate) fn values(&self, partition: u32) -> Vec<String> {
        let state = self.0.lock();
        let batches = state.logs.get(&partition).into_iter().flatten();
        let records =
            batches.flat_map(|batch| batch.records(Offset::ZERO, DecodeLimit::DEFAULT).unwrap());
        records
            .map(|r| String::from_utf8(r.unwrap().value.unwrap().to_vec()).unwrap())
            .collect()
    }
}

impl State {
    fn fault(&mut self) -> Fault {
        self.faults.pop_front().unwrap_or(Fault::None)
    }

    fn next_offset(&self, partition: u32) -> u64 {
        let batches = self.logs.get(&partition).into_iter().flatten();
        batches.map(|batch| u64::from(batch.record_count())).sum()
    }

    /// Appends as the service does: in sequence, once.
    fn append(&mut self, partition: u32, batch: BatchBuf) -> Result<v1::Appended, ErrorCode> {
        let header = *batch.header();
        let count = batch.record_count();
        let base_offset = self.next_offset(partition);
        let mut appended = v1::Appended {
            base_offset,
            next_offset: base_offset + u64::from(count),
            ..v1::Appended::default()
        };
        if header.producer_id.is_idempotent() {
            let key = (header.producer_id.get(), partition);
            let (next, known) = self.producers.entry(key).or_default();
            if let Some(first) = known.get(&header.base_sequence) {
                self.duplicates += 1;
                appended.base_offset = *first;
                appended.duplicate = true;
                return Ok(appended);
            }
            if header.base_sequence != *next {
                return Err(if *next == 0 {
                    ErrorCode::UnknownProducer
                } else {
                    ErrorCode::OutOfOrderSequence
                });
            }
            *next += i32::try_from(count).unwrap();
            known.insert(header.base_sequence, base_offset);
        }
        self.logs.entry(partition).or_default().push(batch);
        Ok(appended)
    }

    /// The batches of a partition from an offset on, as they are read.
    fn read(&self, partition: u32, from: u64) -> Vec<v1::PartitionData> {
        let mut base = 0;
        let mut found = Vec::new();
        for batch in self.logs.get(&partition).into_iter().flatten() {
            let next = base + u64::from(batch.record_count());
            if next > from {
                let head = patched_head(batch.header(), Offset::new(base));
                let mut bytes = BytesMut::from(&head[..]);
                bytes.extend_from_slice(&batch.body());
                found.push(v1::PartitionData {
                    partition,
                    next_offset: next,
                    high_watermark: self.next_offset(partition),
                    data: Some(v1::partition_data::Data::Batches(bytes.freeze())),
                    ..v1::PartitionData::default()
                });
            }
            base = next;
        }
        found
    }
}

/// Carries out one entry; `None` breaks the stream.
fn carry_out(state: &mut State, entry: v1::ProduceEntry) -> Option<v1::ProduceResult> {
    let fault = state.fault();
    if fault == Fault::BreakBefore {
        return None;
    }
    let partition = entry.partition.unwrap();
    let Some(v1::produce_entry::Data::Batches(bytes)) = entry.data else {
        return None;
    };
    let (batch, rest) = BatchBuf::parse(bytes, &BatchRules::client(u32::MAX)).unwrap();
    assert!(rest.is_empty());
    let appended = match fault {
        Fault::Refuse(code) => Err(code),
        _ => state.append(partition, batch),
    };
    if fault == Fault::BreakAfter {
        return None;
    }
    let outcome = match appended {
        Ok(appended) => v1::batch_result::Outcome::Appended(appended),
        Err(code) => v1::batch_result::Outcome::Error(ApiError::new(code, "as planned").to_proto()),
    };
    let batch = v1::BatchResult {
        partition,
        outcome: Some(outcome),
        record_indexes: Vec::new(),
    };
    Some(v1::ProduceResult {
        correlation_id: entry.correlation_id,
        batches: vec![batch],
    })
}

#[tonic::async_trait]
impl LogService for Fake {
    type ProduceStreamStream = BoxStream<v1::ProduceStreamResponse>;
    type TailStream = BoxStream<v1::TailResponse>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let mut inbound = request.into_inner();
        let state = Arc::clone(&self.0);
        state.lock().streams += 1;
        let (answers, outbound) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                for entry in message.entries {
                    let result = carry_out(&mut state.lock(), entry);
                    let broken = result.is_none();
                    let answer = result
                        .map(|result| v1::ProduceStreamResponse {
                            results: vec![result],
                            ..v1::ProduceStreamResponse::default()
                        })
                        .ok_or_else(|| Status::unavailable("as planned"));
                    if answers.send(answer).await.is_err() || broken {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }

    async fn tail(
        &self,
        request: Request<v1::TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock();
        state.streams += 1;
        let partitions = match request.partitions.as_slice() {
            [] => (0..PARTITIONS).collect(),
            named => named.to_vec(),
        };
        let mut first = v1::TailResponse::default();
        let mut messages = Vec::new();
        for partition in partitions {
            let named = request
                .offsets
                .iter()
                .find(|offset| offset.partition == partition);
            let next_offset = named.map_or(0, |named| named.offset);
            let high_watermark = state.next_offset(partition);
            first.partitions.push(v1::PartitionData {
                partition,
                next_offset,
                high_watermark,
                ..v1::PartitionData::default()
            });
            for data in state.read(partition, next_offset) {
                messages.push(Ok(v1::TailResponse {
                    partitions: vec![data],
                    ..v1::TailResponse::default()
                }));
            }
        }
        let mut planned = vec![Ok(first)];
        for message in messages {
            match state.fault() {
                Fault::None => planned.push(message),
                Fault::Refuse(code) => {
                    planned.push(Err(ApiError::new(code, "as planned").to_status()));
                    break;
                }
                Fault::BreakBefore | Fault::BreakAfter => {
                    planned.push(Err(Status::unavailable("as planned")));
                    break;
                }
            }
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(planned))))
    }

    async fn init_producer(
        &self,
        _: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let producer_id = {
            let mut state = self.0.lock();
            state.producers_given += 1;
            (!state.keeps_producer_ids).then(|| state.producers_given - 1)
        };
        let Some(producer_id) = producer_id else {
            return std::future::pending().await;
        };
        Ok(Response::new(v1::InitProducerResponse {
            producer_id,
            ..v1::InitProducerResponse::default()
        }))
    }

    async fn produce(
        &self,
        _: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn fetch(
        &self,
        _: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn list_offsets(
        &self,
        _: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn delete_records(
        &self,
        _: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

/// Answers every call about a topic with the one topic there is.
macro_rules! topic_service {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl TopicService for Fake {
            $(
                async fn $method(
                    &self,
                    _: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    match self.0.lock().fault() {
                        Fault::None => Ok(Response::new(v1::$response {
                            topic: Some(v1::Topic {
                                name: "orders".to_owned(),
                                partition_count: PARTITIONS,
                                ..v1::Topic::default()
                            }),
                            ..v1::$response::default()
                        })),
                        Fault::Refuse(code) => Err(ApiError::new(code, "as planned").to_status()),
                        _ => Err(Status::unknown("broken")),
                    }
                }
            )*

            async fn list_topics(
                &self,
                _: Request<v1::ListTopicsRequest>,
            ) -> Result<Response<v1::ListTopicsResponse>, Status> {
                Err(Status::unimplemented("not in this fake"))
            }
        }
    };
}

topic_service! {
    create_topic(CreateTopicRequest) -> CreateTopicResponse;
    get_topic(GetTopicRequest) -> GetTopicResponse;
    alter_topic_config(AlterTopicConfigRequest) -> AlterTopicConfigResponse;
    add_partitions(AddPartitionsRequest) -> AddPartitionsResponse;
    delete_topic(DeleteTopicRequest) -> DeleteTopicResponse;
    undelete_topic(UndeleteTopicRequest) -> UndeleteTopicResponse;
}
