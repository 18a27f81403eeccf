//! Puts one segment into the bucket, under one name that is known to be stored.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload};
use thiserror::Error;
use tidelog_blob::{ClusterLayout, ErrorKind, classify};
use tidelog_env::Env;
use tidelog_format::segment::{
    Nonce, SealedSegment, SegmentIdentity, SegmentWriter, TRAILER_BYTES, Trailer,
};
use tidelog_types::{BucketId, ClusterId, Incarnation, SegmentName, SegmentSequence};

use crate::crash::{CrashPlan, CrashPoint};
use crate::metrics::AppendMetrics;

/// Why a segment is not known to be stored. No commit names it, so its batches are not in the log.
#[derive(Debug, Error)]
pub(super) enum UploadError {
    /// The bucket said no, or did not answer, for as long as it was asked.
    #[error("the bucket did not take segment `{name}`")]
    Refused {
        name: SegmentName,
        #[source]
        source: object_store::Error,
    },
    /// An object of this name exists that this process has not written.
    #[error("an object named `{0}` exists that is not ours")]
    Foreign(SegmentName),
    /// There was nothing to store.
    #[error("segment `{0}` is empty")]
    Empty(SegmentName),
}

/// What uploads need. Clones share the sequence.
#[derive(Clone, Debug)]
pub(super) struct Uploader {
    pub(super) env: Env,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) layout: ClusterLayout,
    pub(super) cluster: ClusterId,
    pub(super) incarnation: Incarnation,
    pub(super) sequence: Arc<AtomicU64>,
    pub(super) hedge_after: Duration,
    pub(super) crash: CrashPlan,
    pub(super) metrics: AppendMetrics,
}

impl Uploader {
    /// Uploads that begin from now on have this sequence or later ones.
    pub(super) fn next_sequence(&self) -> SegmentSequence {
        SegmentSequence::new(self.sequence.load(Ordering::Relaxed) + 1)
    }

    /// Stores the batches of `writer` in a bucket. A slow upload is hedged under the next sequence: the first that is
    /// known to be stored is the segment; the other one, if it lands, is an orphan that no commit names.
    pub(super) async fn store(
        &self,
        bucket: BucketId,
        writer: &SegmentWriter,
    ) -> Result<SealedSegment, UploadError> {
        let started = self.env.clock.now();
        let first = Box::pin(self.store_once(bucket, writer));
        let hedge = Box::pin(async {
            self.env.clock.sleep(self.hedge_after).await;
            self.metrics.hedges.inc();
            tracing::info!(after = ?self.hedge_after, "upload is slow, hedging it");
            self.store_once(bucket, writer).await
        });
        let stored = match select(first, hedge).await {
            Either::Left((Ok(stored), _)) | Either::Right((Ok(stored), _)) => Ok(stored),
            // The hedge may be waiting still, or be on its way: a definite failure of the first ends it
            // only if it was not begun.
            Either::Left((Err(error), hedge)) => {
                if self.env.clock.now() - started < self.hedge_after {
                    Err(error)
                } else {
                    hedge.await
                }
            }
            Either::Right((Err(_), first)) => first.await,
        };
        let took = self.env.clock.now() - started;
        self.metrics.upload_seconds.observe(took.as_secs_f64());
        stored
    }

    fn next_name(&self) -> SegmentName {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        SegmentName::new(self.incarnation, SegmentSequence::new(sequence))
    }

    /// The batches of `writer` as a segment that goes with its commit, under the next sequence. Nothing if there are none.
    pub(super) fn inline(&self, writer: &SegmentWriter) -> Option<SealedSegment> {
        let sealed = writer.seal(&self.identity(BucketId::STORE, self.next_name()));
        self.metrics.inline_segments.inc();
        sealed
    }

    fn identity(&self, bucket: BucketId, name: SegmentName) -> SegmentIdentity {
        SegmentIdentity {
            cluster: self.cluster,
            bucket,
            name,
            nonce: Nonce::new(self.env.rng.bytes_16()),
        }
    }

    /// Stores the batches of `writer` under a name that was given out before; nothing else is tried if that is slow.
    pub(super) async fn store_under(
        &self,
        bucket: BucketId,
        writer: &SegmentWriter,
        name: SegmentName,
    ) -> Result<SealedSegment, UploadError> {
        let started = self.env.clock.now();
        let stored = self.store_as(bucket, writer, name).await;
        let took = self.env.clock.now() - started;
        self.metrics.upload_seconds.observe(took.as_secs_f64());
        stored
    }

    async fn store_once(
        &self,
        bucket: BucketId,
        writer: &SegmentWriter,
    ) -> Result<SealedSegment, UploadError> {
        self.store_as(bucket, writer, self.next_name()).await
    }

    async fn store_as(
        &self,
        bucket: BucketId,
        writer: &SegmentWriter,
        name: SegmentName,
    ) -> Result<SealedSegment, UploadError> {
        let identity = self.identity(bucket, name);
        let sealed = writer.seal(&identity).ok_or(UploadError::Empty(name))?;
        self.crash.pass(CrashPoint::BeforePut);
        let payload: PutPayload = sealed.chunks.iter().cloned().collect();
        let path = self.layout.segment(bucket, name);
        let options = PutOptions::from(PutMode::Create);
        let mut put = pin!(self.store.put_opts(&path, payload, options));
        // A future that nobody has polled has sent nothing.
        let begun = futures::poll!(put.as_mut());
        self.crash.pass(CrashPoint::PutSent);
        let put = match begun {
            Poll::Ready(put) => put,
            Poll::Pending => put.await,
        };
        match put {
            Ok(_) => {}
            Err(error) if classify(&error) == ErrorKind::AlreadyExists => {
                self.settle(&path, &sealed, error).await?;
            }
            Err(source) => return Err(UploadError::Refused { name, source }),
        }
        self.crash.pass(CrashPoint::PutAcked);
        self.metrics.segments.inc();
        self.metrics.segment_bytes.observe(to_f64(sealed.length));
        Ok(sealed)
    }

    /// An object has our name. If an earlier attempt of ours landed unseen, its trailer has our nonce.
    async fn settle(
        &self,
        path: &Path,
        sealed: &SealedSegment,
        error: object_store::Error,
    ) -> Result<(), UploadError> {
        let name = sealed.name;
        let range = GetRange::Suffix(u64::from(TRAILER_BYTES));
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let refused = |source| UploadError::Refused { name, source };
        let answer = self.store.get_opts(path, options).await.map_err(refused)?;
        let bytes = answer.bytes().await.map_err(refused)?;
        match Trailer::decode(&bytes) {
            Ok(trailer) if trailer.nonce == sealed.nonce && trailer.name == name => Ok(()),
            Ok(_) => Err(UploadError::Foreign(name)),
            Err(_) => Err(refused(error)),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram needs no more than 52 bits"
)]
const fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}
