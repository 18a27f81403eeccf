//! What tools ask about a cluster of Apache Kafka that there is not here: replicas, folders, users. They are told so
//! in the words of a cluster in which nothing of the kind is set up, and what would change it is refused.

mod acls;
mod features;
mod log_dirs;
mod quotas;
mod replicas;
mod resources;
mod telemetry;
mod users;

use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

impl Call {
    /// What a caller hears who asks for what is never done: whether they may comes first.
    fn never(&self, operation: Operation, code: ErrorCode, why: &str) -> Refusal {
        match self.may(operation, Resource::Cluster) {
            Err(refusal) => refusal,
            Ok(()) => Refusal::new(code, why),
        }
    }

    /// A refusal as answers have it: its code and its words, or neither.
    fn refused(&self, refusal: Option<&Refusal>) -> (i16, Option<ByteString>) {
        match refusal {
            None => (0, None),
            Some(refusal) => (self.code(refusal.code), Some(refusal.text())),
        }
    }
}
