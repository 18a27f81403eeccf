//! The function that writes a structure.

use std::fmt::Write;

use anyhow::Result;

use super::field;
use crate::model::{Field, Kind, Struct};

/// Its body.
pub(super) fn body(structure: &Struct, out: &mut String) -> Result<()> {
    let (mut tagged, plain): (Vec<&Field>, Vec<&Field>) = structure
        .fields
        .iter()
        .partition(|field| field.tag.is_some());
    for field in plain {
        let write = statement(field);
        let condition = field.versions.condition(structure.versions);
        match condition {
            None => writeln!(out, "{write};")?,
            Some(condition) => {
                writeln!(out, "if {condition} {{ {write}; }} {}", otherwise(field))?;
            }
        }
    }
    tagged.sort_by_key(|field| field.tag);
    if tagged.is_empty() {
        writeln!(out, "e.tags(&[]);\nOk(())")?;
        return Ok(());
    }
    for field in &tagged {
        let condition = field.versions.condition(structure.versions);
        if let Some(condition) = condition.filter(|_| !field.ignorable) {
            let lacks = match condition.strip_prefix("v >= ") {
                Some(first) => format!("v < {first}"),
                None => format!("!({condition})"),
            };
            writeln!(out, "if {lacks} {{ {} }}", absent(field))?;
        }
    }
    writeln!(out, "let tagged = [")?;
    for field in &tagged {
        let set = field::is_set(field);
        match field.versions.condition(structure.versions) {
            Some(condition) => writeln!(out, "{condition} && {set},")?,
            None => writeln!(out, "{set},")?,
        }
    }
    writeln!(out, "];\ne.tags(&tagged);")?;
    for (index, field) in tagged.iter().enumerate() {
        let write = if field::is_scalar(field) {
            format!("{{ {}; Ok(()) }}", call(field))
        } else {
            call(field)
        };
        writeln!(
            out,
            "if tagged[{index}] {{ e.tagged({}, \"{}\", &mut |e| {write})?; }}",
            field.tag.unwrap_or_default(),
            field.name
        )?;
    }
    writeln!(out, "Ok(())")?;
    Ok(())
}

/// What is done where a version lacks the field.
fn otherwise(field: &Field) -> String {
    if field.ignorable {
        return String::new();
    }
    format!("else {{ {} }}", absent(field))
}

fn absent(field: &Field) -> String {
    format!(
        "e.absent({}, \"{}\")?;",
        field::is_default(field),
        field.name
    )
}

/// The statement that writes a field, without its semicolon.
fn statement(field: &Field) -> String {
    if field::is_scalar(field) {
        call(field)
    } else {
        format!("{}?", call(field))
    }
}

/// The call that writes a field.
fn call(field: &Field) -> String {
    let function = field::function(field);
    let value = format!("self.{}", field::name(field));
    if field::is_scalar(field) {
        return format!("e.{function}({value})");
    }
    let name = &field.name;
    if !field.is_nullable() {
        return format!("e.{function}(&{value}, \"{name}\")");
    }
    let nullable = super::structure::nullable(field);
    debug_assert!(field.array || field.kind != Kind::Uuid, "has no null");
    format!("e.{function}_opt({value}.as_ref(), {nullable}, \"{name}\")")
}
