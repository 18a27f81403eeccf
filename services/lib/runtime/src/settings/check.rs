//! Rules between options, which no option can check alone.

use tidelog_types::limits::SEGMENT_BYTES_MAX;

use super::{Settings, SettingsError};
use crate::memory::MemoryPlan;

/// Everything that does not fit together.
pub(super) fn check(settings: &Settings) -> Vec<SettingsError> {
    let rules = [
        where_data_goes,
        credentials,
        listeners,
        connections,
        segments,
        waits,
    ];
    rules
        .into_iter()
        .filter_map(|rule| rule(settings))
        .map(SettingsError::Conflict)
        .collect()
}

fn where_data_goes(settings: &Settings) -> Option<String> {
    if settings.data.is_some() && settings.bucket.is_some() {
        return Some("`data` and `bucket` are both set: the bucket is one or the other".to_owned());
    }
    let bucket = settings.bucket.as_deref()?;
    let name = bucket.strip_prefix("s3://").unwrap_or_default();
    name.is_empty()
        .then(|| format!("`bucket` is `{bucket}`: write `s3://NAME` or `s3://NAME/PREFIX`"))
}

fn credentials(settings: &Settings) -> Option<String> {
    let s3 = &settings.s3;
    if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
        return Some(
            "`s3.access_key_id` and `s3.secret_access_key` go together: set both".to_owned(),
        );
    }
    let plain = s3
        .endpoint
        .as_deref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    (plain && !s3.allow_http).then(|| {
        "`s3.endpoint` is plain HTTP: use https, or set `s3.allow_http` if the network is yours"
            .to_owned()
    })
}

fn listeners(settings: &Settings) -> Option<String> {
    let listen = &settings.listen;
    if listen.grpc == listen.http && listen.grpc.port() != 0 {
        return Some(format!(
            "`listen.grpc` and `listen.http` are both `{}`",
            listen.grpc
        ));
    }
    let open = [("listen.grpc", listen.grpc), ("listen.http", listen.http)]
        .into_iter()
        .find(|(_, address)| !address.ip().is_loopback())?;
    (!listen.insecure).then(|| {
        format!(
            "`{}` is `{}`, which other machines can reach, and there is no TLS and no authentication \
             yet: bind to 127.0.0.1, or set `listen.insecure` (`--insecure`) if the network is yours",
            open.0, open.1
        )
    })
}

fn connections(settings: &Settings) -> Option<String> {
    let most = MemoryPlan::divide(settings.memory.total).connections_max();
    let asked = settings.grpc.connections_max.unwrap_or_else(|| most);
    (asked > most).then(|| {
        format!(
            "`grpc.connections_max` is `{asked}`, and the share of `memory.total` ({}) for connections \
             has room for `{most}`: raise the one or lower the other",
            settings.memory.total
        )
    })
}

fn segments(settings: &Settings) -> Option<String> {
    let segment = settings.produce.segment_bytes.get();
    let plan = MemoryPlan::divide(settings.memory.total);
    if segment.saturating_mul(2) > plan.segments {
        return Some(format!(
            "two segments of `produce.segment_bytes` ({}) do not fit into the share of `memory.total` \
             ({}) for segments: raise the one or lower the other",
            settings.produce.segment_bytes, settings.memory.total
        ));
    }
    (segment * 2 > u64::from(SEGMENT_BYTES_MAX))
        .then(|| "`produce.segment_bytes` is larger than half of the largest segment".to_owned())
}

fn waits(settings: &Settings) -> Option<String> {
    let requests = &settings.requests;
    let pairs = [
        (
            "requests.wait_initial",
            requests.wait_initial,
            "requests.wait_max",
            requests.wait_max,
        ),
        (
            "requests.hedge_delay_min",
            requests.hedge_delay_min,
            "requests.hedge_delay_max",
            requests.hedge_delay_max,
        ),
        (
            "requests.attempt_timeout",
            requests.attempt_timeout,
            "s3.request_timeout",
            settings.s3.request_timeout,
        ),
    ];
    pairs
        .into_iter()
        .find(|(_, less, _, more)| less > more)
        .map(|(less, a, more, b)| {
            format!("`{less}` is `{a}` and must not be longer than `{more}`, which is `{b}`")
        })
}
