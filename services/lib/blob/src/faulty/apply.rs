//! What a fault does to a request.

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::ready;
use futures::stream::{StreamExt as _, once};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt as _,
    PutOptions, PutPayload, Result,
};

use super::{Fault, FaultyStore};
use crate::errors::{AttemptTimedOut, StatusError, generic};

/// A write that lands after its client gave up.
#[derive(Debug)]
pub(super) enum Ghost {
    Put(Path, PutPayload, PutOptions),
    Delete(Path),
}

impl Ghost {
    pub(super) async fn land(self, inner: &dyn ObjectStore) -> Result<()> {
        match self {
            Self::Put(path, payload, options) => {
                inner.put_opts(&path, payload, options).await.map(|_| ())
            }
            Self::Delete(path) => inner.delete(&path).await,
        }
    }
}

impl FaultyStore {
    /// A write under a fault: `write` does it, `lie` is the answer when it only seems done.
    pub(super) async fn write<T>(
        &self,
        fault: Option<Fault>,
        path: &Path,
        write: impl Future<Output = Result<T>>,
        lie: T,
        ghost: impl FnOnce() -> Ghost,
    ) -> Result<T> {
        let Some(fault) = fault else {
            return write.await;
        };
        match fault {
            Fault::GhostTimeout => {
                write.await?;
                Err(timed_out())
            }
            Fault::GhostHang => {
                write.await?;
                pending().await
            }
            Fault::GhostLater => {
                self.shared.ghosts.lock().push(ghost());
                Err(timed_out())
            }
            Fault::GhostAlreadyExists => {
                write.await?;
                Err(already_exists(path))
            }
            Fault::Lie => Ok(lie),
            fault => {
                self.refuse(Some(fault), path).await?;
                write.await
            }
        }
    }

    /// The faults that any request can meet before it is done. Those that need more let it pass.
    pub(super) async fn refuse(&self, fault: Option<Fault>, path: &Path) -> Result<()> {
        match fault {
            Some(Fault::Status(status, code)) => Err(from_status(status, code, path)),
            Some(Fault::Timeout) => Err(timed_out()),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Delay(wait)) => {
                self.shared.clock.sleep(wait).await;
                Ok(())
            }
            Some(Fault::DiskFull) => Err(generic(io::Error::from(io::ErrorKind::StorageFull))),
            Some(Fault::ReadOnly) => {
                Err(generic(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)))
            }
            _ => Ok(()),
        }
    }

    /// A read under a fault.
    pub(super) async fn read(
        &self,
        fault: Option<Fault>,
        path: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        match fault {
            Some(Fault::Truncate(missing)) => {
                let result = self.inner().get_opts(path, options).await?;
                replace_body(result, |body| {
                    let kept = (body.len() as u64).saturating_sub(missing);
                    body.slice(..usize::try_from(kept).unwrap_or(body.len()))
                })
                .await
            }
            Some(Fault::FlipBit(bit)) => {
                let result = self.inner().get_opts(path, options).await?;
                replace_body(result, |body| flip(&body, bit)).await
            }
            Some(Fault::WrongRange(shift)) => self.read_shifted(path, options, shift).await,
            // A read that hangs or is lost is the same whether the store did it or not.
            Some(Fault::GhostTimeout | Fault::GhostLater) => Err(timed_out()),
            Some(Fault::GhostHang) => pending().await,
            fault => {
                // What fails the disk for writes does not fail it for reads.
                if !matches!(fault, Some(Fault::DiskFull | Fault::ReadOnly)) {
                    self.refuse(fault, path).await?;
                }
                self.inner().get_opts(path, options).await
            }
        }
    }

    /// Bytes from further on, announced as those that were asked for.
    async fn read_shifted(
        &self,
        path: &Path,
        options: GetOptions,
        shift: u64,
    ) -> Result<GetResult> {
        let result = self.inner().get_opts(path, options).await?;
        let length = result.range.end.saturating_sub(result.range.start);
        if length == 0 {
            return Ok(result);
        }
        let latest = result.meta.size.saturating_sub(length);
        let start = result.range.start.saturating_add(shift).min(latest);
        let range = GetRange::Bounded(start..start + length);
        let other = GetOptions::new().with_range(Some(range));
        let wrong = self.inner().get_opts(path, other).await?.bytes().await?;
        Ok(with_body(result, wrong))
    }
}

async fn replace_body(
    mut result: GetResult,
    change: impl FnOnce(Bytes) -> Bytes,
) -> Result<GetResult> {
    let payload = GetResultPayload::Stream(once(ready(Ok(Bytes::new()))).boxed());
    let payload = std::mem::replace(&mut result.payload, payload);
    let whole = GetResult {
        payload,
        meta: result.meta.clone(),
        range: result.range.clone(),
        attributes: result.attributes.clone(),
        extensions: object_store::Extensions::new(),
    };
    let body = change(whole.bytes().await?);
    Ok(with_body(result, body))
}

fn with_body(result: GetResult, body: Bytes) -> GetResult {
    GetResult {
        payload: GetResultPayload::Stream(once(ready(Ok(body))).boxed()),
        ..result
    }
}

fn flip(body: &Bytes, bit: u64) -> Bytes {
    let mut body = body.to_vec();
    let bits = (body.len() as u64).saturating_mul(8).max(1);
    let at = bit % bits;
    if let Some(byte) = usize::try_from(at / 8).ok().and_then(|at| body.get_mut(at)) {
        *byte ^= 1 << (at % 8);
    }
    body.into()
}

/// An answer that did not come; the store's own client says it in the same words.
pub(super) fn timed_out() -> Error {
    generic(HttpError::new(
        HttpErrorKind::Timeout,
        AttemptTimedOut(Duration::ZERO),
    ))
}

fn already_exists(path: &Path) -> Error {
    Error::AlreadyExists {
        path: path.to_string(),
        source: Box::new(status_error(412, "PreconditionFailed")),
    }
}

fn status_error(status: u16, code: &str) -> StatusError {
    StatusError {
        status,
        code: code.to_owned(),
        message: "injected".to_owned(),
    }
}

/// The error that the client of a real store makes of this answer.
fn from_status(status: u16, code: &str, path: &Path) -> Error {
    let source = status_error(status, code);
    let path = path.to_string();
    match status {
        401 => Error::Unauthenticated {
            path,
            source: Box::new(source),
        },
        403 => Error::PermissionDenied {
            path,
            source: Box::new(source),
        },
        404 => Error::NotFound {
            path,
            source: Box::new(source),
        },
        412 => Error::AlreadyExists {
            path,
            source: Box::new(source),
        },
        _ => generic(HttpError::new(HttpErrorKind::Unknown, source)),
    }
}
