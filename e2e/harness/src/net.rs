//! Ports and the little HTTP that tests need.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Ports that this process has given out, so that none is given out twice.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// An address of the loopback interface on which nobody listens.
pub fn free_port() -> Result<SocketAddr> {
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut given = GIVEN
            .lock()
            .map_err(|_| anyhow::anyhow!("a test panicked"))?;
        if given
            .get_or_insert_with(HashSet::new)
            .insert(address.port())
        {
            return Ok(address);
        }
    }
}

/// Asks for a page; answers its status code and body.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    http(address, request).await
}

/// Posts JSON; answers the status code and the body.
pub async fn http_post(address: SocketAddr, path: &str, json: &str) -> Result<(u16, String)> {
    let length = json.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{json}"
    );
    http(address, request).await
}

async fn http(address: SocketAddr, request: String) -> Result<(u16, String)> {
    timeout(LIMIT, answer(address, request))
        .await
        .context("no answer over HTTP")?
}

async fn answer(address: SocketAddr, request: String) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no status")?;
    Ok((code, body.to_owned()))
}

/// The sum of all samples of a Prometheus metric whose line contains all of `labels`.
pub fn metric(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let samples: Vec<f64> = page
        .lines()
        .filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!samples.is_empty()).then(|| samples.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_the_samples_that_are_meant() {
        let page = "# HELP a_total x\na_total{op=\"get\"} 2\na_total{op=\"put\"} 3\na_total_x 9\n";
        assert_eq!(metric(page, "a_total", &[]), Some(5.0));
        assert_eq!(metric(page, "a_total", &["op=\"get\""]), Some(2.0));
        assert_eq!(metric(page, "b_total", &[]), None);
    }
}
