//! What is done in the bucket in the background.

use super::super::{Kind, OptionDoc};
use super::option;

pub(super) const OPTIONS: &[OptionDoc] = &[option(
    "janitor.grace",
    Kind::Span("1s", "30d"),
    "10m",
    "How long a segment that nothing names any more is kept before it is deleted: longer than any cache remembers where records lie. The same in all metadata processes.",
)];
