//! The text of an error together with its causes.

use std::error::Error;

/// An error with its causes, outermost first and parted by `: `, for a reason that is only text.
///
/// A cause whose text already ends what is written is left out, since a transparent error says what its
/// cause says.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("disk is full")]
    struct Full;

    #[derive(Debug, Error)]
    enum Write {
        #[error("segment was not written")]
        Segment(#[source] Full),
        #[error("write failed: {0}")]
        Told(#[source] Full),
    }

    #[derive(Debug, Error)]
    #[error("append failed")]
    struct Append(#[source] Write);

    #[test]
    fn every_cause_is_named_outermost_first() {
        assert_eq!(error_chain(&Full), "disk is full");
        assert_eq!(
            error_chain(&Append(Write::Segment(Full))),
            "append failed: segment was not written: disk is full"
        );
    }

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        assert_eq!(
            error_chain(&Append(Write::Told(Full))),
            "append failed: write failed: disk is full"
        );
    }
}
