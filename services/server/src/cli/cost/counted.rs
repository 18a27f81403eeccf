//! Counters: of running processes, asked over HTTP, or from files.

use std::time::Duration;

use futures::future::try_join_all;
use tidelog_cost::Counters;
use tidelog_env::Env;
use tidelog_env::clock::timeout;
use tidelog_runtime::Exit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::{CliError, Global, Result};
use super::{CostArgs, read, usage};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What all processes count in a second, how that is known, and how many they are.
pub(super) async fn rates(
    args: &CostArgs,
    global: &Global,
    env: &Env,
) -> Result<(Counters, String, u32)> {
    let (rates, how) = if args.saved.is_empty() {
        match args.interval {
            Some(interval) => between(&args.metrics, interval.get(), global, env).await?,
            None => since_start(&args.metrics, global, env).await?,
        }
    } else {
        let over = args.over.unwrap_or_default().get();
        let files = args.saved.iter().map(|path| {
            let counters = Counters::parse(&read(path)?).map_err(|error| usage(&error))?;
            per_second(&counters, over.as_secs_f64())
        });
        let rates = files.collect::<Result<Vec<_>>>()?;
        (rates, format!("counted in {} s", over.as_secs_f64()))
    };
    let processes = u32::try_from(rates.len()).unwrap_or(u32::MAX);
    let sum = rates.iter().fold(Counters::default(), Counters::plus);
    Ok((sum, how, processes))
}

fn per_second(counters: &Counters, seconds: f64) -> Result<Counters> {
    counters.per_second(seconds).map_err(|error| usage(&error))
}

/// Two readings, and the time between them.
async fn between(
    places: &[String],
    interval: Duration,
    global: &Global,
    env: &Env,
) -> Result<(Vec<Counters>, String)> {
    let before = all(places, global, env).await?;
    env.clock.sleep(interval).await;
    let after = all(places, global, env).await?;
    let pairs = before
        .iter()
        .zip(&after)
        .map(|((begin, before), (end, after))| {
            let counted = after.since(before).map_err(|error| usage(&error))?;
            per_second(&counted, end - begin)
        });
    let how = format!("counted in {} s", interval.as_secs_f64());
    Ok((pairs.collect::<Result<Vec<_>>>()?, how))
}

/// What each has counted since it was started.
async fn since_start(
    places: &[String],
    global: &Global,
    env: &Env,
) -> Result<(Vec<Counters>, String)> {
    let found = all(places, global, env).await?;
    let rates = found.iter().zip(places).map(|((now, counters), place)| {
        let started = counters.started().ok_or_else(|| {
            CliError::usage(format!(
                "`{place}` does not say when it was started: give `--for` to count for a while"
            ))
        })?;
        per_second(counters, now - started)
    });
    let how = "counted since each process was started".to_owned();
    Ok((rates.collect::<Result<Vec<_>>>()?, how))
}

/// The counters of all processes, each with the time of its reading in seconds since 1970.
async fn all(places: &[String], global: &Global, env: &Env) -> Result<Vec<(f64, Counters)>> {
    let limit = global.timeout.get();
    try_join_all(places.iter().map(|place| async move {
        let asked = timeout(env.clock.as_ref(), limit, get(place)).await;
        let text = asked.map_err(|_| {
            CliError::other(Exit::Unavailable, format!("`{place}` does not answer"))
        })??;
        let now = seconds(env.clock.wall().as_millis());
        let counters = Counters::parse(&text).map_err(|error| {
            CliError::usage(format!("what `{place}` answers cannot be used: {error}"))
        })?;
        Ok((now, counters))
    }))
    .await
}

#[expect(clippy::cast_precision_loss, reason = "a time of today has 41 bits")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// HOST:PORT of a place such as `http://127.0.0.1:7080/metrics`.
fn address(place: &str) -> &str {
    let place = place.strip_prefix("http://").unwrap_or(place);
    place.split('/').next().unwrap_or(place)
}

/// The page of metrics. The server ends the connection behind it, so nothing says its length before.
async fn get(place: &str) -> Result<String> {
    let failed = |source| CliError::io(format!("`{place}` cannot be asked"), source);
    let address = address(place);
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await
        .map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    body(&answer).map(str::to_owned).ok_or_else(|| {
        let line: String = answer
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect();
        let message = format!("`{place}` has no metrics: it answers `{line}`");
        CliError::other(Exit::Unavailable, message)
    })
}

/// What a good answer holds.
fn body(answer: &str) -> Option<&str> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1)? == "200").then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_url_or_an_address() {
        for place in [
            "h:7080",
            "http://h:7080",
            "http://h:7080/",
            "http://h:7080/metrics",
        ] {
            assert_eq!(address(place), "h:7080");
        }
    }

    #[test]
    fn only_a_good_answer_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\na: b\r\n\r\nx 1\n"), Some("x 1\n"));
        for other in [
            "",
            "HTTP/1.0 503 Later\r\n\r\nx",
            "HTTP/1.0 200 OK\r\n",
            "SSH-2.0",
        ] {
            assert_eq!(body(other), None, "{other}");
        }
    }
}
