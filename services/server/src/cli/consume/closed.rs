//! Notices that whoever read our output has gone, also while there is nothing to write.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::cli::{CliError, Result};

/// Resolves when nobody can read standard output any more; never where that cannot happen, as with a file.
pub(super) struct OutputClosed(oneshot::Receiver<()>);

impl OutputClosed {
    /// Begins to watch, on a thread that sleeps in the kernel and ends with the process.
    pub(super) fn watch() -> Result<Self> {
        let (gone, receiver) = oneshot::channel();
        let watching = move || {
            if wait(&io::stdout()) {
                // The command may have ended meanwhile.
                let _ = gone.send(());
            }
        };
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(watching)
            .map_err(|source| CliError::io("a thread cannot be started", source))?;
        Ok(Self(receiver))
    }

    /// Ends when the output is closed. Cancel-safe.
    pub(super) async fn wait(&mut self) {
        if (&mut self.0).await.is_err() {
            // Nothing can be told of this output: whoever writes to it learns by that.
            std::future::pending::<()>().await;
        }
    }
}

/// Blocks until the other end of `output` has gone; false if that cannot be waited for.
fn wait(output: &impl std::os::fd::AsFd) -> bool {
    // Errors and hang-ups are told without being asked for, and nothing else is wanted.
    let mut watched = [PollFd::new(output, PollFlags::empty())];
    loop {
        match poll(&mut watched, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => {
                let told = watched[0].revents();
                return told.intersects(PollFlags::ERR | PollFlags::HUP);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_whose_reader_goes_is_closed() {
        let (reader, writer) = io::pipe().unwrap();
        let waiting = thread::spawn(move || wait(&writer));
        drop(reader);
        assert!(waiting.join().unwrap());
    }
}
