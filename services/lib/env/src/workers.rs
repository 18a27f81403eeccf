//! A few threads for work that takes long and awaits nothing.
//!
//! They are few, and always the same: an allocator keeps memory for each thread that ever used much of it, so
//! that the many threads of a runtime for blocking calls would each keep what the largest work has taken.

use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::Mutex;

type Work = Box<dyn FnOnce() + Send>;

/// The threads, which start with the first work and end with this.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Nothing if no thread could be started.
    queue: OnceLock<Option<Mutex<Sender<Work>>>>,
}

impl Workers {
    /// Runs work on one of the threads, in the order in which it came. Work must not panic. If the system has
    /// no thread for it, it is run here and now.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let work: Work = Box::new(work);
        let left = match self.queue.get_or_init(start) {
            Some(queue) => queue.lock().send(work).err().map(|unsent| unsent.0),
            None => Some(work),
        };
        if let Some(work) = left {
            work();
        }
    }
}

/// A thread for each second core, since the others serve connections.
fn start() -> Option<Mutex<Sender<Work>>> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (queue, works) = mpsc::channel();
    let works = Arc::new(Mutex::new(works));
    let threads = (0..cores.div_ceil(2)).filter(|_| {
        let works = Arc::clone(&works);
        let thread = thread::Builder::new().name("worker".to_owned());
        thread.spawn(move || work_off(&works)).is_ok()
    });
    (threads.count() > 0).then(|| Mutex::new(queue))
}

fn work_off(works: &Mutex<Receiver<Work>>) {
    loop {
        // Those who wait do so for the lock, one for the work.
        let next = works.lock().recv();
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_few_threads() {
        let workers = Workers::default();
        let (done, names) = mpsc::channel();
        for _ in 0..100 {
            let done = done.clone();
            workers.run(move || done.send(thread::current().id()).unwrap());
        }
        let ids: std::collections::HashSet<_> = names.iter().take(100).collect();
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        assert!(ids.len() <= cores.div_ceil(2));
        assert!(!ids.contains(&thread::current().id()));
    }
}
