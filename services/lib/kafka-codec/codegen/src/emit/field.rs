//! A field as Rust: its type, its default, what is said of it.

use std::fmt::Write;

use crate::model::{Field, Kind, Standard};
use crate::names;
use crate::versions::Versions;

/// Its name.
pub(super) fn name(field: &Field) -> String {
    names::field(&field.name)
}

/// Its type.
pub(super) fn type_of(field: &Field) -> String {
    let mut text = element(&field.kind).to_owned();
    if field.array {
        text = format!("Vec<{text}>");
    }
    if field.is_nullable() {
        text = format!("Option<{text}>");
    }
    text
}

fn element(kind: &Kind) -> &str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int8 => "i8",
        Kind::Int16 => "i16",
        Kind::Uint16 => "u16",
        Kind::Int32 => "i32",
        Kind::Int64 => "i64",
        Kind::Float64 => "f64",
        Kind::Uuid => "Uuid",
        Kind::Text => "ByteString",
        Kind::Bytes => "Bytes",
        Kind::Records => "Records",
        Kind::Struct(name) => name,
    }
}

/// The function of the decoder and encoder for it, without what says that it may be null.
pub(super) fn function(field: &Field) -> &'static str {
    match &field.kind {
        _ if field.array => "list",
        Kind::Bool => "bool",
        Kind::Int8 => "i8",
        Kind::Int16 => "i16",
        Kind::Uint16 => "u16",
        Kind::Int32 => "i32",
        Kind::Int64 => "i64",
        Kind::Float64 => "f64",
        Kind::Uuid => "uuid",
        Kind::Text if field.classic => "classic_str",
        Kind::Text => "str",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Struct(_) => "structure",
    }
}

/// Whether it is copied by its value and cannot fail to be written.
pub(super) fn is_scalar(field: &Field) -> bool {
    !field.array
        && !matches!(
            field.kind,
            Kind::Text | Kind::Bytes | Kind::Records | Kind::Struct(_)
        )
}

/// Its default.
pub(super) fn default(field: &Field) -> String {
    match field.default {
        Standard::Null => return "None".to_owned(),
        Standard::True => return "true".to_owned(),
        Standard::Number(number) => return literal(number),
        Standard::Nothing => {}
    }
    let empty = match &field.kind {
        _ if field.array => "Vec::new()".to_owned(),
        Kind::Bool => "false".to_owned(),
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => "0".to_owned(),
        Kind::Float64 => "0.0".to_owned(),
        Kind::Uuid => "Uuid::nil()".to_owned(),
        kind => format!("{}::{}()", element(kind), constructor(kind)),
    };
    if field.is_nullable() {
        return format!("Some({empty})");
    }
    empty
}

fn constructor(kind: &Kind) -> &'static str {
    if matches!(kind, Kind::Struct(_)) {
        "default"
    } else {
        "new"
    }
}

/// Whether its default is that of its type in Rust.
pub(super) fn has_plain_default(field: &Field) -> bool {
    match field.default {
        Standard::Nothing => !field.is_nullable(),
        Standard::Null => true,
        Standard::True | Standard::Number(_) => false,
    }
}

/// An expression that is true when the field has its default.
pub(super) fn is_default(field: &Field) -> String {
    let name = format!("self.{}", name(field));
    match (&field.default, &field.kind) {
        (Standard::Null, _) => format!("{name}.is_none()"),
        (Standard::True, _) => name,
        (Standard::Number(number), _) => format!("{name} == {}", literal(*number)),
        (Standard::Nothing, _) if field.is_nullable() => {
            let empty = match field.kind {
                Kind::Text if !field.array => "str::is_empty",
                _ => "<[_]>::is_empty",
            };
            format!("{name}.as_deref().is_some_and({empty})")
        }
        (_, Kind::Text | Kind::Bytes | Kind::Records) => format!("{name}.is_empty()"),
        _ if field.array => format!("{name}.is_empty()"),
        (_, Kind::Bool) => format!("!{name}"),
        (_, Kind::Uuid) => format!("{name}.is_nil()"),
        (_, Kind::Struct(kind)) => format!("{name} == {kind}::default()"),
        _ => format!("{name} == {}", default(field)),
    }
}

/// The opposite of [`is_default`].
pub(super) fn is_set(field: &Field) -> String {
    if field.default == Standard::Null {
        return format!("self.{}.is_some()", name(field));
    }
    let default = is_default(field);
    match default.split_once(" == ") {
        Some((left, right)) => format!("{left} != {right}"),
        None => match default.strip_prefix('!') {
            Some(name) => name.to_owned(),
            None => format!("!{default}"),
        },
    }
}

/// What is said of it in a structure that has these versions.
pub(super) fn docs(field: &Field, among: Versions) -> String {
    let mut docs = format!("`{}`, in versions {}", field.name, field.versions);
    if field.versions.min == field.versions.max {
        docs = format!("`{}`, in version {}", field.name, field.versions);
    }
    if field.is_nullable() {
        docs.push_str(if field.nullable == field.versions {
            "; may be null"
        } else {
            "; may be null in "
        });
        if field.nullable != field.versions {
            let _ = write!(docs, "{}", field.nullable);
        }
    }
    if let Some(tag) = field.tag {
        let _ = write!(docs, "; tag {tag}");
    }
    match field.default {
        Standard::Null => docs.push_str("; null by default"),
        Standard::True => docs.push_str("; true by default"),
        Standard::Number(number) => {
            let _ = write!(docs, "; {number} by default");
        }
        Standard::Nothing => {}
    }
    if field.map_key {
        docs.push_str("; a key among its neighbours");
    }
    if let Some(entity) = &field.entity {
        let _ = write!(docs, "; a `{entity}`");
    }
    if field.ignorable && field.versions != among {
        docs.push_str("; left out where a version lacks it");
    }
    docs.push('.');
    docs
}

/// A number as Rust, with its digits in groups.
fn literal(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 4 {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_long_numbers_are_in_groups() {
        assert_eq!(literal(-1), "-1");
        assert_eq!(literal(2000), "2000");
        assert_eq!(literal(-2_147_483_648), "-2_147_483_648");
    }
}
