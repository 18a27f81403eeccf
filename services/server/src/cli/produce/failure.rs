//! What is told when not all of the input was written.

use tidelog_client::{ErrorCode, ProduceError};
use tidelog_types::limits::BATCH_BYTES_MAX_LIMIT;

use super::ledger::Account;
use crate::cli::error::SoFar;
use crate::cli::output::counted;
use crate::cli::{CliError, Result};

/// The error of a run that ended with `cause`: as it is while nothing was written, else with the account.
pub(super) fn told(cause: CliError, account: &Account) -> CliError {
    if !account.is_something() {
        return cause;
    }
    let line = account.first_line_not_written;
    let mut notes = vec![format!(
        "{} acknowledged; everything before line {line} is written",
        were(account.acknowledged)
    )];
    if !account.gaps.is_empty() {
        notes.push(format!(
            "not acknowledged: {} {}; nothing after line {} was sent",
            if account.gaps.len() == 1 && account.gaps[0].0 == account.gaps[0].1 {
                "line"
            } else {
                "lines"
            },
            account.gaps_text(),
            account.last_line_read
        ));
    }
    if account.acknowledged_behind > 0 {
        notes.push(format!(
            "{} acknowledged behind line {line}, in other batches: going on from there writes them again",
            were(account.acknowledged_behind)
        ));
    }
    if account.unknown > 0 {
        notes.push(format!(
            "of {} nobody knows whether they are written: consume the topic to see",
            counted(account.unknown, "record")
        ));
    }
    CliError::Partial {
        cause: Box::new(cause),
        so_far: SoFar {
            notes,
            hint: format!(
                "mend what is wrong, and go on with the same input and --from-line {line}"
            ),
            details: serde_json::to_value(account).unwrap_or_default(),
        },
    }
}

fn were(records: u64) -> String {
    let verb = if records == 1 { "was" } else { "were" };
    format!("{} {verb}", counted(records, "record"))
}

/// A record that is larger than its topic takes is told before it is sent; compression may make it fit.
pub(super) fn check_size(topic: &str, line: u64, bytes: u64, limit: Option<u64>) -> Result<()> {
    match limit {
        Some(limit) if bytes > limit => Err(too_large(topic, line, bytes, Some(limit))),
        _ => Ok(()),
    }
}

/// The error of records that were not written.
pub(super) fn refused(
    error: ProduceError,
    topic: &str,
    limit: Option<u64>,
    account: &Account,
) -> CliError {
    let too_large_for_it = matches!(
        error.code(),
        Some(ErrorCode::BatchTooLarge | ErrorCode::RequestTooLarge)
    );
    match account.largest {
        Some((line, bytes)) if too_large_for_it => too_large(topic, line, bytes, limit),
        _ => error.into(),
    }
}

fn too_large(topic: &str, line: u64, bytes: u64, limit: Option<u64>) -> CliError {
    let takes = limit.map_or_else(String::new, |limit| {
        format!("; `{topic}` takes {limit} (its `max.message.bytes`)")
    });
    let advice = if bytes > u64::from(BATCH_BYTES_MAX_LIMIT) {
        "split it, or try --compression zstd".to_owned()
    } else {
        format!("`tidelog topic alter {topic} --set max.message.bytes={bytes}` lets it in")
    };
    CliError::usage(format!(
        "line {line} makes a batch of {bytes} bytes, which is too large{takes}, and no topic more than \
         {BATCH_BYTES_MAX_LIMIT}: {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use tidelog_runtime::Exit;

    use super::*;

    #[test]
    fn a_run_that_wrote_nothing_ends_as_its_cause_and_one_that_wrote_says_how_to_go_on() {
        let cause = || CliError::usage("line 3 has no field `id`");
        let nothing = told(cause(), &Account::default());
        assert_eq!(nothing.exit(), Exit::Usage);
        let account = Account {
            acknowledged: 1,
            first_line_not_written: 3,
            last_line_read: 3,
            ..Account::default()
        };
        let error = told(cause(), &account);
        assert_eq!(error.exit(), Exit::Partial);
        let CliError::Partial { so_far, .. } = error else {
            panic!("something was written")
        };
        assert_eq!(
            so_far.notes,
            ["1 record was acknowledged; everything before line 3 is written"]
        );
        assert!(so_far.hint.ends_with("--from-line 3"));
        assert_eq!(so_far.details["first_line_not_written"], 3);
    }

    #[test]
    fn a_record_that_is_too_large_is_told_with_the_limits_and_what_helps() {
        check_size("t", 2, 100, Some(100)).unwrap();
        check_size("t", 2, 100, None).unwrap();
        let error = check_size("t", 2, 101, Some(100)).unwrap_err().to_string();
        for word in [
            "line 2",
            "101 bytes",
            "takes 100",
            "8388608",
            "--set max.message.bytes=101",
        ] {
            assert!(error.contains(word), "{error}");
        }
        let error = check_size("t", 2, 20_000_000, Some(100)).unwrap_err();
        assert!(error.to_string().contains("split it"), "{error}");
    }
}
