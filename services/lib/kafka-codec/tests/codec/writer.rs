//! Writes random messages from the descriptor: a second reading of the definitions, that shares no code
//! with the codec. What it writes is as Kafka would write it, so the codec must write the same again.

use tidelog_kafka_codec::VersionRange;

use crate::schema::{Field, Schema};

/// Random numbers from a seed (splitmix64).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// A random message in a version.
pub(crate) fn message(schema: &Schema, version: i16, random: &mut Seeded) -> Vec<u8> {
    let mut writer = Writer {
        version,
        flexible: version >= schema.flexible_from,
        random,
    };
    let mut out = Vec::new();
    writer.fields(&schema.fields, false, &mut out);
    out
}

struct Writer<'r> {
    version: i16,
    flexible: bool,
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
            "float64" => out.extend((self.random.next() >> 2 | 1).to_be_bytes()),
            "uuid" => out.extend(
                [self.random.next(), self.random.next()]
                    .map(u64::to_be_bytes)
                    .concat(),
            ),
            "string" => {
                let text = self.text(special);
                self.length(Some(text.len()), 2, field, out);
                out.extend(text.into_bytes());
            }
            "bytes" | "records" => {
                // Sometimes long enough to become a piece of its own.
                let most = if self.random.chance(4) { 700 } else { 20 };
                let length = usize::from(special) + self.random.below(most);
                self.length(Some(length), 4, field, out);
                out.extend((0..length).map(|_| self.random.next().to_le_bytes()[0]));
            }
            "struct" => self.fields(&field.fields, special, out),
            other => panic!("the type `{other}` is not known"),
        }
    }

    /// A number of so many bytes; a small one half of the time.
    fn number(&mut self, bytes: usize, special: bool, default: i64, out: &mut Vec<u8>) {
        loop {
            let wide = self.random.next().cast_signed();
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

    fn text(&mut self, special: bool) -> String {
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
pub(crate) fn each_version(seed: u64, mut check: impl FnMut(&Schema, i16, Vec<u8>)) {
    let mut random = Seeded::new(seed);
    for schema in crate::schema::all() {
        let VersionRange { min, max } = schema.versions;
        for version in min..=max {
            let bytes = message(&schema, version, &mut random);
            check(&schema, version, bytes);
        }
    }
}
