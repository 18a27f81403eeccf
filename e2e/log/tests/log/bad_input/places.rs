//! Buckets and folders that are missing, read-only or full.

use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::tempdir;
use tidelog_client::v1::batch_result::Outcome;
use tidelog_client::{Client, ClientOptions};
use tidelog_e2e_harness::{
    Ended, Minio, Mode, Place, Proxy, ReadOnlyFolder, Server, ServerOptions, SmallDisk, free_port,
};
use tidelog_env::BackoffPolicy;

use crate::support::{END_LIMIT, base, fetch, fetched, only, records};

const TOPIC: &str = "places";
const MIB: u64 = 1024 * 1024;
/// How a process ends that cannot use its bucket.
const NO_BUCKET: Ended = Ended::Code(4);

/// A server that must end with `code` and say all of `words`.
async fn refuses(options: ServerOptions, code: Ended, words: &[&str]) -> Result<()> {
    let mut server = Server::spawn(options)?;
    let ended = server.process().wait(END_LIMIT).await?;
    let log = server.process().log();
    ensure!(ended == code, "{ended:?}: {log}");
    for word in words {
        ensure!(log.contains(word), "`{word}` expected: {log}");
    }
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_missing_bucket_is_named_with_the_command_that_makes_it() -> Result<()> {
    let minio = Minio::start().await?;
    let options = ServerOptions::at(&minio.place("nobody-made-me"));
    refuses(
        options,
        NO_BUCKET,
        &[
            "`s3://nobody-made-me`",
            "does not exist",
            "tidelog bucket create",
        ],
    )
    .await
}

#[tokio::test]
async fn a_bucket_that_cannot_be_written_is_told_apart() -> Result<()> {
    let minio = Minio::start().await?;
    let place = minio.create_bucket("read-only").await?;
    let proxy = Proxy::start(minio.address()).await?;
    proxy.set(Mode::ReadOnly);
    let options = ServerOptions::at(&place.through(proxy.address()));
    refuses(options, NO_BUCKET, &["read-only", "may not write"]).await
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_with_what_to_check() -> Result<()> {
    let place = Place::S3 {
        address: free_port()?,
        bucket: "anything".to_owned(),
    };
    let options = ServerOptions::at(&place).with("requests.retries_max", "1");
    refuses(
        options,
        NO_BUCKET,
        &["cannot be reached", "check the endpoint"],
    )
    .await
}

#[tokio::test]
async fn wrong_credentials_are_told_with_what_to_check() -> Result<()> {
    let minio = Minio::start().await?;
    let place = minio.create_bucket("mine").await?;
    let options = ServerOptions::at(&place).with("s3.secret_access_key", "guessed-wrong");
    refuses(
        options,
        NO_BUCKET,
        &["does not take the credentials", "access key"],
    )
    .await
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_apart() -> Result<()> {
    let scratch = tempdir()?;
    let folder = ReadOnlyFolder::new(tempdir()?)?;
    let (wrapper, binary) = folder.as_nobody(&scratch)?;
    let options = ServerOptions {
        wrapper,
        binary,
        ..ServerOptions::at(&Place::folder(folder.path()))
    };
    refuses(options, NO_BUCKET, &[&folder.path().display().to_string()]).await
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_option_to_set() -> Result<()> {
    let folder = tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let options = ServerOptions::at(&Place::folder(folder.path()))
        .with("listen.grpc", &taken.local_addr()?.to_string());
    refuses(options, Ended::Code(6), &["cannot listen", "`listen.grpc`"]).await
}

fn impatient(server: &Server) -> Result<Client> {
    server.client_with(ClientOptions {
        request_timeout: Duration::from_secs(5),
        backoff: BackoffPolicy::new(Duration::from_millis(50), Duration::from_millis(50), 1),
        ..ClientOptions::default()
    })
}

/// Writes until the disk is full; the values that were acknowledged and what the server then said.
async fn fill(server: &Server) -> Result<(Vec<String>, String)> {
    let log = impatient(server)?.log();
    let mut acked = Vec::new();
    for n in 0..10_000 {
        let value = format!("{n} {}", "x".repeat(100_000));
        let said = match log.produce(vec![records(TOPIC, 0, [&value])]).await {
            Ok(results) => match only(&results)? {
                Outcome::Appended(_) => None,
                Outcome::Error(error) => Some(error.message.clone()),
            },
            Err(error) => Some(error.to_string()),
        };
        match said {
            None => acked.push(value),
            Some(said) => return Ok((acked, said)),
        }
    }
    anyhow::bail!("the disk is never full")
}

async fn values(client: &Client) -> Result<Vec<String>> {
    let (mut values, mut offset) = (Vec::new(), 0);
    loop {
        let data = client.log().fetch(fetch(TOPIC, 0, offset)).await?;
        if let Some(error) = &data[0].error {
            anyhow::bail!("{error:?}");
        }
        for record in fetched(&data[0]) {
            values.push(String::from_utf8(
                record.value.unwrap_or_default().to_vec(),
            )?);
        }
        offset = data[0].next_offset;
        if offset >= data[0].high_watermark {
            return Ok(values);
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_what_was_acknowledged() -> Result<()> {
    let disk = SmallDisk::new(12 * MIB)?;
    let place = Place::folder(disk.path().join("data"));
    let limited = ServerOptions {
        wrapper: disk.wrapper(),
        ..ServerOptions::at(&place)
    };
    let mut server = Server::start(limited.with("requests.retries_max", "1")).await?;
    server
        .client()?
        .admin()
        .create_topic(TOPIC, 1, [] as [(&str, &str); 0])
        .await?;
    let (acked, said) = fill(&server).await?;
    ensure!(!acked.is_empty(), "nothing was ever written: {said}");
    let log = server.process().log();
    ensure!(!log.contains("panicked"), "{log}");
    let told = ["space", "File too large"]
        .iter()
        .any(|word| said.contains(word) || log.contains(word));
    ensure!(told, "nobody says that the disk is full: {said}\n{log}");

    // With room again, and a restart if it had to stop, all is there and writing goes on.
    disk.grow(200 * MIB)?;
    server.process().kill();
    server.restart_with(ServerOptions::at(&place)).await?;
    let client = server.client()?;
    let there = values(&client).await?;
    let seen: Vec<&String> = there.iter().filter(|value| acked.contains(value)).collect();
    ensure!(
        seen == acked.iter().collect::<Vec<_>>(),
        "acknowledged records are missing"
    );
    base(
        &client
            .log()
            .produce(vec![records(TOPIC, 0, ["again"])])
            .await?,
    )?;
    Ok(())
}
