//! The function that reads a structure.

use std::fmt::Write;

use anyhow::{Result, ensure};

use super::field;
use crate::model::{Field, Struct};

/// Its body.
pub(super) fn body(structure: &Struct, out: &mut String) -> Result<()> {
    let (tagged, plain): (Vec<&Field>, Vec<&Field>) = structure
        .fields
        .iter()
        .partition(|field| field.tag.is_some());
    let binding = if tagged.is_empty() {
        "let it"
    } else {
        "let mut it"
    };
    writeln!(out, "{binding} = Self {{")?;
    for field in plain {
        let name = field::name(field);
        match field.versions.condition(structure.versions) {
            None => writeln!(out, "{name}: {}?,", call(field)?)?,
            Some(condition) => writeln!(
                out,
                "{name}: if {condition} {{ {}? }} else {{ {} }},",
                call(field)?,
                field::default(field)
            )?,
        }
    }
    for field in &tagged {
        writeln!(out, "{}: {},", field::name(field), field::default(field))?;
    }
    writeln!(out, "}};")?;
    if tagged.is_empty() {
        writeln!(out, "d.unknown_tags()?;\nOk(it)")?;
        return Ok(());
    }
    writeln!(out, "d.tags(&mut |d, tag| {{ match tag {{")?;
    for field in &tagged {
        let tag = field.tag.unwrap_or_default();
        let guard = match field.versions.condition(structure.versions) {
            Some(condition) => format!("{tag} if {condition}"),
            None => tag.to_string(),
        };
        writeln!(
            out,
            "{guard} => it.{} = {}?,",
            field::name(field),
            call(field)?
        )?;
    }
    writeln!(out, "_ => return Ok(false), }} Ok(true) }})?;\nOk(it)")?;
    Ok(())
}

/// The call that reads a field.
fn call(field: &Field) -> Result<String> {
    let function = field::function(field);
    let name = &field.name;
    if !field.is_nullable() {
        ensure!(
            !field.classic,
            "`{name}` is never null, which is not thought of here"
        );
        return Ok(format!("d.{function}(\"{name}\")"));
    }
    let nullable = super::structure::nullable(field);
    Ok(format!("d.{function}_opt({nullable}, \"{name}\")"))
}
