//! An answer of one JSON value a line.

use super::ClientLimits;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rekindle_common::{ApiError, ErrorCode, duration::Span};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio::time::timeout;

/// Lines as they come. A stream that ends without its last chunk is an error, never a short success.
#[derive(Debug)]
pub struct NdjsonStream<T> {
    body: Incoming,
    buffer: BytesMut,
    limits: ClientLimits,
    ended: bool,
    lines: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> NdjsonStream<T> {
    pub(super) fn new(body: Incoming, limits: ClientLimits) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            limits,
            ended: false,
            lines: PhantomData,
        }
    }

    /// The next value; `None` where the server has ended the stream. After an error there is nothing more.
    ///
    /// # Errors
    /// `sidecar_unreachable` where the connection broke, `deadline_exceeded` where no line came in time, `internal` where
    /// one is not understood.
    pub async fn next(&mut self) -> Result<Option<T>, ApiError> {
        let line = self.line().await;
        if line.is_err() {
            self.ended = true;
            self.buffer.clear();
        }
        line
    }

    async fn line(&mut self) -> Result<Option<T>, ApiError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return parse(&line).map(Some);
            }
            if self.ended {
                let rest = self.buffer.split();
                return if rest.is_empty() {
                    Ok(None)
                } else {
                    parse(&rest).map(Some)
                };
            }
            if self.buffer.len() > self.limits.answer {
                return Err(ApiError::new(
                    ErrorCode::Internal,
                    format!("a line is longer than {} bytes", self.limits.answer),
                ));
            }
            match timeout(self.limits.line_time, self.body.frame()).await {
                Err(_) => {
                    return Err(ApiError::new(
                        ErrorCode::DeadlineExceeded,
                        format!(
                            "no line came within {}; what was asked goes on",
                            Span(self.limits.line_time)
                        ),
                    ));
                }
                Ok(None) => self.ended = true,
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(e))) => {
                    return Err(ApiError::new(
                        ErrorCode::SidecarUnreachable,
                        format!(
                            "the connection broke within the answer; what was asked may go on: {e}"
                        ),
                    ));
                }
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(line).map_err(|e| {
        ApiError::new(
            ErrorCode::Internal,
            format!("a line of the answer is not understood: {e}"),
        )
    })
}
