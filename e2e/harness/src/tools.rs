//! Where programs and downloads are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Finds the programs that scenarios start. `cargo xtask test` installs them; what is missing fails the
/// test that needs it.
#[derive(Clone, Copy, Debug)]
pub struct Tools;

impl Tools {
    /// The root of the repository.
    pub fn repository() -> Result<PathBuf> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(here.join("../..").canonicalize()?)
    }

    /// The folder of everything that can be made again, shared by all checkouts.
    pub fn cache() -> Result<PathBuf> {
        if let Some(cache) = env::var_os("TIDELOG_CACHE") {
            return Ok(cache.into());
        }
        if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
            return Ok(PathBuf::from(cache).join("tidelog"));
        }
        let home = env::var_os("HOME").context("neither `XDG_CACHE_HOME` nor `HOME` is set")?;
        Ok(PathBuf::from(home).join(".cache/tidelog"))
    }

    /// A program: in `bin` of the tools folder, in `bin` of one of the folders of single tools, on `PATH`.
    pub fn program(name: &str) -> Result<PathBuf> {
        let tools = match env::var_os("TIDELOG_TOOLS") {
            Some(tools) => PathBuf::from(tools),
            None => Self::cache()?.join("tools"),
        };
        let mut folders = vec![tools.join("bin")];
        if let Ok(entries) = tools.read_dir() {
            let mut own: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            own.sort();
            folders.extend(own.into_iter().rev().map(|folder| folder.join("bin")));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        folders.extend(env::split_paths(&path));
        folders
            .into_iter()
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
            .with_context(|| format!("`{name}` is missing: `cargo xtask test` installs what it can, the rest is for your package manager"))
    }

    /// The binary `tidelog`: the one of `TIDELOG_BIN`, or it is built, once in a process.
    pub fn tidelog() -> Result<&'static Path> {
        static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let built = BINARY.get_or_init(|| {
            let binary = match env::var_os("TIDELOG_BIN") {
                Some(binary) => Ok(PathBuf::from(binary)),
                None => build(),
            };
            binary.map_err(|error| format!("{error:#}"))
        });
        match built {
            Ok(path) if path.is_file() => Ok(path),
            Ok(path) => bail!("`{}` is no file: build tidelog-server", path.display()),
            Err(error) => bail!("no binary `tidelog`: {error}"),
        }
    }

    /// The binary `tidelog` that can keep metadata on `FoundationDB`.
    pub fn tidelog_with_fdb() -> Result<PathBuf> {
        let binary = env::var_os("TIDELOG_BIN_FDB").map(PathBuf::from);
        let binary = binary.filter(|binary| binary.is_file());
        binary.context("no server with FoundationDB is built: `cargo xtask test` does that")
    }
}

fn build() -> Result<PathBuf> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--package",
            "tidelog-server",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(Tools::repository()?)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next())
        .map(PathBuf::from)
        .find(|path| path.file_name().is_some_and(|name| name == "tidelog"))
        .context("cargo built no program named `tidelog`")
}
