//! Answers that carry data, encoded without a copy of the batches.
//!
//! `FetchResponse`, `TailResponse` and `SubscribeResponse` have the same first fields. The batches of a partition lie in pieces, parts
//! of cached pages; the encoder of protobuf would copy them into one buffer, and the transport out of it.
//! Here only what stands around them is encoded, and the pieces go to the transport as they are.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tidelog_api::v1;
use tidelog_broker_engine::{Batches, FairHold, MemoryHold};
use tonic::Status;

/// Bytes before each message: a flag and the length.
const PREFIX_BYTES: usize = 5;
/// `partitions` of `FetchResponse`, `TailResponse` and `SubscribeResponse`.
const PARTITIONS: u32 = 1;
/// `token` of the same.
const TOKEN: u32 = 2;
/// `PartitionData.batches`.
const BATCHES: u32 = 4;

/// What goes out of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionAnswer {
    /// All but the batches.
    pub(crate) data: v1::PartitionData,
    /// The batches, if it is batches that are wanted.
    pub(crate) batches: Batches,
    /// Memory of records, until they are encoded.
    pub(crate) hold: Option<MemoryHold>,
}

impl From<v1::PartitionData> for PartitionAnswer {
    fn from(data: v1::PartitionData) -> Self {
        Self {
            data,
            ..Self::default()
        }
    }
}

/// A `FetchResponse`, a `TailResponse` or a `SubscribeResponse`. What it holds of memory (invariant I7) it holds until it is encoded:
/// from then on its bytes are counted as those of an answer that is on its way out.
#[derive(Debug, Default)]
pub(crate) struct DataAnswer {
    pub(crate) partitions: Vec<PartitionAnswer>,
    pub(crate) token: Bytes,
    /// Further fields of the message, encoded.
    pub(crate) more: Bytes,
    /// Memory of copies that the batches are parts of.
    pub(crate) hold: Option<MemoryHold>,
    /// Memory for what it is on its way out, if that was waited for before it was put together.
    pub(crate) turn: Option<FairHold>,
}

/// A message as it goes out.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// None of them is empty.
    pub(crate) pieces: VecDeque<Bytes>,
    /// See [`DataAnswer::turn`].
    pub(crate) turn: Option<FairHold>,
}

impl PartitionAnswer {
    /// Bytes of its batches or records, as they are sent.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.encoded_len() as u64
    }

    fn encoded_len(&self) -> usize {
        let batches = match self.batches.len() {
            0 => 0,
            length => field_len(BATCHES, length),
        };
        self.data.encoded_len() + batches
    }
}

/// Bytes of a field of so many bytes, with its key and length.
const fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

fn begin_field(tag: u32, length: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

impl DataAnswer {
    /// Bytes of the message, about.
    pub(crate) fn encoded_len(&self) -> usize {
        let partitions = self.partitions.iter().map(PartitionAnswer::encoded_len);
        partitions.sum::<usize>() + self.token.len() + self.more.len()
    }

    /// The message with its prefix.
    pub(crate) fn encode(self) -> Result<Encoded, Status> {
        let Self {
            partitions,
            token,
            more,
            hold,
            turn,
        } = self;
        let lengths: Vec<usize> = partitions
            .iter()
            .map(PartitionAnswer::encoded_len)
            .collect();
        let token_len = match token.len() {
            0 => 0,
            length => field_len(TOKEN, length),
        };
        let fields = lengths.iter().map(|length| field_len(PARTITIONS, *length));
        let length = fields.sum::<usize>() + token_len + more.len();
        let Ok(announced) = u32::try_from(length) else {
            return Err(Status::internal("an answer is larger than gRPC allows"));
        };
        let batches: usize = partitions.iter().map(|answer| answer.batches.len()).sum();
        let mut pieces = VecDeque::new();
        let mut open = BytesMut::with_capacity(PREFIX_BYTES + length - batches);
        open.put_u8(0);
        open.put_u32(announced);
        for (answer, length) in partitions.into_iter().zip(lengths) {
            begin_field(PARTITIONS, length, &mut open);
            let PartitionAnswer {
                data,
                batches,
                hold,
            } = answer;
            data.encode(&mut open)
                .map_err(|error| Status::internal(error.to_string()))?;
            drop((data, hold));
            if !batches.is_empty() {
                begin_field(BATCHES, batches.len(), &mut open);
                pieces.push_back(open.split().freeze());
                pieces.extend(batches.into_parts());
            }
        }
        if token_len > 0 {
            begin_field(TOKEN, token.len(), &mut open);
            open.extend_from_slice(&token);
        }
        open.extend_from_slice(&more);
        if !open.is_empty() {
            pieces.push_back(open.freeze());
        }
        drop(hold);
        Ok(Encoded { pieces, turn })
    }
}

#[cfg(test)]
mod tests {
    use tidelog_broker_engine::MemoryShare;

    use super::*;

    fn data(partition: u32) -> v1::PartitionData {
        v1::PartitionData {
            topic: "orders".to_owned(),
            partition,
            next_offset: 300,
            ..v1::PartitionData::default()
        }
    }

    #[test]
    fn what_is_encoded_is_the_message_of_the_proto_file() {
        let batches = Bytes::from(vec![7; 300_000]);
        for (with_batches, token) in [(false, ""), (true, ""), (false, "token"), (true, "token")] {
            let token = Bytes::from_static(token.as_bytes());
            let mut answer = DataAnswer {
                partitions: vec![data(0).into(), data(1).into(), data(2).into()],
                token: token.clone(),
                ..DataAnswer::default()
            };
            let mut expected = v1::FetchResponse {
                partitions: vec![data(0), data(1), data(2)],
                token,
            };
            if with_batches {
                answer.partitions[1].batches = Batches::from(batches.clone());
                let field = v1::partition_data::Data::Batches(batches.clone());
                expected.partitions[1].data = Some(field);
            }
            let pieces = answer.encode().unwrap().pieces;
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            let shared = pieces
                .iter()
                .any(|piece| piece.as_ptr() == batches.as_ptr());
            assert_eq!(shared, with_batches, "the batches are not copied");
            let bytes: Vec<u8> = pieces.iter().flatten().copied().collect();
            let (prefix, message) = bytes.split_at(PREFIX_BYTES);
            let announced = u32::try_from(message.len()).unwrap();
            assert_eq!(prefix, [&[0][..], &announced.to_be_bytes()].concat());
            assert_eq!(v1::FetchResponse::decode(message).unwrap(), expected);
            let tail = v1::TailResponse::decode(message).unwrap();
            assert_eq!(
                (tail.partitions, tail.token),
                (expected.partitions, expected.token)
            );
        }
    }

    #[test]
    fn further_fields_stand_behind_the_data() {
        use v1::subscribe_response::Event;
        let joined = v1::SubscribeJoined {
            member_id: "m".to_owned(),
        };
        let more = v1::SubscribeResponse {
            event: Some(Event::Joined(joined)),
            ..v1::SubscribeResponse::default()
        };
        let answer = DataAnswer {
            partitions: vec![data(4).into()],
            token: Bytes::from_static(b"token"),
            more: more.encode_to_vec().into(),
            ..DataAnswer::default()
        };
        let expected = v1::SubscribeResponse {
            partitions: vec![data(4)],
            token: Bytes::from_static(b"token"),
            ..more
        };
        let pieces = answer.encode().unwrap().pieces;
        let bytes: Vec<u8> = pieces.iter().flatten().copied().collect();
        let announced = u32::from_be_bytes(bytes[1..PREFIX_BYTES].try_into().unwrap());
        assert_eq!(announced as usize, bytes.len() - PREFIX_BYTES);
        let message = v1::SubscribeResponse::decode(&bytes[PREFIX_BYTES..]).unwrap();
        assert_eq!(message, expected);
    }

    #[test]
    fn an_answer_holds_its_memory_until_it_is_encoded() {
        let share = MemoryShare::new(3);
        let answer = DataAnswer {
            partitions: vec![PartitionAnswer {
                hold: share.try_hold(1).ok(),
                ..data(0).into()
            }],
            hold: share.try_hold(2).ok(),
            ..DataAnswer::default()
        };
        assert_eq!(share.free_bytes(), 0);
        let pieces = answer.encode().unwrap().pieces;
        assert_eq!((pieces.len(), share.free_bytes()), (1, 3));
    }

    #[test]
    fn an_empty_answer_is_a_message_too() {
        let pieces = DataAnswer::default().encode().unwrap().pieces;
        assert_eq!(pieces, [Bytes::from_static(&[0; PREFIX_BYTES])]);
    }
}
