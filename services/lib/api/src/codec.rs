//! Protobuf with a bound on how much a message grows when it is decoded.
//!
//! An item of a repeated field takes two bytes on the wire and a hundred in memory, so that the limit on a
//! message's bytes alone lets it grow fiftyfold. Items are therefore counted before anything is
//! allocated for them.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{Message, Name};
use tidelog_types::ErrorCode;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::{ApiError, v1};

/// The most items that one message has at its top: partitions, entries, topics, settings.
const ITEMS_MAX: usize = 110_000;
/// The most records, and the most headers of records, that one message of a write has in all.
const RECORDS_MAX: usize = 100_000;

/// What the items of a message take in memory besides their bytes, about.
const ITEM_BYTES: u64 = 64;
/// As little as this needs no budget.
const GROWTH_FREE_BYTES: u64 = 16 * 1024;

/// The package of messages between members of a cluster.
const INTERNAL_PACKAGE: &str = "tidelog.internal.v1";
/// The most items that one message between members has, at all levels that repeat.
const INTERNAL_ITEMS_MAX: usize = 400_000;
/// Messages between members whose items have items themselves, and the fields that lead to those.
const INTERNAL_NESTED: &[(&str, &[u32])] = &[
    // Conditions, orders and dropped batches of each commit.
    ("CommitRequest", &[2]),
    // Extents of each partition.
    ("LocateResponse", &[1, 1]),
    ("SubscribeResponse", &[2, 3]),
    // Partitions and settings of each topic.
    ("ListTopicsResponse", &[1]),
    // Members and shards of a view.
    ("JoinResponse", &[1]),
    ("WatchResponse", &[1]),
];

/// Memory for what messages grow by when they are decoded.
pub trait DecodeBudget: fmt::Debug + Send + Sync {
    /// Takes so many bytes for the message that is decoded next, or says why there are none now.
    fn take(&self, bytes: u64) -> Result<(), ApiError>;
}

tokio::task_local! {
    static BUDGET: Arc<dyn DecodeBudget>;
}

/// Runs `future`, in which messages are decoded within `budget`. The transport makes its decoders itself, so
/// that they cannot be given one.
pub async fn within_budget<F: Future>(budget: Arc<dyn DecodeBudget>, future: F) -> F::Output {
    BUDGET.scope(budget, future).await
}

/// Encodes as any other; decodes messages of ours within the bounds.
#[derive(Clone, Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Decodes within the bounds.
#[derive(Clone, Debug)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Name> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The transport hands out each message in one piece.
        let message = bytes::Buf::chunk(buf);
        let growth = match U::PACKAGE {
            INTERNAL_PACKAGE => check_internal(U::NAME, message)?,
            _ => check(U::NAME, message)?,
        };
        if growth > GROWTH_FREE_BYTES {
            // Without a budget, as in clients, the bounds above are all there is.
            let taken = BUDGET.try_with(|budget| budget.take(growth));
            taken.unwrap_or(Ok(())).map_err(|error| error.to_status())?;
        }
        let item = U::decode(buf).map_err(|error| {
            // Written by the peer, so it is the peer's to mend.
            ApiError::invalid(format!("the message is no `{}`: {error}", U::NAME)).to_status()
        })?;
        Ok(Some(item))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// Counts the items of a message; answers about how many bytes it takes besides its own once decoded.
fn check(name: &str, message: &[u8]) -> Result<u64, Status> {
    let mut items = 0;
    let mut counts = RecordCounts::default();
    let writes = matches!(name, "ProduceRequest" | "ProduceStreamRequest");
    let subscribes = name == "SubscribeRequest";
    for field in Fields(message) {
        items += 1;
        if items > ITEMS_MAX {
            return Err(too_many(ITEMS_MAX, "items"));
        }
        // All fields of it are messages: offsets of a commit, topics.
        if let (true, (_, Some(said))) = (subscribes, field) {
            items += Fields(said).take(ITEMS_MAX + 1).count();
            if items > ITEMS_MAX {
                return Err(too_many(ITEMS_MAX, "items"));
            }
        }
        // Field 1 of both are the entries.
        if let (true, (1, Some(entry))) = (writes, field) {
            counts.add_entry(entry)?;
        }
    }
    let entry_or_item = if writes {
        size_of::<v1::ProduceEntry>() as u64
    } else {
        ITEM_BYTES
    };
    Ok(items as u64 * entry_or_item
        + counts.records as u64 * size_of::<v1::Record>() as u64
        + counts.parts as u64 * size_of::<v1::Header>() as u64)
}

/// The same for a message between members.
fn check_internal(name: &str, message: &[u8]) -> Result<u64, Status> {
    let nested = INTERNAL_NESTED.iter().find(|(known, _)| *known == name);
    let path = nested.map_or(&[][..], |(_, path)| path);
    let items = count_along(message, path, INTERNAL_ITEMS_MAX)
        .ok_or_else(|| too_many(INTERNAL_ITEMS_MAX, "items"))?;
    Ok(items as u64 * ITEM_BYTES)
}

/// Counts the fields of a message and of those below it that a path of field numbers leads to; `None` if
/// there are more than `limit`.
fn count_along(message: &[u8], path: &[u32], limit: usize) -> Option<usize> {
    let mut items = 0;
    for (tag, below) in Fields(message) {
        items += 1;
        if let (Some((next, rest)), Some(below)) = (path.split_first(), below)
            && *next == tag
        {
            items += count_along(below, rest, limit.checked_sub(items)?)?;
        }
        if items > limit {
            return None;
        }
    }
    Some(items)
}

fn too_many(limit: usize, what: &str) -> Status {
    let message = format!("a message has at most `{limit}` {what}; send more messages");
    ApiError::new(ErrorCode::RequestTooLarge, message).to_status()
}

/// What the entries of a write have in all.
#[derive(Default)]
struct RecordCounts {
    records: usize,
    parts: usize,
}

impl RecordCounts {
    /// `ProduceEntry.records` is field 4, `Records.records` field 1, `Record.headers` field 4.
    fn add_entry(&mut self, entry: &[u8]) -> Result<(), Status> {
        for (_, records) in Fields(entry).filter(|(tag, _)| *tag == 4) {
            for (_, record) in Fields(records.unwrap_or_default()).filter(|(tag, _)| *tag == 1) {
                self.records += 1;
                let headers = Fields(record.unwrap_or_default()).filter(|(tag, _)| *tag == 4);
                self.parts += headers.count();
                if self.records > RECORDS_MAX || self.parts > RECORDS_MAX {
                    return Err(too_many(RECORDS_MAX, "records and as many headers"));
                }
            }
        }
        Ok(())
    }
}

/// The fields of a message: their numbers, and the bytes of those that have a length. It ends where the
/// message makes no sense, which the decoder will find as well.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (tag, wire_type) = decode_key(&mut self.0).ok()?;
        let skipped = match wire_type {
            WireType::Varint => {
                decode_varint(&mut self.0).ok()?;
                return Some((tag, None));
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
                let (payload, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                return Some((tag, Some(payload)));
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            // Of another age; the proto files have none, and the decoder skips them without allocating.
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        self.0 = self.0.get(skipped..)?;
        Some((tag, None))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn entry(records: Vec<v1::Record>) -> v1::ProduceEntry {
        v1::ProduceEntry {
            data: Some(v1::produce_entry::Data::Records(v1::Records { records })),
            ..v1::ProduceEntry::default()
        }
    }

    fn checked(entries: Vec<v1::ProduceEntry>) -> Result<(), Code> {
        let request = v1::ProduceRequest {
            entries,
            token: vec![7; 40].into(),
        };
        check(v1::ProduceRequest::NAME, &request.encode_to_vec())
            .map(drop)
            .map_err(|status| status.code())
    }

    #[test]
    fn records_are_counted_over_all_entries() {
        let half = || entry(vec![v1::Record::default(); RECORDS_MAX / 2]);
        assert_eq!(checked(vec![half(), half()]), Ok(()));
        let one_more = entry(vec![v1::Record::default()]);
        assert_eq!(
            checked(vec![half(), one_more, half()]),
            Err(Code::OutOfRange)
        );
    }

    #[test]
    fn headers_are_counted_over_all_records() {
        let headers = vec![v1::Header::default(); RECORDS_MAX];
        let record = v1::Record {
            headers,
            ..v1::Record::default()
        };
        assert_eq!(checked(vec![entry(vec![record.clone()])]), Ok(()));
        let one = vec![v1::Header::default()];
        let one_more = v1::Record {
            headers: one,
            ..v1::Record::default()
        };
        assert_eq!(
            checked(vec![entry(vec![record, one_more])]),
            Err(Code::OutOfRange)
        );
    }

    #[test]
    fn items_of_any_message_are_counted() {
        let partitions = vec![v1::FetchPartition::default(); ITEMS_MAX];
        let mut request = v1::FetchRequest {
            partitions,
            ..v1::FetchRequest::default()
        };
        assert!(check(v1::FetchRequest::NAME, &request.encode_to_vec()).is_ok());
        request.partitions.push(v1::FetchPartition::default());
        assert!(check(v1::FetchRequest::NAME, &request.encode_to_vec()).is_err());
    }

    #[test]
    fn offsets_of_a_commit_are_counted() {
        let checked = |count| {
            let commit = v1::SubscribeCommit {
                offsets: vec![v1::SubscribeOffset::default(); count],
                ..v1::SubscribeCommit::default()
            };
            let request = v1::SubscribeRequest {
                kind: Some(v1::subscribe_request::Kind::Commit(commit)),
            };
            check(v1::SubscribeRequest::NAME, &request.encode_to_vec())
                .map_err(|status| status.code())
        };
        assert_eq!(checked(9), Ok(10 * ITEM_BYTES));
        assert_eq!(checked(ITEMS_MAX), Err(Code::OutOfRange));
    }

    #[test]
    fn items_of_items_are_counted_between_members() {
        use crate::internal::v1::{BatchOrder, CommitRequest, ShardCommit};
        let request = |orders: usize| {
            let commit = || ShardCommit {
                orders: vec![BatchOrder::default(); orders],
                manifest: vec![0x0a; 1000].into(),
                ..ShardCommit::default()
            };
            let commits = vec![commit(), commit()];
            CommitRequest {
                request_id: 1,
                commits,
            }
        };
        let checked = |orders| {
            check_internal(CommitRequest::NAME, &request(orders).encode_to_vec())
                .map_err(|status| status.code())
        };
        // One for the id, two for the commits, two for their manifests.
        assert_eq!(checked(10), Ok((5 + 20) * ITEM_BYTES));
        let half = INTERNAL_ITEMS_MAX / 2;
        assert_eq!(checked(half), Err(Code::OutOfRange));
        assert!(checked(half - 10).is_ok());
    }

    #[test]
    fn bytes_that_are_no_message_end_the_count() {
        for bytes in [
            &[0xff][..],
            &[0x0a, 0x05, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x09, 1],
        ] {
            assert!(check("ProduceRequest", bytes).is_ok());
            assert!(Fields(bytes).count() <= 1);
        }
        // Batches are not looked into, whatever they look like.
        let data = Some(v1::produce_entry::Data::Batches(
            [0x0a, 0x00].repeat(200_000).into(),
        ));
        let ready = v1::ProduceEntry {
            data,
            ..v1::ProduceEntry::default()
        };
        assert_eq!(checked(vec![ready]), Ok(()));
    }
}
