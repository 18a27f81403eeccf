//! Which folders are known to be on the disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// How many folders are remembered; then the memory starts afresh, which costs a few fsyncs. Each writer
/// process has 256 folders of its own.
const FOLDERS_MAX: usize = 16_384;

/// Folders below `root` whose way from the root was fsynced by this process.
#[derive(Debug)]
pub(super) struct DurableFolders {
    root: PathBuf,
    known: Mutex<HashSet<PathBuf>>,
}

impl DurableFolders {
    /// The root itself is taken to be on the disk.
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            known: Mutex::new(HashSet::new()),
        }
    }

    pub(super) fn contains(&self, folder: &Path) -> bool {
        folder == self.root || self.known.lock().contains(folder)
    }

    /// Creates `folder` and all above it, and fsyncs the parent of each that is not yet known. Blocks.
    ///
    /// A folder is remembered only after the fsync, so a second caller never takes the first one's word
    /// for it too early; it does the same work again instead.
    pub(super) fn make_durable(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let unknown: Vec<&Path> = folder
            .ancestors()
            .take_while(|ancestor| !self.contains(ancestor) && ancestor.starts_with(&self.root))
            .collect();
        for unknown in &unknown {
            if let Some(parent) = unknown.parent() {
                sync(parent)?;
            }
        }
        let mut known = self.known.lock();
        if known.len() + unknown.len() > FOLDERS_MAX {
            known.clear();
        }
        known.extend(unknown.into_iter().map(Path::to_owned));
        Ok(())
    }
}

/// Fsyncs the folder and all above it, as far as this process may open them: `create_dir_all` does not say
/// which of them are new. Blocks.
pub(super) fn sync_upwards(folder: &Path) -> io::Result<()> {
    sync(folder)?;
    for ancestor in folder.ancestors().skip(1) {
        match sync(ancestor) {
            // Folders that we may not read, or that lie on a medium that cannot sync them, are not ours.
            Err(error) if error.kind() != io::ErrorKind::NotFound => break,
            result => result?,
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_remembered_up_to_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let folders = DurableFolders::new(root.clone());
        let deep = root.join("a/b/c");
        assert!(!folders.contains(&deep));
        folders.make_durable(&deep).unwrap();
        for known in [&deep, &root.join("a/b"), &root.join("a"), &root] {
            assert!(folders.contains(known));
        }
        assert!(deep.is_dir());
        assert!(!folders.contains(&root.join("x")));
        assert_eq!(folders.known.lock().len(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let folders = DurableFolders::new(dir.path().to_owned());
        let below = dir.path().join("file/sub");
        assert!(folders.make_durable(&below).is_err());
        assert!(!folders.contains(&below));
    }
}
