//! The Rust client of Tidelog: a log on object storage.
//!
//! [`Client`] is the connection. From it come [`Producer`], which batches, pipelines and retries the
//! writes to one topic without loss or duplicates; [`Consumer`], which reads a topic as a stream and goes
//! on after a break; [`GroupConsumer`], which reads as a member of a group; [`Admin`] for topics; and [`LogClient`] for plain requests, such as conditional
//! appends. Keys go to the same partitions as with Kafka's clients.

mod admin;
mod call;
mod client;
mod cluster;
pub mod consumer;
mod error;
pub mod group_consumer;
mod groups;
mod log;
mod options;
pub mod producer;
mod trouble;

pub use admin::Admin;
pub use client::Client;
pub use cluster::ClusterClient;
pub use consumer::{Chunk, Consumer, ConsumerOptions, Start};
pub use error::ClientError;
pub use group_consumer::{
    GroupConsumer, GroupEvent, GroupPartition, OffsetReset, SubscribeError, SubscribeOptions,
};
pub use groups::GroupAdmin;
pub use log::LogClient;
pub use options::ClientOptions;
pub use producer::{
    Delivery, ProduceError, Produced, Producer, ProducerOptions, SendError, SendRecord,
};
pub use tidelog_api::{ApiError, prost_types, v1};
pub use tidelog_format::batch::{Compression, Record, RecordHeader};
pub use tidelog_types::{ErrorCode, murmur2, partition_for_key};
pub use trouble::{Notice, OnTrouble};
