//! The codec against its own descriptor, against another implementation, and against bad input.

mod differential;
mod faults;
mod frames;
mod golden;
mod hostile;
mod round_trip;
mod versions;

/// So many cases, or as many as `PROPTEST_CASES` asks for.
fn cases(usual: u32) -> proptest::test_runner::Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => proptest::test_runner::Config::default(),
        None => proptest::test_runner::Config::with_cases(usual),
    }
}
