//! The descriptor of all messages that the generator leaves for the tests.

use tidelog_kafka_codec::VersionRange;

/// A message.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    pub(crate) versions: VersionRange,
    pub(crate) flexible_from: i16,
    pub(crate) fields: Vec<Field>,
}

/// A field.
pub(crate) struct Field {
    /// As in the definitions, and `struct` for every structure.
    pub(crate) kind: &'static str,
    pub(crate) array: bool,
    pub(crate) versions: VersionRange,
    pub(crate) nullable: VersionRange,
    pub(crate) tag: Option<u32>,
    /// The number that it is by default; of no meaning for what is not a number.
    pub(crate) default: i64,
    pub(crate) classic: bool,
    pub(crate) fields: Vec<Field>,
}

/// Every message, sorted by name.
pub(crate) fn all() -> Vec<Schema> {
    let text = include_str!("../generated/schema.txt");
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
pub(crate) fn of(name: &str) -> Schema {
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
