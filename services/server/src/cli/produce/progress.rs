//! How far a command is, on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidelog_env::{Clock, MonoTime};

use crate::cli::output::grouped;

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error with what was sent and how fast; nothing where there is no terminal.
pub(super) struct Progress<'a> {
    bar: Option<ProgressBar>,
    clock: &'a dyn Clock,
    start: MonoTime,
    shown: MonoTime,
    records: u64,
    bytes: u64,
    input: u64,
}

impl<'a> Progress<'a> {
    /// Progress through an input of `total` bytes, if that is known.
    pub(super) fn new(quiet: bool, total: Option<u64>, clock: &'a dyn Clock) -> Self {
        let wanted = !quiet && std::io::stderr().is_terminal();
        let now = clock.now();
        let bar = wanted.then(|| bar(total));
        Self {
            bar,
            clock,
            start: now,
            shown: now,
            records: 0,
            bytes: 0,
            input: 0,
        }
    }

    /// One more record, of `bytes`, which took `input` bytes of the input.
    pub(super) fn sent(&mut self, bytes: usize, input: u64) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.input += input;
        let Some(bar) = &self.bar else { return };
        let now = self.clock.now();
        if now - self.shown < INTERVAL {
            return;
        }
        self.shown = now;
        let seconds = (now - self.start).as_secs_f64();
        bar.set_position(self.input);
        bar.set_message(format!(
            "{} records, {}/s, {:.1} MB/s",
            grouped(self.records),
            grouped(per_second(self.records, seconds)),
            megabytes(self.bytes, seconds)
        ));
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Records sent.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of keys and values sent.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {percent:>3}% {msg}, {eta} to go",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates above are right; the default would do no harm.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
    }
    bar
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people to read"
)]
fn per_second(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds.max(0.001)) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn megabytes(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(0.001)
}
