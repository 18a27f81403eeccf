//! Renders the proto files, with their comments, as a page for people.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

/// The package whose names are written without it.
const PACKAGE: &str = ".tidelog.v1.";

// Where things stand in a file descriptor; numbers of `google/protobuf/descriptor.proto`.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
/// Fields of a message, values of an enum and methods of a service have the same number.
const MEMBERS: i32 = 2;

/// A file with its comments by path.
struct Source<'a> {
    file: &'a FileDescriptorProto,
    comments: HashMap<&'a [i32], &'a str>,
}

/// The page of the files in an encoded descriptor set.
pub(crate) fn render(descriptors: &[u8]) -> Result<String> {
    let set = FileDescriptorSet::decode(descriptors).context("the descriptor set is broken")?;
    let ours = |file: &&FileDescriptorProto| file.package() == PACKAGE.trim_matches('.');
    let sources: Vec<_> = set.file.iter().filter(ours).map(source).collect();
    let mut page = String::from(
        "# gRPC API: `tidelog.v1`\n\n\
         Made from the comments in `proto/tidelog/v1` by `cargo xtask codegen`; do not edit.\n",
    );
    for source in &sources {
        for (at, service) in source.file.service.iter().enumerate() {
            put_service(&mut page, source, index(at), service)?;
        }
    }
    for source in &sources {
        for (at, message) in source.file.message_type.iter().enumerate() {
            put_message(&mut page, source, index(at), message)?;
        }
        for (at, of) in source.file.enum_type.iter().enumerate() {
            put_enum(&mut page, source, index(at), of)?;
        }
    }
    Ok(page)
}

fn source(file: &FileDescriptorProto) -> Source<'_> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let comments = locations
        .filter_map(|at| Some((at.path.as_slice(), at.leading_comments.as_deref()?)))
        .collect();
    Source { file, comments }
}

impl Source<'_> {
    /// The paragraphs of a comment, without the line breaks of the source.
    fn comment(&self, path: &[i32]) -> String {
        let text = self.comments.get(path).copied().unwrap_or_default();
        let paragraphs = text.trim().split("\n\n");
        let joined =
            paragraphs.map(|lines| lines.lines().map(str::trim).collect::<Vec<_>>().join(" "));
        joined.collect::<Vec<_>>().join("\n\n")
    }
}

fn put_service(
    page: &mut String,
    source: &Source<'_>,
    at: i32,
    service: &ServiceDescriptorProto,
) -> Result<()> {
    let comment = source.comment(&[SERVICES, at]);
    writeln!(page, "\n## {}\n\n{comment}\n", service.name())?;
    for (index_of, method) in service.method.iter().enumerate() {
        let comment = source.comment(&[SERVICES, at, MEMBERS, index(index_of)]);
        let stream = |streams: bool| if streams { "stream of " } else { "" };
        writeln!(
            page,
            "- **{}** ({}{} -> {}{}): {comment}",
            method.name(),
            stream(method.client_streaming()),
            link(method.input_type()),
            stream(method.server_streaming()),
            link(method.output_type()),
        )?;
    }
    Ok(())
}

fn put_message(
    page: &mut String,
    source: &Source<'_>,
    at: i32,
    message: &DescriptorProto,
) -> Result<()> {
    writeln!(
        page,
        "\n### {}\n\n{}\n",
        message.name(),
        source.comment(&[MESSAGES, at])
    )?;
    if message.field.is_empty() {
        return Ok(());
    }
    writeln!(page, "| field | type | meaning |\n| --- | --- | --- |")?;
    for (index_of, field) in message.field.iter().enumerate() {
        let comment = source.comment(&[MESSAGES, at, MEMBERS, index(index_of)]);
        let comment = comment.replace("\n\n", " ").replace('|', "\\|");
        writeln!(
            page,
            "| `{}` | {} | {comment} |",
            field.name(),
            type_of(field, message)
        )?;
    }
    Ok(())
}

fn put_enum(
    page: &mut String,
    source: &Source<'_>,
    at: i32,
    of: &EnumDescriptorProto,
) -> Result<()> {
    writeln!(
        page,
        "\n### {}\n\n{}\n",
        of.name(),
        source.comment(&[ENUMS, at])
    )?;
    writeln!(page, "| value | number | meaning |\n| --- | --- | --- |")?;
    for (index_of, value) in of.value.iter().enumerate() {
        let comment = source.comment(&[ENUMS, at, MEMBERS, index(index_of)]);
        writeln!(
            page,
            "| `{}` | {} | {comment} |",
            value.name(),
            value.number()
        )?;
    }
    Ok(())
}

/// The type of a field in words.
fn type_of(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => {
            let entry = field.type_name().rsplit('.').next().unwrap_or_default();
            let nested = message
                .nested_type
                .iter()
                .find(|nested| nested.name() == entry);
            if let Some([key, value]) = nested.map(|nested| nested.field.as_slice()) {
                return format!(
                    "map of {} to {}",
                    type_of(key, message),
                    type_of(value, message)
                );
            }
            link(field.type_name())
        }
        other => other
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let choice = field.oneof_index.filter(|_| !field.proto3_optional());
    let choice = choice.and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
    match (choice, field.label()) {
        (Some(choice), _) => format!("{name}, one of `{}`", choice.name()),
        (None, Label::Repeated) => format!("repeated {name}"),
        (None, _) if field.proto3_optional() => format!("optional {name}"),
        (None, _) => name,
    }
}

/// A type of ours as a link to its section, another one by its name.
fn link(full: &str) -> String {
    full.strip_prefix(PACKAGE).map_or_else(
        || format!("`{}`", full.trim_start_matches('.')),
        |name| format!("[{name}](#{})", name.to_lowercase()),
    )
}

/// A position as paths count it.
fn index(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}
