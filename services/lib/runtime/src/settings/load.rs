//! From file, environment and flags to [`Settings`].

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use toml::{Table, Value};

use super::named::{self, NamedKey, Tables};
use super::options::{Kind, OPTIONS, OptionDoc, find};
use super::{Secret, Settings, check, nearest};

/// Where settings come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's name, for errors, and its text.
    pub file: Option<(String, String)>,
    /// The environment of the process. Variables that do not begin with `TIDELOG_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Keys and values of the command line.
    pub flags: Vec<(String, String)>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of options.
    Default,
    /// The file of this name.
    File(String),
    /// The environment variable of this name.
    Variable(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file `{name}`"),
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The file is not TOML.
    #[error("file `{file}` is not TOML: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// No option has this name.
    #[error("unknown option `{key}` ({origin}){}", meant(nearest.as_deref()))]
    Unknown {
        /// The name.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The option that was perhaps meant.
        nearest: Option<String>,
    },
    /// The value is not one that the option takes.
    #[error("option `{key}` ({origin}): {reason}")]
    Value {
        /// The option.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// Why not, and what it takes.
        reason: String,
    },
    /// Options that do not fit together.
    #[error("{0}")]
    Conflict(String),
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!(": did you mean `{nearest}`?")
    })
}

/// Everything that is wrong, so that it can be put right at once.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsErrors(pub Vec<SettingsError>);

/// Settings that were read and fit together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each option's value comes from; an option that is unset is not in it.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What is odd but not wrong, for the log.
    pub warnings: Vec<String>,
}

/// Variables with our prefix that are no options: they are read by the command line or by tests.
const OTHER_VARIABLES: &[&str] = &[
    "TIDELOG_CONFIG",
    "TIDELOG_CONTEXT",
    "TIDELOG_ADDRESS",
    "TIDELOG_TOOLS",
    "TIDELOG_CACHE",
    "TIDELOG_BIN",
    "TIDELOG_CRASH_POINT",
    "TIDELOG_FDB_DIR",
];

/// What a container platform adds for a service named `tidelog`.
const PLATFORM_SUFFIXES: &[&str] = &["_HOST", "_PORT", "_TCP", "_PROTO", "_ADDR"];

/// Reads and checks all settings. Pure: what it depends on is in `sources`.
pub fn load(sources: &Sources) -> Result<Loaded, SettingsErrors> {
    let mut layers = Layers::default();
    for option in OPTIONS {
        if let Some(default) = option.default {
            layers.set_text(option, default, Origin::Default);
        }
    }
    layers.read_file(sources);
    layers.read_environment(sources);
    for (key, value) in &sources.flags {
        let named = named::find(key);
        let named = named.and_then(|named| Some((named, named.option?)));
        match (find(key), named) {
            (Some(option), _) => layers.set_text(option, value, Origin::Flag),
            (None, Some((named, option))) => {
                layers.set_named(named, option, option.check_text(value), Origin::Flag);
            }
            (None, None) => layers.unknown(key, Origin::Flag),
        }
    }
    layers.finish()
}

#[derive(Default)]
struct Layers {
    values: BTreeMap<&'static str, Value>,
    named: BTreeMap<Tables, Table>,
    origins: BTreeMap<&'static str, Origin>,
    errors: Vec<SettingsError>,
    warnings: Vec<String>,
}

impl Layers {
    fn read_file(&mut self, sources: &Sources) {
        let Some((name, text)) = &sources.file else {
            return;
        };
        match text.parse::<Table>() {
            Ok(table) => self.read_table("", &table, name),
            Err(error) => self.errors.push(SettingsError::Syntax {
                file: name.clone(),
                reason: error.to_string().trim_end().to_owned(),
            }),
        }
    }

    fn read_table(&mut self, prefix: &str, table: &Table, file: &str) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let origin = || Origin::File(file.to_owned());
            match (find(&key), named::find(&key), value) {
                (Some(option), _, value) => self.set(option, option.check(value), origin()),
                (None, Some(named @ NamedKey { option: None, .. }), Value::Table(inner)) => {
                    self.table(named);
                    self.read_table(&key, inner, file);
                }
                (
                    None,
                    Some(
                        named @ NamedKey {
                            option: Some(option),
                            ..
                        },
                    ),
                    value,
                ) => {
                    self.set_named(named, option, option.check(value), origin());
                }
                (None, None, Value::Table(inner)) if is_group(&key) => {
                    self.read_table(&key, inner, file);
                }
                _ => self.unknown(&key, origin()),
            }
        }
    }

    fn read_environment(&mut self, sources: &Sources) {
        for (name, value) in &sources.environment {
            if !name.starts_with("TIDELOG_") || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            match OPTIONS.iter().find(|option| option.variable() == *name) {
                Some(option) => self.set_text(option, value, Origin::Variable(name.clone())),
                None if PLATFORM_SUFFIXES
                    .iter()
                    .any(|suffix| name.ends_with(suffix)) => {}
                None => {
                    let variables: Vec<String> = OPTIONS.iter().map(OptionDoc::variable).collect();
                    let near = nearest(name, variables.iter().map(String::as_str));
                    self.warnings.push(format!(
                        "the environment variable `{name}` sets no option{}",
                        meant(near)
                    ));
                }
            }
        }
    }

    fn set_text(&mut self, option: &'static OptionDoc, text: &str, origin: Origin) {
        self.set(option, option.check_text(text), origin);
    }

    fn set(&mut self, option: &'static OptionDoc, checked: Result<Value, String>, origin: Origin) {
        match checked {
            Ok(value) => {
                self.values.insert(option.key, value);
                self.origins.insert(option.key, origin);
            }
            Err(reason) => self.errors.push(SettingsError::Value {
                key: option.key.to_owned(),
                origin,
                reason: shown(option, reason),
            }),
        }
    }

    /// A table that users have named, which is there from now on.
    fn table(&mut self, named: NamedKey<'_>) -> Option<&mut Table> {
        let tables = self.named.entry(named.tables).or_default();
        let table = tables.entry(named.name);
        table
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
    }

    fn set_named(
        &mut self,
        named: NamedKey<'_>,
        option: &OptionDoc,
        checked: Result<Value, String>,
        origin: Origin,
    ) {
        match checked {
            Ok(value) => {
                if let Some(table) = self.table(named) {
                    table.insert(option.key.to_owned(), value);
                }
            }
            Err(reason) => self.errors.push(SettingsError::Value {
                key: format!("{}.{}.{}", named.tables.prefix(), named.name, option.key),
                origin,
                reason: shown(option, reason),
            }),
        }
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let near = nearest(key, OPTIONS.iter().map(|option| option.key)).map(str::to_owned);
        self.errors.push(SettingsError::Unknown {
            key: key.to_owned(),
            origin,
            nearest: near,
        });
    }

    fn finish(mut self) -> Result<Loaded, SettingsErrors> {
        if !self.errors.is_empty() {
            return Err(SettingsErrors(self.errors));
        }
        let mut root = Table::new();
        for (key, value) in std::mem::take(&mut self.values) {
            match key.split_once('.') {
                None => {
                    root.insert(key.to_owned(), value);
                }
                Some((group, name)) => {
                    let table = root
                        .entry(group)
                        .or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(table) = table {
                        table.insert(name.to_owned(), value);
                    }
                }
            }
        }
        let named = std::mem::take(&mut self.named).into_iter();
        let storage = named.map(|(tables, inner)| (tables.key().to_owned(), Value::Table(inner)));
        let storage: Table = storage.collect();
        if !storage.is_empty() {
            root.insert("storage".to_owned(), Value::Table(storage));
        }
        let settings: Settings = root.try_into().map_err(|error: toml::de::Error| {
            SettingsErrors(vec![SettingsError::Conflict(error.message().to_owned())])
        })?;
        let conflicts = check::check(&settings);
        if !conflicts.is_empty() {
            return Err(SettingsErrors(conflicts));
        }
        let mut warnings = self.warnings;
        if settings.listen.insecure {
            warnings.push(
                "`listen.insecure` is set: whoever reaches the ports can read and write everything"
                    .to_owned(),
            );
        }
        Ok(Loaded {
            settings,
            origins: self.origins,
            warnings,
        })
    }
}

/// What is wrong with a value, without the value if nobody may see it.
fn shown(option: &OptionDoc, reason: String) -> String {
    if option.kind == Kind::Secret {
        format!("{} is not a text", Secret::REDACTED)
    } else {
        reason
    }
}

fn is_group(key: &str) -> bool {
    let mut options = OPTIONS.iter();
    named::is_group(key)
        || options.any(|option| {
            option
                .key
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('.'))
        })
}
