//! What a number may be. Everything that comes from outside passes here once.

use thiserror::Error;

/// Largest rate: a tebibyte a second.
pub const RATE_MAX: f64 = 1_099_511_627_776.0;
/// Longest time: a hundred years.
pub const SECONDS_MAX: f64 = 100.0 * 365.0 * 86_400.0;
/// Largest price of one unit.
pub const PRICE_MAX: f64 = 1_000_000.0;
/// Largest factor, such as how often everything is read.
pub const FACTOR_MAX: f64 = 10_000.0;
/// Largest count of something that was counted: more than a request a nanosecond for three centuries.
pub const COUNT_MAX: f64 = 1e19;

/// A number that cannot be what it is given for.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("`{what}` is `{value}`: it must be a number from {min} to {max}")]
pub struct OutOfRange {
    /// What it was given for.
    pub what: String,
    /// The number.
    pub value: f64,
    /// The least that it may be.
    pub min: f64,
    /// The most that it may be.
    pub max: f64,
}

/// The number, if it is within both ends. Neither infinity nor what is no number is.
pub fn within(what: &str, value: f64, min: f64, max: f64) -> Result<f64, OutOfRange> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(OutOfRange {
        what: what.to_owned(),
        value,
        min,
        max,
    })
}

/// A count as a number to reckon with. Counts beyond 2^53 lose their last digits, which no bill shows.
#[expect(
    clippy::cast_precision_loss,
    reason = "a bill shows fewer digits than a number has"
)]
pub const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_too_large_or_negative_is_refused() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.001, 10.001] {
            assert!(within("x", wrong, 0.0, 10.0).is_err(), "{wrong}");
        }
        for fine in [0.0, 10.0, 3.5] {
            assert_eq!(within("x", fine, 0.0, 10.0), Ok(fine));
        }
        let error = within("object_store.storage", f64::NAN, 0.0, 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`object_store.storage` is `NaN`: it must be a number from 0 to 1"
        );
    }
}
