//! What the allocator does with memory that was freed.
//!
//! glibc gives free memory at the end of a heap back to the system as soon as there are a few megabytes of
//! it. A broker frees a segment's bytes and takes as many for the next one, many times a second: each page
//! would go back, come again and be cleared in between, which costs a quarter of all CPU that producing
//! takes. glibc learns how much to keep from the largest block that was ever mapped for itself and freed;
//! so it is shown one at the start. The block is never touched, and other allocators do not mind.

use std::hint::black_box;

/// What each heap keeps is this share of the memory that the process may take: there is a heap for each
/// thread that is busy, and few threads free much at once.
const KEPT_SHARE: u64 = 16;
/// glibc learns nothing from larger blocks than 32 MiB, its own header included.
const SHOWN_BYTES_MAX: u64 = 31 * 1024 * 1024;

/// Has freed memory kept for the next use, within what a process with so much memory can spare.
pub(super) fn keep_freed_memory(memory_bytes: u64) {
    // glibc keeps twice as much as it was shown.
    let shown = (memory_bytes / KEPT_SHARE / 2).min(SHOWN_BYTES_MAX);
    let shown = usize::try_from(shown).unwrap_or_default();
    drop(black_box(Vec::<u8>::with_capacity(shown)));
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Pages that this thread has touched for the first time.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let faults = fields.split(' ').nth(7).expect("many fields");
        faults.parse().expect("a number")
    }

    /// Takes and frees 24 MiB, in pieces like those that batches come in.
    fn use_and_free() {
        let pieces: Vec<Vec<u8>> = (0..24).map(|_| vec![1; 1024 * 1024]).collect();
        drop(black_box(pieces));
    }

    #[test]
    fn memory_that_was_freed_is_used_again_without_asking_the_system() {
        keep_freed_memory(512 * 1024 * 1024);
        use_and_free();
        let before = faults();
        for _ in 0..5 {
            use_and_free();
        }
        let pages = 5 * 24 * 256;
        let taken = faults() - before;
        assert!(taken < pages / 10, "{taken} of {pages} pages came anew");
    }
}
