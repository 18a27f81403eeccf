//! The check that topics ask for that are compacted: each record has a key.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidelog_env::Clock;
use tidelog_env::clock::timeout;
use tidelog_format::batch::{BatchBuf, Compression, DecodeLimit, Keyless, RecordError};
use tidelog_metadata_api::TopicInfo;
use tidelog_types::ErrorCode;

use crate::decoding::Decoding;

/// Records without a key that are named for one request, at most.
const NAMED_MAX: usize = 1_000;
/// What is looked through of compressed records with so much memory at most is not counted: as many batches at once as there
/// are cores.
const UNCOUNTED_BYTES: u64 = 512 * 1024;
/// How long a batch waits for memory. Whoever sends it may have some of that already, so it cannot wait for ever.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// What the batches of a request may become together: so many times what one may become,
const BATCHES_INFLATED_MAX: u64 = 4;
/// and so many times what was sent.
const INFLATED_RATIO_MAX: u64 = 100;

/// Why a batch is not taken by a topic that is compacted. Nothing of it is in the log.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Records without a key.
    #[error(
        "the topic is compacted (`cleanup.policy`) and takes no records without a key: `{}` of the batch have none",
        .keyless.count
    )]
    Keyless {
        /// Which batch, counted from 0.
        batch: usize,
        /// Which records.
        keyless: Keyless,
    },
    /// Records that cannot be read.
    #[error("the topic is compacted (`cleanup.policy`), and records of the batch cannot be read")]
    Broken {
        /// Which batch, counted from 0.
        batch: usize,
        /// Why.
        #[source]
        source: Arc<RecordError>,
    },
    /// Records that are too many bytes once they are decompressed, of one batch or of a request.
    #[error(
        "the topic is compacted (`cleanup.policy`), and the records of the batch are more than `{limit}` bytes, decompressed"
    )]
    TooLarge {
        /// Which batch, counted from 0.
        batch: usize,
        /// What they may be.
        limit: u64,
    },
    /// There was no memory for the records.
    #[error("there is no memory to look through records at the moment")]
    Busy,
    /// The work on it failed, as the log says.
    #[error("the work on records ended in a panic")]
    Panicked,
}

impl KeysError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Keyless { .. } => ErrorCode::InvalidRecord,
            Self::Broken { .. } => ErrorCode::CorruptBatch,
            Self::TooLarge { .. } => ErrorCode::BatchTooLarge,
            Self::Busy => ErrorCode::Unavailable,
            Self::Panicked => ErrorCode::Internal,
        }
    }
}

/// The check of the batches of one request. What they may cost is bounded for all of them together.
#[derive(Debug)]
pub struct KeyCheck<'a> {
    decoding: &'a Decoding,
    clock: &'a dyn Clock,
    /// The bytes that compressed records may yet become.
    inflated_left: u64,
    /// The records that may yet be named.
    named_left: usize,
    /// There was no memory in time: nobody waits once more for what comes behind.
    is_busy: bool,
}

impl<'a> KeyCheck<'a> {
    /// For a request of so many bytes.
    pub(crate) const fn new(decoding: &'a Decoding, clock: &'a dyn Clock, bytes: u64) -> Self {
        let some = decoding.batch_bytes_max() * BATCHES_INFLATED_MAX;
        Self {
            decoding,
            clock,
            inflated_left: some.saturating_add(bytes.saturating_mul(INFLATED_RATIO_MAX)),
            named_left: NAMED_MAX,
            is_busy: false,
        }
    }

    /// Checks that each record of batches has a key, where their topic is compacted; of all others no records are looked
    /// at. Whoever wants batches in a topic asks this first.
    pub async fn check(
        &mut self,
        topic: &TopicInfo,
        batches: &[BatchBuf],
    ) -> Result<(), KeysError> {
        if !topic.config.cleanup_policy().compact {
            return Ok(());
        }
        for (at, batch) in batches.iter().enumerate() {
            let mut keyless = self.one(at, batch).await?;
            if keyless.count > 0 {
                keyless.indexes.truncate(self.named_left);
                self.named_left -= keyless.indexes.len();
                return Err(KeysError::Keyless { batch: at, keyless });
            }
        }
        Ok(())
    }

    async fn one(&mut self, at: usize, batch: &BatchBuf) -> Result<Keyless, KeysError> {
        let broken = |source| {
            let source = Arc::new(source);
            KeysError::Broken { batch: at, source }
        };
        let size = u64::from(batch.header().size());
        if batch.compression() == Compression::None {
            let batch = batch.clone();
            let looked = move || batch.keyless(DecodeLimit::DEFAULT);
            let found = self.decoding.work(size, looked).await;
            return found.ok_or(KeysError::Panicked)?.map_err(broken);
        }
        let most = self.decoding.batch_bytes_max();
        let usual = Decoding::usual_bytes(batch.header()).max(UNCOUNTED_BYTES);
        let mut limit = usual.min(most);
        loop {
            let allowed = limit.min(self.inflated_left);
            match self.inflated(batch, allowed).await? {
                Ok(keyless) => {
                    self.inflated_left = self.inflated_left.saturating_sub(keyless.bytes);
                    return Ok(keyless);
                }
                // A window that is larger than what may come is an error of its own.
                Err(_) if allowed < most && allowed < self.inflated_left => limit = most,
                Err(RecordError::TooLarge { .. }) => {
                    self.inflated_left = self.inflated_left.saturating_sub(allowed);
                    let limit = allowed;
                    return Err(KeysError::TooLarge { batch: at, limit });
                }
                Err(source) => {
                    self.inflated_left = self.inflated_left.saturating_sub(allowed);
                    return Err(broken(source));
                }
            }
        }
    }

    /// Goes through compressed records, on another thread: a few bytes may become millions. They go by in a stream, which
    /// takes no more memory than they are.
    async fn inflated(
        &mut self,
        batch: &BatchBuf,
        limit: u64,
    ) -> Result<Result<Keyless, RecordError>, KeysError> {
        let mut hold = None;
        if limit > UNCOUNTED_BYTES {
            if self.is_busy {
                return Err(KeysError::Busy);
            }
            let waited = timeout(self.clock, WAIT_MAX, self.decoding.share().hold(limit));
            let waited = waited.await;
            self.is_busy = waited.is_err();
            hold = Some(waited.map_err(|_| KeysError::Busy)?);
        }
        let batch = batch.clone();
        let limit = DecodeLimit::bytes(usize::try_from(limit).unwrap_or(usize::MAX));
        let looked = move || {
            let found = batch.keyless(limit);
            drop(hold);
            found
        };
        let found = self.decoding.work_apart(looked).await;
        found.ok_or(KeysError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidelog_env::{Supervisor, SystemClock};
    use tidelog_format::batch::BatchBuilder;
    use tidelog_metadata_api::{TopicConfig, TopicState};
    use tidelog_types::{Timestamp, TopicId, TopicName, TopicNumber};

    use super::*;

    fn topic(policy: &str) -> TopicInfo {
        let entries = [("cleanup.policy".to_owned(), policy.to_owned())];
        TopicInfo {
            id: TopicId::from_bytes([1; 16]),
            number: TopicNumber::new(1),
            name: TopicName::new("t").unwrap(),
            partitions: Vec::new(),
            counts: Vec::new(),
            config: TopicConfig::new(BTreeMap::from(entries)).unwrap(),
            state: TopicState::Live,
            created_at: Timestamp::from_millis(0),
        }
    }

    fn batch(codec: Compression, count: usize, key: Option<&[u8]>, value: &[u8]) -> BatchBuf {
        let mut builder = BatchBuilder::new(codec, 0);
        for _ in 0..count {
            let time = Timestamp::from_millis(7);
            builder.append(time, key, Some(value), &[]).unwrap();
        }
        builder.finish(None).unwrap()
    }

    /// Of 16 MiB for a batch.
    fn decoding() -> Decoding {
        Decoding::new(1 << 20, Supervisor::new())
    }

    #[tokio::test]
    async fn a_request_names_so_many_records_and_no_more_however_many_batches_it_has() {
        let (decoding, clock) = (decoding(), SystemClock::new());
        let mut check = KeyCheck::new(&decoding, &clock, 1 << 20);
        let keyless = batch(Compression::Lz4, 300, None, b"v");
        let mut named = Vec::new();
        for _ in 0..12 {
            let batches = [
                batch(Compression::None, 1, Some(b"k"), b"v"),
                keyless.clone(),
            ];
            match check.check(&topic("compact,delete"), &batches).await {
                Err(KeysError::Keyless { batch: 1, keyless }) if keyless.count == 300 => {
                    named.push(keyless.indexes.len());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(named, [vec![100; 10], vec![0; 2]].concat());
        check.check(&topic("delete"), &[keyless]).await.unwrap();
    }

    #[tokio::test]
    async fn what_becomes_too_much_is_refused_alone_and_together() {
        let (decoding, clock) = (decoding(), SystemClock::new());
        let most = decoding.batch_bytes_max();
        let large = |mib: usize| batch(Compression::Zstd, 1, Some(b"k"), &vec![0; mib << 20]);
        let (good, bomb) = (large(15), large(17));
        let mut check = KeyCheck::new(&decoding, &clock, 0);
        for _ in 0..4 {
            check
                .check(&topic("compact"), std::slice::from_ref(&good))
                .await
                .unwrap();
        }
        // Some MiB are left of four times as much.
        let small = batch(Compression::Zstd, 1, Some(b"k"), &vec![0; 1 << 20]);
        check.check(&topic("compact"), &[small]).await.unwrap();
        let result = check
            .check(&topic("compact"), std::slice::from_ref(&good))
            .await;
        let Err(KeysError::TooLarge { batch: 0, limit }) = result else {
            panic!("{result:?}");
        };
        assert!(limit < 4 << 20, "{limit}");
        let mut check = KeyCheck::new(&decoding, &clock, 1 << 20);
        let result = check.check(&topic("compact"), &[good, bomb]).await;
        assert!(
            matches!(&result, Err(KeysError::TooLarge { batch: 1, limit }) if *limit == most),
            "{result:?}"
        );
        // Nothing is made of what is not compressed.
        let plain = batch(Compression::None, 1, Some(b"k"), &vec![0; 17 << 20]);
        check.check(&topic("compact"), &[plain]).await.unwrap();
        assert_eq!(decoding.share().free_bytes(), 1 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_memory_too_long_is_told_to_come_again() {
        let (decoding, clock) = (decoding(), SystemClock::new());
        let all = decoding.share().hold(u64::MAX).await;
        let mut check = KeyCheck::new(&decoding, &clock, 0);
        let large = batch(Compression::Gzip, 1, Some(b"k"), &vec![0; 1 << 20]);
        let busy = check
            .check(&topic("compact"), std::slice::from_ref(&large))
            .await;
        assert!(matches!(busy, Err(KeysError::Busy)), "{busy:?}");
        // Little needs none.
        let small = batch(Compression::Gzip, 1, Some(b"k"), b"v");
        check.check(&topic("compact"), &[small]).await.unwrap();
        drop(all);
        let topic = topic("compact");
        let again = check.check(&topic, std::slice::from_ref(&large)).await;
        assert!(matches!(again, Err(KeysError::Busy)), "it is told at once");
        let mut check = KeyCheck::new(&decoding, &clock, 0);
        check.check(&topic, &[large]).await.unwrap();
    }
}
