//! Encryption by the store: with its own keys, with a key of a key service, or not at all, each bucket as it was told; and
//! the storage class of what is put.

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Bucket, Minio, Server, ServerOptions};

use crate::support::World;

async fn write(server: &Server, topic: &str, class: &str) -> Result<()> {
    let cli = server.cli();
    let config = format!("tidelog.storage.class={class}");
    cli.ok(&["topic", "create", topic, "--config", &config])
        .await?;
    cli.ok_with(&["produce", topic], b"a record\n").await?;
    Ok(())
}

/// How the store keeps all segments below a prefix: encryption, key, storage class.
async fn kept(bucket: &Bucket, prefix: &str) -> Result<[String; 3]> {
    let all = bucket.segments().await?;
    let mut all = all.iter().filter(|key| key.starts_with(prefix));
    let key = all.next().context("a segment")?;
    let stored = bucket.stored_as(key).await?;
    let [encryption, key, class] = [stored.encryption, stored.kms_key, stored.storage_class];
    Ok([encryption, key, class].map(Option::unwrap_or_default))
}

#[tokio::test]
async fn each_bucket_is_encrypted_as_it_was_told() -> Result<()> {
    let world = World::s3_with_key().await?;
    let options = ServerOptions::at(&world.place)
        .with("metadata.merge", "false")
        .with("s3.encryption", "sse-s3")
        .with("storage.buckets.secret.location", "s3://logs/secret")
        .with("storage.buckets.secret.encryption", "sse-kms")
        .with("storage.buckets.secret.kms_key", Minio::KEY)
        .with("storage.buckets.open.location", "s3://logs/open")
        .with("storage.buckets.open.encryption", "none")
        .with("storage.buckets.open.storage_class", "REDUCED_REDUNDANCY")
        .with("storage.classes.usual.linger", "1ms")
        .with("storage.classes.secret.bucket", "secret")
        .with("storage.classes.open.bucket", "open");
    let mut server = Server::start(options.clone()).await?;
    for class in ["usual", "secret", "open"] {
        write(&server, class, class).await?;
    }
    let bucket = Bucket::open(&world.place)?;
    let secret = kept(&bucket, "secret/").await?;
    ensure!(
        secret[0] == "aws:kms" && secret[1].ends_with(Minio::KEY) && secret[2].is_empty(),
        "{secret:?}"
    );
    let open = kept(&bucket, "open/").await?;
    ensure!(open == ["", "", "REDUCED_REDUNDANCY"], "{open:?}");
    let all = bucket.keys("").await?;
    let below = |prefix: &'static str| move |key: &&String| key.starts_with(prefix);
    // What is in the main bucket, metadata too.
    let main: Vec<&String> = all
        .iter()
        .filter(|key| !below("secret/")(key) && !below("open/")(key))
        .collect();
    ensure!(main.iter().any(|key| key.contains("/meta/")), "{main:?}");
    ensure!(main.iter().any(|key| key.contains("/seg/")), "{main:?}");
    for key in main {
        let stored = bucket.stored_as(key).await?;
        ensure!(
            stored.encryption.as_deref() == Some("AES256"),
            "{key}: {stored:?}"
        );
    }
    // Read cold, by a process that knows nothing of how it was encrypted.
    server.process().kill();
    server
        .restart_with(options.with("s3.encryption", "none"))
        .await?;
    for topic in ["usual", "secret", "open"] {
        let words = ["consume", topic, "--from", "earliest", "--until-end"];
        let read = server.cli().ok(&words).await?;
        ensure!(read.contains("a record"));
    }
    Ok(())
}
