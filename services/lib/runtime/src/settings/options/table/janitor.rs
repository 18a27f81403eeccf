//! What is done in the bucket in the background.

use super::super::{Kind, OptionDoc};
use super::option;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "janitor.grace",
        Kind::Span("1s", "30d"),
        "10m",
        "How long a segment that nothing names any more is kept before it is deleted: longer than any cache remembers where records lie. The same in all metadata processes.",
    ),
    option(
        "janitor.merge_rate",
        Kind::Size("1MiB", "1TiB"),
        "400MiB",
        "Bytes that merging reads and writes in a second, so that it leaves some to others.",
    ),
    option(
        "janitor.merges_at_once",
        Kind::Integer(1, 64),
        "1",
        "Merges that a janitor makes at the same time, as far as its memory goes. It holds each in memory: `metadata.merge_bytes`.",
    ),
];
