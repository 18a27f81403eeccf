//! The table itself, in parts.

mod bucket;
mod groups;
mod janitor;
mod metadata;
mod process;
mod traffic;
mod transactions;

use super::{Kind, OptionDoc};

const fn option(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> OptionDoc {
    OptionDoc {
        key,
        kind,
        default: Some(default),
        doc,
        since: "0.1",
    }
}

const fn unset(key: &'static str, kind: Kind, doc: &'static str) -> OptionDoc {
    OptionDoc {
        key,
        kind,
        default: None,
        doc,
        since: "0.1",
    }
}

/// All options, in the order of the reference.
pub const OPTIONS: &[OptionDoc] = &joined();

const PARTS: [&[OptionDoc]; 7] = [
    bucket::OPTIONS,
    traffic::OPTIONS,
    metadata::OPTIONS,
    groups::OPTIONS,
    transactions::OPTIONS,
    janitor::OPTIONS,
    process::OPTIONS,
];

const fn count() -> usize {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
}

const fn joined() -> [OptionDoc; count()] {
    let mut all = [PARTS[0][0]; count()];
    let (mut next, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut at = 0;
        while at < PARTS[part].len() {
            all[next] = PARTS[part][at];
            next += 1;
            at += 1;
        }
        part += 1;
    }
    all
}
