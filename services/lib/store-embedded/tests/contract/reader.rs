//! A reader sees what is durable and takes the store from nobody.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::Env;
use tidelog_store::{KeyRange, RowSource as _, ScanOptions, Store as _};
use tidelog_store_embedded::EmbeddedReader;

use crate::objects::TestObjects;
use crate::support::{open, options, put, read};

async fn keys(reader: &EmbeddedReader) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest {
        let options = ScanOptions::limit(7);
        let page = reader.page(range.clone(), options).await.expect("it reads");
        rest = page.next(&range, options.direction);
        let found = page.rows.iter();
        keys.extend(found.map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
    }
    keys
}

async fn reader_of(objects: &Arc<TestObjects>) -> Option<EmbeddedReader> {
    let seam = Arc::<TestObjects>::clone(objects);
    EmbeddedReader::open(seam, &options(), &Env::seeded(9))
        .await
        .expect("the bucket answers")
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_what_was_committed_and_the_writer_goes_on() {
    let objects = TestObjects::in_memory();
    let writer = open(Arc::clone(&objects), options()).await;
    let expected: Vec<String> = (10..60).map(|number| format!("key {number}")).collect();
    for key in &expected {
        put(&writer, key, "x").await;
    }
    let reader = reader_of(&objects).await.expect("there is a store");
    assert_eq!(keys(&reader).await, expected);
    let last = ScanOptions::limit(1).backward();
    let last = reader.page(KeyRange::all(), last).await.expect("it reads");
    assert_eq!(last.rows[0].0.as_ref(), b"key 59");

    put(&writer, "later", "x").await;
    writer.confirm().await.expect("it is the writer still");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        keys(&reader).await.last().map(String::as_str),
        Some("later")
    );
    reader.close().await.expect("it ends well");
    put(&writer, "last", "x").await;
    assert!(read(&writer, "last").await.is_some());
}

/// Tables are compacted and collected under it, and it does not notice.
#[tokio::test(start_paused = true)]
async fn a_reader_keeps_what_it_reads_from_being_collected() {
    let objects = TestObjects::in_memory();
    let mut eager = options();
    eager.flushes_per_table = 2;
    eager.garbage_age_min = Duration::from_secs(1);
    let writer = open(Arc::clone(&objects), eager).await;
    for number in 0..20 {
        put(&writer, &format!("key {number:02}"), "x").await;
    }
    let reader = reader_of(&objects).await.expect("there is a store");
    for number in 0..60 {
        put(&writer, &format!("key {:02}", number % 20), "y").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(keys(&reader).await.len(), 20, "after {number}");
    }
    assert!(writer.stats().collections > 3);
    reader.close().await.expect("it ends well");
}

#[tokio::test(start_paused = true)]
async fn where_no_store_is_there_is_no_reader() {
    let objects = TestObjects::in_memory();
    assert!(reader_of(&objects).await.is_none());
}
