//! Transactions, where they are coordinated.

use super::super::{Kind, OptionDoc};
use super::option;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "transactions.timeout_max",
        Kind::Span("1ms", "1d"),
        "15m",
        "The longest time for which a producer may ask to have a transaction open. One that is open for longer than its producer has asked for is aborted.",
    ),
    option(
        "transactions.id_expiry",
        Kind::Span("1m", "3650d"),
        "7d",
        "A transactional id is forgotten so long after it was last used.",
    ),
];
