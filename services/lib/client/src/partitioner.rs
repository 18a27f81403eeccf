//! Which partition a record goes to: the same answer as Kafka's clients and the server give.

pub use tidelog_types::{murmur2, partition_for_key};
