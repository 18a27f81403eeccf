//! One line of the text format.

/// The name of the series of a line, and what follows it. Comments and empty lines have none.
pub(super) fn name(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace());
    Some(line.split_at(end.unwrap_or(line.len())))
}

/// Labels and their values.
type Pairs = Vec<(String, String)>;

/// What follows a name: labels, a value, perhaps a time.
pub(super) fn sample(rest: &str) -> Option<(Pairs, f64)> {
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => pairs(inner)?,
        None => (Pairs::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    // What may follow is a time and an example.
    Some((labels, value))
}

/// Labels up to the closing brace, and what is behind it.
fn pairs(mut rest: &str) -> Option<(Pairs, &str)> {
    let mut pairs = Pairs::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((pairs, behind));
        }
        let (name, value) = rest.split_once("=\"")?;
        let (value, behind) = quoted(value)?;
        pairs.push((name.trim().to_owned(), value));
        rest = behind;
    }
}

/// A text up to its closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_values_and_times_are_told_apart() {
        assert_eq!(name("# HELP x y"), None);
        assert_eq!(name("x 3"), Some(("x", " 3")));
        let (pairs, value) = sample(r#"{a="b",c="d\"}e\\"} 3.5 1700000000"#).unwrap();
        assert_eq!(
            pairs,
            [("a".into(), "b".into()), ("c".into(), r#"d"}e\"#.into())]
        );
        assert!((value - 3.5).abs() < f64::EPSILON);
        for wrong in [
            "",
            "{",
            "{a}",
            "{a=\"b} 3",
            "{a=\"b\"}",
            "{a=\"b\"} x",
            " x",
            "{a=\"\\",
        ] {
            assert!(sample(wrong).is_none(), "{wrong}");
        }
    }
}
