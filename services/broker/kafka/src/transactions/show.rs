//! `DescribeTransactions` and `ListTransactions`.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use tidelog_kafka_codec::messages::describe_transactions_response::{
    TopicData, TransactionState as Described,
};
use tidelog_kafka_codec::messages::list_transactions_response::TransactionState as Listed;
use tidelog_kafka_codec::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{
    Participant, TransactionDescription, TransactionFilter, TransactionListing, TransactionState,
    TransactionalId,
};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::{ProducerId, Timestamp, TopicPartition};

use super::parse_id;
use crate::call::Call;
use crate::errors::Refusal;
use crate::groups::Topics;

/// Transactional ids that are asked for at a time.
const IDS_PAGE: usize = 1_000;
/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// States of Kafka's that no transaction is in here.
const STATES_OF_NOBODY: &[&str] = &["PrepareEpochFence", "Dead"];

impl Call {
    pub(crate) async fn describe_transactions(
        &self,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let checked = request.transactional_ids.iter().map(|id| {
            self.may(Operation::Describe, Resource::TransactionalId(id))?;
            parse_id(id)
        });
        let checked: Vec<Result<TransactionalId, Refusal>> = checked.collect();
        let ids: Vec<TransactionalId> = checked.iter().flatten().cloned().collect();
        let transactions = self.front.engine().transactions();
        let described = transactions.describe_transactions(&ids).await;
        let mut described = described.into_iter();
        let mut topics = Topics::default();
        let mut states = Vec::with_capacity(checked.len());
        for (transactional_id, checked) in request.transactional_ids.into_iter().zip(checked) {
            let found = match checked {
                Err(refusal) => Err(refusal),
                Ok(_) => match described.next() {
                    Some(Ok(described)) => self.description(&described, &mut topics).await,
                    Some(Err(error)) => Err(Refusal::from(&error)),
                    None => Err(Refusal::new(
                        ErrorCode::CoordinatorNotAvailable,
                        "no answer",
                    )),
                },
            };
            states.push(match found {
                Ok(found) => Described {
                    transactional_id,
                    ..found
                },
                Err(refusal) => Described {
                    error_code: self.code(refusal.code),
                    transactional_id,
                    ..Described::default()
                },
            });
        }
        DescribeTransactionsResponse {
            transaction_states: states,
            ..DescribeTransactionsResponse::default()
        }
    }

    /// A transactional id as it is told: with the partitions that the caller may see.
    async fn description(
        &self,
        found: &TransactionDescription,
        topics: &mut Topics,
    ) -> Result<Described, Refusal> {
        let partitions = found.participants.iter().filter_map(|it| match it {
            Participant::Partition(at) => Some(*at),
            Participant::Group(_) => None,
        });
        let partitions: Vec<TopicPartition> = partitions.collect();
        let by_topic = topics.by_topic(self, &partitions).await?;
        let seen = by_topic
            .into_iter()
            .filter(|(topic, _)| self.may_see(topic.name.as_str()));
        let topics = seen.map(|(topic, partitions)| TopicData {
            topic: topic.name.as_str().into(),
            partitions,
        });
        let timeout = i32::try_from(found.timeout.as_millis());
        Ok(Described {
            transaction_state: ByteString::from_static(found.state.name()),
            transaction_timeout_ms: timeout.unwrap_or(i32::MAX),
            transaction_start_time_ms: found.started_at.map_or(-1, Timestamp::as_millis),
            producer_id: found.producer.id.get(),
            producer_epoch: found.producer.epoch.get(),
            topics: topics.collect(),
            ..Described::default()
        })
    }

    pub(crate) async fn list_transactions(
        &self,
        request: ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        let (filter, unknown) = filter(&request);
        let is_nobody = filter.states.is_empty() && !request.state_filters.is_empty();
        let pattern = pattern(request.transactional_id_pattern.as_deref());
        let listed = match pattern {
            Err(refusal) => Err(refusal),
            Ok(_) if is_nobody => Ok(Vec::new()),
            Ok(pattern) => self.transactions(&filter, pattern.as_ref()).await,
        };
        let refusal = listed.as_ref().err();
        let code = refusal.map_or(ErrorCode::None, |it| it.code);
        let listed = listed.unwrap_or_default().into_iter();
        let listed = listed.map(|listing| Listed {
            transactional_id: listing.id.as_str().into(),
            producer_id: listing.producer.get(),
            transaction_state: ByteString::from_static(listing.state.name()),
        });
        ListTransactionsResponse {
            error_code: self.code(code),
            unknown_state_filters: unknown,
            transaction_states: listed.collect(),
            ..ListTransactionsResponse::default()
        }
    }

    /// This broker's part of the transactional ids that the caller may see.
    async fn transactions(
        &self,
        filter: &TransactionFilter,
        pattern: Option<&Regex>,
    ) -> Result<Vec<TransactionListing>, Refusal> {
        let brokers = self.brokers();
        let lists = |listing: &TransactionListing| {
            let id = listing.id.as_str();
            let sees = || self.may(Operation::Describe, Resource::TransactionalId(id));
            let matches = pattern.is_none_or(|pattern| pattern.is_match(id));
            matches && brokers.lists(id.as_bytes()) && sees().is_ok()
        };
        let transactions = self.front.engine().transactions();
        let (mut listed, mut after) = (Vec::new(), Vec::new());
        loop {
            let page = transactions.list_transactions(filter, &after, IDS_PAGE);
            let page = page.await.map_err(|error| Refusal::from(&error))?;
            listed.extend(page.transactions.into_iter().filter(lists));
            after = page.next;
            if after.is_empty() {
                return Ok(listed);
            }
        }
    }
}

/// What is asked for, and the names of states that there are not.
fn filter(request: &ListTransactionsRequest) -> (TransactionFilter, Vec<ByteString>) {
    let mut filter = TransactionFilter::default();
    let mut unknown = Vec::new();
    for name in &request.state_filters {
        let found = TransactionState::ALL.iter().find(|it| it.name() == &**name);
        match found {
            Some(state) => filter.states.push(*state),
            None if STATES_OF_NOBODY.contains(&&**name) => {}
            None => unknown.push(name.clone()),
        }
    }
    let producers = request.producer_id_filters.iter();
    filter.producers = producers.map(|id| ProducerId::new(*id)).collect();
    let duration = u64::try_from(request.duration_filter).ok();
    filter.longer_than = duration.map(Duration::from_millis);
    (filter, unknown)
}

/// The pattern that an id must match as a whole, if there is one.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let built = RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    built.map(Some).map_err(|error| {
        let message = format!("the pattern cannot be used: {error}");
        Refusal::new(ErrorCode::InvalidRegularExpression, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_in_kafka_and_others_are_told_of() {
        let request = ListTransactionsRequest {
            state_filters: ["Ongoing", "Dead", "ongoing"].map(Into::into).to_vec(),
            producer_id_filters: vec![7],
            duration_filter: 5,
            transactional_id_pattern: None,
        };
        let (found, unknown) = filter(&request);
        assert_eq!(found.states, [TransactionState::Ongoing]);
        assert_eq!(found.producers, [ProducerId::new(7)]);
        assert_eq!(found.longer_than, Some(Duration::from_millis(5)));
        assert_eq!(unknown, ["ongoing"]);
        let request = ListTransactionsRequest {
            duration_filter: -1,
            ..request
        };
        assert_eq!(filter(&request).0.longer_than, None);
    }

    #[test]
    fn a_pattern_matches_an_id_as_a_whole() {
        let matches = |text, id| pattern(Some(text)).unwrap().unwrap().is_match(id);
        assert!(matches("a|bc", "bc") && matches("app-.*", "app-1"));
        assert!(!matches("a|bc", "abc") && !matches("app", "app-1"));
        assert!(pattern(None).unwrap().is_none() && pattern(Some("")).unwrap().is_none());
        let wrong = pattern(Some("(")).unwrap_err();
        assert_eq!(wrong.code, ErrorCode::InvalidRegularExpression);
    }
}
