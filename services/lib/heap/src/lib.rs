//! What the allocator keeps of the memory that a process has freed.
//!
//! glibc has a heap for each thread that is busy, up to eight for each core, and memory that was freed in one is
//! of no use to the others. A broker's batches are taken by one thread and freed by another, so each heap grows to
//! what was once freed in it: with 16 of them, a process of 128 MiB took 275. So there are no more heaps than the
//! memory has room for.
//!
//! A heap gives free memory at its end back to the system as soon as there are a few megabytes of it. A broker
//! frees a segment's bytes and takes as many for the next one, many times a second: each page would go back, come
//! again and be cleared in between, which costs a quarter of all CPU that producing takes. So a heap keeps more,
//! within what the process can spare.
//!
//! Other allocators are left as they are.

/// What each heap keeps is this share of the memory that the process may take.
const KEPT_SHARE: u64 = 16;
/// No block above this many bytes comes from a heap: it is the most that glibc allows.
const HEAP_BLOCK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// There is a heap for this much of the memory.
const MEMORY_PER_HEAP: u64 = 64 * 1024 * 1024;
/// One for whoever takes and one for whoever frees.
const HEAPS_MIN: u64 = 2;

/// How the heaps of a process are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    heaps: u64,
    kept_bytes: u64,
    block_bytes: u64,
}

impl Plan {
    fn of(memory_bytes: u64) -> Self {
        let kept_bytes = memory_bytes / KEPT_SHARE;
        Self {
            heaps: (memory_bytes / MEMORY_PER_HEAP).max(HEAPS_MIN),
            kept_bytes,
            block_bytes: (kept_bytes / 2).min(HEAP_BLOCK_BYTES_MAX),
        }
    }
}

/// Fits the heaps to a process that may take so much memory. To be called before many threads are at work: a heap
/// that there is stays.
pub fn fit(memory_bytes: u64) {
    apply(Plan::of(memory_bytes));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn apply(plan: Plan) {
    set(libc::M_ARENA_MAX, plan.heaps);
    set(libc::M_TRIM_THRESHOLD, plan.kept_bytes);
    set(libc::M_MMAP_THRESHOLD, plan.block_bytes);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn apply(_: Plan) {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the one call into the allocator; its conditions are upheld here"
)]
fn set(parameter: libc::c_int, value: u64) {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    // SAFETY: `mallopt` takes any two integers, at any time and from any thread: it locks the heap that it
    // changes, and refuses what it does not know.
    let _ = unsafe { libc::mallopt(parameter, value) };
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn heaps_grow_with_the_memory() {
        assert_eq!(Plan::of(128 * MIB).heaps, 2);
        assert_eq!(Plan::of(512 * MIB).heaps, 8);
        let large = Plan::of(16 * 1024 * MIB);
        assert_eq!((large.heaps, large.block_bytes), (256, 32 * MIB));
    }

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

    /// Heaps beside the first: each reserves 64 MiB at a multiple of as much.
    fn heaps() -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let starts = maps
            .lines()
            .filter(|line| line.contains(" rw-p 00000000 00:00 0"));
        let starts = starts.filter_map(|line| line.split('-').next());
        let starts = starts.filter_map(|start| u64::from_str_radix(start, 16).ok());
        starts
            .filter(|start| start.is_multiple_of(64 * MIB))
            .count()
    }

    // One test, since it is about the process.
    #[test]
    fn many_threads_share_few_heaps_and_memory_that_was_freed_is_used_again() {
        fit(512 * MIB);
        let all_at_work = Barrier::new(40);
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let blocks: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1024]).collect();
                    all_at_work.wait();
                    drop(black_box(blocks));
                });
            }
        });
        let heaps = heaps();
        assert!((1..8).contains(&heaps), "{heaps} heaps for 40 threads");

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
