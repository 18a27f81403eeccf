//! The client's network thread, of which a process has one.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop, NetworkBuilder};
use foundationdb::options::NetworkOption;
use parking_lot::Mutex;
use thiserror::Error;

use crate::errors::FdbFailure;
use crate::options::{NetworkOptions, OptionsError};

/// The network thread of this process. Clones share it; when the last one is gone, and every store holds
/// one, the thread is stopped and joined, and no other can be started in this process. So a process keeps
/// one from its start to its end, and drops it before it ends.
#[derive(Clone, Debug)]
pub struct Network {
    running: Arc<Running>,
}

struct Running {
    options: NetworkOptions,
    // Stops and joins the thread when dropped.
    _thread: NetworkAutoStop,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why the network thread could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A file for TLS cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It runs with other options.
    #[error("client of FoundationDB already runs in this process with other options")]
    OtherOptions,
    /// It was stopped, or could not be started before; the client allows one start in a process.
    #[error("client of FoundationDB has ended and cannot be started again in this process")]
    Ended,
    /// The client refused an option, its version, or to start.
    #[error("client of FoundationDB cannot be started")]
    Client(#[source] FdbFailure),
}

/// What has happened in this process. The client cannot be started twice, so neither can this be reset.
enum State {
    Fresh,
    Started(Weak<Running>),
    Failed,
}

static STATE: Mutex<State> = Mutex::new(State::Fresh);

impl Network {
    /// The running network thread, or a new one.
    pub fn start(options: &NetworkOptions) -> Result<Self, NetworkError> {
        options.check()?;
        let mut state = STATE.lock();
        match &*state {
            State::Fresh => {
                check_files(options)?;
                // Whatever comes of it, there is no second try.
                *state = State::Failed;
                let running = Arc::new(Running {
                    options: options.clone(),
                    _thread: boot(options).map_err(|error| NetworkError::Client(error.into()))?,
                });
                *state = State::Started(Arc::downgrade(&running));
                Ok(Self { running })
            }
            State::Started(running) => {
                let running = running.upgrade().ok_or(NetworkError::Ended)?;
                if running.options == *options {
                    Ok(Self { running })
                } else {
                    Err(NetworkError::OtherOptions)
                }
            }
            State::Failed => Err(NetworkError::Ended),
        }
    }

    /// The options it runs with.
    pub fn options(&self) -> &NetworkOptions {
        &self.running.options
    }
}

/// The client reads the files when it first connects, and its error names none.
fn check_files(options: &NetworkOptions) -> Result<(), NetworkError> {
    for path in options.tls.files() {
        File::open(path).map_err(|source| NetworkError::File {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

fn boot(options: &NetworkOptions) -> Result<NetworkAutoStop, FdbError> {
    let mut builder = FdbApiBuilder::default().build()?;
    for option in client_options(options) {
        builder = builder.set_option(option)?;
    }
    start_thread(builder)
}

// SAFETY: the network may be started once in a process and must be stopped before the process ends. The
// state above, whose lock is held, lets this run once; the value returned stops and joins the thread when
// it is dropped, and lives in the handles that every store holds.
#[expect(
    unsafe_code,
    reason = "the client's only unsafe call; its conditions are upheld above"
)]
fn start_thread(builder: NetworkBuilder) -> Result<NetworkAutoStop, FdbError> {
    unsafe { builder.boot() }
}

fn client_options(options: &NetworkOptions) -> Vec<NetworkOption> {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut all = vec![
        // One client library, the one that is linked: no other is loaded at run time.
        NetworkOption::DisableMultiVersionClientApi,
        NetworkOption::DisableClientStatisticsLogging,
    ];
    if let Some(trace) = &options.trace {
        all.push(NetworkOption::TraceEnable(path(&trace.folder)));
        let log_group = trace.log_group.clone();
        all.extend(log_group.map(NetworkOption::TraceLogGroup));
    }
    let tls = &options.tls;
    all.extend(
        tls.certificate
            .as_ref()
            .map(path)
            .map(NetworkOption::TLSCertPath),
    );
    all.extend(tls.key.as_ref().map(path).map(NetworkOption::TLSKeyPath));
    all.extend(
        tls.authorities
            .as_ref()
            .map(path)
            .map(NetworkOption::TLSCaPath),
    );
    let rules = tls.verify_peers.as_ref();
    all.extend(rules.map(|rules| NetworkOption::TLSVerifyPeers(rules.clone().into_bytes())));
    let knobs = options.knobs.iter();
    all.extend(knobs.map(|knob| NetworkOption::Knob(format!("{}={}", knob.name, knob.value))));
    all
}

impl From<FdbError> for FdbFailure {
    fn from(error: FdbError) -> Self {
        Self::new(error.code(), error.message())
    }
}
