//! The descriptor of all messages that the generator leaves for the tests.
//!
//! It is a second reading of the definitions, that shares no code with the codec.

use crate::version::VersionRange;

/// A message.
#[derive(Debug)]
pub struct Schema {
    /// Its name, such as `FetchRequest`.
    pub name: &'static str,
    /// The versions that there are.
    pub versions: VersionRange,
    /// The first version with compact lengths and tagged fields; above all others if there is none.
    pub flexible_from: i16,
    /// What is in it, in the order of the wire.
    pub fields: Vec<Field>,
}

/// A field.
#[derive(Debug)]
pub struct Field {
    /// As in the definitions, and `struct` for every structure.
    pub kind: &'static str,
    /// Whether there may be any number of it.
    pub array: bool,
    /// The versions that have it.
    pub versions: VersionRange,
    /// The versions in which it may be null.
    pub nullable: VersionRange,
    /// Its tag, if it has one.
    pub tag: Option<u32>,
    /// The number that it is by default; of no meaning for what is not a number.
    pub default: i64,
    /// Whether its length is never compact.
    pub classic: bool,
    /// What is in a structure.
    pub fields: Vec<Field>,
}

/// Every message, sorted by name.
///
/// # Panics
/// If the descriptor is not one.
pub fn all() -> Vec<Schema> {
    let text = include_str!("../../tests/generated/schema.txt");
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    let mut schemas = Vec::new();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        let flexible = words[3].strip_prefix("flexible=").expect("its place");
        schemas.push(Schema {
            name: words[0],
            versions: versions(words[2]),
            flexible_from: match flexible {
                "none" => i16::MAX,
                from => from.trim_end_matches('+').parse().expect("a version"),
            },
            fields: fields(&mut lines, 1),
        });
    }
    schemas
}

/// The message of this name.
///
/// # Panics
/// If there is none.
pub fn of(name: &str) -> Schema {
    let found = all().into_iter().find(|schema| schema.name == name);
    found.unwrap_or_else(|| panic!("no message is called `{name}`"))
}

fn fields<I: Iterator<Item = &'static str>>(
    lines: &mut std::iter::Peekable<I>,
    depth: usize,
) -> Vec<Field> {
    let mut fields = Vec::new();
    while let Some(line) = lines.next_if(|line| indent(line) == depth) {
        let mut field = field(line.trim_start());
        field.fields = self::fields(lines, depth + 1);
        fields.push(field);
    }
    fields
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn field(line: &'static str) -> Field {
    let words: Vec<&str> = line.split(' ').collect();
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    Field {
        kind: words[1].trim_start_matches("[]"),
        array: words[1].starts_with("[]"),
        versions: versions(words[2]),
        nullable: value("null=").map_or(VersionRange::new(1, 0), versions),
        tag: value("tag=").map(|tag| tag.parse().expect("a tag")),
        default: value("default=").map_or(0, |number| number.parse().unwrap_or(0)),
        classic: words.contains(&"classic"),
        fields: Vec::new(),
    }
}

fn versions(text: &str) -> VersionRange {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    VersionRange::new(
        min.parse().expect("a version"),
        max.parse().expect("a version"),
    )
}
