//! Key compaction, as the owner of a shard sees it: it says which partitions are due, and takes note of how far each has
//! come. What a janitor has made is swapped in by what swaps merges.
//!
//! ```text
//!   log start            cleaned                            end          not merged, open, too young
//!       [ one record a key ][ dirty: to be compacted         ][ left alone ]
//! ```
//!
//! Nobody looks at partitions again and again: there is a look when something was merged or a topic was changed, and
//! when something that was seen comes of age.

mod desk;
mod due;
mod look;
mod step;

pub(crate) use desk::{CompactionDesk, NextCompaction};
pub(crate) use look::Look;
pub(crate) use step::NoteCompacted;
