//! Settings of a server as the command line gives them.

use std::path::{Path, PathBuf};

use clap::Args;
use tidelog_runtime::settings::{Loaded, Sources, load};

use super::{CliError, Result};

/// Where settings come from. Every option can be set with `--set`; the usual ones have flags.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SettingsArgs {
    /// The local folder that is the bucket [default: ./tidelog-data].
    #[arg(long, value_name = "DIR", conflicts_with = "bucket")]
    data: Option<PathBuf>,
    /// The bucket, as `s3://NAME` or `s3://NAME/PREFIX`.
    #[arg(long, value_name = "URL")]
    bucket: Option<String>,
    /// What the process does, with commas [default: metadata,broker,janitor].
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Where metadata is kept: `embedded` in the bucket, or `fdb:CLUSTERFILE` [default: embedded].
    #[arg(long, value_name = "STORE")]
    metadata: Option<String>,
    /// Where metadata processes serve other members, as HOST:PORT with commas.
    #[arg(long, value_name = "ADDRESSES")]
    join: Option<String>,
    /// A TOML file with settings.
    #[arg(long, env = "TIDELOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any option, such as memory.total=2GiB; see `tidelog config show` for all of them.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where gRPC is served [default: 127.0.0.1:7070].
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<String>,
    /// Where Kafka's protocol is served [default: 127.0.0.1:9092].
    #[arg(long, value_name = "ADDRESS")]
    kafka: Option<String>,
    /// Where a metadata process serves other members [default: 127.0.0.1:7071 where there may be some].
    #[arg(long, value_name = "ADDRESS")]
    internal: Option<String>,
    /// Where health and metrics are served over HTTP [default: 127.0.0.1:7080].
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Allows addresses that other machines can reach, without TLS and authentication.
    #[arg(long)]
    insecure: bool,
}

impl SettingsArgs {
    /// Reads the file and the environment of this process and puts everything together.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let file = self.config.as_deref().map(read).transpose()?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(load(&Sources {
            file,
            environment,
            flags: self.flags()?,
        })?)
    }

    fn flags(&self) -> Result<Vec<(String, String)>> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                CliError::usage(format!(
                    "`--set {pair}` has no value: write `--set KEY=VALUE`"
                ))
            })?;
            flags.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        let data = self.data.as_ref().map(|path| path.display().to_string());
        let insecure = self.insecure.then(|| "true".to_owned());
        let named = [
            ("data", data),
            ("bucket", self.bucket.clone()),
            ("roles", self.roles.clone()),
            ("metadata.store", self.metadata.clone()),
            ("cluster.metadata", self.join.clone()),
            ("listen.grpc", self.grpc.clone()),
            ("listen.kafka", self.kafka.clone()),
            ("listen.internal", self.internal.clone()),
            ("listen.http", self.http.clone()),
            ("listen.insecure", insecure),
        ];
        flags.extend(
            named
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?))),
        );
        Ok(flags)
    }
}

fn read(path: &Path) -> Result<(String, String)> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| {
        CliError::because(
            tidelog_runtime::Exit::Usage,
            format!("the file of settings `{name}` cannot be read"),
            source,
        )
    })?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_pairs_become_options() {
        let args = SettingsArgs {
            bucket: Some("s3://logs".to_owned()),
            set: vec!["memory.total = 2GiB".to_owned()],
            insecure: true,
            ..SettingsArgs::default()
        };
        let flags = args.flags().unwrap();
        let expected = [
            ("memory.total", "2GiB"),
            ("bucket", "s3://logs"),
            ("listen.insecure", "true"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(flags, expected);
    }

    #[test]
    fn a_pair_without_a_value_is_a_mistake() {
        let args = SettingsArgs {
            set: vec!["memory.total".to_owned()],
            ..SettingsArgs::default()
        };
        assert!(args.flags().unwrap_err().to_string().contains("KEY=VALUE"));
    }
}
