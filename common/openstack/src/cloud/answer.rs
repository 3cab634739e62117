//! From an answer to a value or an error: the one place that knows statuses.

use crate::{
    error::{Call, CloudError},
    http::Answer,
};
use hyper::{StatusCode, header};
use rekindle_common::duration::Span;
use serde_json::Value;

/// Of a message, at most so many characters are kept.
const WORDS: usize = 500;

/// The JSON of a good answer (`null` where it has no body), or what the status means.
pub(crate) fn judge(call: &Call, answer: &Answer) -> Result<Value, CloudError> {
    let status = answer.status;
    // Cinder's list of versions is a 300 with a body.
    if status.is_success() || status == StatusCode::MULTIPLE_CHOICES {
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(&answer.body).map_err(|e| not_understood(call, e));
    }
    let (call, message) = (call.clone(), words(answer));
    let retry_after = retry_after(answer);
    Err(match status.as_u16() {
        400 => CloudError::Invalid { call, message },
        401 => CloudError::Unauthorized { call, message },
        403 => CloudError::Forbidden { call, message },
        404 => CloudError::NotFound { call, message },
        409 => CloudError::Conflict { call, message },
        // Cinder says a used-up quota with 413 and `Retry-After: 0`; a limit on calls names a time.
        413 if retry_after.is_none_or(|s| s.get().is_zero()) => {
            CloudError::OverQuota { call, message }
        }
        413 | 429 => CloudError::Throttled {
            call,
            retry_after,
            message,
        },
        502..=504 => CloudError::Unavailable {
            call,
            status: status.as_u16(),
            message,
        },
        _ => CloudError::Unexpected {
            call,
            why: format!("{status}: {message}"),
            source: None,
        },
    })
}

/// An answer whose form is another than expected.
pub(crate) fn not_understood(call: &Call, e: serde_json::Error) -> CloudError {
    CloudError::Unexpected {
        call: call.clone(),
        why: "the answer is not understood".to_owned(),
        source: Some(Box::new(e)),
    }
}

/// Seconds; the other form, a date, would need the two clocks to agree.
fn retry_after(answer: &Answer) -> Option<Span> {
    let text = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Span::secs)
}

/// The service's own message, with its id of the request, by which its log is searched.
fn words(answer: &Answer) -> String {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    // `{"badRequest": {"message": …}}` of Cinder, `{"error": {"message": …}}` of Keystone.
    let message = json.as_ref().and_then(Value::as_object).and_then(|o| {
        o.values()
            .find_map(|v| v.get("message").and_then(Value::as_str))
            .or_else(|| o.get("message").and_then(Value::as_str))
    });
    let raw = String::from_utf8_lossy(&answer.body);
    let message = message.unwrap_or(&raw).trim();
    let mut text: String = message.chars().take(WORDS).collect();
    if text.is_empty() {
        text = format!("{} and no message", answer.status);
    }
    let id = answer.headers.get("x-openstack-request-id");
    if let Some(id) = id.and_then(|id| id.to_str().ok()) {
        text.push_str(&format!(" ({})", id.chars().take(64).collect::<String>()));
    }
    text
}
