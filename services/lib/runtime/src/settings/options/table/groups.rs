//! Groups of consumers, where they are coordinated.

use super::super::{Kind, OptionDoc};
use super::option;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "groups.offsets_retention",
        Kind::Span("1m", "3650d"),
        "7d",
        "Committed offsets are kept so long after their group has lost its last member; those of a group that never had one, so long after they were committed.",
    ),
    option(
        "groups.initial_delay",
        Kind::Span("0ms", "10m"),
        "300ms",
        "How long the first generation of a classic group waits for more members.",
    ),
    option(
        "groups.session_min",
        Kind::Span("1ms", "1d"),
        "6s",
        "The shortest session that a member of a classic group may ask for.",
    ),
    option(
        "groups.session_max",
        Kind::Span("1ms", "1d"),
        "30m",
        "The longest session that a member of a classic group may ask for.",
    ),
    option(
        "groups.consumer_session",
        Kind::Span("1s", "1d"),
        "45s",
        "After so long without a heartbeat a member of the consumer protocol (KIP-848) is taken for dead.",
    ),
    option(
        "groups.consumer_heartbeat",
        Kind::Span("100ms", "1h"),
        "5s",
        "How often members of the consumer protocol are told to say that they live. Keep it well below their session.",
    ),
    option(
        "groups.members_max",
        Kind::Integer(1, 1_000_000),
        "10000",
        "Members of a group at most.",
    ),
];
