//! Names of the definitions as Rust writes them.

/// Types that the generated code names: no structure may be called so.
pub(crate) const TAKEN: &[&str] = &[
    "ApiKey",
    "Bytes",
    "ByteString",
    "Decoder",
    "Default",
    "Encoder",
    "Message",
    "Option",
    "Records",
    "Request",
    "Response",
    "Self",
    "Some",
    "Uuid",
    "Vec",
    "VersionRange",
    "Wire",
];

/// Words of the language that fields are called by.
const KEYWORDS: &[&str] = &[
    "type", "match", "ref", "use", "self", "move", "where", "in", "as",
];

/// `LastStableOffset` as `last_stable_offset`.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        // A word begins at a capital behind a small letter, and at the last capital of several.
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if begins {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The name of a field.
pub(crate) fn field(name: &str) -> String {
    let mut field = snake(name);
    if KEYWORDS.contains(&field.as_str()) {
        field.push('_');
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_where_words_begin() {
        assert_eq!(snake("LastStableOffset"), "last_stable_offset");
        assert_eq!(snake("V3AndBelowTopics"), "v3_and_below_topics");
        assert_eq!(snake("KRaftVersionRecord"), "k_raft_version_record");
        assert_eq!(snake("TopicIDs"), "topic_i_ds");
        assert_eq!(field("Type"), "type_");
    }
}
