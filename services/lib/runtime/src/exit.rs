//! How the process says how it ended.

use std::process::ExitCode;

/// Exit codes of every command. They are part of the interface: a number is never given a new meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// Something failed that no other code names.
    Error = 1,
    /// The command line or the settings are wrong; nothing was done.
    Usage = 2,
    /// Another process has taken over the bucket; this one must not go on.
    Fenced = 3,
    /// The bucket cannot be reached, belongs to another cluster, or lacks something that is needed.
    Bucket = 4,
    /// The process was asked to end and did not finish within its deadline.
    DrainDeadline = 5,
    /// An address to listen on is not to be had.
    Listen = 6,
    /// The cluster cannot be reached.
    Unavailable = 7,
    /// What was asked for does not exist.
    NotFound = 8,
    /// The process stopped itself, since it could not know what is durable or a task had failed.
    FailStop = 9,
    /// A part of what was asked for was done; the error says which.
    Partial = 10,
    /// The user asked twice to end.
    Interrupted = 130,
}

impl Exit {
    /// All of them, for the reference.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Error,
        Self::Usage,
        Self::Fenced,
        Self::Bucket,
        Self::DrainDeadline,
        Self::Listen,
        Self::Unavailable,
        Self::NotFound,
        Self::FailStop,
        Self::Partial,
        Self::Interrupted,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for the reference.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "all went well",
            Self::Error => "something failed that no other code names",
            Self::Usage => "the command line or the settings are wrong; nothing was done",
            Self::Fenced => "another process has taken over the bucket; this one must not go on",
            Self::Bucket => {
                "the bucket cannot be reached, belongs to another cluster, or lacks something"
            }
            Self::DrainDeadline => "asked to end, but not done within the deadline",
            Self::Listen => "an address to listen on is not to be had",
            Self::Unavailable => "the cluster cannot be reached",
            Self::NotFound => "what was asked for does not exist",
            Self::FailStop => "stopped itself: what is durable was not known, or a task had failed",
            Self::Partial => "a part of what was asked for was done; the error says which",
            Self::Interrupted => "the user asked twice to end",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_meaning() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
    }
}
