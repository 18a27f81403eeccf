//! Where things are: the repository, the build cache and the tools.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

/// The repository and the folders that builds and tools use outside of it.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Where everything that can be made again is kept, outside the repository.
    pub(crate) cache: PathBuf,
    /// Where cargo builds, shared by all checkouts so that a fresh one builds little.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the repository from this crate's own place in it.
    pub(crate) fn find() -> Result<Self> {
        let root = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(dir) => Path::new(&dir).ancestors().nth(2).map(Path::to_path_buf),
            None => env::current_dir().ok(),
        }
        .context("cannot find the repository: run `cargo xtask` inside of it")?;
        let cache = cache_dir()?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache.join("target"), PathBuf::from);
        Ok(Self {
            root,
            cache,
            target,
        })
    }

    /// Where fetched and built tools are kept; the tests look there too (`TIDELOG_TOOLS`).
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// A command that runs at the root of the repository.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Cargo at the root of the repository, building into the shared target folder.
    pub(crate) fn cargo<const N: usize>(&self, args: [&str; N]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(cargo);
        command.args(args);
        command
    }

    /// Makes this checkout the one whose code the target folder holds.
    ///
    /// Cargo takes an artefact for fresh when it is newer than its sources, and does not tell two
    /// checkouts of one workspace apart. So when another one has built here since, every source of this
    /// one is marked as changed: what depends only on the registry stays.
    pub(crate) fn claim_target(&self) -> Result<()> {
        let owner = self.target.join(".checkout");
        let this = self.root.to_string_lossy();
        if fs::read_to_string(&owner).is_ok_and(|other| other == this) {
            return Ok(());
        }
        let now = SystemTime::now();
        for name in self.files()? {
            if matches!(
                name.extension().and_then(OsStr::to_str),
                Some("rs" | "toml" | "bin")
            ) {
                let file = fs::File::options().append(true).open(self.root.join(&name));
                let file = file.with_context(|| format!("cannot open `{}`", name.display()))?;
                file.set_modified(now)?;
            }
        }
        fs::create_dir_all(&self.target)?;
        fs::write(&owner, this.as_bytes()).context("cannot write into the target folder")
    }

    /// Every file that git knows or would add, relative to the root and sorted.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let output = self
            .command("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .output()
            .context("cannot run `git ls-files`")?;
        anyhow::ensure!(
            output.status.success(),
            "`git ls-files` failed: is this a clone?"
        );
        let mut files: Vec<PathBuf> = String::from_utf8(output.stdout)?
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|name| self.root.join(name).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("TIDELOG_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("tidelog"));
    }
    let home = env::var_os("HOME").context("neither `XDG_CACHE_HOME` nor `HOME` is set")?;
    Ok(PathBuf::from(home).join(".cache/tidelog"))
}
