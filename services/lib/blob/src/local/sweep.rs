//! Removes staged files that a dead process left.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use tidelog_env::Clock;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Staged files removed.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Staged files that were too young.
    pub kept: u64,
}

/// Removes staged files (`name#1`, as the store below names them) under `root` that were last written more
/// than `stale_after` ago. Younger ones may belong to a process that lives.
///
/// It walks the whole folder, so a process runs it beside its start, not before. It makes no request, does
/// not follow links, and passes over what vanishes under its feet.
pub async fn sweep(
    root: &Path,
    stale_after: Duration,
    clock: &dyn Clock,
) -> io::Result<SweepReport> {
    let now = u64::try_from(clock.wall().as_millis()).unwrap_or(0);
    let oldest_kept = Duration::from_millis(now).saturating_sub(stale_after);
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || sweep_blocking(&root, oldest_kept)).await?
}

fn sweep_blocking(root: &Path, oldest_kept: Duration) -> io::Result<SweepReport> {
    let mut report = SweepReport::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_gone(fs::read_dir(&folder))? else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if is_staged(&entry) {
                sweep_file(&entry, oldest_kept, &mut report)?;
            }
        }
    }
    if report.removed > 0 {
        tracing::info!(
            removed = report.removed,
            bytes = report.removed_bytes,
            "removed staged files of a process that died"
        );
    }
    Ok(report)
}

fn sweep_file(entry: &DirEntry, oldest_kept: Duration, report: &mut SweepReport) -> io::Result<()> {
    let Some(metadata) = unless_gone(entry.metadata())? else {
        return Ok(());
    };
    let written = metadata
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if written >= oldest_kept {
        report.kept += 1;
        return Ok(());
    }
    if unless_gone(fs::remove_file(entry.path()))?.is_some() {
        report.removed += 1;
        report.removed_bytes += metadata.len();
    }
    Ok(())
}

/// Whether the store below would have given this name to a staged file. No object can have such a name.
fn is_staged(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.to_str()
        .and_then(|name| name.split_once('#'))
        .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use tidelog_env::{ManualClock, SystemClock};
    use tidelog_types::Timestamp;

    use super::*;

    #[tokio::test]
    async fn only_staged_files_that_are_old_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("seg/ab")).unwrap();
        for name in [
            "seg/ab/5#1",
            "seg/ab/5#27",
            "seg/ab/5",
            "seg/ab/5#",
            "seg/ab/5#x",
            "top#3",
        ] {
            fs::write(root.join(name), b"1234").unwrap();
        }
        let hour = Duration::from_hours(1);
        let now = SystemClock::new().wall().as_millis();

        let young = ManualClock::new(Timestamp::from_millis(now));
        let report = sweep(root, hour, &young).await.unwrap();
        assert_eq!((report.removed, report.kept), (0, 3));

        let later = ManualClock::new(Timestamp::from_millis(now + 2 * 3_600_000));
        let report = sweep(root, hour, &later).await.unwrap();
        assert_eq!(
            (report.removed, report.removed_bytes, report.kept),
            (3, 12, 0)
        );
        for name in ["seg/ab/5", "seg/ab/5#", "seg/ab/5#x"] {
            assert!(root.join(name).exists(), "{name}");
        }
        assert!(!root.join("seg/ab/5#1").exists() && !root.join("top#3").exists());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_has_nothing_to_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let report = sweep(&dir.path().join("no"), Duration::ZERO, &SystemClock::new()).await;
        assert_eq!(report.unwrap(), SweepReport::default());
    }
}
