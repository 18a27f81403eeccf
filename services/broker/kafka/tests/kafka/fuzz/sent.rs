//! What a connection sends: good requests, and what becomes of them in the hands of the broken and the evil.

use std::time::Duration;

use bytes::Bytes;
use tidelog_kafka_codec::{ApiKey, Caller, Rope, request_frame};

use crate::world::{from_t, to_t};
use tidelog_kafka_codec::fuzzing::schema::{self, Schema};
use tidelog_kafka_codec::fuzzing::{Seeded, Words, writer};

/// The length in front of a frame.
const PREFIX_BYTES: usize = 4;
/// What every request begins with, as these do: key, version, number, and a client id that is null.
const HEADER_BYTES: usize = 10;
/// Numbers that may be a length or a count, and are of use to nobody as one.
const ABSURD: [i32; 8] = [
    i32::MAX,
    i32::MIN,
    -1,
    -2,
    0,
    0x00ff_ffff,
    0x7fff,
    // The longest that has a length of one byte where lengths are compact.
    0x7f7f_7f7f,
];

/// What one connection sends.
pub(super) struct Sent {
    pub(super) bytes: Bytes,
    /// How much of it at a time.
    pub(super) piece: usize,
}

impl Sent {
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        let piece = bytes.len();
        let bytes = bytes.into();
        Self { bytes, piece }
    }
}

/// What is served.
pub(super) struct Apis(Vec<(ApiKey, Schema)>);

impl Apis {
    pub(super) fn of(keys: impl Iterator<Item = ApiKey>) -> Self {
        let schema = |key: ApiKey| (key, schema::of(&format!("{}Request", key.name())));
        Self(keys.map(schema).collect())
    }

    pub(super) fn are_served(&self, key: ApiKey, version: i16) -> bool {
        self.0.iter().any(|(it, _)| *it == key) && key.stable_versions().contains(version)
    }

    pub(super) fn all(&self) -> Vec<(ApiKey, i16)> {
        let versions = |key: &ApiKey| {
            let key = *key;
            key.stable_versions().iter().map(move |it| (key, it))
        };
        self.0.iter().flat_map(|(key, _)| versions(key)).collect()
    }

    /// A frame with a good request.
    pub(super) fn good(
        &self,
        key: ApiKey,
        version: i16,
        id: i32,
        words: &Words,
        random: &mut Seeded,
    ) -> Vec<u8> {
        if random.chance(2)
            && let Some(frame) = in_full(key, version, id, words, random)
        {
            return frame;
        }
        let (_, schema) = self.0.iter().find(|(it, _)| *it == key).unwrap();
        let mut frame = header(key.code(), version, id);
        if key.request_header_version(version) == 2 {
            // No tagged fields.
            frame.push(0);
        }
        frame.extend(writer::message(schema, version, words, random));
        finish(frame)
    }

    /// Some requests, in pieces of some size.
    pub(super) fn case(&self, words: &Words, random: &mut Seeded) -> Sent {
        let frames = if random.chance(3) {
            2 + random.below(6)
        } else {
            1
        };
        let mut bytes = Vec::new();
        for id in (1..).take(frames) {
            bytes.extend(self.frame(id, words, random));
        }
        let piece = match random.below(4) {
            0 => 1 + random.below(9),
            1 => 1 + random.below(bytes.len()),
            _ => bytes.len(),
        };
        let bytes = bytes.into();
        Sent { bytes, piece }
    }

    /// A frame that was good, or never was.
    fn frame(&self, id: i32, words: &Words, random: &mut Seeded) -> Vec<u8> {
        let (key, _) = &self.0[random.below(self.0.len())];
        let versions: Vec<i16> = key.stable_versions().iter().collect();
        let version = versions[random.below(versions.len())];
        let mut frame = self.good(*key, version, id, words, random);
        match random.below(12) {
            0 => frame,
            1 => flipped(frame, random),
            2 | 3 => cut(frame, random),
            4 | 5 => absurd(frame, random),
            6 | 7 => readdressed(frame, random),
            8 | 9 => stretched(frame, random),
            10 => {
                // Random bytes behind a good header.
                frame.truncate(PREFIX_BYTES + HEADER_BYTES);
                let count = random.below(200);
                frame.extend((0..count).map(|_| some_byte(random)));
                finish(frame)
            }
            _ => {
                let count = 1 + random.below(100);
                (0..count).map(|_| some_byte(random)).collect()
            }
        }
    }
}

fn flipped(mut frame: Vec<u8>, random: &mut Seeded) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = PREFIX_BYTES + random.below(frame.len() - PREFIX_BYTES);
        frame[at] ^= 1 << random.below(8);
    }
    frame
}

/// Without its end, with or without saying so.
fn cut(mut frame: Vec<u8>, random: &mut Seeded) -> Vec<u8> {
    if random.chance(2) {
        frame.truncate(1 + random.below(frame.len()));
        return frame;
    }
    let behind = PREFIX_BYTES + HEADER_BYTES;
    frame.truncate(behind + random.below(frame.len() - behind + 1));
    finish(frame)
}

/// With an API, a version or a length that there is not, or is not the one that it was.
fn readdressed(mut frame: Vec<u8>, random: &mut Seeded) -> Vec<u8> {
    if random.chance(2) {
        let length = ABSURD[random.below(ABSURD.len())];
        frame[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        return frame;
    }
    let at = PREFIX_BYTES + 2 * random.below(2);
    let number = if random.chance(2) {
        i16::from_be_bytes(bytes(random))
    } else {
        i16::try_from(random.below(100)).unwrap() - 3
    };
    frame[at..at + 2].copy_from_slice(&number.to_be_bytes());
    frame
}

/// With bytes in it or behind it that are not its own.
fn stretched(mut frame: Vec<u8>, random: &mut Seeded) -> Vec<u8> {
    if random.chance(2) {
        let count = random.below(40);
        frame.extend((0..count).map(|_| some_byte(random)));
        return finish(frame);
    }
    for _ in 0..=random.below(3) {
        let first = PREFIX_BYTES + HEADER_BYTES;
        let at = first + random.below(frame.len() - first + 1);
        frame.splice(at..at, bytes::<1>(random));
    }
    finish(frame)
}

/// A request that moves records, as random ones hardly ever do.
fn in_full(
    key: ApiKey,
    version: i16,
    id: i32,
    words: &Words,
    random: &mut Seeded,
) -> Option<Vec<u8>> {
    let [topic_id] = words.ids[..] else {
        return None;
    };
    let caller = Caller {
        correlation_id: id,
        client_id: None,
    };
    // Topics have ids from this version on, and no names.
    let is_by_id = version >= 13;
    let frame = match key {
        ApiKey::Produce => {
            let records = words.bytes[random.below(words.bytes.len())].clone();
            let mut request = to_t(0, records);
            if is_by_id {
                request.topic_data[0].name = "".into();
                request.topic_data[0].topic_id = topic_id;
            }
            request_frame(&request, version, caller)
        }
        ApiKey::Fetch => {
            let mut request = from_t(0, Duration::ZERO);
            if is_by_id {
                request.topics[0].topic = "".into();
                request.topics[0].topic_id = topic_id;
            }
            if version >= 7 && random.chance(2) {
                // It begins a session.
                request.session_epoch = 0;
            }
            request_frame(&request, version, caller)
        }
        _ => return None,
    };
    Some(Rope::into_bytes(frame.unwrap()).to_vec())
}

/// Makes lengths and counts huge or negative, wherever they may be.
fn absurd(mut frame: Vec<u8>, random: &mut Seeded) -> Vec<u8> {
    for _ in 0..=random.below(2) {
        let first = PREFIX_BYTES + HEADER_BYTES;
        let at = first + random.below(frame.len().saturating_sub(first).max(1));
        let absurd = ABSURD[random.below(ABSURD.len())].to_be_bytes();
        match random.below(3) {
            0 => replace(&mut frame, at, &absurd),
            1 => replace(&mut frame, at, &absurd[..2]),
            _ => replace(&mut frame, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        }
    }
    frame
}

fn replace(frame: &mut [u8], at: usize, with: &[u8]) {
    for (old, new) in frame.iter_mut().skip(at).zip(with) {
        *old = *new;
    }
}

fn bytes<const N: usize>(random: &mut Seeded) -> [u8; N] {
    *random.number().to_le_bytes().first_chunk().unwrap()
}

/// A byte that is often one that says something.
fn some_byte(random: &mut Seeded) -> u8 {
    match random.below(6) {
        0 | 1 => 0,
        2 => 1,
        3 => 0xff,
        4 => 2,
        _ => bytes::<1>(random)[0],
    }
}

/// A frame's beginning, with room for its length.
fn header(key: i16, version: i16, id: i32) -> Vec<u8> {
    let mut frame = vec![0; PREFIX_BYTES];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend((-1_i16).to_be_bytes());
    frame
}

/// Sets the length in front.
fn finish(mut frame: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(frame.len() - PREFIX_BYTES).unwrap();
    frame[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    frame
}
