//! The instruments are proven before anything is measured with them.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tidelog_e2e_harness::{Bucket, Cli, Ended, Minio, Mode, Process, Proxy, SmallDisk, within};

/// Long enough for a request on this machine, short enough to be sure that none is answered.
const MOMENT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_proxy_passes_on_refuses_hangs_and_loses_answers() -> Result<()> {
    let minio = Minio::start().await?;
    let direct = Bucket::open(&minio.create_bucket("instruments").await?)?;
    let proxy = Proxy::start(minio.address()).await?;
    let bucket = Bucket::open(&minio.place("instruments").through(proxy.address()))?;

    bucket.put("a/one", vec![7; 300_000]).await?;
    assert_eq!(bucket.get("a/one").await?, vec![7; 300_000]);
    assert_eq!(bucket.keys("").await?, ["a/one"]);
    assert_eq!(proxy.requests(), 3);

    proxy.set(Mode::Unavailable);
    let error = bucket.get("a/one").await.unwrap_err();
    assert!(format!("{error:#}").contains("503"), "{error:#}");

    proxy.set(Mode::ReadOnly);
    assert_eq!(bucket.get("a/one").await?.len(), 300_000);
    let error = bucket.put("a/two", "2").await.unwrap_err();
    assert!(format!("{error:#}").contains("403"), "{error:#}");

    proxy.set(Mode::LoseWriteAnswers);
    assert!(bucket.put("a/three", "3").await.is_err());
    assert_eq!(direct.get("a/three").await?, "3");

    proxy.set(Mode::Hang);
    assert!(
        within("nothing", MOMENT, bucket.get("a/one"))
            .await
            .is_err()
    );
    proxy.set(Mode::Pass);
    assert_eq!(bucket.get("a/one").await?.len(), 300_000);
    Ok(())
}

#[tokio::test]
async fn objects_are_damaged_where_the_test_says() -> Result<()> {
    let minio = Minio::start().await?;
    let bucket = Bucket::open(&minio.create_bucket("damage").await?)?;
    bucket.put("x/seg/y", vec![0; 4]).await?;
    bucket.flip_bit("x/seg/y", 2).await?;
    assert_eq!(bucket.get("x/seg/y").await?, vec![0, 0, 1, 0]);
    bucket.truncate("x/seg/y", 3).await?;
    assert_eq!(bucket.get("x/seg/y").await?, vec![0, 0, 1]);
    assert_eq!(bucket.segments().await?, ["x/seg/y"]);
    bucket.delete("x/seg/y").await?;
    assert!(bucket.segments().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_dropped_is_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut sleeper = Process::spawn("sleep", Command::new("sleep").arg("1000"), &log)?;
    let entry = format!("/proc/{}", sleeper.id());
    assert!(sleeper.ended().is_none());
    drop(sleeper);
    assert!(!std::path::Path::new(&entry).exists());

    let mut script = Command::new("sh");
    script.args(["-c", "echo said; exit 3"]);
    let mut script = Process::spawn("sh", &mut script, &log)?;
    assert_eq!(script.wait(MOMENT).await?, Ended::Code(3));
    assert_eq!(script.log(), "said\n");
    Ok(())
}

#[tokio::test]
async fn a_small_disk_takes_little() -> Result<()> {
    const MIB: u64 = 1024 * 1024;
    let disk = SmallDisk::new(4 * MIB)?;
    let file = disk.path().join("file");
    let write = format!("head -c {} /dev/zero > {}", 8 * MIB, file.display());
    let mut words = disk.wrapper();
    words.extend(["sh", "-c", &write].map(str::to_owned));
    let rest: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let finished = Cli::script(words[0].as_ref(), &rest, MOMENT).await?;
    assert_ne!(finished.code, 0);
    assert!(file.metadata()?.len() < 8 * MIB);
    Ok(())
}
