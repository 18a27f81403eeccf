//! End-to-end scenarios of the log: the real binary, real S3, real clients, real damage.
//!
//! The scenarios are in `tests/log/`, one a file:
//!
//! | file | what it shows |
//! | --- | --- |
//! | `flights.rs` | a real data set comes back complete and in order |
//! | `kill.rs` | `kill -9` at any moment loses, repeats and reorders nothing |
//! | `fence.rs` | a second server takes the bucket over and the first does no harm |
//! | `outage.rs` | S3 that fails, hangs or loses answers delays and does not destroy |
//! | `retention.rs` | old records go, and what is left is whole, also through `kill -9` |
//! | `merge.rs` | small segments become large ones, and every record stays what it was, also through `kill -9` and lost machines |
//! | `rewrite.rs` | what is left of merged segments is written anew, and the bucket shrinks to what is needed, also through `kill -9` and lost machines |
//! | `compaction.rs` | of each key the last record stays as it was produced, and tombstones go, also through `kill -9` and lost machines |
//! | `classes.rs` | topics of two storage classes share no segment |
//! | `buckets.rs` | topics lie in the buckets of their classes, are merged into others, and go from all of them |
//! | `encryption.rs` | the store encrypts what it is told to, and keeps it in the storage class that it is told |
//! | `deletion.rs` | what nobody needs goes from the bucket and nothing else does, also through `kill -9` |
//! | `drain.rs` | a server that is asked to end finishes its work first |
//! | `idle.rs` | a server with nothing to do leaves the bucket alone |
//! | `clients.rs` | clients made from the proto files alone, in three languages |
//! | `command_line/` | commands say what they did, how far, and what they wait for |
//! | `conditions.rs` | of many conditional writers one wins each offset, also through `kill -9` |
//! | `abuse/` | clients that mean ill cost no more memory than is set, and keep nobody out |
//! | `bad_input/` | what is wrong is refused, with a text that says what to do |
