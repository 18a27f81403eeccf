//! Answers as text that can be compared.

use tidelog_kafka_codec::ErrorCode;

/// Fields that are not the same at two brokers, and why. Of these it is told whether they have a value: more than
/// nothing, less than nothing, none.
const OWN: &[(&str, &str)] = &[
    ("cluster_id", "each cluster has its own"),
    ("broker_id", "brokers have other numbers"),
    ("controller_id", "brokers have other numbers"),
    ("isr_nodes", "brokers have other numbers"),
    ("leader_id", "brokers have other numbers"),
    ("node_id", "brokers have other numbers"),
    ("replica_nodes", "brokers have other numbers"),
    ("port", "each listens at its own"),
    ("session_id", "sessions have random numbers"),
    (
        "log_append_time_ms",
        "each broker was asked at another time",
    ),
    ("last_timestamp", "each broker was asked at another time"),
    (
        "transaction_start_time_ms",
        "each broker was asked at another time",
    ),
];

/// An answer as text: errors by their names, and that there is a word about them, but not which. What is said of
/// what went well is left out.
pub(super) fn plain(answer: &str) -> String {
    let mut text = answer.to_owned();
    for (field, _) in OWN {
        text = each(&text, field, sign);
    }
    text = each(&text, "error_code", |code| {
        let code = code.parse().ok().and_then(ErrorCode::from_code);
        code.map_or("?", ErrorCode::name).to_owned()
    });
    let text = each(&text, "error_message", |word| match word {
        "None" | "Some(\"\")" => "None".to_owned(),
        _ => "Some(_)".to_owned(),
    });
    text.replace(
        "error_code: NONE, error_message: Some(_)",
        "error_code: NONE, error_message: None",
    )
}

/// Whether an answer is as expected. Of an error may be more said than expected.
pub(super) fn is_same(expected: &str, got: &str) -> bool {
    let parts = |text| str::split(text, "error_message: ");
    let (mut expected, mut got) = (parts(expected), parts(got));
    let mut is_error = false;
    loop {
        let (wanted, found) = match (expected.next(), got.next()) {
            (Some(wanted), Some(found)) => (wanted, found),
            (None, None) => return true,
            _ => return false,
        };
        let silent = wanted.strip_prefix("None");
        let said = found.strip_prefix("Some(_)");
        let is_more = is_error && silent.is_some() && silent == said;
        if wanted != found && !is_more {
            return false;
        }
        is_error = !wanted.trim_end_matches(", ").ends_with("error_code: NONE");
    }
}

/// Puts something in the place of each value of a field.
fn each(text: &str, field: &str, other: impl Fn(&str) -> String) -> String {
    let name = format!(" {field}: ");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&name) {
        let (before, value) = rest.split_at(at + name.len());
        let (value, after) = value.split_at(end_of(value));
        out.push_str(before);
        out.push_str(&other(value));
        rest = after;
    }
    out + rest
}

/// Where a value ends.
fn end_of(text: &str) -> usize {
    let mut depth = 0;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ',' | ' ' | ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// A value with a plus for what is more than nothing.
fn sign(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let token = match c {
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            '-' | '0'..='9' => {
                let more = rest[1..].find(|c: char| !c.is_ascii_digit());
                more.map_or(rest.len(), |end| end + 1)
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(token);
        let is_much = matches!(c, '"' | '1'..='9') && token != "\"\"";
        out.push_str(if is_much { "+" } else { token });
        rest = after;
    }
    out
}

#[test]
fn errors_are_compared_by_name_and_not_by_what_is_said_of_them() {
    let text =
        r#"A { error_code: 16, error_message: Some("why, \"now\""), b: [B { error_code: 0 }] }"#;
    let expected =
        "A { error_code: NOT_COORDINATOR, error_message: Some(_), b: [B { error_code: NONE }] }";
    assert_eq!(plain(text), expected);
    for text in [
        r#"A { error_code: 0, error_message: Some("") }"#,
        r#"A { error_code: 0, error_message: Some("well done") }"#,
    ] {
        assert_eq!(plain(text), "A { error_code: NONE, error_message: None }");
    }
}

#[test]
fn more_may_be_said_of_an_error_than_expected_but_not_less() {
    let told =
        |code, message| format!("A {{ error_code: {code}, error_message: {message}, b: 1 }}");
    let (silent, said) = (told("X", "None"), told("X", "Some(_)"));
    assert!(is_same(&silent, &said));
    assert!(!is_same(&said, &silent));
    assert!(is_same(&said, &said));
    assert!(!is_same(&told("NONE", "None"), &told("NONE", "Some(_)")));
    assert!(!is_same(&silent, &said.replace("b: 1", "b: 2")));
    assert!(!is_same(&silent, &said.replace('X', "Y")));
}

#[test]
fn what_each_broker_has_of_its_own_is_there_or_is_not() {
    let text = r#"A { port: 9092, replica_nodes: [1, -1, 0], cluster_id: Some("xy"), b: [7] }"#;
    let expected = r"A { port: +, replica_nodes: [+, -1, 0], cluster_id: Some(+), b: [7] }";
    assert_eq!(plain(text), expected);
    assert_eq!(plain(r#"A { cluster_id: "" }"#), r#"A { cluster_id: "" }"#);
}
