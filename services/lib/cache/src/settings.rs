//! How much the cache holds.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// For whom a page is fetched, and so which pool it lies in. A page is found in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Readers at the end of the log, and what was just written.
    Tail,
    /// Readers of old data, who go through it once.
    CatchUp,
}

impl Pool {
    /// Both, in the order in which they are searched.
    pub const ALL: [Self; 2] = [Self::Tail, Self::CatchUp];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tail => "tail",
            Self::CatchUp => "catch_up",
        }
    }
}

/// How much the cache holds. The process derives it from its memory setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes of [`Pool::Tail`].
    pub tail_bytes: usize,
    /// Bytes of [`Pool::CatchUp`].
    pub catch_up_bytes: usize,
}

impl CacheSettings {
    /// The bytes of a pool.
    pub const fn bytes(&self, pool: Pool) -> usize {
        match pool {
            Pool::Tail => self.tail_bytes,
            Pool::CatchUp => self.catch_up_bytes,
        }
    }
}

/// Where pages go that leave memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// The folder. It is one process's, and one cluster's: names of segments mean nothing in another.
    pub folder: PathBuf,
    /// Bytes of it, for both pools together; at least [`crate::DISK_BYTES_MIN`].
    pub bytes: u64,
}
