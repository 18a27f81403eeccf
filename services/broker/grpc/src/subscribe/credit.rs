//! How much may be sent before the client allows more. No I/O.

use prost::Message as _;
use tidelog_api::{ApiError, v1};

use crate::answer::PartitionAnswer;

/// Bytes that a record is expected to have at most, so that not much more is read than is sent.
const RECORD_BYTES_EXPECTED: u64 = 1024;
/// The least that is read at a time.
const READ_BYTES_MIN: u64 = 16 * 1024;

/// What is left of each kind; `None` where it is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Credit {
    records: Option<u64>,
    bytes: Option<u64>,
}

/// What becomes of the records of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    /// They are sent, or the first of them.
    Some(Credit),
    /// The first one is larger than what is left: so much it takes.
    Nothing(Credit),
}

impl Credit {
    /// What a client begins with.
    pub(super) fn beginning(credit: Option<v1::SubscribeCredit>) -> Self {
        let credit = credit.unwrap_or_default();
        Self {
            records: credit.records,
            bytes: credit.bytes,
        }
    }

    /// Whether records are counted.
    pub(super) const fn counts_records(&self) -> bool {
        self.records.is_some()
    }

    /// Whether anything is counted.
    pub(super) const fn is_counted(&self) -> bool {
        self.records.is_some() || self.bytes.is_some()
    }

    /// Whether nothing can be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.records == Some(0) || self.bytes == Some(0)
    }

    /// The client allows more.
    pub(super) fn add(&mut self, more: v1::SubscribeCredit) -> Result<(), ApiError> {
        let add = |left: &mut Option<u64>, more: Option<u64>| match (left, more) {
            (_, None) => Ok(()),
            (Some(left), Some(more)) => {
                *left = left.saturating_add(more);
                Ok(())
            }
            (None, Some(_)) => Err(ApiError::invalid(
                "credit is of a kind that the first message of the stream did not name",
            )),
        };
        add(&mut self.records, more.records)?;
        add(&mut self.bytes, more.bytes)
    }

    /// Takes what a message took.
    pub(super) fn take(&mut self, taken: Self) {
        let take = |left: &mut Option<u64>, taken: Option<u64>| {
            *left = left.map(|left| left.saturating_sub(taken.unwrap_or_default()));
        };
        take(&mut self.records, taken.records);
        take(&mut self.bytes, taken.bytes);
    }

    /// Whether there is as much as this.
    pub(super) fn covers(&self, needed: Self) -> bool {
        let covers = |left: Option<u64>, needed: Option<u64>| {
            left.is_none_or(|left| left >= needed.unwrap_or_default())
        };
        covers(self.records, needed.records) && covers(self.bytes, needed.bytes)
    }

    /// How many bytes to read at most for a message of `most`.
    pub(super) fn read_bytes(&self, most: u32) -> u32 {
        let records = self
            .records
            .map(|left| left.saturating_mul(RECORD_BYTES_EXPECTED));
        let limit = [records, self.bytes].into_iter().flatten().min();
        let limit = limit.map_or(u64::MAX, |limit| limit.max(READ_BYTES_MIN));
        most.min(u32::try_from(limit).unwrap_or(u32::MAX))
    }

    /// In the kinds that are counted.
    pub(super) const fn of(&self, records: u64, bytes: u64) -> Self {
        Self {
            records: match self.records {
                Some(_) => Some(records),
                None => None,
            },
            bytes: match self.bytes {
                Some(_) => Some(bytes),
                None => None,
            },
        }
    }

    /// Adds up what was taken.
    pub(super) fn sum(self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other.unwrap_or_default());
        Self {
            records: sum(self.records, other.records),
            bytes: sum(self.bytes, other.bytes),
        }
    }

    /// Leaves out of an answer what is beyond what is left.
    pub(super) fn cut(&self, answer: &mut PartitionAnswer) -> Fits {
        let Some(v1::partition_data::Data::Records(records)) = &mut answer.data.data else {
            let batches = self.of(0, answer.batches.len() as u64);
            return if self.covers(batches) {
                Fits::Some(batches)
            } else {
                Fits::Nothing(batches)
            };
        };
        let mut taken = self.of(0, 0);
        let records = &mut records.records;
        for (index, record) in records.iter().enumerate() {
            let with_this = taken.sum(self.of(1, record.encoded_len() as u64));
            if self.covers(with_this) {
                taken = with_this;
                continue;
            }
            if index == 0 {
                return Fits::Nothing(with_this);
            }
            answer.data.next_offset = record.offset;
            records.truncate(index);
            break;
        }
        Fits::Some(taken)
    }

    /// As it stands in messages.
    pub(super) const fn to_proto(self) -> v1::SubscribeCredit {
        v1::SubscribeCredit {
            records: self.records,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_broker_engine::Batches;

    use super::*;

    fn credit(records: Option<u64>, bytes: Option<u64>) -> Credit {
        Credit { records, bytes }
    }

    fn record(offset: u64, value: &'static [u8]) -> v1::Record {
        v1::Record {
            offset,
            value: Some(value.into()),
            ..v1::Record::default()
        }
    }

    fn answer(records: Vec<v1::Record>) -> PartitionAnswer {
        let next_offset = records.last().unwrap().offset + 1;
        v1::PartitionData {
            data: Some(v1::partition_data::Data::Records(v1::Records { records })),
            next_offset,
            ..v1::PartitionData::default()
        }
        .into()
    }

    #[test]
    fn records_beyond_the_credit_are_left_for_later() {
        let mut three = answer(vec![record(3, b"a"), record(7, b"b"), record(9, b"c")]);
        let fits = credit(Some(2), None).cut(&mut three);
        assert_eq!(fits, Fits::Some(credit(Some(2), None)));
        assert_eq!(three.data.next_offset, 9);
        let size = record(3, b"a").encoded_len() as u64;
        let fits = credit(None, Some(size * 2 - 1)).cut(&mut three);
        assert_eq!(fits, Fits::Some(credit(None, Some(size))));
        assert_eq!(three.data.next_offset, 7);
    }

    #[test]
    fn what_does_not_fit_at_all_says_how_much_it_takes() {
        let one = || answer(vec![record(3, b"long")]);
        let size = record(3, b"long").encoded_len() as u64;
        let fits = credit(Some(5), Some(1)).cut(&mut one());
        assert_eq!(fits, Fits::Nothing(credit(Some(1), Some(size))));
        let mut batches = PartitionAnswer {
            batches: Batches::from(bytes::Bytes::from_static(b"0123456789")),
            ..PartitionAnswer::default()
        };
        let fits = credit(None, Some(9)).cut(&mut batches);
        assert_eq!(fits, Fits::Nothing(credit(None, Some(10))));
        let fits = credit(None, Some(10)).cut(&mut batches);
        assert_eq!(fits, Fits::Some(credit(None, Some(10))));
    }

    #[test]
    fn only_what_is_counted_grows_and_is_used_up() {
        let mut left = credit(Some(1), None);
        left.take(left.of(1, 1000));
        assert!(left.is_empty());
        assert!(left.add(credit(None, Some(1)).to_proto()).is_err());
        left.add(credit(Some(4), None).to_proto()).unwrap();
        assert_eq!(left, credit(Some(4), None));
        assert!(!Credit::default().is_empty());
        let unlimited = Credit::default().cut(&mut answer(vec![record(0, b"a")]));
        assert_eq!(unlimited, Fits::Some(Credit::default()));
    }
}
