//! End-to-end scenarios of clusters: metadata processes and brokers as real processes, killed, paused,
//! drained and cut off from each other.
//!
//! The scenarios are in `tests/cluster/`, one a file:
//!
//! | file | what it shows |
//! | --- | --- |
//! | `accepted.rs` | a restore is accepted while the server goes on |
//! | `both_roles.rs` | a process with both roles calls its own metadata without a socket, and another's when it is not active |
//! | `chaos.rs` | a minute of `kill -9`, pauses and restarts of any process loses, repeats and reorders nothing |
//! | `readers.rs` | the read tier saves requests in two zones, and no client sees a reader die |
//! | `takeover.rs` | five seconds after the death of a metadata process every shard takes writes again |
//! | `drain.rs` | a drained process and one that is asked to end give their shards away and nobody waits |
//! | `outage.rs` | without any metadata process brokers keep what they accepted, and finish later |
//! | `drained.rs` | a member that drains still does after a takeover |
//! | `fenced.rs` | a process that was fenced stands by and shows nothing of what it had |
//! | `janitor.rs` | a janitor of its own deletes what nobody needs any more |
//! | `lost_store.rs` | a store that is away for all, or for a standby that opens it, ends nobody, and all go on after it |
//! | `pause.rs` | a metadata process that stands still past its lease wakes without harm |
//! | `split.rs` | two that cannot hear each other do not fight over the bucket |
//! | `tls.rs` | members without a certificate of the cluster's authority are kept out |
//! | `tokens.rs` | what a client wrote through one broker it reads through another |
//! | `status.rs` | `tidelog cluster` shows members, shards and owners as they are |
