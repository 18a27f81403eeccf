//! What lists all messages: modules, API keys, and the table of kinds.

use std::fmt::Write;

use anyhow::Result;

use crate::definitions::Role;
use crate::model::{Api, Message};
use crate::names;

/// The modules of messages.
pub(super) fn modules(messages: &[Message]) -> Result<String> {
    let mut out = String::from("//! A module for each message.\n\n");
    for message in messages {
        let module = names::snake(&message.name);
        writeln!(out, "pub mod {module};")?;
    }
    writeln!(out)?;
    for message in messages {
        let module = names::snake(&message.name);
        writeln!(out, "pub use {module}::{};", message.name)?;
    }
    Ok(out)
}

/// The enum of APIs and what is known of each.
pub(super) fn api_keys(messages: &[Message]) -> Result<String> {
    let mut apis: Vec<(&Api, &Message)> = messages
        .iter()
        .filter(|message| message.role == Role::Request)
        .filter_map(|message| message.api.as_ref().map(|api| (api, message)))
        .collect();
    apis.sort_by_key(|(api, _)| api.key);
    let mut out =
        String::from("//! The APIs that clients and tools call.\n\nuse crate::api::Api;\n\n");
    writeln!(
        out,
        "/// An API of Kafka that clients and tools call.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n\
         #[repr(i16)]\n#[non_exhaustive]\npub enum ApiKey {{"
    )?;
    for (api, message) in &apis {
        writeln!(out, "/// `{}`, versions {}.", api.name, message.versions)?;
        writeln!(out, "{} = {},", api.name, api.key)?;
    }
    writeln!(out, "}}\n\nimpl ApiKey {{")?;
    writeln!(out, "/// Every API, in the order of their numbers.")?;
    writeln!(out, "pub const ALL: [Self; {}] = [", apis.len())?;
    for (api, _) in &apis {
        writeln!(out, "Self::{},", api.name)?;
    }
    writeln!(
        out,
        "];\n\npub(crate) const fn of(code: i16) -> Option<Self> {{ Some(match code {{"
    )?;
    for (api, _) in &apis {
        writeln!(out, "{} => Self::{},", api.key, api.name)?;
    }
    writeln!(
        out,
        "_ => return None, }}) }}\n\npub(crate) const fn api(self) -> Api {{ match self {{"
    )?;
    for (api, message) in &apis {
        let (name, versions) = (&api.name, message.versions);
        let flexible_from = match message.flexible {
            none if none.is_empty() => "i16::MAX".to_owned(),
            flexible => flexible.min.to_string(),
        };
        let unstable = if api.latest_unstable {
            ".unstable()"
        } else {
            ""
        };
        let (min, max) = (versions.min, versions.max);
        writeln!(
            out,
            "Self::{name} => Api::new(\"{name}\", {min}, {max}, {flexible_from}){unstable},"
        )?;
    }
    writeln!(out, "}} }} }}")?;
    Ok(out)
}

/// The table of all messages.
pub(super) fn kinds(messages: &[Message]) -> Result<String> {
    let mut out = String::from(
        "//! Every message in one table.\n\nuse super::messages;\nuse crate::kind::Kind;\n\n\
         pub(crate) const KINDS: &[Kind] = &[\n",
    );
    for message in messages {
        writeln!(out, "Kind::of::<messages::{}>(),", message.name)?;
    }
    writeln!(out, "];")?;
    Ok(out)
}
