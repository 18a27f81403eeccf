//! A real S3 server of one's own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::bucket::{ACCESS_KEY, Bucket, Place, SECRET_KEY};
use crate::{Process, Tools, free_port};

const START_LIMIT: Duration = Duration::from_secs(30);
/// How often to try when another process has taken the port in between.
const STARTS_MAX: usize = 3;

/// A `minio` on a free port with a folder of its own; both end with this.
#[derive(Debug)]
pub struct Minio {
    process: Process,
    address: SocketAddr,
    // Dropped last: the process writes into it.
    _folder: TempDir,
}

impl Minio {
    /// The name of the key of [`Minio::start_with_key`].
    pub const KEY: &'static str = "tidelog-key";

    /// Starts it and waits until it serves.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with a key service that has one key, [`Minio::KEY`].
    pub async fn start_with_key() -> Result<Self> {
        let secret = "aGlnaCB0aWRlIGF0IG5vb24sIGxvdyBhdCBkdXNrLi4=";
        let key = format!("{}:{secret}", Self::KEY);
        Self::start_with(&[("MINIO_KMS_SECRET_KEY", &key)]).await
    }

    async fn start_with(environment: &[(&str, &str)]) -> Result<Self> {
        let mut last = None;
        for _ in 0..STARTS_MAX {
            match Self::start_once(environment).await {
                Ok(minio) => return Ok(minio),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("it was never started")?)
    }

    async fn start_once(environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_port()?;
        let mut command = Command::new(Tools::program("minio")?);
        command
            .args(["server", "--quiet", "--anonymous", "--address"])
            .arg(address.to_string())
            .arg("--console-address")
            .arg(free_port()?.to_string())
            .arg(folder.path().join("data"))
            .env("HOME", folder.path())
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("MINIO_PROMETHEUS_AUTH_TYPE", "public")
            .envs(environment.iter().copied());
        let mut process = Process::spawn("minio", &mut command, &folder.path().join("log"))?;
        process
            .until_healthy(address, "/minio/health/ready", START_LIMIT)
            .await?;
        Ok(Self {
            process,
            address,
            _folder: folder,
        })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A bucket of this name, which may not exist yet.
    pub fn place(&self, bucket: &str) -> Place {
        Place::S3 {
            address: self.address,
            bucket: bucket.to_owned(),
        }
    }

    /// A new bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<Place> {
        let place = self.place(bucket);
        Bucket::open(&place)?.create().await?;
        Ok(place)
    }

    /// Stops it where it is: requests hang.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }
}
