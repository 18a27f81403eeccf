//! Errors of commands: what happened, what to do, and how the process ends.

use std::error::Error as StdError;
use std::io;

use serde::Serialize;
use thiserror::Error;
use tidelog_client::{ClientError, ErrorCode, ProduceError, SendError};
use tidelog_runtime::Exit;
use tidelog_runtime::settings::SettingsErrors;

use super::Output;

/// The result of a command.
pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The command line or what it names is wrong.
    #[error("{0}")]
    Usage(String),
    /// The settings are wrong.
    #[error("the settings are wrong\n{0}")]
    Settings(#[from] SettingsErrors),
    /// The cluster refused, or could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A record was not written.
    #[error("records were not written: {0}")]
    Produce(#[from] ProduceError),
    /// A record was not taken.
    #[error("a record was not taken: {0}")]
    Send(#[from] SendError),
    /// Something with files or the terminal.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Anything else, with the exit code that fits.
    #[error("{message}")]
    Other {
        /// How the process ends.
        exit: Exit,
        /// What happened, and what to do.
        message: String,
        /// Why.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// A part of what was asked for was done.
    #[error("{cause}")]
    Partial {
        /// What ended it.
        cause: Box<Self>,
        /// What was done.
        so_far: SoFar,
    },
    /// Whoever read our output has gone: the command ends quietly.
    #[error("nobody reads the output")]
    OutputClosed,
}

/// What was done before a command failed.
#[derive(Debug)]
pub(crate) struct SoFar {
    /// For people, a sentence a line.
    pub(crate) notes: Vec<String>,
    /// How to go on.
    pub(crate) hint: String,
    /// For programs.
    pub(crate) details: serde_json::Value,
}

/// An error for programs.
#[derive(Serialize)]
struct Shown<'a> {
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<&'a serde_json::Value>,
}

impl CliError {
    /// An error of usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// An error of input or output; one of a closed pipe is told apart.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// An error of writing results.
    pub(crate) fn output(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::io("the result cannot be written", source)
    }

    /// An error with its own exit code and a cause.
    pub(crate) fn because(
        exit: Exit,
        message: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::Other {
            exit,
            message: message.into(),
            source: Some(Box::new(source)),
        }
    }

    /// An error with its own exit code.
    pub(crate) fn other(exit: Exit, message: impl Into<String>) -> Self {
        Self::Other {
            exit,
            message: message.into(),
            source: None,
        }
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Client(ClientError::Setup(_)) => Exit::Usage,
            Self::Client(ClientError::TimedOut { .. }) => Exit::Unavailable,
            Self::Client(error) => error.code().map_or(Exit::Error, exit_of),
            Self::Produce(error) => error.code().map_or(Exit::Error, exit_of),
            Self::Send(_) | Self::Io { .. } => Exit::Error,
            Self::Other { exit, .. } => *exit,
            Self::Partial { .. } => Exit::Partial,
            Self::OutputClosed => Exit::Ok,
        }
    }

    /// The code of the service, if it is what failed.
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Client(ClientError::TimedOut { .. }) => Some(ErrorCode::Unavailable),
            Self::Client(error) => error.code(),
            Self::Produce(error) => error.code(),
            Self::Partial { cause, .. } => cause.code(),
            _ => None,
        }
    }

    /// What the user can do, where the message itself does not say it.
    fn hint(&self) -> Option<&str> {
        if let Self::Partial { so_far, .. } = self {
            return Some(&so_far.hint);
        }
        match self.code()? {
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Some(
                "is the server running? start one with `tidelog serve`, or name it with --address",
            ),
            ErrorCode::UnknownTopic => Some("`tidelog topic create` makes a topic"),
            ErrorCode::UnknownGroup => Some("`tidelog group list` shows those that there are"),
            ErrorCode::GroupNotEmpty => Some("end its members first"),
            ErrorCode::UnknownPartition => {
                Some("`tidelog topic describe` shows how many partitions there are")
            }
            ErrorCode::OffsetOutOfRange => {
                Some("`tidelog offsets` shows the offsets that are there")
            }
            ErrorCode::ResourceExhausted => {
                Some("the server is busy; try again, or send more slowly")
            }
            ErrorCode::Fenced => {
                Some("another server has taken over the bucket; speak to that one")
            }
            ErrorCode::BatchTooLarge => {
                Some("the topic's `max.message.bytes` is the limit; see `tidelog topic alter`")
            }
            _ => None,
        }
    }

    /// Says what happened on standard error, and how to end.
    pub(crate) fn report(&self, output: Output) -> Exit {
        if !matches!(self, Self::OutputClosed) {
            let to = &mut io::stderr().lock();
            // There is nobody left to tell if this cannot be printed.
            let _ = match output {
                Output::Json => self.write_json_to(to),
                Output::Table => self.write_to(to),
            };
        }
        self.exit()
    }

    /// The causes that are not told yet by what they caused.
    fn causes(&self) -> Vec<String> {
        if let Self::Partial { cause, .. } = self {
            return cause.causes();
        }
        let mut text = self.to_string();
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                causes.push(next.clone());
                text = next;
            }
            cause = error.source();
        }
        causes
    }

    fn write_to(&self, to: &mut impl io::Write) -> io::Result<()> {
        writeln!(to, "error: {self}")?;
        for cause in self.causes() {
            writeln!(to, "  because {cause}")?;
        }
        if let Self::Partial { so_far, .. } = self {
            for note in &so_far.notes {
                writeln!(to, "  {note}")?;
            }
        }
        if let Some(hint) = self.hint() {
            writeln!(to, "  hint: {hint}")?;
        }
        to.flush()
    }

    /// The same as JSON on one line.
    fn write_json_to(&self, to: &mut impl io::Write) -> io::Result<()> {
        let shown = Shown {
            error: self.to_string(),
            because: self.causes(),
            code: self.code().map(ErrorCode::as_str),
            hint: self.hint(),
            exit: self.exit().code(),
            done: match self {
                Self::Partial { so_far, .. } => Some(&so_far.details),
                _ => None,
            },
        };
        serde_json::to_writer(&mut *to, &shown)?;
        writeln!(to)?;
        to.flush()
    }
}

/// How the process ends when the service answered this.
const fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownGroup
        | ErrorCode::OffsetOutOfRange => Exit::NotFound,
        ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::ResourceExhausted => {
            Exit::Unavailable
        }
        ErrorCode::Fenced => Exit::Fenced,
        ErrorCode::InvalidArgument
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidConfig
        | ErrorCode::Unsupported => Exit::Usage,
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &CliError) -> String {
        let mut text = Vec::new();
        error.write_to(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let api =
            tidelog_client::ApiError::new(ErrorCode::UnknownTopic, "topic `x` does not exist");
        let error = CliError::Client(ClientError::Api(api));
        assert_eq!(error.exit(), Exit::NotFound);
        let text = shown(&error);
        assert!(
            text.starts_with("error: topic `x` does not exist\n"),
            "{text}"
        );
        assert!(text.contains("hint: `tidelog topic create`"), "{text}");
    }

    #[test]
    fn an_error_for_programs_has_its_code_and_what_was_done() {
        let api = tidelog_client::ApiError::new(ErrorCode::UnknownTopic, "no topic `x`");
        let error = CliError::Partial {
            cause: Box::new(CliError::Client(ClientError::Api(api))),
            so_far: SoFar {
                notes: vec!["1 record was acknowledged".to_owned()],
                hint: "go on".to_owned(),
                details: serde_json::json!({ "acknowledged": 1 }),
            },
        };
        let mut text = Vec::new();
        error.write_json_to(&mut text).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["error"], "no topic `x`");
        assert_eq!(json["code"], "UNKNOWN_TOPIC");
        assert_eq!(
            (&json["exit"], &json["hint"]),
            (&10.into(), &"go on".into())
        );
        assert_eq!(json["done"]["acknowledged"], 1);
        assert!(shown(&error).contains("  1 record was acknowledged\n  hint: go on\n"));
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = CliError::because(Exit::Listen, "cannot listen", io::Error::other("taken"));
        assert_eq!(shown(&error), "error: cannot listen\n  because taken\n");
        let error = CliError::because(
            Exit::Listen,
            "cannot listen: taken",
            io::Error::other("taken"),
        );
        assert_eq!(shown(&error), "error: cannot listen: taken\n");
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let error = CliError::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.exit(), Exit::Ok);
        assert_eq!(
            CliError::output(io::ErrorKind::StorageFull.into()).exit(),
            Exit::Error
        );
    }
}
