//! The bodies of the fuzz targets, so that a test on a stable toolchain can run them too.
//!
//! Each takes any bytes, and panics if the codec panics, takes more memory than it may, or does not write
//! again what it has read.
//!
//! And what writes random messages, for tests that need good ones to begin with: a [`Schema`] says what is in a
//! message, and [`message`](writer::message) writes one.

pub mod schema;
pub mod writer;

use bytes::Bytes;

pub use schema::Schema;
pub use writer::{Seeded, Words};

use crate::budget::Budget;
use crate::frame::Incoming;
use crate::kind::Kind;

/// A body of a fuzz target.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 2] = [("message", message), ("frame", frame)];

/// The memory that a message may take here.
const BUDGET_BYTES: usize = 1 << 20;

/// Any message in any version: the first two bytes choose which, the rest is the message.
///
/// # Panics
/// If the codec is wrong.
pub fn message(data: &[u8]) {
    let [kind, version, body @ ..] = data else {
        return;
    };
    let Some(kind) = Kind::ALL.get(usize::from(*kind)) else {
        return;
    };
    let span = kind.versions.max - kind.versions.min + 1;
    let version = kind.versions.min + i16::from(*version) % span;
    body_of(kind, version, Bytes::copy_from_slice(body));
}

/// A frame as a server receives it.
///
/// # Panics
/// If the codec is wrong.
pub fn frame(data: &[u8]) {
    let Ok(Incoming::Request(frame)) = Incoming::read(Bytes::copy_from_slice(data)) else {
        return;
    };
    let name = frame.key.name();
    let kind = Kind::ALL
        .iter()
        .find(|kind| kind.name.strip_suffix("Request") == Some(name));
    let Some(kind) = kind else {
        panic!("`{name}` has no request");
    };
    assert!(kind.versions.contains(frame.version));
    body_of(kind, frame.version, frame.body);
}

/// What is accepted is written, and that is read and written as the same bytes.
fn body_of(kind: &Kind, version: i16, body: Bytes) {
    let mut budget = Budget::bytes(BUDGET_BYTES);
    let length = body.len();
    let Ok(once) = kind.recode(body, version, &mut budget) else {
        return;
    };
    let once = match once {
        Ok(rope) => rope.into_bytes(),
        Err(error) => panic!("what was read cannot be written: {error}"),
    };
    assert!(once.len() <= length, "{} grew to {}", length, once.len());
    let twice = kind.recode(once.clone(), version, &mut Budget::bytes(BUDGET_BYTES));
    let Ok(Ok(twice)) = twice else {
        panic!("what was written cannot be read and written: {twice:?}");
    };
    assert_eq!(twice.into_bytes(), once);
}
