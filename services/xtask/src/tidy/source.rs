//! A reader of Rust source that is just good enough: it knows comments, strings and test code.

/// One line of a source file with what the checks need to know of it.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// The code on it: no comment, and string contents blanked.
    pub(super) code: String,
    /// Whether it lies in an inline test module or a test file.
    pub(super) is_test: bool,
}

/// Whether the whole file is test code by its place.
pub(super) fn is_test_path(path: &str) -> bool {
    path.starts_with("e2e/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/fuzz/")
        || path.contains("/conformance/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/conformance.rs")
        || path.ends_with("_tests.rs")
}

/// Splits a file into lines. A string that spans lines is blanked as a whole.
pub(super) fn lines(path: &str, text: &str) -> Vec<Line> {
    let mut is_test = is_test_path(path);
    let mut state = State::Code;
    let mut out = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let (code, next) = split(raw, state);
        state = next;
        if code.trim_start().starts_with("#[cfg(test)]") && is_test_module(text, index) {
            is_test = true;
        }
        out.push(Line {
            number: index + 1,
            code,
            is_test,
        });
    }
    out
}

/// Lines of the file before its inline test module; all of them if it has none.
pub(super) fn lines_without_tests(text: &str) -> usize {
    let all: Vec<&str> = text.lines().collect();
    all.iter()
        .enumerate()
        .position(|(index, line)| line.starts_with("#[cfg(test)]") && is_test_module(text, index))
        .unwrap_or(all.len())
}

/// Whether the attribute at `index` opens an inline module, which we keep at the end of a file.
fn is_test_module(text: &str, index: usize) -> bool {
    text.lines()
        .skip(index + 1)
        .find(|line| !line.trim_start().starts_with("#["))
        .is_some_and(|line| line.trim_start().starts_with("mod ") && line.trim_end().ends_with('{'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Code,
    /// In a string, closed by a quote and this many `#`; `None` where backslashes escape.
    Text(Option<usize>),
    /// In a block comment.
    Block,
}

/// One line as code with blanked strings and without comments, and the state at its end.
fn split(raw: &str, mut state: State) -> (String, State) {
    let bytes = raw.as_bytes();
    let mut code = String::with_capacity(raw.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &raw[at..];
        match state {
            State::Block => {
                let Some(end) = rest.find("*/") else {
                    return (code, state);
                };
                at += end + 2;
                state = State::Code;
            }
            State::Text(hashes) => {
                let (length, closed) = text_step(rest, hashes);
                if closed {
                    code.push('"');
                    state = State::Code;
                }
                at += length;
            }
            State::Code if rest.starts_with("//") => return (code, state),
            State::Code if rest.starts_with("/*") => {
                state = State::Block;
                at += 2;
            }
            State::Code => {
                let (length, next) = code_step(rest, &code);
                code.push_str(&rest[..length]);
                at += length;
                state = next;
            }
        }
    }
    (code, state)
}

/// How far one step inside a string goes, and whether it closed the string.
fn text_step(rest: &str, hashes: Option<usize>) -> (usize, bool) {
    match hashes {
        None if rest.starts_with('\\') => {
            (1 + rest.chars().nth(1).map_or(0, char::len_utf8), false)
        }
        None if rest.starts_with('"') => (1, true),
        Some(count) if rest.starts_with(&format!("\"{}", "#".repeat(count))) => (1 + count, true),
        _ => (rest.chars().next().map_or(1, char::len_utf8), false),
    }
}

/// How far one step of code goes, and what it opens.
fn code_step(rest: &str, before: &str) -> (usize, State) {
    let after_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !after_word {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            return (2 + hashes, State::Text(Some(hashes)));
        }
    }
    if rest.starts_with('"') {
        return (1, State::Text(None));
    }
    // A quote as a character would open a string that never ends.
    for quote in ["'\"'", "'\\\"'", "b'\"'"] {
        if rest.starts_with(quote) {
            return (quote.len(), State::Code);
        }
    }
    (rest.chars().next().map_or(1, char::len_utf8), State::Code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_blanked_and_comments_are_cut_off() {
        let found = lines(
            "services/x/src/a.rs",
            "let a = \"todo!() // no\"; // yes\nlet b = '\"';",
        );
        assert_eq!(found[0].code, "let a = \"\"; ");
        assert_eq!(found[1].code, "let b = '\"';");
    }

    #[test]
    fn a_raw_string_over_lines_is_blanked_as_a_whole() {
        let found = lines("services/x/src/a.rs", "f(r#\"one \" \ndbg!(1)\n\"#); g();");
        assert_eq!(found[1].code, "");
        assert_eq!(found[2].code, "\"); g();");
    }

    #[test]
    fn code_after_the_inline_test_module_opens_is_test_code() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x;\n#[cfg(test)]\nmod tests {\n}\n";
        let found = lines("services/x/src/a.rs", text);
        assert!(!found[1].is_test);
        assert!(found[4].is_test);
        assert_eq!(lines_without_tests(text), 3);
    }
}
