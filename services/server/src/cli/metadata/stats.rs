//! `tidelog metadata stats`.

use serde::Serialize;
use tidelog_env::Env;
use tidelog_metadata::KindStats;
use tidelog_runtime::Exit;

use super::place::{Place, failed};
use crate::cli::output::{Table, grouped, print};
use crate::cli::{Output, Result, SettingsArgs};
use crate::serve::metadata::StoreRows;

/// Rows of one kind as programs see them.
#[derive(Debug, Serialize)]
struct Counted {
    kind: String,
    rows: u64,
    key_bytes: u64,
    value_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Stats {
    kinds: Vec<Counted>,
    rows: u64,
    bytes: u64,
}

pub(super) async fn run(args: &SettingsArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(args, env).await?;
    let rows = place.rows().await?;
    let counted = match &rows {
        StoreRows::Embedded(reader) => tidelog_metadata::stats(reader.as_ref(), &place.env).await,
        #[cfg(feature = "fdb")]
        StoreRows::Shared(store) => tidelog_metadata::stats(store.as_ref(), &place.env).await,
    };
    rows.close().await;
    let counted = counted.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    let stats = Stats {
        rows: counted.iter().map(|kind| kind.rows).sum(),
        bytes: counted
            .iter()
            .map(|kind| kind.key_bytes + kind.value_bytes)
            .sum(),
        kinds: counted.iter().map(shown).collect(),
    };
    print(output, &stats, || table(&stats))?;
    Ok(Exit::Ok)
}

fn shown(stats: &KindStats) -> Counted {
    let name = stats.kind.map_or("unknown", |kind| kind.name());
    Counted {
        kind: name.to_owned(),
        rows: stats.rows,
        key_bytes: stats.key_bytes,
        value_bytes: stats.value_bytes,
    }
}

fn table(stats: &Stats) -> Table {
    let mut table = Table::new(&["kind", ">rows", ">key bytes", ">value bytes", ">bytes"]);
    for kind in &stats.kinds {
        table.row(vec![
            kind.kind.clone(),
            grouped(kind.rows),
            grouped(kind.key_bytes),
            grouped(kind.value_bytes),
            grouped(kind.key_bytes + kind.value_bytes),
        ]);
    }
    table.row(vec![
        "all".to_owned(),
        grouped(stats.rows),
        String::new(),
        String::new(),
        grouped(stats.bytes),
    ]);
    table
}
