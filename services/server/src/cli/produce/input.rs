//! From a file or standard input to keys and values, one record at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::csv_rows::CsvRows;
use super::json_lines::JsonLines;
use super::text_lines::TextLines;
use super::{InputFormat, ProduceArgs};
use crate::cli::{CliError, Result};

/// How much is read ahead.
const BUFFER_BYTES: usize = 256 * 1024;

/// The fields of one record. One of them is used over and over, so that nothing is allocated per record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) has_key: bool,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// How many bytes of the input it took.
    pub(super) input_bytes: u64,
    /// The line it begins at, counted from 1; also of one that cannot be read.
    pub(super) line: u64,
}

/// Where bytes come from.
pub(super) type Source = Box<dyn BufRead>;

/// Reads records of one format.
pub(super) enum Format {
    Lines(TextLines),
    Csv(CsvRows),
    Json(JsonLines),
}

/// Reads records.
pub(super) struct Reader {
    format: Format,
    total: Option<u64>,
}

/// Opens what the arguments name.
pub(super) fn open(args: &ProduceArgs) -> Result<Reader> {
    let path = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let (source, total): (Box<dyn Read>, _) = match path {
        None => (Box::new(io::stdin().lock()), None),
        Some(path) => {
            let failed =
                |error| CliError::io(format!("`{}` cannot be read", path.display()), error);
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        }
    };
    let source: Source = Box::new(BufReader::with_capacity(BUFFER_BYTES, source));
    Ok(Reader {
        format: format(args, path, source)?,
        total,
    })
}

fn format(args: &ProduceArgs, path: Option<&Path>, source: Source) -> Result<Format> {
    let kind = args.format.unwrap_or_else(|| {
        match path
            .and_then(Path::extension)
            .and_then(|ending| ending.to_str())
        {
            Some("csv") => InputFormat::Csv,
            Some("json" | "jsonl" | "ndjson") => InputFormat::Json,
            _ => InputFormat::Lines,
        }
    });
    let (key, value) = (args.key.as_deref(), args.value.as_deref());
    Ok(match kind {
        InputFormat::Lines if key.is_some() || value.is_some() => {
            return Err(CliError::usage(
                "lines have no columns and no fields: say --format csv or --format json",
            ));
        }
        InputFormat::Lines => Format::Lines(TextLines::new(source, args.key_separator.as_deref())),
        InputFormat::Csv => Format::Csv(CsvRows::new(source, args.delimiter, key, value)?),
        InputFormat::Json => Format::Json(JsonLines::new(source, key, value)),
    })
}

impl Reader {
    /// How many bytes there are, if that is known.
    pub(super) const fn total_bytes(&self) -> Option<u64> {
        self.total
    }

    /// Reads the next record into `fields`; false at the end.
    pub(super) fn next(&mut self, fields: &mut Fields) -> Result<bool> {
        fields.has_key = false;
        fields.key.clear();
        fields.value.clear();
        match &mut self.format {
            Format::Lines(lines) => lines.next(fields),
            Format::Csv(rows) => rows.next(fields),
            Format::Json(lines) => lines.next(fields),
        }
    }
}

/// Reads one line without its end into `line`; how many bytes it took, 0 at the end of the input.
pub(super) fn read_line(source: &mut Source, line: &mut Vec<u8>) -> Result<u64> {
    let taken = source
        .read_until(b'\n', line)
        .map_err(|error| CliError::io("the input cannot be read", error))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(taken as u64)
}
