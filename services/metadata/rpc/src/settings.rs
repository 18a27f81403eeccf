//! Limits of server and client.

use std::time::Duration;

use tidelog_api::internal::v1::ask_request::Request as Ask;
use tidelog_metadata_api::MARKERS_MAX;
use tonic::transport::ClientTlsConfig;

/// The largest message: a commit, or an answer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest request beside commits.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest request about members.
pub(crate) const MEMBER_BYTES_MAX: usize = 64 * 1024;
/// A call that commits more than this is sent as several messages.
pub(crate) const COMMIT_BYTES_TARGET: usize = 4 * 1024 * 1024;
/// The same for its conditions, orders and whatever else repeats in it: a message with 400,000 is refused.
pub(crate) const COMMIT_ITEMS_TARGET: usize = 100_000;
/// Commits of one message.
pub(crate) const COMMITS_MAX: usize = 4_096;
/// Lookups of one message, and how many a client puts in one.
pub(crate) const LOOKUPS_MAX: usize = 10_000;
pub(crate) const LOOKUPS_TARGET: usize = 1_000;
/// Extents of one answer; beyond it each lookup has the one that it must have.
pub(crate) const EXTENTS_MAX: usize = 65_536;
/// Markers of one message: a multiple of those that show at once, so that a client never parts these.
pub(crate) const MARKERS_MESSAGE_MAX: usize = 20 * MARKERS_MAX;
/// How often a janitor asks a metadata process that is not its own whether there is something to do.
pub(crate) const WORK_INTERVAL: Duration = Duration::from_secs(10);
/// Extents of one part of a task of merging, and of a whole one: about 60 bytes each.
pub(crate) const MERGE_PART_EXTENTS: usize = 20_000;
pub(crate) const MERGE_EXTENTS_MAX: usize = 2_000_000;
/// Segments that a task asks to look into.
pub(crate) const MERGE_SPARSE_MAX: usize = 1_000;
/// How long the owner of a shard may take to swap runs: some transactions, one after the other.
pub(crate) const SWAP_WITHIN: Duration = Duration::from_secs(30);
/// Between two views an empty message says so often that the process is there.
pub(crate) const BEAT: Duration = Duration::from_millis(500);
/// How often a connection is asked whether its other end is there, and how long that one may take.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(COMMIT_BYTES_TARGET < MESSAGE_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_MAX <= MESSAGE_BYTES_MAX);

/// A part of what requests to coordinators may take, one in so many, is kept for those that do not wait for others.
const KEPT_FROM_WAITING: usize = 4;

/// How much of `max` a request may find taken. Members that wait to join may be many, and wait for minutes: the
/// heartbeats and commits of all other groups go on beside them.
pub(crate) const fn ask_limit(max: usize, request: Option<&Ask>) -> usize {
    match request {
        Some(Ask::Join(_) | Ask::Sync(_)) => max - max / KEPT_FROM_WAITING,
        _ => max,
    }
}

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// Connections at the same time; further ones wait until one ends.
    pub connections_max: usize,
    /// Calls of one connection at the same time.
    pub connection_calls_max: u32,
    /// Messages of one commit stream that await their answers before nothing more is read from it.
    pub commits_open_max: usize,
    /// Bytes of them.
    pub commit_bytes_open_max: usize,
    /// Requests to coordinators of one stream that await their answers before further ones are refused. Those that
    /// wait for other members may take three quarters of this and of the bytes.
    pub asks_open_max: usize,
    /// Bytes of them.
    pub ask_bytes_open_max: usize,
    /// A connection that has not begun to speak HTTP/2 after this long is closed.
    pub greeting_timeout: Duration,
    /// The longest that a call which is no stream may take, whatever its caller says.
    pub call_timeout: Duration,
    /// How long calls under way may take when the server stops.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            connection_calls_max: 256,
            commits_open_max: 1_024,
            commit_bytes_open_max: 64 * 1024 * 1024,
            asks_open_max: 20_000,
            ask_bytes_open_max: 32 * 1024 * 1024,
            greeting_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// How a client reaches peers and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// How to check peers and to prove who this process is; none for plain HTTP/2.
    pub tls: Option<ClientTlsConfig>,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a question or a change may take, with all attempts at other processes.
    pub request_timeout: Duration,
    /// A peer that has said nothing for this long where it should beat is taken for gone.
    pub silence: Duration,
    /// How long a commit waits for its shard to have an owner before it is given back.
    pub owner_wait: Duration,
    /// Messages with commits that one peer has not answered; beyond it commits are given back.
    pub commits_open_max: usize,
    /// Bytes of them.
    pub commit_bytes_open_max: usize,
    /// Requests to coordinators that one peer has not answered; beyond it they are given back.
    pub asks_open_max: usize,
    /// Bytes of them.
    pub ask_bytes_open_max: usize,
    /// Partitions of which it is remembered up to where they were shown, before half of them are forgotten;
    /// there may be twice as many.
    pub bounds_kept: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            tls: None,
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(2),
            owner_wait: Duration::from_millis(200),
            commits_open_max: 4_096,
            commit_bytes_open_max: 128 * 1024 * 1024,
            asks_open_max: 20_000,
            ask_bytes_open_max: 32 * 1024 * 1024,
            bounds_kept: 100_000,
        }
    }
}
