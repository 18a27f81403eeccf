//! Where reading begins.

use tidelog_client::Start;
use tidelog_types::Timestamp;

use crate::cli::{CliError, Result, times};

/// Reads `earliest`, `latest`, an offset or a time.
pub(in crate::cli) fn parse(text: &str, now: Timestamp) -> Result<Start> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return Ok(Start::Offset(offset));
    }
    times::parse(text, now).map(Start::Timestamp).ok_or_else(|| {
        CliError::usage(format!(
            "`{text}` is no place to begin: write earliest, latest, an offset, or a time such as \
             2026-01-31T12:00:00Z, -1h or @MILLISECONDS"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_offsets_and_times_are_places_to_begin() {
        let now = Timestamp::from_millis(3_600_000);
        assert_eq!(parse("earliest", now).unwrap(), Start::Earliest);
        assert_eq!(parse("latest", now).unwrap(), Start::Latest);
        assert_eq!(parse("42", now).unwrap(), Start::Offset(42));
        let zero = Start::Timestamp(Timestamp::from_millis(0));
        assert_eq!(parse("-1h", now).unwrap(), zero);
        assert_eq!(parse("1970-01-01", now).unwrap(), zero);
        assert!(
            parse("soon", now)
                .unwrap_err()
                .to_string()
                .contains("`soon`")
        );
    }
}
