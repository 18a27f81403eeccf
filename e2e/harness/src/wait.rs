//! Waiting for what other processes do: always with a deadline, and saying for what.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How often a condition of another process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Looks until `probe` gives something; fails when `limit` is over.
pub async fn until<T, P>(what: impl Display, limit: Duration, mut probe: P) -> Result<T>
where
    P: AsyncFnMut() -> Option<T>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain until {what}");
        }
        sleep(POLL).await;
    }
}

/// Awaits `future`, which must be ready within `limit`.
pub async fn within<T>(
    what: impl Display,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T> {
    timeout(limit, future)
        .await
        .with_context(|| format!("waited {limit:?} in vain for {what}"))
}
