//! Who subscribes and to what, as the first message of a stream says.

use std::time::Duration;

use tidelog_api::{ApiError, v1};
use tidelog_broker_engine::Isolation;
use tidelog_metadata_api::{GroupName, OffsetQuery};

use super::credit::Credit;
use crate::data::{Form, isolation};
use crate::front::topic_name;
use crate::groups::group_name;

/// Topics of a subscription by name.
const TOPICS_MAX: usize = 1_000;
/// How long a member may take to let go of partitions, if it does not say.
const REBALANCE_DEFAULT: Duration = Duration::from_mins(1);
/// Bytes of a message for a client that does not say how many.
const MESSAGE_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Bytes of a message, at most.
const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What a subscriber wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) group: GroupName,
    pub(super) topics: Vec<String>,
    pub(super) pattern: String,
    pub(super) instance: Option<String>,
    pub(super) assignor: Option<String>,
    pub(super) rebalance: Duration,
    /// Where to begin without a committed offset.
    pub(super) reset: Option<OffsetQuery>,
    pub(super) form: Form,
    pub(super) isolation: Isolation,
    pub(super) bytes_max: u32,
}

impl Wish {
    /// Checks what a client sent; the coordinator checks what it stores.
    pub(super) fn of(join: &v1::SubscribeJoin) -> Result<Self, ApiError> {
        let group = group_name(&join.group)?;
        if join.topics.len() > TOPICS_MAX {
            let message = format!("a subscription has at most {TOPICS_MAX} topics by name");
            return Err(ApiError::invalid(message));
        }
        if join.topics.is_empty() && join.topic_pattern.is_empty() {
            return Err(ApiError::invalid("`topics` or `topic_pattern` is required"));
        }
        for topic in &join.topics {
            topic_name(topic)?;
        }
        let form = Form::of(join.record_format)?;
        if form == Form::Batches && Credit::beginning(join.credit).counts_records() {
            let message = "credit for RECORD_FORMAT_BATCHES is in bytes: records are not counted";
            return Err(ApiError::invalid(message));
        }
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Ok(Self {
            group,
            topics: join.topics.clone(),
            pattern: join.topic_pattern.clone(),
            instance: some(&join.instance_id),
            assignor: some(&join.assignor),
            rebalance: rebalance(join.rebalance_timeout)?,
            reset: reset(join.offset_reset)?,
            form,
            isolation: isolation(join.isolation)?,
            bytes_max: match join.max_bytes {
                0 => MESSAGE_BYTES_DEFAULT,
                asked => asked.min(MESSAGE_BYTES_MAX),
            },
        })
    }
}

fn rebalance(timeout: Option<prost_types::Duration>) -> Result<Duration, ApiError> {
    let Some(timeout) = timeout else {
        return Ok(REBALANCE_DEFAULT);
    };
    let timeout = Duration::try_from(timeout).unwrap_or_default();
    if timeout.is_zero() {
        return Err(ApiError::invalid(
            "`rebalance_timeout` is more than nothing",
        ));
    }
    Ok(timeout)
}

fn reset(number: i32) -> Result<Option<OffsetQuery>, ApiError> {
    match v1::OffsetReset::try_from(number) {
        Ok(v1::OffsetReset::Unspecified | v1::OffsetReset::Latest) => Ok(Some(OffsetQuery::Latest)),
        Ok(v1::OffsetReset::Earliest) => Ok(Some(OffsetQuery::Earliest)),
        Ok(v1::OffsetReset::None) => Ok(None),
        Err(_) => Err(ApiError::invalid(format!(
            "no offset reset has the number `{number}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> v1::SubscribeJoin {
        v1::SubscribeJoin {
            group: "g".to_owned(),
            topics: vec!["t".to_owned()],
            ..v1::SubscribeJoin::default()
        }
    }

    #[test]
    fn a_subscription_has_a_group_and_topics_and_what_it_says_can_be() {
        let good = Wish::of(&join()).unwrap();
        assert_eq!(good.reset, Some(OffsetQuery::Latest));
        assert_eq!(good.rebalance, REBALANCE_DEFAULT);
        let counted = v1::SubscribeCredit {
            records: Some(1),
            bytes: None,
        };
        let batches = v1::RecordFormat::Batches.into();
        let nothing = Some(prost_types::Duration::default());
        let many = vec!["t".to_owned(); TOPICS_MAX + 1];
        let wrong: [fn(&mut v1::SubscribeJoin); 6] = [
            |join| join.group.clear(),
            |join| join.topics.clear(),
            |join| join.topics.push("no/name".to_owned()),
            |join| join.offset_reset = 9,
            |join| join.record_format = 9,
            |join| join.isolation = 9,
        ];
        let mut wrong: Vec<v1::SubscribeJoin> = wrong
            .into_iter()
            .map(|change| {
                let mut join = join();
                change(&mut join);
                join
            })
            .collect();
        wrong.push(v1::SubscribeJoin {
            credit: Some(counted),
            record_format: batches,
            ..join()
        });
        wrong.push(v1::SubscribeJoin {
            rebalance_timeout: nothing,
            ..join()
        });
        wrong.push(v1::SubscribeJoin {
            topics: many,
            ..join()
        });
        for wrong in wrong {
            assert!(Wish::of(&wrong).is_err(), "{wrong:?}");
        }
    }
}
