//! What is answered in another way than by Apache Kafka, and why. The page on compatibility tells users.

/// A question, as it is noted, and why its answer differs.
pub(super) type Different = (&'static str, &'static str);

const ORDER: &str = "partitions are told in the order in which they were asked for";
const NO_INTERNAL_TOPICS: &str = "there are no internal topics";

pub(super) const GROUPS: &[Different] = &[
    ("an old commit of a consumer v8", "any version may commit"),
    ("offsets are deleted v0", ORDER),
];

pub(super) const TRANSACTIONS: &[Different] = &[
    ("some that are not there v3", ORDER),
    ("offsets of a transaction v4", ORDER),
];

pub(super) const TOOLS: &[Different] = &[
    (
        "all leaders are elected v2",
        "topics without a partition to tell of are left out",
    ),
    ("a quota is set v1", "clients have no quotas of their own"),
    ("resources of the types [2] v1", NO_INTERNAL_TOPICS),
    (
        "transaction.version at 2 v1",
        "nothing is said of what went well",
    ),
];
