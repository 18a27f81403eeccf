//! Record batches that are damaged, contradict themselves, or are too large.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use tidelog_client::v1::{self, ErrorCode};
use tidelog_client::{Compression, LogClient};
use tidelog_e2e_harness::{Server, ServerOptions};
use tidelog_format::batch::BatchBuilder;
use tidelog_types::Timestamp;

use crate::support::{World, base, batches, fetch, fetched, refusal};

const TOPIC: &str = "batches";
const LENGTH: Range<usize> = 8..12;
const MAGIC: usize = 16;
const CRC: Range<usize> = 17..21;
const ATTRIBUTES: Range<usize> = 21..23;
const LAST_OFFSET_DELTA: Range<usize> = 23..27;
const COUNT: Range<usize> = 57..61;
const HEADER_BYTES: usize = 61;

/// A good batch of three records.
fn good() -> Result<Vec<u8>> {
    batch(3, 20)
}

fn batch(records: usize, value_bytes: usize) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for n in 0..records {
        let value = vec![b'0' + u8::try_from(n % 10)?; value_bytes];
        builder.append(
            Timestamp::from_millis(1_000),
            Some(b"key"),
            Some(&value),
            &[],
        )?;
    }
    Ok(builder.finish(None)?.to_bytes().to_vec())
}

/// Makes the CRC right again after a change, so that only the change is wrong.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = tidelog_crc32c::crc32c(&bytes[ATTRIBUTES.start..]);
    bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn with(range: Range<usize>, value: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = good()?;
    bytes[range].copy_from_slice(value);
    Ok(resealed(bytes))
}

/// What is wrong, the bytes, and words of the answer.
type Bad = (&'static str, Vec<u8>, &'static [&'static str]);

fn bad() -> Result<Vec<Bad>> {
    let mut flipped = good()?;
    *flipped.last_mut().context("a byte")? ^= 1;
    let mut magic = good()?;
    magic[MAGIC] = 1;
    let length = i32::try_from(good()?.len())? - 12;
    let cut = good()?[..good()?.len() - 5].to_vec();
    Ok(vec![
        ("a flipped bit", flipped, &["crc"]),
        ("an old magic", magic, &["magic `1`", "`2`"]),
        (
            "more records than counted",
            with(COUNT, &2_i32.to_be_bytes())?,
            &["delta `2`", "`2`"],
        ),
        (
            "a negative count",
            with(COUNT, &(-1_i32).to_be_bytes())?,
            &["`-1` records"],
        ),
        ("no records", with(COUNT, &0_i32.to_be_bytes())?, &["`0`"]),
        (
            "a wrong last offset",
            with(LAST_OFFSET_DELTA, &7_i32.to_be_bytes())?,
            &["delta `7`"],
        ),
        (
            "a longer length",
            with(LENGTH, &(length + 9).to_be_bytes())?,
            &["truncated"],
        ),
        (
            "a negative length",
            with(LENGTH, &(-9_i32).to_be_bytes())?,
            &["length `-9`"],
        ),
        (
            "a length below the header",
            with(LENGTH, &9_i32.to_be_bytes())?,
            &["length `9`"],
        ),
        ("a batch that is cut off", cut, &["truncated"]),
        (
            "an unknown codec",
            with(ATTRIBUTES, &7_u16.to_be_bytes())?,
            &["codec `7`"],
        ),
        (
            "a control batch",
            with(ATTRIBUTES, &0x20_u16.to_be_bytes())?,
            &["control batch"],
        ),
        ("no batch at all", b"not a batch".to_vec(), &["truncated"]),
    ])
}

async fn high_watermark(log: &LogClient) -> Result<u64> {
    let data = log.fetch(fetch(TOPIC, 0, 0)).await?;
    Ok(data.first().context("one partition")?.high_watermark)
}

#[tokio::test]
async fn broken_batches_are_refused_with_the_reason_and_change_nothing() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let client = server.client()?;
    client
        .admin()
        .create_topic(TOPIC, 1, [] as [(&str, &str); 0])
        .await?;
    let log = client.log();
    for (what, bytes, words) in bad()? {
        let error = refusal(&log.produce(vec![batches(TOPIC, 0, bytes)]).await?)?;
        ensure!(error.code() == ErrorCode::CorruptBatch, "{what}: {error:?}");
        let said = words.iter().all(|word| error.message.contains(word));
        ensure!(said, "{what}: `{}` does not say {words:?}", error.message);
        ensure!(
            !error.retriable && !error.outcome_unknown,
            "{what}: {error:?}"
        );
    }
    assert_eq!(high_watermark(&log).await?, 0);
    // A good batch beside a bad one in the same request is taken.
    let both = vec![
        batches(TOPIC, 0, b"bad".to_vec()),
        batches(TOPIC, 0, good()?),
    ];
    let results = log.produce(both).await?;
    refusal(&results[..1])?;
    assert_eq!(base(&results[1..])?, 0);
    assert_eq!(high_watermark(&log).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_batch_over_the_limit_of_its_topic_is_refused_with_the_limit() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let client = server.client()?;
    client
        .admin()
        .create_topic(TOPIC, 1, [("max.message.bytes", "10000")])
        .await?;
    let log = client.log();
    let error = refusal(
        &log.produce(vec![batches(TOPIC, 0, batch(1, 10_000)?)])
            .await?,
    )?;
    assert_eq!(error.code(), ErrorCode::BatchTooLarge);
    assert_eq!(
        error.metadata.get("max_bytes").map(String::as_str),
        Some("10000")
    );
    assert_eq!(
        base(
            &log.produce(vec![batches(TOPIC, 0, batch(1, 9_000)?)])
                .await?
        )?,
        0
    );
    Ok(())
}

/// Records are not decompressed on the way in: garbage that calls itself compressed harms only those who
/// ask the service to decode it, and they learn where it is.
#[tokio::test]
async fn compressed_garbage_is_named_to_its_readers_and_harms_nobody_else() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let client = server.client()?;
    client
        .admin()
        .create_topic(TOPIC, 2, [] as [(&str, &str); 0])
        .await?;
    let log = client.log();
    for codec in 1..=4_u16 {
        let mut garbage = with(ATTRIBUTES, &codec.to_be_bytes())?;
        garbage[HEADER_BYTES..].fill(0xA5);
        let results = log
            .produce(vec![batches(TOPIC, 0, resealed(garbage))])
            .await?;
        if base(&results).is_err() {
            assert_eq!(refusal(&results)?.code(), ErrorCode::CorruptBatch);
        }
    }
    assert_eq!(
        base(&log.produce(vec![batches(TOPIC, 1, good()?)]).await?)?,
        0
    );

    let mut request = fetch(TOPIC, 0, 0);
    request.partitions.extend(fetch(TOPIC, 1, 0).partitions);
    let data = log.fetch(request.clone()).await?;
    if high_watermark(&log).await? > 0 {
        let error = data[0]
            .error
            .as_ref()
            .context("garbage cannot be decoded")?;
        assert_eq!(error.code(), ErrorCode::CorruptBatch);
        assert_eq!(error.metadata.get("offset").map(String::as_str), Some("0"));
        ensure!(error.message.contains("decompress"), "{}", error.message);
        // As it is stored it can be read by all who decode for themselves.
        request.record_format = v1::RecordFormat::Batches.into();
        assert!(log.fetch(request).await?[0].error.is_none());
    }
    assert_eq!(fetched(&data[1]).len(), 3);
    Ok(())
}
