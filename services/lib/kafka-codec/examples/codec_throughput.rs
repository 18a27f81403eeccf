//! How long it takes to decode a produce request and to encode the answer to a fetch, and that the time
//! does not depend on the records in them: `cargo run --release -p tidelog-kafka-codec --example codec_throughput`.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use tidelog_env::{Clock, SystemClock};
use tidelog_kafka_codec::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, PartitionData,
};
use tidelog_kafka_codec::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use tidelog_kafka_codec::{
    Budget, Caller, Incoming, Records, request_frame, response_frame, response_frame_size,
};

const ROUNDS: u32 = 2_000;
const PARTITIONS: i32 = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = SystemClock::new();
    println!("{PARTITIONS} partitions, {ROUNDS} rounds");
    for records_bytes in [1 << 10, 64 << 10, 1 << 20] {
        let records = Bytes::from(vec![7; records_bytes]);
        decode_produce(&clock, &records)?;
        encode_fetch(&clock, &records)?;
    }
    Ok(())
}

fn decode_produce(clock: &SystemClock, records: &Bytes) -> Result<(), Box<dyn std::error::Error>> {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(records.clone().into()),
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "a-topic-of-some-name".into(),
            partition_data: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let caller = Caller {
        correlation_id: 1,
        client_id: Some("producer-1".into()),
    };
    let frame = request_frame(&request, 12, caller)?.into_bytes().slice(4..);
    let begin = clock.now();
    let mut cost = 0;
    for _ in 0..ROUNDS {
        let Incoming::Request(request) = Incoming::read(frame.clone())? else {
            return Err("is not known".into());
        };
        let mut budget = Budget::bytes(1 << 20);
        let request: ProduceRequest = request.decode(&mut budget)?;
        cost = (1 << 20) - budget.left();
        for partition in &request.topic_data[0].partition_data {
            let piece = partition.records.as_ref().map(Records::to_bytes);
            let inside = piece.is_some_and(|piece| frame.as_ptr_range().contains(&piece.as_ptr()));
            assert!(inside, "records are slices of the frame");
        }
        black_box(&request);
    }
    report("decode produce", frame.len(), clock.now() - begin);
    println!("  {cost} bytes of memory beside the frame");
    Ok(())
}

fn encode_fetch(clock: &SystemClock, records: &Bytes) -> Result<(), Box<dyn std::error::Error>> {
    let header = records.slice(..61);
    let body = records.slice(61..);
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        records: Some([header.clone(), body.clone()].into_iter().collect()),
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "a-topic-of-some-name".into(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let begin = clock.now();
    for _ in 0..ROUNDS {
        black_box(response_frame(&response, 12, 1)?);
    }
    let frame = response_frame(&response, 12, 1)?;
    report("encode fetch  ", frame.len(), clock.now() - begin);
    let passed = frame
        .pieces()
        .filter(|piece| piece.as_ptr() == body.as_ptr());
    assert_eq!(
        passed.count(),
        usize::try_from(PARTITIONS)?,
        "records are passed on"
    );
    let begin = clock.now();
    for _ in 0..ROUNDS {
        black_box(response_frame_size(&response, 12)?);
    }
    report("size of fetch ", frame.len(), clock.now() - begin);
    Ok(())
}

fn report(what: &str, frame_bytes: usize, took: Duration) {
    let each = took / ROUNDS;
    println!("{what} of {frame_bytes:>9} bytes: {each:?} each");
}
