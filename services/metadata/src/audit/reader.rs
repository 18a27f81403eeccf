//! Reads parts of objects, at a bounded pace.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{self, GetOptions, GetRange, ObjectStore};
use tidelog_blob::{ErrorKind, classify};
use tidelog_env::{Env, MonoTime};

/// Why bytes were not read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The object is not there.
    Missing,
    /// It ends before them.
    Short,
    Bucket(object_store::Error),
}

/// Reads parts of objects.
#[derive(Debug)]
pub(crate) struct Reader {
    objects: Arc<dyn ObjectStore>,
    env: Env,
    bytes_per_second: Option<u64>,
    /// When the next read may begin.
    free_at: Mutex<MonoTime>,
}

impl Reader {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        env: &Env,
        bytes_per_second: Option<u64>,
    ) -> Self {
        Self {
            objects,
            env: env.clone(),
            bytes_per_second,
            free_at: Mutex::new(env.clock.now()),
        }
    }

    /// Waits until so many bytes may be read.
    async fn pace(&self, bytes: u64) {
        let Some(per_second) = self.bytes_per_second else {
            return;
        };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let begin = {
            let mut free_at = self.free_at.lock();
            let begin = (*free_at).max(self.env.clock.now());
            *free_at = begin + takes;
            begin
        };
        self.env.clock.sleep_until(begin).await;
    }

    /// Bytes of an object, all of them.
    pub(crate) async fn range(&self, path: &Path, range: Range<u64>) -> Result<Bytes, Unreadable> {
        let length = range.end.saturating_sub(range.start);
        self.pace(length).await;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let answer = match self.objects.get_opts(path, options).await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err(Unreadable::Short),
            Err(error) => Err(match classify(&error) {
                ErrorKind::NotFound => Unreadable::Missing,
                ErrorKind::Range => Unreadable::Short,
                _ => Unreadable::Bucket(error),
            }),
        }
    }
}
