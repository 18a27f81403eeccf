//! Traces that began elsewhere: the W3C trace context of a request.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The headers of W3C trace context.
const PARENT_HEADER: &str = "traceparent";
const STATE_HEADER: &str = "tracestate";
/// A state that is longer is dropped, as the standard allows beyond 512 characters.
const STATE_CHARS_MAX: usize = 512;

/// Makes `span` part of the trace that a request belongs to, if `header` has one. What is not as the standard
/// says is passed over: the span begins a trace of its own.
pub fn continue_trace<'a>(span: &Span, header: impl Fn(&str) -> Option<&'a str>) {
    let Some(parent) = header(PARENT_HEADER) else {
        return;
    };
    if let Some(parent) = parent_of(parent, header(STATE_HEADER)) {
        let context = Context::new().with_remote_span_context(parent);
        // It fails where traces are not exported, which is no failure.
        let _ = span.set_parent(context);
    }
}

/// `version-trace-span-flags`, all in lower-case hexadecimal. Later versions may have more behind it.
fn parent_of(parent: &str, state: Option<&str>) -> Option<SpanContext> {
    let mut parts = parent.trim().split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let span = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let state = state
        .filter(|state| state.len() <= STATE_CHARS_MAX)
        .and_then(|state| state.parse::<TraceState>().ok());
    let sampled = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        sampled,
        true,
        state.unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

fn hex(text: &str, length: usize) -> Option<&str> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(is_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_with_its_decision_and_state() {
        let parent = parent_of(GOOD, Some("vendor=1")).unwrap();
        assert_eq!(
            parent.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled() && parent.is_remote());
        assert_eq!(parent.trace_state().get("vendor"), Some("1"));
        let unsampled = parent_of(&GOOD.replace("-01", "-00"), None).unwrap();
        assert!(!unsampled.is_sampled());
        assert!(parent_of(&format!("{}-more", GOOD.replacen("00", "01", 1)), None).is_some());
    }

    #[test]
    fn what_is_no_parent_is_passed_over() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in ["", "00", "x", zeros, &GOOD.to_uppercase(), &GOOD[..54]] {
            assert!(parent_of(bad, None).is_none(), "{bad}");
        }
        assert!(parent_of(&format!("{GOOD}-more"), None).is_none());
        assert!(parent_of(&GOOD.replacen("00", "ff", 1), None).is_none());
        assert!(parent_of("00-\u{e9}", Some("\u{e9}=\u{e9}")).is_none());
    }
}
