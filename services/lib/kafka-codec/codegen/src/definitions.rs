//! The definitions as they lie in the jar.

use std::fmt::Write;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The checksum of the jar whose version is pinned in `services/xtask/src/tools.rs`.
const JAR_SHA256: &str = "1ab07317eb6633241392449d329dbdc5d9251e6ffc4926860f42dd966e88bdf9";
/// Where in it the definitions are.
const FOLDER: &str = "common/message/";

/// The definition of a message. What has no meaning for bytes is read all the same, so that a word that
/// is new to the language is found instead of ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Definition {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) role: Role,
    pub(crate) api_key: Option<i16>,
    pub(crate) valid_versions: String,
    pub(crate) flexible_versions: Option<String>,
    pub(crate) listeners: Option<Vec<String>>,
    pub(crate) latest_version_unstable: Option<bool>,
    #[serde(default)]
    pub(crate) fields: Vec<FieldDefinition>,
    #[serde(default)]
    pub(crate) common_structs: Vec<StructDefinition>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    Request,
    Response,
    Header,
    Data,
    /// What controllers write into their log.
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
}

/// A structure that several fields have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StructDefinition {
    pub(crate) name: String,
    pub(crate) versions: String,
    pub(crate) fields: Vec<FieldDefinition>,
}

/// A field.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FieldDefinition {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) versions: String,
    pub(crate) nullable_versions: Option<String>,
    pub(crate) tagged_versions: Option<String>,
    pub(crate) flexible_versions: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) ignorable: bool,
    #[serde(default)]
    pub(crate) map_key: bool,
    pub(crate) entity_type: Option<String>,
    /// Bytes are never copied here, whether it asks for that or not.
    #[serde(default, rename = "zeroCopy")]
    _zero_copy: bool,
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default)]
    pub(crate) fields: Vec<FieldDefinition>,
}

/// Reads all definitions out of the jar, sorted by name.
pub(crate) fn read(jar: &Path) -> Result<Vec<Definition>> {
    let bytes = fs::read(jar).with_context(|| format!("cannot read `{}`", jar.display()))?;
    let digest = Sha256::digest(&bytes);
    let sum = digest.iter().fold(String::new(), |mut sum, byte| {
        // Writing into a string cannot fail.
        let _ = write!(sum, "{byte:02x}");
        sum
    });
    ensure!(
        sum == JAR_SHA256,
        "`{}` has the checksum {sum}, not the pinned one: remove it to have it fetched again",
        jar.display()
    );
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    let mut definitions = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if !name.starts_with(FOLDER) || !has_json(&name) {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let definition: Definition = serde_json::from_str(&without_comments(&text))
            .with_context(|| format!("cannot read `{name}` in the jar"))?;
        definitions.push(definition);
    }
    ensure!(!definitions.is_empty(), "the jar has no definitions");
    definitions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(definitions)
}

fn has_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "json")
}

/// The text without what stands behind two slashes that are not in a string.
fn without_comments(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let mut escaped = false;
        let mut end = line.len();
        for (at, character) in line.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                '/' if !quoted && line[at..].starts_with("//") => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        json.push_str(&line[..end]);
        json.push('\n');
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_slashes_in_strings_stay() {
        let text = "// a\n{ \"u\": \"http://x\\\"//y\" } // b";
        assert_eq!(
            without_comments(text),
            "\n{ \"u\": \"http://x\\\"//y\" } \n"
        );
    }
}
