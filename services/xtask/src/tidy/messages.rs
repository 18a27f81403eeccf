//! Log messages and error texts are fragments: lower case, no full stop.

use super::{File, Finding, Tree};
use crate::tidy::source;

const LOGS: &[&str] = &["trace!(", "debug!(", "info!(", "warn!(", "error!("];
const ERRORS: &[&str] = &["#[error("];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_our_rust()) {
        if !source::is_test_path(&file.path) {
            findings.extend(of_file(file));
        }
    }
    findings
}

fn of_file(file: &File) -> Vec<Finding> {
    let end = source::lines_without_tests(&file.text);
    let code: String = file.text.lines().take(end).collect::<Vec<_>>().join("\n");
    let mut findings = Vec::new();
    for opening in LOGS.iter().chain(ERRORS) {
        for (at, _) in code.match_indices(opening) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                || code[..at]
                    .rsplit('\n')
                    .next()
                    .is_some_and(|line| line.contains("//"))
            {
                continue;
            }
            let arguments = &code[at + opening.len()..];
            let Some(fault) = message(arguments).and_then(|text| fault_of(&text)) else {
                continue;
            };
            let line = code[..at].matches('\n').count() + 1;
            findings.push(Finding::at(file, line, fault));
        }
    }
    findings
}

/// The message among a macro's arguments: the first string that is an argument of its own, that is, one
/// that stands at the macro's own depth after its opening or a comma.
fn message(arguments: &str) -> Option<String> {
    let mut depth = 0_u32;
    let mut fresh = true;
    let mut rest = arguments.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' => {
                let text = string(&arguments[at + 1..]);
                if depth == 0 && fresh {
                    return Some(text);
                }
                // Past the string, its escapes and its closing quote.
                let length = text.chars().count();
                rest.nth(length);
                fresh = false;
            }
            '(' | '[' | '{' => {
                depth += 1;
                fresh = false;
            }
            ')' | ']' | '}' if depth == 0 => return None,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if c.is_whitespace() => {}
            _ => fresh = false,
        }
    }
    None
}

/// The raw contents of a string that opens just before `rest`, escapes as they are written.
fn string(rest: &str) -> String {
    let mut text = String::new();
    let mut escaped = false;
    for c in rest.chars() {
        if c == '"' && !escaped {
            break;
        }
        escaped = c == '\\' && !escaped;
        text.push(c);
    }
    text
}

fn fault_of(text: &str) -> Option<String> {
    let mut letters = text.chars();
    let first = letters.next()?;
    let second = letters.next().unwrap_or(' ');
    // A name of capitals such as S3 or CRC may begin a message.
    if first.is_ascii_uppercase() && second.is_ascii_lowercase() {
        return Some(format!(
            "the message \"{text}\" begins with a capital letter"
        ));
    }
    (text.ends_with('.') && !text.ends_with("..."))
        .then(|| format!("the message \"{text}\" ends with a full stop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> usize {
        of_file(&File::new("services/metadata/src/a.rs", text)).len()
    }

    #[test]
    fn a_message_is_lower_case_without_a_full_stop() {
        assert_eq!(faults("info!(\"Started\");"), 1);
        assert_eq!(
            faults("warn!(\n  shard = %id,\n  \"lost the lease.\"\n);"),
            1
        );
        assert_eq!(
            faults("warn!(shard = %id, \"lost the lease\"); info!(\"S3 is slow\");"),
            0
        );
    }

    #[test]
    fn values_of_fields_and_tests_are_not_messages() {
        assert_eq!(
            faults("info!(name = \"Some Name.\", f(\"Other.\"), \"fine\");"),
            0
        );
        assert_eq!(
            faults("#[cfg(test)]\nmod tests {\n info!(\"Started.\");\n}"),
            0
        );
    }

    #[test]
    fn error_texts_follow_the_same_rule() {
        assert_eq!(faults("#[error(\"Unknown topic\")]"), 1);
        assert_eq!(faults("#[error(\"`{0}` is unknown\")]"), 0);
    }
}
