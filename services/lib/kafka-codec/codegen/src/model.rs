//! What the definitions mean: messages, their structures and fields, each with the versions in which it is
//! on the wire.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::definitions::{Definition, FieldDefinition, Role};
use crate::names;
use crate::versions::Versions;

/// APIs that brokers serve, but only to each other: the state of share groups.
const BETWEEN_BROKERS: std::ops::RangeInclusive<i16> = 83..=87;
/// Data inside the bytes of other messages or of records, which clients and coordinators read.
const DATA: &[&str] = &[
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "ControlRecordTypeSchema",
    "DefaultPrincipalData",
    "EndTxnMarker",
];

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) api: Option<Api>,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    /// The message itself comes first, then what it is made of.
    pub(crate) structs: Vec<Struct>,
}

/// The API that a request or response belongs to.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) latest_unstable: bool,
}

/// A structure.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// The versions in which it can be on the wire.
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

/// A field.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the definitions say as many things of a field that are so or not"
)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) array: bool,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Standard,
    pub(crate) ignorable: bool,
    /// Never has a compact length.
    pub(crate) classic: bool,
    pub(crate) map_key: bool,
    pub(crate) entity: Option<String>,
}

/// The type of a field, or of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    Text,
    Bytes,
    Records,
    Struct(String),
}

/// What a field is when a version lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standard {
    /// Zero, false, empty.
    Nothing,
    Null,
    True,
    Number(i64),
}

impl Field {
    /// Whether it is null in some version, so that its type must have a null.
    pub(crate) fn is_nullable(&self) -> bool {
        !self.nullable.is_empty()
    }
}

impl Message {
    pub(crate) fn structure(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|known| known.name == name)
    }
}

/// The messages that clients and tools exchange with brokers.
pub(crate) fn build(definitions: &[Definition]) -> Result<Vec<Message>> {
    let keys: Vec<i16> = definitions
        .iter()
        .filter(|definition| {
            definition.role == Role::Request
                && definition
                    .listeners
                    .iter()
                    .flatten()
                    .any(|listener| listener == "broker")
        })
        .filter_map(|definition| definition.api_key)
        .filter(|key| !BETWEEN_BROKERS.contains(key))
        .collect();
    let is_ours = |definition: &&Definition| match definition.role {
        Role::Request | Role::Response => {
            definition.api_key.is_some_and(|key| keys.contains(&key))
                && definition.valid_versions != "none"
        }
        Role::Header => true,
        Role::Data => DATA.contains(&definition.name.as_str()),
        Role::Metadata | Role::CoordinatorKey | Role::CoordinatorValue => false,
    };
    let requests: BTreeMap<i16, &Definition> = definitions
        .iter()
        .filter(|definition| definition.role == Role::Request)
        .filter_map(|definition| definition.api_key.map(|key| (key, definition)))
        .collect();
    definitions
        .iter()
        .filter(is_ours)
        .map(|definition| {
            message(definition, &requests)
                .with_context(|| format!("in the definition of `{}`", definition.name))
        })
        .collect()
}

fn message(definition: &Definition, requests: &BTreeMap<i16, &Definition>) -> Result<Message> {
    let versions = Versions::parse(&definition.valid_versions)?;
    let flexible = Versions::parse_optional(definition.flexible_versions.as_deref())?;
    ensure!(
        flexible.is_empty() || flexible.max >= versions.max,
        "versions that are flexible stay so"
    );
    let mut builder = Builder {
        definition,
        structs: Vec::new(),
    };
    builder.add(&definition.name, versions, &definition.fields)?;
    let api = match definition.api_key {
        None => None,
        Some(key) => {
            let request = requests.get(&key).context("has no request")?;
            let name = request.name.strip_suffix("Request");
            Some(Api {
                key,
                name: name.context("a request is called so")?.to_owned(),
                latest_unstable: request.latest_version_unstable == Some(true),
            })
        }
    };
    let message = Message {
        name: definition.name.clone(),
        role: definition.role,
        api,
        versions,
        flexible,
        structs: builder.structs,
    };
    refuse_cycles(&message, &message.structs[0], 0)?;
    Ok(message)
}

/// Puts together the structures of a message.
struct Builder<'d> {
    definition: &'d Definition,
    structs: Vec<Struct>,
}

impl Builder<'_> {
    /// Adds a structure, and those that its fields have.
    fn add(&mut self, name: &str, versions: Versions, fields: &[FieldDefinition]) -> Result<()> {
        ensure!(
            !names::TAKEN.contains(&name),
            "`{name}` is the name of a type of ours"
        );
        if let Some(known) = self.structs.iter_mut().find(|known| known.name == name) {
            // Met again in another field: it is there in the versions of both.
            ensure!(
                self.definition
                    .common_structs
                    .iter()
                    .any(|common| common.name == name),
                "two structures are called `{name}`"
            );
            ensure!(
                known.versions.covers(versions),
                "`{name}` has more versions elsewhere"
            );
            return Ok(());
        }
        let place = self.structs.len();
        self.structs.push(Struct {
            name: name.to_owned(),
            versions,
            fields: Vec::new(),
        });
        for definition in fields {
            let field = field(definition, versions)
                .with_context(|| format!("in the field `{}`", definition.name))?;
            // What none of our versions has is on no wire.
            let Some(field) = field else {
                continue;
            };
            if let Kind::Struct(inner) = &field.kind {
                self.add_inner(inner, &field, definition)?;
            }
            self.structs[place].fields.push(field);
        }
        Ok(())
    }

    fn add_inner(&mut self, name: &str, field: &Field, definition: &FieldDefinition) -> Result<()> {
        if !definition.fields.is_empty() {
            return self.add(name, field.versions, &definition.fields);
        }
        let common = self
            .definition
            .common_structs
            .iter()
            .find(|common| common.name == name)
            .with_context(|| format!("nobody says what `{name}` is"))?;
        let whole = Versions::parse(&self.definition.valid_versions)?;
        let versions = Versions::parse(&common.versions)?.intersect(whole);
        self.add(name, versions, &common.fields)
    }
}

/// A field of a structure that is there in `among`; nothing if it never is.
fn field(definition: &FieldDefinition, among: Versions) -> Result<Option<Field>> {
    let versions = Versions::parse(&definition.versions)?.intersect(among);
    if versions.is_empty() {
        return Ok(None);
    }
    let nullable = Versions::parse_optional(definition.nullable_versions.as_deref())?;
    let nullable = nullable.intersect(versions);
    let tagged = Versions::parse_optional(definition.tagged_versions.as_deref())?;
    ensure!(
        tagged.is_empty() == definition.tag.is_none()
            && (tagged.is_empty() || tagged.covers(versions)),
        "is tagged in some versions only, which is not thought of here"
    );
    let classic = match definition.flexible_versions.as_deref() {
        None => false,
        Some("none") => true,
        Some(other) => bail!("flexible versions `{other}` are not thought of here"),
    };
    let (array, name) = match definition.kind.strip_prefix("[]") {
        Some(name) => (true, name),
        None => (false, definition.kind.as_str()),
    };
    let kind = kind(name)?;
    let null_always = nullable == versions;
    if matches!(kind, Kind::Struct(_)) && !array {
        ensure!(
            nullable.is_empty() || null_always,
            "a structure is nullable or not"
        );
        ensure!(
            nullable.is_empty() || definition.tag.is_none(),
            "a nullable structure is not tagged"
        );
    }
    ensure!(
        !classic || kind == Kind::Text,
        "only strings have a length of old always"
    );
    Ok(Some(Field {
        name: definition.name.clone(),
        default: default(
            definition.default.as_ref(),
            &kind,
            array,
            !nullable.is_empty(),
        )?,
        kind,
        array,
        versions,
        nullable,
        tag: definition.tag,
        ignorable: definition.ignorable,
        classic,
        map_key: definition.map_key,
        entity: definition.entity_type.clone(),
    }))
}

fn kind(name: &str) -> Result<Kind> {
    Ok(match name {
        "bool" => Kind::Bool,
        "int8" => Kind::Int8,
        "int16" => Kind::Int16,
        "uint16" => Kind::Uint16,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "float64" => Kind::Float64,
        "uuid" => Kind::Uuid,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        _ if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Kind::Struct(name.to_owned())
        }
        _ => bail!("the type `{name}` is not thought of here"),
    })
}

fn default(value: Option<&Value>, kind: &Kind, array: bool, nullable: bool) -> Result<Standard> {
    let text = match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let standard = match (text.as_str(), kind) {
        ("null", _) => Standard::Null,
        // Records are null unless something else is said.
        ("", Kind::Records) if nullable => Standard::Null,
        ("", _) => Standard::Nothing,
        (_, Kind::Bool) => match text.to_lowercase().as_str() {
            "true" => Standard::True,
            "false" => Standard::Nothing,
            _ => bail!("`{text}` is no default of a boolean"),
        },
        (_, Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64) if !array => {
            let number = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            match number.with_context(|| format!("`{text}` is no number"))? {
                0 => Standard::Nothing,
                number => Standard::Number(number),
            }
        }
        _ => bail!("the default `{text}` is not thought of here"),
    };
    ensure!(
        standard != Standard::Null || nullable,
        "is null by default and never nullable"
    );
    Ok(standard)
}

/// A structure that holds itself would be read by recursion on the input.
fn refuse_cycles(message: &Message, structure: &Struct, depth: usize) -> Result<()> {
    ensure!(depth < 16, "`{}` holds itself", structure.name);
    for field in &structure.fields {
        if let Kind::Struct(name) = &field.kind {
            let inner = message.structure(name).context("a structure is missing")?;
            refuse_cycles(message, inner, depth + 1)?;
        }
    }
    Ok(())
}
