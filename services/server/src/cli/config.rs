//! `tidelog config`: what a server would run with.

use clap::Subcommand;
use serde::Serialize;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::Loaded;
use tidelog_runtime::settings::options::OPTIONS;

use super::output::{Table, print, print_done};
use super::{Output, Result, SettingsArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the settings are right, without starting anything.
    Check(SettingsArgs),
    /// Show every option, its value, and where that comes from. Secrets are not shown.
    Show(SettingsArgs),
}

/// One option as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    option: &'static str,
    value: Option<String>,
    origin: Option<String>,
}

pub(crate) fn run(command: &ConfigCommand, output: Output) -> Result<Exit> {
    match command {
        ConfigCommand::Check(args) => {
            let loaded = args.load()?;
            crate::serve::store_kind::check_built(&loaded.settings)?;
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            print_done(
                output,
                &serde_json::json!({ "ok": true }),
                "the settings are right",
            )?;
        }
        ConfigCommand::Show(args) => {
            let rows = rows(&args.load()?);
            print(output, &rows, || {
                let mut table = Table::new(&["option", "value", "from"]);
                for row in &rows {
                    let text =
                        |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
                    table.row(vec![
                        row.option.to_owned(),
                        text(&row.value),
                        text(&row.origin),
                    ]);
                }
                table
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn rows(loaded: &Loaded) -> Vec<Row> {
    let shown: toml::Table = loaded.settings.to_toml().parse().unwrap_or_default();
    let value = |key: &str| {
        let value = match key.split_once('.') {
            Some((group, name)) => shown.get(group)?.get(name)?,
            None => shown.get(key)?,
        };
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    OPTIONS
        .iter()
        .map(|option| Row {
            option: option.key,
            value: value(option.key),
            origin: loaded.origins.get(option.key).map(ToString::to_string),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tidelog_runtime::settings::{Sources, load};

    use super::*;

    #[test]
    fn every_option_is_shown_with_its_origin_and_no_secret_is() {
        let flags = [
            ("s3.access_key_id", "ada"),
            ("s3.secret_access_key", "hush"),
        ];
        let flags = flags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec();
        let rows = rows(
            &load(&Sources {
                flags,
                ..Sources::default()
            })
            .unwrap(),
        );
        assert_eq!(rows.len(), OPTIONS.len());
        let secret = rows
            .iter()
            .find(|row| row.option == "s3.secret_access_key")
            .unwrap();
        assert_eq!(secret.value.as_deref(), Some("<redacted>"));
        assert_eq!(secret.origin.as_deref(), Some("command line"));
        let total = rows
            .iter()
            .find(|row| row.option == "memory.total")
            .unwrap();
        assert_eq!(total.value.as_deref(), Some("512MiB"));
        assert_eq!(total.origin.as_deref(), Some("default"));
    }
}
