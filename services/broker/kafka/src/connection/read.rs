//! From bytes to frames. Nothing is allocated for what a client only claims.
//!
//! A large request holds memory for all of it before more than its beginning is read. Where there is not so
//! much, it is gathered in memory that it holds as it comes (see `claims` in the engine): what a client has
//! promised and not sent keeps nobody out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;
use tidelog_broker_engine::{Claim, Gathered};
use tidelog_env::clock::timeout;
use tidelog_kafka_codec::{FrameError, request_length};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use crate::front::Front;
use crate::metrics::Closed;
use crate::settings::HELD_BYTES_MIN;

/// The length in front of a frame.
const PREFIX_BYTES: usize = 4;
/// What is made room for when something comes on a connection that had nothing.
const FIRST_BYTES: usize = 512;
/// When so much of a request has come for which there is memory, room is made for the rest.
const WHOLE_FROM_BYTES: usize = 64 * 1024;
/// While others wait for its memory, a request comes on by so much in so long; one that is gathered, and holds
/// no more than has come, by so much as is read of it at a time.
const PACE_BYTES: usize = 64 * 1024;
const PACE_TIME: Duration = Duration::from_secs(1);

/// A request's bytes without their length.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Memory for them, if they are many.
    pub(super) hold: Option<Arc<Claim>>,
}

/// Why there is no frame.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// The client has said all, between two frames.
    #[error("the client has ended the connection")]
    Ended,
    /// In the middle of a frame.
    #[error("the client has ended the connection within a request")]
    CutOff,
    /// The socket failed.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// The length cannot be right.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It took too long.
    #[error("a request took too long to come")]
    Slow,
}

impl ReadError {
    pub(super) const fn why(&self) -> Closed {
        match self {
            Self::Ended => Closed::Ended,
            Self::CutOff | Self::Io(_) => Closed::Failed,
            Self::Frame(_) => Closed::Refused,
            Self::Slow => Closed::Slow,
        }
    }
}

/// The reading side of a connection. While nothing comes it has no buffer.
#[derive(Debug)]
pub(super) struct FrameReader {
    front: Arc<Front>,
    half: OwnedReadHalf,
    buffer: BytesMut,
}

impl FrameReader {
    pub(super) fn new(front: &Arc<Front>, half: OwnedReadHalf) -> Self {
        Self {
            front: Arc::clone(front),
            half,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame. It is waited for as long as nothing comes, and not for long once something has.
    pub(super) async fn next(&mut self) -> Result<Frame, ReadError> {
        if self.buffer.is_empty() {
            self.first().await?;
        }
        let front = Arc::clone(&self.front);
        let clock = front.parts.env.clock.as_ref();
        let in_time = front.parts.settings.request_timeout;
        let started = clock.now();
        timeout(clock, in_time, self.fill(PREFIX_BYTES))
            .await
            .map_err(|_| ReadError::Slow)??;
        let prefix = self.buffer.first_chunk().copied().unwrap_or_default();
        let length = request_length(prefix, front.parts.settings.request_bytes_max)?;
        let mut left = in_time.saturating_sub(clock.now() - started);
        let mut hold = None;
        if length > HELD_BYTES_MIN {
            let claim = front.intake.claim(length as u64);
            if !claim.try_whole() {
                return Box::pin(self.gather(length, Gathered::new(claim))).await;
            }
            hold = Some(Arc::new(claim));
            left = in_time;
        }
        let body = self.keep_pace(PREFIX_BYTES + length, hold.is_some());
        timeout(clock, left, body)
            .await
            .map_err(|_| ReadError::Slow)??;
        self.buffer.advance(PREFIX_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        Ok(Frame { bytes, hold })
    }

    /// Reads a large request for which there is not all the memory: a piece no larger than a small request
    /// first, then memory for it, then the next piece. The time that it waits for memory is not counted.
    async fn gather(&mut self, length: usize, mut gathered: Gathered) -> Result<Frame, ReadError> {
        let front = Arc::clone(&self.front);
        let clock = front.parts.env.clock.as_ref();
        let mut left = front.parts.settings.request_timeout;
        self.buffer.advance(PREFIX_BYTES);
        while gathered.len() < length {
            let piece = HELD_BYTES_MIN.min(length - gathered.len());
            let started = clock.now();
            let filled = self.piece(piece, !gathered.is_empty());
            timeout(clock, left, filled)
                .await
                .map_err(|_| ReadError::Slow)??;
            left = left.saturating_sub(clock.now() - started);
            gathered.room(piece).await;
            gathered.put(&self.buffer[..piece]);
            self.buffer.advance(piece);
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        let (chunks, claim) = gathered.into_parts();
        let mut bytes = BytesMut::with_capacity(length);
        for chunk in chunks {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Frame {
            bytes: bytes.freeze(),
            hold: Some(claim),
        })
    }

    /// Reads a piece, which comes in time if others wait for what is held.
    async fn piece(&mut self, piece: usize, holds: bool) -> Result<(), ReadError> {
        let front = Arc::clone(&self.front);
        let clock = front.parts.env.clock.as_ref();
        loop {
            match timeout(clock, PACE_TIME, self.fill(piece)).await {
                Ok(filled) => return filled,
                Err(_) if !holds || front.intake.waiting() == 0 => {}
                Err(_) => return Err(ReadError::Slow),
            }
        }
    }

    /// Waits for the first bytes without memory for them.
    async fn first(&mut self) -> Result<(), ReadError> {
        self.buffer = BytesMut::new();
        loop {
            self.half.readable().await?;
            self.buffer.reserve(FIRST_BYTES);
            match self.half.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(ReadError::Ended),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads until there are so many bytes. A client that is slow does not keep memory for which others wait.
    async fn keep_pace(&mut self, whole: usize, holds: bool) -> Result<(), ReadError> {
        if !holds {
            return self.fill(whole).await;
        }
        let front = Arc::clone(&self.front);
        let clock = front.parts.env.clock.as_ref();
        loop {
            let before = self.buffer.len();
            match timeout(clock, PACE_TIME, self.fill(whole)).await {
                Ok(filled) => return filled,
                Err(_) if self.buffer.len() - before >= PACE_BYTES => {}
                Err(_) if front.intake.waiting() == 0 => {}
                Err(_) => return Err(ReadError::Slow),
            }
        }
    }

    /// Reads until there are so many bytes. Cancel-safe. Room is made for as much as has
    /// come already, and when that is much, for all.
    async fn fill(&mut self, whole: usize) -> Result<(), ReadError> {
        while self.buffer.len() < whole {
            if self.buffer.capacity() == self.buffer.len() {
                let (length, missing) = (self.buffer.len(), whole - self.buffer.len());
                let step = if length < WHOLE_FROM_BYTES {
                    length.max(FIRST_BYTES)
                } else {
                    missing
                };
                self.buffer.reserve(step);
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Err(ReadError::CutOff);
            }
        }
        Ok(())
    }
}
