//! Whether the bucket holds what metadata names, and nothing else.

use std::time::Duration;

use anyhow::Result;

use crate::{Bucket, Cli, Place, until};

/// How many rows there are of some kinds in the store of the cluster at `place`.
pub async fn rows(place: &Place, kinds: &[&str]) -> Result<u64> {
    let cli = Cli::new(None);
    let flags = place.flags();
    let mut words = vec!["metadata", "stats", "-o", "json"];
    words.extend(flags.iter().map(String::as_str));
    let stats: serde_json::Value = serde_json::from_str(&cli.ok(&words).await?)?;
    let counted = stats["kinds"].as_array().into_iter().flatten();
    let of_these = counted.filter(|counted| {
        let kind = counted["kind"].as_str().unwrap_or_default();
        kinds.contains(&kind)
    });
    Ok(of_these
        .filter_map(|counted| counted["rows"].as_u64())
        .sum())
}

/// Waits until the bucket has as many segments as metadata names, but for those that lie in the store, and nothing is left
/// to delete; answers how many are named.
pub async fn only_what_is_named(place: &Place, limit: Duration) -> Result<u64> {
    let bucket = Bucket::open(place)?;
    until("only what is named is left", limit, async || {
        let dying = rows(place, &["dying", "orphans"]).await.ok()?;
        let named = rows(place, &["live bytes"]).await.ok()?;
        let in_store = rows(place, &["inline"]).await.ok()?;
        let there = bucket.segments().await.ok()?.len() as u64;
        (dying == 0 && there + in_store == named).then_some(named)
    })
    .await
}
