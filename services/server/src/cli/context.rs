//! `tidelog context`: several clusters by name, in one file of the user's configuration folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use tidelog_runtime::Exit;
use tidelog_runtime::settings::nearest;

use super::connect::{self, ADDRESS_DEFAULT};
use super::output::{Table, print, print_done};
use super::{CliError, Output, Result};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts; the current one has a star.
    List,
    /// Make a context the current one.
    Use {
        /// The context's name.
        name: String,
    },
    /// Create or change a context.
    Set {
        /// The context's name.
        name: String,
        /// Where its cluster is, such as `http://127.0.0.1:7070`; more than one with commas.
        #[arg(required = true, value_delimiter = ',')]
        url: Vec<String>,
    },
    /// Forget a context.
    Delete {
        /// The context's name.
        name: String,
        /// Also if it is the current one. Commands then speak to `http://127.0.0.1:7070`.
        #[arg(long)]
        force: bool,
    },
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    /// The name of the one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    addresses: Vec<String>,
}

pub(crate) fn run(command: &ContextCommand, output: Output) -> Result<Exit> {
    let path = path().ok_or_else(|| {
        CliError::usage("neither XDG_CONFIG_HOME nor HOME is set: there is no place for contexts")
    })?;
    let mut contexts = Contexts::read(&path)?;
    let sentence = match command {
        ContextCommand::List => {
            print(output, &contexts, || contexts.table())?;
            return Ok(Exit::Ok);
        }
        ContextCommand::Use { name } => contexts.switch(name)?,
        ContextCommand::Set { name, url } => contexts.set(name, url)?,
        ContextCommand::Delete { name, force } => contexts.delete(name, *force)?,
    };
    contexts.write(&path)?;
    print_done(output, &contexts, &sentence)?;
    Ok(Exit::Ok)
}

/// The addresses of the context of this name, else of the current one; empty without contexts.
pub(crate) fn addresses(name: Option<&str>) -> Result<Vec<String>> {
    let contexts = match path() {
        Some(path) => Contexts::read(&path)?,
        None => Contexts::default(),
    };
    let Some(name) = name.or(contexts.current.as_deref()) else {
        return Ok(Vec::new());
    };
    Ok(contexts.get(name)?.addresses.clone())
}

fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(folder.join("tidelog/contexts.toml"))
}

impl Contexts {
    fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(fault("read", path, error)),
        };
        toml::from_str(&text).map_err(|error| {
            CliError::usage(format!(
                "the contexts in `{}` are wrong: {error}",
                path.display()
            ))
        })
    }

    /// Replaces the file as a whole, so that a crash leaves the old or the new one.
    fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|error| fault("write", path, std::io::Error::other(error)))?;
        let staged = path.with_extension("toml.new");
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&staged, text))
            .and_then(|()| std::fs::rename(&staged, path))
            .map_err(|error| fault("write", path, error))
    }

    fn get(&self, name: &str) -> Result<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            let near = nearest(name, self.contexts.keys().map(String::as_str));
            let meant = near.map_or_else(
                || "`tidelog context list` shows what there is".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            CliError::other(
                Exit::NotFound,
                format!("there is no context `{name}`: {meant}"),
            )
        })
    }

    fn switch(&mut self, name: &str) -> Result<String> {
        self.get(name)?;
        self.current = Some(name.to_owned());
        Ok(format!("`{name}` is now the current context"))
    }

    fn set(&mut self, name: &str, addresses: &[String]) -> Result<String> {
        for address in addresses {
            connect::checked(address)?;
        }
        let context = Context {
            addresses: addresses.to_vec(),
        };
        self.contexts.insert(name.to_owned(), context);
        let is = format!("`{name}` is {}", addresses.join(", "));
        if self.current.is_some() {
            return Ok(is);
        }
        // Where there is none in use it is this one: nobody makes it to be ignored.
        self.current = Some(name.to_owned());
        Ok(format!(
            "{is}; it is now the current context, since there was none"
        ))
    }

    fn delete(&mut self, name: &str, force: bool) -> Result<String> {
        self.get(name)?;
        let is_current = self.current.as_deref() == Some(name);
        if is_current && !force {
            return Err(CliError::usage(format!(
                "`{name}` is the current context: without it commands speak to {ADDRESS_DEFAULT}; \
                 switch first with `tidelog context use`, or say --force"
            )));
        }
        self.contexts.remove(name);
        if is_current {
            self.current = None;
            return Ok(format!(
                "`{name}` is forgotten; there is no current context now, and commands speak to \
                 {ADDRESS_DEFAULT}"
            ));
        }
        Ok(format!("`{name}` is forgotten"))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["", "name", "addresses"]);
        for (name, context) in &self.contexts {
            let star = if self.current.as_ref() == Some(name) {
                "*"
            } else {
                ""
            };
            table.row(vec![
                star.to_owned(),
                name.clone(),
                context.addresses.join(", "),
            ]);
        }
        table
    }
}

fn fault(action: &str, path: &Path, source: std::io::Error) -> CliError {
    CliError::io(
        format!("cannot {action} the contexts in `{}`", path.display()),
        source,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_context_is_current_and_one_can_switch() {
        let mut contexts = Contexts::default();
        let url = ["http://127.0.0.1:7070".to_owned()];
        let said = contexts.set("local", &url).unwrap();
        assert!(said.contains("now the current context"), "{said}");
        let said = contexts.set("prod", &["http://logs".to_owned()]).unwrap();
        assert!(!said.contains("current"), "{said}");
        assert_eq!(contexts.current.as_deref(), Some("local"));
        contexts.switch("prod").unwrap();
        contexts.delete("local", false).unwrap();
    }

    #[test]
    fn the_current_context_is_deleted_by_force_alone_and_what_follows_is_said() {
        let mut contexts = Contexts::default();
        contexts.set("prod", &["http://logs".to_owned()]).unwrap();
        let error = contexts.delete("prod", false).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(contexts.current.as_deref(), Some("prod"));
        let said = contexts.delete("prod", true).unwrap();
        assert!(said.contains("speak to http://127.0.0.1:7070"), "{said}");
        assert_eq!(contexts.current, None);
    }

    #[test]
    fn what_is_no_address_makes_no_context() {
        let mut contexts = Contexts::default();
        for address in ["not-a-url", "https://logs"] {
            contexts.set("bad", &[address.to_owned()]).unwrap_err();
        }
        assert_eq!(contexts, Contexts::default());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let mut contexts = Contexts::default();
        contexts
            .set("production", &["http://logs".to_owned()])
            .unwrap();
        let error = contexts.switch("prodution").unwrap_err();
        assert!(error.to_string().contains("did you mean `production`?"));
        assert_eq!(error.exit(), Exit::NotFound);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/contexts.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        contexts.set("a", &["http://x".to_owned()]).unwrap();
        contexts.write(&path).unwrap();
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
    }
}
