//! Generated files: compared with those that are there, written, formatted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The text of files by their path in a folder.
pub(crate) type Files = BTreeMap<PathBuf, String>;

/// All files in a folder and in the folders in it; none if there is no such folder.
pub(crate) fn read(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&inner)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name);
            } else {
                let text = fs::read_to_string(entry.path());
                let text = text.with_context(|| format!("cannot read `{}`", name.display()))?;
                files.insert(name, text);
            }
        }
    }
    Ok(files)
}

/// Makes the folder hold these files and no others. One that is right already stays untouched, so that
/// nothing is built anew for it.
pub(crate) fn write(folder: &Path, wanted: &Files) -> Result<()> {
    let found = read(folder)?;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in wanted {
        if found.get(name) == Some(text) {
            continue;
        }
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// Formats Rust as `cargo fmt` would.
pub(crate) fn format(files: &mut Files, settings: &Path) -> Result<()> {
    let staging = tempfile::tempdir()?;
    write(staging.path(), files)?;
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(settings)
        .args(files.keys().map(|name| staging.path().join(name)))
        .status()
        .context("cannot start `rustfmt`")?;
    ensure!(status.success(), "`rustfmt` cannot read what was generated");
    *files = read(staging.path())?;
    Ok(())
}
