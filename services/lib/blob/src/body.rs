//! Bodies of answers: collected and checked against the length that was announced.

use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt as _, once, try_unfold};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, Result};

use crate::errors::{BodyLength, generic};

/// Answers up to this size are collected whole, so that a body that breaks off can be asked for again, and
/// so that the deadline of the attempt covers it. The largest segment and a page of the cache are smaller.
pub(crate) const COLLECT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Sends a GET and collects its body if it is of bounded size; a longer one is left a stream that is
/// checked as it goes.
pub(crate) async fn get_checked(
    store: &dyn ObjectStore,
    location: &object_store::path::Path,
    options: GetOptions,
) -> Result<GetResult> {
    let head = options.head;
    let asked = options.range.clone();
    let result = store.get_opts(location, options).await?;
    if head {
        return Ok(result);
    }
    check_range(asked.as_ref(), &result)?;
    let length = result.range.end.saturating_sub(result.range.start);
    if length <= COLLECT_BYTES_MAX {
        collect(result, length).await
    } else {
        Ok(check_stream(result, length))
    }
}

/// The range that is announced must be the one that was asked for, within the object's size.
fn check_range(asked: Option<&GetRange>, result: &GetResult) -> Result<()> {
    let size = result.meta.size;
    let expected = match asked {
        None => 0..size,
        Some(GetRange::Bounded(range)) => range.start..range.end.min(size),
        Some(GetRange::Offset(start)) => *start..size,
        Some(GetRange::Suffix(count)) => size.saturating_sub(*count)..size,
    };
    if expected == result.range {
        return Ok(());
    }
    Err(wrong_length(
        result.meta.location.as_ref(),
        expected.end.saturating_sub(expected.start),
        result.range.end.saturating_sub(result.range.start),
    ))
}

/// Turns the payload into one piece of exactly the announced length.
async fn collect(result: GetResult, length: u64) -> Result<GetResult> {
    let GetResult {
        payload,
        meta,
        range,
        attributes,
        extensions,
    } = result;
    let path = meta.location.to_string();
    let whole = GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: attributes.clone(),
        extensions: object_store::Extensions::new(),
    };
    let bytes = match whole.payload {
        GetResultPayload::File(..) => whole.bytes().await?,
        GetResultPayload::Stream(stream) => collect_stream(stream, length, &path).await?,
    };
    if bytes.len() as u64 != length {
        return Err(wrong_length(&path, length, bytes.len() as u64));
    }
    Ok(GetResult {
        payload: GetResultPayload::Stream(once(ready(Ok(bytes))).boxed()),
        meta,
        range,
        attributes,
        extensions,
    })
}

/// Reads a stream to its end, or to the byte after `length`, which is one too many.
async fn collect_stream(
    mut stream: BoxStream<'static, Result<Bytes>>,
    length: u64,
    path: &str,
) -> Result<Bytes> {
    let Some(first) = stream.next().await.transpose()? else {
        return Ok(Bytes::new());
    };
    let mut rest = Vec::new();
    let mut total = first.len() as u64;
    // One chunk is the common case, and needs no copy.
    while let Some(chunk) = stream.next().await.transpose()? {
        total += chunk.len() as u64;
        if total > length {
            return Err(wrong_length(path, length, total));
        }
        if rest.is_empty() {
            // The length was announced by the store and lies below `COLLECT_BYTES_MAX`.
            rest.reserve_exact(usize::try_from(length).unwrap_or(0));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&chunk);
    }
    if rest.is_empty() {
        Ok(first)
    } else {
        Ok(rest.into())
    }
}

/// Lets the payload stream, and ends it with an error if its length is not the announced one.
fn check_stream(result: GetResult, length: u64) -> GetResult {
    let GetResultPayload::Stream(stream) = result.payload else {
        return result;
    };
    let path = result.meta.location.to_string();
    let checked = try_unfold((stream, 0_u64), move |(mut stream, seen)| {
        let path = path.clone();
        async move {
            match stream.next().await.transpose()? {
                Some(chunk) => {
                    let seen = seen + chunk.len() as u64;
                    if seen <= length {
                        Ok(Some((chunk, (stream, seen))))
                    } else {
                        Err(wrong_length(&path, length, seen))
                    }
                }
                None if seen == length => Ok(None),
                None => Err(wrong_length(&path, length, seen)),
            }
        }
    });
    GetResult {
        payload: GetResultPayload::Stream(checked.boxed()),
        ..result
    }
}

pub(crate) fn wrong_length(path: &str, expected: u64, actual: u64) -> object_store::Error {
    generic(BodyLength {
        path: path.to_owned(),
        expected,
        actual,
    })
}
