//! A proxy before S3 that misbehaves on demand. It passes requests on unchanged, so signatures hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// How a request is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is passed on.
    Pass,
    /// It is answered with 503 and the S3 error `SlowDown`.
    Unavailable,
    /// Nobody answers.
    Hang,
    /// Whatever writes or deletes is answered with 403; the rest is passed on.
    ReadOnly,
    /// A write is passed on, but its answer never comes back.
    LoseWriteAnswers,
}

/// The proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    delay: watch::Sender<Duration>,
    requests: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on a free port before the server at `to`.
    pub async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let delay = watch::Sender::new(Duration::ZERO);
        let requests = Arc::new(AtomicU64::new(0));
        let gate = Gate {
            to,
            mode: mode.subscribe(),
            delay: delay.subscribe(),
            requests: Arc::clone(&requests),
        };
        let task = tokio::spawn(serve(listener, gate)).abort_handle();
        Ok(Self {
            address,
            mode,
            delay,
            requests,
            task,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How requests are treated from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// From now on, before a write is passed on, so much time passes: as if the bucket were far away.
    pub fn delay_writes(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Gate {
    to: SocketAddr,
    mode: watch::Receiver<Mode>,
    delay: watch::Receiver<Duration>,
    requests: Arc<AtomicU64>,
}

async fn serve(listener: TcpListener, gate: Gate) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, gate.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection of a client, request by request. Errors end it, as a broken wire does.
async fn connection(mut client: TcpStream, mut gate: Gate) -> Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = None;
    let mut read = Vec::new();
    while let Some(head) = Head::read(&mut client, &mut read).await? {
        gate.requests.fetch_add(1, Ordering::SeqCst);
        let delay = *gate.delay.borrow();
        if head.is_write() && !delay.is_zero() {
            sleep(delay).await;
        }
        let mode = *gate.mode.borrow();
        match mode {
            Mode::Hang => {
                gate.mode.wait_for(|mode| *mode != Mode::Hang).await?;
                anyhow::bail!("the connection is broken, not answered late");
            }
            Mode::Unavailable => refuse(&mut client, &head, &mut read, "503", "SlowDown").await?,
            Mode::ReadOnly if head.is_write() => {
                refuse(&mut client, &head, &mut read, "403", "AccessDenied").await?;
            }
            Mode::LoseWriteAnswers if head.is_write() => {
                let mut lost = TcpStream::connect(gate.to).await?;
                head.pass(&mut client, &mut read, &mut lost).await?;
                // The other side has it; the client never learns.
                let mut answer = Vec::new();
                head.answer(&mut lost, &mut answer).await?;
                anyhow::bail!("the connection is broken before the answer");
            }
            Mode::Pass | Mode::ReadOnly | Mode::LoseWriteAnswers => {
                let to = match &mut upstream {
                    Some(to) => to,
                    none => none.insert(TcpStream::connect(gate.to).await?),
                };
                head.pass(&mut client, &mut read, to).await?;
                let keep = head.answer(to, &mut client).await?;
                if !keep {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Answers with an error of S3 after the body has come.
async fn refuse(
    client: &mut TcpStream,
    head: &Head,
    read: &mut Vec<u8>,
    status: &str,
    code: &str,
) -> Result<()> {
    let mut nowhere = tokio::io::sink();
    head.pass(client, read, &mut nowhere).await?;
    let body = if head.method() == "HEAD" {
        String::new()
    } else {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        )
    };
    let answer = format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Ok(client.write_all(answer.as_bytes()).await?)
}

/// The head of a request or an answer, with the bytes as they came.
struct Head {
    bytes: Vec<u8>,
    text: String,
}

impl Head {
    const BYTES_MAX: usize = 64 * 1024;
    const READ_BYTES: usize = 64 * 1024;

    /// Reads a head; what came behind it stays in `read`. Nothing at the end of the connection.
    async fn read(from: &mut TcpStream, read: &mut Vec<u8>) -> Result<Option<Self>> {
        loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = read.split_off(end + 4);
                let bytes = std::mem::replace(read, rest);
                let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                return Ok(Some(Self { bytes, text }));
            }
            anyhow::ensure!(read.len() < Self::BYTES_MAX, "the head is too long");
            if from.read_buf(read).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn method(&self) -> String {
        let word = self.text.split(' ').next().unwrap_or_default();
        word.to_ascii_uppercase()
    }

    fn is_write(&self) -> bool {
        matches!(self.method().as_str(), "PUT" | "POST" | "DELETE")
    }

    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v.trim())
    }

    fn length(&self) -> Option<u64> {
        self.field("content-length")?.parse().ok()
    }

    /// Sends the request with its body to the other side.
    async fn pass<W>(&self, from: &mut TcpStream, read: &mut Vec<u8>, to: &mut W) -> Result<()>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        anyhow::ensure!(
            self.field("transfer-encoding").is_none(),
            "bodies have a length"
        );
        if self.field("expect").is_some() {
            from.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        to.write_all(&self.bytes).await?;
        body(self.length().unwrap_or(0), from, read, to).await?;
        Ok(to.flush().await?)
    }

    /// Brings the answer to this request back. Whether the connection can be used again.
    async fn answer<W>(&self, from: &mut TcpStream, to: &mut W) -> Result<bool>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        let mut read = Vec::new();
        let mut answer = Self::read(from, &mut read).await?.context("no answer")?;
        if answer.text.starts_with("http/1.1 100") {
            answer = Self::read(from, &mut read).await?.context("no answer")?;
        }
        to.write_all(&answer.bytes).await?;
        let empty = self.method() == "HEAD"
            || answer.text.starts_with("http/1.1 204")
            || answer.text.starts_with("http/1.1 304");
        match answer.length() {
            _ if empty => {}
            Some(length) => body(length, from, &mut read, to).await?,
            None if answer.field("transfer-encoding").is_some() => {
                chunks(from, &mut read, to).await?;
            }
            None => {
                to.write_all(&read).await?;
                copy(from, to).await?;
                return Ok(false);
            }
        }
        to.flush().await?;
        Ok(answer.field("connection") != Some("close"))
    }
}

/// Copies a body of known length, of which the beginning may have been read.
async fn body<R, W>(length: u64, from: &mut R, read: &mut Vec<u8>, to: &mut W) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let there = usize::try_from(length)?.min(read.len());
    to.write_all(&read[..there]).await?;
    read.drain(..there);
    let mut rest = length - there as u64;
    let mut buffer = vec![0; Head::READ_BYTES];
    while rest > 0 {
        let most = usize::try_from(rest)?.min(buffer.len());
        let count = from.read(&mut buffer[..most]).await?;
        anyhow::ensure!(count > 0, "the body is cut off");
        to.write_all(&buffer[..count]).await?;
        rest -= count as u64;
    }
    Ok(())
}

/// Copies a chunked body up to its end.
async fn chunks<W>(from: &mut TcpStream, read: &mut Vec<u8>, to: &mut W) -> Result<()>
where
    W: tokio::io::AsyncWrite + Unpin,
{
    loop {
        let end = loop {
            if let Some(end) = read.windows(2).position(|two| two == b"\r\n") {
                break end + 2;
            }
            anyhow::ensure!(from.read_buf(read).await? > 0, "a chunk is cut off");
        };
        let line = String::from_utf8_lossy(&read[..end]).into_owned();
        let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)?;
        body(end as u64 + size + 2, from, read, to).await?;
        if size == 0 {
            return Ok(());
        }
    }
}
