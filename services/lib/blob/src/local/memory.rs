//! What the kernel keeps in memory of the files that we wrote.

use std::io;
use std::path::Path;

/// Has the kernel forget the bytes of a file, which are on the disk. Blocks, shortly.
#[cfg(target_os = "linux")]
pub(super) fn forget(file: &Path) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    fadvise(std::fs::File::open(file)?, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Elsewhere the kernel is left to its own judgement.
#[cfg(not(target_os = "linux"))]
pub(super) fn forget(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
pub(super) mod tests {
    use std::fs::{self, File};
    use std::io::{IoSliceMut, Write as _};

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::*;

    /// The file system that has no disk, so that nothing can be forgotten.
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;

    /// Whether a file's first bytes are in the kernel's memory; `None` where that cannot be known.
    pub(in crate::local) fn is_kept(path: &Path) -> Option<bool> {
        let file = File::open(path).expect("the file is there");
        let system = rustix::fs::fstatfs(&file).expect("a file system");
        if system.f_type == TMPFS {
            return None;
        }
        let mut byte = [0];
        let slices = &mut [IoSliceMut::new(&mut byte)];
        match preadv2(&file, slices, 0, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    #[test]
    fn what_was_forgotten_is_read_from_the_disk_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
        file.sync_all().unwrap();
        let Some(kept) = is_kept(&path) else {
            eprintln!("this file system does not tell what is in memory");
            return;
        };
        assert!(kept);
        forget(&path).unwrap();
        assert_eq!(is_kept(&path), Some(false));
        assert_eq!(fs::read(&path).unwrap(), vec![7; 100_000]);
        assert_eq!(is_kept(&path), Some(true));
        forget(&dir.path().join("none")).unwrap_err();
    }
}
