//! A structure: its type, its default, and how it is read and written.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::{field, read, title, write};
use crate::model::{Field, Kind, Message, Struct};

/// The type and its default.
pub(super) fn definition(message: &Message, structure: &Struct, out: &mut String) -> Result<()> {
    let name = &structure.name;
    let docs = if *name == message.name {
        title(message)
    } else {
        format!("A part of [`{}`].", message.name)
    };
    let plain = structure.fields.iter().all(field::has_plain_default);
    let default = if plain { ", Default" } else { "" };
    writeln!(
        out,
        "/// {docs}\n#[derive(Clone, Debug, PartialEq{default})]"
    )?;
    writeln!(out, "pub struct {name} {{")?;
    for field in &structure.fields {
        writeln!(out, "/// {}", field::docs(field, structure.versions))?;
        writeln!(
            out,
            "pub {}: {},",
            field::name(field),
            field::type_of(field)
        )?;
    }
    writeln!(out, "}}\n")?;
    if plain {
        return Ok(());
    }
    writeln!(
        out,
        "impl Default for {name} {{ fn default() -> Self {{ Self {{"
    )?;
    for field in &structure.fields {
        writeln!(out, "{}: {},", field::name(field), field::default(field))?;
    }
    writeln!(out, "}} }} }}\n")?;
    Ok(())
}

/// How it is read and written.
pub(super) fn wire(message: &Message, structure: &Struct, out: &mut String) -> Result<()> {
    let mut reading = String::new();
    read::body(structure, &mut reading)?;
    let mut writing = String::new();
    write::body(structure, &mut writing)?;
    let sizes = sizes(message, structure)?;
    let version = if sizes.starts_with("match") { "v" } else { "_" };
    writeln!(
        out,
        "impl Wire for {} {{\n\
         fn min_size({version}: i16, _: bool) -> usize {{ {sizes} }}\n\n\
         fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {{\n{}{reading}}}\n\n\
         fn write(&self, e: &mut Encoder) -> Result<(), EncodeError> {{\n{}{writing}}}\n}}\n",
        structure.name,
        version_of("d", &reading),
        version_of("e", &writing),
    )?;
    Ok(())
}

/// Asks for the version where the code needs it.
fn version_of(from: &str, code: &str) -> String {
    if ["v >= ", "v <= ", "v == ", "(&v)"]
        .iter()
        .any(|use_| code.contains(use_))
    {
        return format!("let v = {from}.version();\n");
    }
    String::new()
}

/// An expression that tells whether a field may be null in the version `v`, which has it.
pub(super) fn nullable(field: &Field) -> String {
    let condition = field.nullable.condition(field.versions);
    condition.unwrap_or_else(|| "true".to_owned())
}

/// The least size in each version, as an expression.
fn sizes(message: &Message, structure: &Struct) -> Result<String> {
    let mut runs: Vec<(i16, i16, usize)> = Vec::new();
    for version in structure.versions.min..=structure.versions.max {
        let size = least(message, structure, version)?;
        match runs.last_mut() {
            Some((_, end, same)) if *same == size => *end = version,
            _ => runs.push((version, version, size)),
        }
    }
    let (_, _, last) = runs.pop().context("is in no version")?;
    if runs.is_empty() {
        return Ok(last.to_string());
    }
    let mut text = String::from("match v {\n");
    for (at, (start, end, size)) in runs.into_iter().enumerate() {
        match at {
            0 => writeln!(text, "..={end} => {size},")?,
            _ if start == end => writeln!(text, "{end} => {size},")?,
            _ => writeln!(text, "{start}..={end} => {size},")?,
        }
    }
    writeln!(text, "_ => {last},\n}}")?;
    Ok(text)
}

/// The least number of bytes that a structure takes in a version.
fn least(message: &Message, structure: &Struct, version: i16) -> Result<usize> {
    let flexible = message.flexible.contains(version);
    let mut sum = usize::from(flexible);
    for field in &structure.fields {
        if field.versions.contains(version) && field.tag.is_none() {
            sum += least_of_field(message, field, version, flexible)?;
        }
    }
    Ok(sum)
}

fn least_of_field(message: &Message, field: &Field, version: i16, flexible: bool) -> Result<usize> {
    if field.array {
        if let Kind::Struct(name) = &field.kind {
            let inner = message.structure(name).context("a structure is missing")?;
            // An element without bytes would let any count through.
            let least = least(message, inner, version)?;
            ensure!(least > 0, "elements of `{}` may have no bytes", field.name);
        }
        return Ok(if flexible { 1 } else { 4 });
    }
    Ok(match &field.kind {
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 | Kind::Float64 => 8,
        Kind::Uuid => 16,
        Kind::Text if !flexible || field.classic => 2,
        Kind::Bytes | Kind::Records if !flexible => 4,
        Kind::Bool | Kind::Int8 | Kind::Text | Kind::Bytes | Kind::Records => 1,
        Kind::Struct(_) if field.is_nullable() => 1,
        Kind::Struct(name) => {
            let inner = message.structure(name).context("a structure is missing")?;
            least(message, inner, version)?
        }
    })
}
