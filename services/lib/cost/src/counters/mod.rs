//! What running processes have counted, read from the text that they show at `/metrics`.

mod text;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{COUNT_MAX, OutOfRange, SECONDS_MAX, within};
use crate::uses::{Kind, Use};

/// Most text of one process; a large one shows some hundred KiB.
const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Shortest interval: below it a count says nothing of a rate.
const SECONDS_MIN: f64 = 0.001;

const REQUESTS: &str = "tidelog_blob_requests_total";
const SENT: &str = "tidelog_blob_sent_bytes_total";
const RECEIVED: &str = "tidelog_blob_received_bytes_total";
const APPENDED: &str = "tidelog_append_appended_bytes_total";
const BATCHES: &str = "tidelog_append_batches_total";
const FETCHED: &str = "tidelog_fetch_fetched_bytes_total";
const STARTED: &str = "process_start_time_seconds";

/// Why counters cannot be read or compared.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CountersError {
    /// Too much text.
    #[error("the text of one process has at most {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A line that is none of the format.
    #[error("line {line} is not of Prometheus' text format: `{text}`")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A count that no count can be.
    #[error("line {line}: {source}")]
    Count {
        /// Its number, from 1.
        line: usize,
        /// Why not.
        source: OutOfRange,
    },
    /// Metrics of something else.
    #[error("there is no `{REQUESTS}` in it: these are not metrics of a tidelog process")]
    Foreign,
    /// A count went down.
    #[error("`{0}` went down between the two readings: a process was started anew meanwhile")]
    Restarted(String),
}

/// A kind of request: operation, role, purpose.
type Labels = (String, String, String);

/// The counts of one process, or of several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    requests: BTreeMap<Labels, f64>,
    sent: BTreeMap<Labels, f64>,
    received: BTreeMap<Labels, f64>,
    appended: f64,
    batches: f64,
    fetched: f64,
    started: Option<f64>,
}

impl Counters {
    /// Reads the text of one process. Series that are told apart by labels that are of no interest here are
    /// added up.
    pub fn parse(text: &str) -> Result<Self, CountersError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(CountersError::TooLong);
        }
        let mut counters = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            counters.read(number, line)?;
        }
        if counters.requests.is_empty() {
            return Err(CountersError::Foreign);
        }
        Ok(counters)
    }

    fn read(&mut self, number: usize, line: &str) -> Result<(), CountersError> {
        let Some((name, rest)) = text::name(line) else {
            return Ok(());
        };
        let families = [
            REQUESTS, SENT, RECEIVED, APPENDED, BATCHES, FETCHED, STARTED,
        ];
        if !families.contains(&name) {
            return Ok(());
        }
        let wrong = || CountersError::Line {
            line: number,
            text: line.chars().take(80).collect(),
        };
        let (labels, value) = text::sample(rest).ok_or_else(wrong)?;
        let value = within(name, value, 0.0, COUNT_MAX).map_err(|source| CountersError::Count {
            line: number,
            source,
        })?;
        let label = |wanted: &str| {
            let mut labels = labels.iter();
            let found = labels.find(|(name, _)| name == wanted);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let key = || (label("operation"), label("role"), label("purpose"));
        match name {
            REQUESTS => *self.requests.entry(key()).or_default() += value,
            SENT => *self.sent.entry(key()).or_default() += value,
            RECEIVED => *self.received.entry(key()).or_default() += value,
            APPENDED => self.appended += value,
            BATCHES => self.batches += value,
            FETCHED => self.fetched += value,
            _ => self.started = Some(value),
        }
        Ok(())
    }

    /// What came since `earlier`, a reading of the same process.
    pub fn since(&self, earlier: &Self) -> Result<Self, CountersError> {
        let less = |what: &str, now: f64, before: f64| {
            if now < before {
                return Err(CountersError::Restarted(what.to_owned()));
            }
            Ok(now - before)
        };
        let all = |what: &str, now: &BTreeMap<Labels, f64>, before: &BTreeMap<Labels, f64>| {
            if let Some(key) = before.keys().find(|key| !now.contains_key(*key)) {
                return Err(CountersError::Restarted(format!("{what} of {}", key.0)));
            }
            let pairs = now.iter().map(|(key, value)| {
                let before = before.get(key).copied().unwrap_or(0.0);
                Ok((key.clone(), less(what, *value, before)?))
            });
            pairs.collect::<Result<BTreeMap<_, _>, _>>()
        };
        Ok(Self {
            requests: all(REQUESTS, &self.requests, &earlier.requests)?,
            sent: all(SENT, &self.sent, &earlier.sent)?,
            received: all(RECEIVED, &self.received, &earlier.received)?,
            appended: less(APPENDED, self.appended, earlier.appended)?,
            batches: less(BATCHES, self.batches, earlier.batches)?,
            fetched: less(FETCHED, self.fetched, earlier.fetched)?,
            started: self.started,
        })
    }

    /// What each of them counts in a second, if it was counted in `seconds`.
    pub fn per_second(&self, seconds: f64) -> Result<Self, OutOfRange> {
        let seconds = within("interval in seconds", seconds, SECONDS_MIN, SECONDS_MAX)?;
        let all = |counts: &BTreeMap<Labels, f64>| {
            let rates = counts.iter();
            rates
                .map(|(key, count)| (key.clone(), count / seconds))
                .collect()
        };
        Ok(Self {
            requests: all(&self.requests),
            sent: all(&self.sent),
            received: all(&self.received),
            appended: self.appended / seconds,
            batches: self.batches / seconds,
            fetched: self.fetched / seconds,
            started: self.started,
        })
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (mine, theirs) in [
            (&mut self.requests, &other.requests),
            (&mut self.sent, &other.sent),
            (&mut self.received, &other.received),
        ] {
            for (key, value) in theirs {
                *mine.entry(key.clone()).or_default() += value;
            }
        }
        self.appended += other.appended;
        self.batches += other.batches;
        self.fetched += other.fetched;
        self
    }

    /// When the process was started, in seconds since 1970, if it says so.
    pub const fn started(&self) -> Option<f64> {
        self.started
    }

    /// Bytes of record batches written.
    pub const fn appended(&self) -> f64 {
        self.appended
    }

    /// Record batches written.
    pub const fn batches(&self) -> f64 {
        self.batches
    }

    /// Bytes of record batches read.
    pub const fn fetched(&self) -> f64 {
        self.fetched
    }

    /// Bytes sent to the object store, and got from it.
    pub(crate) fn moved(&self) -> (f64, f64) {
        // A sum of nothing is a negative zero otherwise.
        let all =
            |counts: &BTreeMap<Labels, f64>| counts.values().fold(0.0, |sum, count| sum + count);
        (all(&self.sent), all(&self.received))
    }

    /// The requests of rates, kind by kind.
    pub(crate) fn uses(&self, how: &str) -> Vec<Use> {
        let kinds = self.requests.iter().filter(|(_, rate)| **rate > 0.0);
        kinds
            .map(|((operation, role, purpose), rate)| {
                let kind = kind(operation);
                let what = format!("{operation} {purpose}, {role}");
                Use::each_second(kind, what, *rate, format!("{rate:.3}/s {how}"))
            })
            .collect()
    }
}

/// What a request costs. One that this build does not know costs as much as any.
fn kind(operation: &str) -> Kind {
    match operation {
        "get" | "get_range" | "head" => Kind::ClassB,
        "delete" => Kind::Delete,
        _ => Kind::ClassA,
    }
}

#[cfg(test)]
mod tests;
