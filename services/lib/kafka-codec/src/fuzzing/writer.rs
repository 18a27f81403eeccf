//! Writes random messages from the descriptor: a second reading of the definitions, that shares no code
//! with the codec. What it writes is as Kafka would write it, so the codec must write the same again.

use bytes::Bytes;
use uuid::Uuid;

use super::schema::{self, Field, Schema};
use crate::version::VersionRange;

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).expect("below a usize")
    }

    /// Whether one of so many times has come.
    ///
    /// # Panics
    /// If `one_in` is 0.
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// What is known to whoever reads the messages. It is written half of the time, where there is any, in place of
/// something random.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Names.
    pub texts: Vec<&'static str>,
    /// Ids.
    pub ids: Vec<Uuid>,
    /// Bytes and records.
    pub bytes: Vec<Bytes>,
}

/// A random message in a version.
///
/// # Panics
/// If the schema names a type that there is not.
pub fn message(schema: &Schema, version: i16, words: &Words, random: &mut Seeded) -> Vec<u8> {
    let mut writer = Writer {
        version,
        flexible: version >= schema.flexible_from,
        words,
        random,
    };
    let mut out = Vec::new();
    writer.fields(&schema.fields, false, &mut out);
    out
}

struct Writer<'r> {
    version: i16,
    flexible: bool,
    words: &'r Words,
    random: &'r mut Seeded,
}

impl Writer<'_> {
    /// A structure. Where it is `special`, no field has its default.
    fn fields(&mut self, fields: &[Field], special: bool, out: &mut Vec<u8>) {
        let present = |field: &&Field| field.versions.contains(self.version);
        let fields: Vec<&Field> = fields.iter().filter(present).collect();
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            self.field(field, special, out);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<&Field> = fields.into_iter().filter(|it| it.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        tagged.retain(|_| special || self.random.chance(2));
        uvarint(tagged.len(), out);
        for field in tagged {
            uvarint(field.tag.expect("is tagged") as usize, out);
            let mut value = Vec::new();
            self.field(field, true, &mut value);
            uvarint(value.len(), out);
            out.extend(value);
        }
    }

    fn field(&mut self, field: &Field, special: bool, out: &mut Vec<u8>) {
        let nullable = field.nullable.contains(self.version);
        let null = nullable && !special && self.random.chance(4);
        if field.array {
            if null {
                return self.length(None, 4, field, out);
            }
            let count = usize::from(special) + self.random.below(3);
            self.length(Some(count), 4, field, out);
            for _ in 0..count {
                self.value(field, special, out);
            }
            return;
        }
        match field.kind {
            "string" if null => self.length(None, 2, field, out),
            "bytes" | "records" if null => self.length(None, 4, field, out),
            "struct" if null => out.push(0xff),
            "struct" if nullable => {
                out.push(1);
                self.value(field, special, out);
            }
            _ => self.value(field, special, out),
        }
    }

    fn value(&mut self, field: &Field, special: bool, out: &mut Vec<u8>) {
        let default = if field.array { i64::MIN } else { field.default };
        match field.kind {
            "bool" if special => out.push(u8::from(default == 0)),
            "bool" => out.push(u8::from(self.random.chance(2))),
            "int8" => self.number(1, special, default, out),
            "int16" | "uint16" => self.number(2, special, default, out),
            "int32" => self.number(4, special, default, out),
            "int64" => self.number(8, special, default, out),
            "float64" => out.extend((self.random.number() >> 2 | 1).to_be_bytes()),
            "uuid" => out.extend(self.id()),
            "string" => {
                let text = self.text(special);
                self.length(Some(text.len()), 2, field, out);
                out.extend(text.into_bytes());
            }
            "bytes" | "records" => {
                let bytes = self.bytes(special);
                self.length(Some(bytes.len()), 4, field, out);
                out.extend(bytes);
            }
            "struct" => self.fields(&field.fields, special, out),
            other => panic!("the type `{other}` is not known"),
        }
    }

    /// A number of so many bytes; a small one half of the time.
    fn number(&mut self, bytes: usize, special: bool, default: i64, out: &mut Vec<u8>) {
        loop {
            let wide = self.random.number().cast_signed();
            let number = if self.random.chance(2) {
                wide % 5
            } else {
                wide
            };
            let tail = &number.to_be_bytes()[8 - bytes..];
            if special && tail == &default.to_be_bytes()[8 - bytes..] {
                continue;
            }
            out.extend(tail);
            return;
        }
    }

    /// One of the words that are known, half of the time.
    fn known<'w, W>(&mut self, words: &'w [W]) -> Option<&'w W> {
        if words.is_empty() || self.random.chance(2) {
            return None;
        }
        words.get(self.random.below(words.len()))
    }

    fn id(&mut self) -> [u8; 16] {
        let words = self.words;
        if let Some(id) = self.known(&words.ids) {
            return id.into_bytes();
        }
        let (high, low) = (self.random.number(), self.random.number());
        Uuid::from_u64_pair(high, low).into_bytes()
    }

    fn bytes(&mut self, special: bool) -> Bytes {
        let words = self.words;
        if let Some(bytes) = self.known(&words.bytes) {
            return bytes.clone();
        }
        // Sometimes long enough to become a piece of its own.
        let most = if self.random.chance(4) { 700 } else { 20 };
        let length = usize::from(special) + self.random.below(most);
        let bytes = (0..length).map(|_| self.random.number().to_le_bytes()[0]);
        bytes.collect()
    }

    fn text(&mut self, special: bool) -> String {
        let words = self.words;
        if let Some(text) = self.known(&words.texts) {
            return (*text).to_owned();
        }
        let most = if self.random.chance(8) { 300 } else { 12 };
        let length = usize::from(special) + self.random.below(most);
        let letters = ['a', 'Z', '-', '\u{e9}', '\u{4e2d}', '\u{1f980}', '\0'];
        (0..length)
            .map(|_| letters[self.random.below(letters.len())])
            .collect()
    }

    /// The length of something, or null, in so many bytes or compact.
    fn length(&self, length: Option<usize>, bytes: usize, field: &Field, out: &mut Vec<u8>) {
        if self.flexible && !field.classic {
            return uvarint(length.map_or(0, |length| length + 1), out);
        }
        let number = length.map_or(-1, |length| i64::try_from(length).expect("is small"));
        out.extend(&number.to_be_bytes()[8 - bytes..]);
    }
}

fn uvarint(value: usize, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Calls with each version of each message, and a sample of it.
///
/// # Panics
/// If `check` does.
pub fn each_version(seed: u64, mut check: impl FnMut(&Schema, i16, Vec<u8>)) {
    let mut random = Seeded::new(seed);
    for schema in schema::all() {
        let VersionRange { min, max } = schema.versions;
        for version in min..=max {
            let bytes = message(&schema, version, &Words::default(), &mut random);
            check(&schema, version, bytes);
        }
    }
}
