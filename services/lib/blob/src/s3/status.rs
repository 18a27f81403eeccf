//! Keeps the status and the error code of a response that says no.
//!
//! The client maps a few statuses to errors of their own kind and hides the rest in a private type; and it
//! takes 409, by which S3 says "another conditional write is in flight, try again", for "exists already".
//! So these responses are turned into a [`StatusError`] below it, where the numbers are still at hand.

use async_trait::async_trait;
use futures::StreamExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};

use crate::errors::{StatusError, element};

/// No more of an error's body is read.
const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;
/// No more of its message is kept.
const MESSAGE_CHARS_MAX: usize = 200;

/// Statuses that the client maps to variants that say all; the body still tells a missing bucket.
const MAPPED: [u16; 5] = [304, 401, 403, 404, 412];

#[derive(Debug)]
pub(super) struct StatusConnector<C> {
    inner: C,
}

impl<C> StatusConnector<C> {
    pub(super) const fn new(inner: C) -> Self {
        Self { inner }
    }
}

impl<C: HttpConnector> HttpConnector for StatusConnector<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.inner.connect(options)?;
        Ok(HttpClient::new(StatusService { client }))
    }
}

#[derive(Debug)]
struct StatusService {
    client: HttpClient,
}

#[async_trait]
impl HttpService for StatusService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        if status < 400 || MAPPED.contains(&status) {
            return Ok(response);
        }
        let body = read_some(response.into_body()).await;
        Err(HttpError::new(HttpErrorKind::Unknown, parse(status, &body)))
    }
}

/// Reads the beginning of a body; what cannot be read is not needed either.
async fn read_some(body: HttpResponseBody) -> String {
    let mut bytes = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(Ok(chunk)) = stream.next().await {
        let room = ERROR_BODY_BYTES_MAX.saturating_sub(bytes.len());
        bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if bytes.len() >= ERROR_BODY_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(status: u16, body: &str) -> StatusError {
    let message = element(body, "Message").unwrap_or(body);
    StatusError {
        status,
        code: element(body, "Code").unwrap_or_default().to_owned(),
        message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_are_found_in_the_body() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code>\
                    <Message>Please reduce your request rate.</Message></Error>";
        let error = parse(503, body);
        assert_eq!((error.status, error.code.as_str()), (503, "SlowDown"));
        assert_eq!(error.message, "Please reduce your request rate.");
    }

    #[test]
    fn a_body_that_is_no_xml_is_kept_in_part() {
        let error = parse(502, &"x".repeat(10_000));
        assert_eq!(error.code, "");
        assert_eq!(error.message.len(), MESSAGE_CHARS_MAX);
        assert_eq!(parse(500, "<Code>unclosed").code, "");
    }
}
