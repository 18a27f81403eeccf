//! `tidelog topic`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use clap::Subcommand;
use serde::Serialize;
use tidelog_client::{Admin, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{Table, counted, print, print_done};
use super::{CliError, Global, Output, Result, confirm, connect, times};

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic.
    Create {
        /// The topic's name.
        name: String,
        /// How many partitions; without it the server's default.
        #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
        /// A setting, such as retention.ms=86400000; may be repeated.
        #[arg(short, long, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// Succeed if the topic is there already.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// List the topics.
    List {
        /// Only topics whose name begins with this.
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// List deleted topics that can be undeleted instead.
        #[arg(long)]
        deleted: bool,
    },
    /// Show a topic and its settings.
    Describe {
        /// The topic's name.
        name: String,
    },
    /// Change settings of a topic.
    Alter {
        /// The topic's name.
        name: String,
        /// Sets a setting; may be repeated.
        #[arg(
            short,
            long = "set",
            value_name = "KEY=VALUE",
            required_unless_present = "unset"
        )]
        set: Vec<String>,
        /// Puts a setting back to its default; may be repeated.
        #[arg(short, long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Delete a topic. It can be undeleted for some time. On a terminal it asks first.
    Delete {
        /// The topic's name.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Bring a deleted topic back.
    Undelete {
        /// The topic's name.
        name: String,
        /// Which one, if several topics of this name were deleted; else the last one.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Give a topic more partitions. Keys may then go to other partitions than before.
    AddPartitions {
        /// The topic's name.
        name: String,
        /// How many partitions it shall have.
        count: u32,
    },
}

/// A topic as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    id: String,
    partitions: u32,
    state: &'static str,
    created: Option<String>,
    deleted: Option<String>,
    purged: Option<String>,
    config: BTreeMap<String, Setting>,
}

#[derive(Debug, Serialize)]
struct Setting {
    value: String,
    default: bool,
}

pub(crate) async fn run(command: TopicCommand, global: &Global, env: Env) -> Result<Exit> {
    let admin = connect::client(global, env)?.admin();
    let output = global.output;
    match command {
        TopicCommand::Create {
            name,
            partitions,
            config,
            if_not_exists,
        } => {
            // 0 is the server's default.
            let partitions = partitions.unwrap_or(0);
            create(&admin, &name, partitions, &config, if_not_exists, output).await?;
        }
        TopicCommand::List { prefix, deleted } => {
            let topics = admin.topics(&prefix, deleted).await?;
            let topics: Vec<Shown> = topics.into_iter().map(shown).collect();
            print(output, &topics, || list_table(&topics, deleted))?;
        }
        TopicCommand::Describe { name } => {
            let topic = shown(admin.topic(&name).await?);
            print(output, &topic, || describe_table(&topic))?;
        }
        TopicCommand::Alter { name, set, unset } => {
            let set = pairs(&set)?.into_iter().collect();
            let topic = shown(admin.alter_topic(&name, set, unset).await?);
            print(output, &topic, || describe_table(&topic))?;
        }
        TopicCommand::Delete { name, yes } => {
            if !yes && io::stdin().is_terminal() {
                confirm::ask(&format!("delete topic `{name}` with all its records?"))?;
            }
            let topic = shown(admin.delete_topic(&name).await?);
            let until = topic.purged.as_deref().map_or_else(String::new, |time| {
                format!("; until {time} `tidelog topic undelete {name}` brings it back")
            });
            print_done(output, &topic, &format!("topic `{name}` is deleted{until}"))?;
        }
        TopicCommand::Undelete { name, id } => {
            let topic = shown(admin.undelete_topic(&name, id.as_deref()).await?);
            print_done(output, &topic, &format!("topic `{name}` is back"))?;
        }
        TopicCommand::AddPartitions { name, count } => {
            let topic = shown(admin.add_partitions(&name, count).await?);
            let sentence = format!("topic `{name}` has {}", partitions(&topic));
            print_done(output, &topic, &sentence)?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(
    admin: &Admin,
    name: &str,
    count: u32,
    config: &[String],
    if_not_exists: bool,
    output: Output,
) -> Result<()> {
    let created = admin.create_topic(name, count, pairs(config)?).await;
    let exists = matches!(&created, Err(error) if error.code() == Some(tidelog_client::ErrorCode::TopicExists));
    let (topic, verb) = if exists && if_not_exists {
        (admin.topic(name).await?, "was there")
    } else {
        (created?, "is created")
    };
    let topic = shown(topic);
    let sentence = format!("topic `{name}` {verb}, with {}", partitions(&topic));
    print_done(output, &topic, &sentence)
}

fn partitions(topic: &Shown) -> String {
    counted(u64::from(topic.partitions), "partition")
}

/// `KEY=VALUE` arguments.
fn pairs(arguments: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |argument: &String| {
        argument
            .split_once('=')
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .ok_or_else(|| CliError::usage(format!("`{argument}` has no value: write KEY=VALUE")))
    };
    arguments.iter().map(pair).collect()
}

fn shown(topic: v1::Topic) -> Shown {
    let state = match topic.state() {
        v1::TopicState::Deleted => "deleted",
        v1::TopicState::Purging => "purging",
        v1::TopicState::Active | v1::TopicState::Unspecified => "active",
    };
    Shown {
        state,
        created: topic.create_time.map(times::format_proto),
        deleted: topic.delete_time.map(times::format_proto),
        purged: topic.purge_time.map(times::format_proto),
        name: topic.name,
        id: topic.topic_id,
        partitions: topic.partition_count,
        config: topic
            .config
            .into_iter()
            .map(|entry| {
                (
                    entry.key,
                    Setting {
                        value: entry.value,
                        default: entry.is_default,
                    },
                )
            })
            .collect(),
    }
}

fn list_table(topics: &[Shown], deleted: bool) -> Table {
    let last = if deleted { "gone for good" } else { "id" };
    let mut table = Table::new(&["name", ">partitions", "created", last]);
    for topic in topics {
        let cell = |time: &Option<String>| time.clone().unwrap_or_default();
        let last = if deleted {
            cell(&topic.purged)
        } else {
            topic.id.clone()
        };
        table.row(vec![
            topic.name.clone(),
            topic.partitions.to_string(),
            cell(&topic.created),
            last,
        ]);
    }
    table
}

fn describe_table(topic: &Shown) -> Table {
    let mut table = Table::new(&["what", "value", ""]);
    let mut row = |what: &str, value: &str, note: &str| {
        table.row(vec![what.to_owned(), value.to_owned(), note.to_owned()]);
    };
    row("name", &topic.name, "");
    row("id", &topic.id, "");
    row("partitions", &topic.partitions.to_string(), "");
    row("state", topic.state, "");
    let times = [
        ("created", &topic.created),
        ("deleted", &topic.deleted),
        ("purged", &topic.purged),
    ];
    for (what, time) in times {
        if let Some(time) = time {
            row(what, time, "");
        }
    }
    for (key, setting) in &topic.config {
        row(
            key,
            &setting.value,
            if setting.default { "default" } else { "" },
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_pairs() {
        assert_eq!(
            pairs(&["a=b=c".to_owned()]).unwrap(),
            [("a".to_owned(), "b=c".to_owned())]
        );
        assert!(
            pairs(&["retention".to_owned()])
                .unwrap_err()
                .to_string()
                .contains("KEY=VALUE")
        );
    }

    #[test]
    fn a_topic_is_shown_with_its_state_and_which_settings_are_defaults() {
        let entry = v1::ConfigEntry {
            key: "retention.ms".to_owned(),
            value: "1".to_owned(),
            is_default: true,
        };
        let topic = v1::Topic {
            name: "orders".to_owned(),
            partition_count: 3,
            config: vec![entry],
            state: v1::TopicState::Deleted.into(),
            ..v1::Topic::default()
        };
        let topic = shown(topic);
        assert_eq!((topic.state, topic.partitions), ("deleted", 3));
        assert!(topic.config["retention.ms"].default);
    }
}
