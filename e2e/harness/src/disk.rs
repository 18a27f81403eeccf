//! Disks that are full or cannot be written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Tools;

/// A folder whose files together, or each of them, can only be small.
///
/// It is a file system in memory where this user may mount one. Elsewhere the limit is one on the size of
/// a file, which the wrapper sets; then a write fails in the same place for another reason.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    mounted: bool,
    bytes: u64,
}

impl SmallDisk {
    /// A disk of about `bytes`.
    pub fn new(bytes: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path()));
        Ok(Self {
            folder,
            mounted,
            bytes,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What to put before a command for the limit to hold.
    pub fn wrapper(&self) -> Vec<String> {
        if self.mounted {
            return Vec::new();
        }
        // Without the trap the limit would end the process instead of failing the write.
        let script = format!(
            "trap '' XFSZ; ulimit -f {}; exec \"$@\"",
            self.bytes / 4 / 512
        );
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// Makes room: the disk grows. Without a file system of its own there is nothing to do but to run
    /// without the wrapper.
    pub fn grow(&self, bytes: u64) -> Result<()> {
        if self.mounted {
            let size = format!("remount,size={bytes}");
            ensure!(
                run(Command::new("mount").args(["-o", &size]).arg(self.path())),
                "cannot grow the disk"
            );
        }
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            run(Command::new("umount").arg("--lazy").arg(self.folder.path()));
        }
    }
}

/// A folder that the server must not write to, whoever runs the test.
#[derive(Debug)]
pub struct ReadOnlyFolder {
    folder: TempDir,
}

impl ReadOnlyFolder {
    /// Makes `folder` read-only.
    pub fn new(folder: TempDir) -> Result<Self> {
        set_mode(folder.path(), 0o555)?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What to put before a command so that permissions bind it, and the binary that it can then run:
    /// root may write everywhere, so the server runs as nobody.
    pub fn as_nobody(&self, scratch: &TempDir) -> Result<(Vec<String>, Option<PathBuf>)> {
        if !rustix::process::geteuid().is_root() {
            return Ok((Vec::new(), None));
        }
        let binary = scratch.path().join("tidelog");
        std::fs::copy(Tools::tidelog()?, &binary)?;
        set_mode(scratch.path(), 0o755)?;
        let words = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        Ok((words.map(str::to_owned).to_vec(), Some(binary)))
    }
}

impl Drop for ReadOnlyFolder {
    fn drop(&mut self) {
        // So that it can be deleted.
        let _ = set_mode(self.folder.path(), 0o755);
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(mode),
    )?)
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
