//! `FindCoordinator`.

use tidelog_kafka_codec::messages::find_coordinator_response::Coordinator;
use tidelog_kafka_codec::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_runtime::access::{Operation, Resource};

use crate::brokers::{Broker, Brokers};
use crate::call::Call;
use crate::errors::Refusal;

/// Keys of coordinators: groups, transactions, share groups.
const KEY_GROUP: i8 = 0;
const KEY_TRANSACTION: i8 = 1;
const KEY_SHARE: i8 = 2;
/// The first version with many keys.
const MANY_KEYS_FROM: i16 = 4;

impl Call {
    pub(crate) fn find_coordinator(
        &self,
        request: FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let brokers = self.brokers();
        if self.version < MANY_KEYS_FROM {
            let found = self.coordinator(&brokers, request.key_type, request.key);
            return FindCoordinatorResponse {
                error_code: found.error_code,
                error_message: found.error_message,
                node_id: found.node_id,
                host: found.host,
                port: found.port,
                ..FindCoordinatorResponse::default()
            };
        }
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| self.coordinator(&brokers, request.key_type, key));
        FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..FindCoordinatorResponse::default()
        }
    }

    /// Who is named for a key.
    fn coordinator(&self, brokers: &Brokers, key_type: i8, key: ByteString) -> Coordinator {
        match self.broker_for(brokers, key_type, &key) {
            Ok(broker) => Coordinator {
                node_id: broker.node_id,
                host: broker.host,
                port: broker.port,
                error_message: None,
                key,
                ..Coordinator::default()
            },
            Err(refusal) => Coordinator {
                node_id: -1,
                port: -1,
                error_code: self.code(refusal.code),
                error_message: Some(refusal.text()),
                key,
                ..Coordinator::default()
            },
        }
    }

    fn broker_for(&self, brokers: &Brokers, key_type: i8, key: &str) -> Result<Broker, Refusal> {
        let coordinator = || {
            let broker = brokers.coordinator(key.as_bytes()).cloned();
            broker.ok_or_else(|| {
                let message = "no broker is known";
                Refusal::new(ErrorCode::CoordinatorNotAvailable, message)
            })
        };
        match key_type {
            KEY_GROUP => {
                self.may(Operation::Describe, Resource::Group(key))?;
                coordinator()
            }
            KEY_TRANSACTION => {
                self.may(Operation::Describe, Resource::TransactionalId(key))?;
                coordinator()
            }
            KEY_SHARE => {
                let message = "there are no share groups";
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
            other => {
                let message = format!("there are no coordinators of the type `{other}`");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
        }
    }
}
