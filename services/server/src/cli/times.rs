//! Points in time as people write them.

use jiff::Timestamp as Moment;
use tidelog_types::Timestamp;

/// Reads a point in time: `2026-01-31`, `2026-01-31T12:00:00Z`, `-1h` (an hour ago) or `@1767225600000`
/// (milliseconds since 1970). A date without a time is its midnight in UTC.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(millis) = text.strip_prefix('@') {
        return millis.parse().ok().map(Timestamp::from_millis);
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).ok()?;
        let ago = i64::try_from(ago.as_millis()).ok()?;
        return now.as_millis().checked_sub(ago).map(Timestamp::from_millis);
    }
    let moment: Option<Moment> = text.parse().ok();
    let moment = moment.or_else(|| {
        let date: jiff::civil::Date = text.parse().ok()?;
        format!("{date}T00:00:00Z").parse().ok()
    })?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// Milliseconds since 1970 as a date and time in UTC, or the bare number if it is no such time.
pub(crate) fn format(millis: i64) -> String {
    Moment::from_millisecond(millis)
        .map_or_else(|_| millis.to_string(), |moment| format!("{moment:.3}"))
}

/// The same for a time as the API has it.
pub(crate) fn format_proto(time: tidelog_client::prost_types::Timestamp) -> String {
    let millis = i64::from(time.nanos) / 1_000_000;
    format(time.seconds.saturating_mul(1_000).saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_durations_and_numbers_are_points_in_time() {
        let now = Timestamp::from_millis(10_000_000);
        for (text, millis) in [
            ("1970-01-02", 86_400_000),
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("-1h", 6_400_000),
            ("@77", 77),
        ] {
            assert_eq!(
                parse(text, now),
                Some(Timestamp::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "yesterday", "-", "@", "1970-13-01"] {
            assert_eq!(parse(text, now), None, "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_utc_with_milliseconds() {
        assert_eq!(format(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(format(i64::MAX), i64::MAX.to_string());
    }
}
