//! What the process does, and the bucket that everything is in.

use super::super::{Kind, OptionDoc};
use super::{option, unset};

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "roles",
        Kind::Roles,
        "metadata,broker,janitor",
        "What the process does. `metadata` gives out offsets and keeps the catalogue, `broker` serves producers and consumers, `reader` keeps pages of segments for the brokers of its zone, `janitor` deletes what nobody needs any more. All of it in one process is a whole cluster; with fewer, `cluster.metadata` says where the rest is.",
    ),
    unset(
        "data",
        Kind::Path,
        "The local folder that is the bucket. If neither this nor `bucket` is set, it is `./tidelog-data`.",
    ),
    unset(
        "bucket",
        Kind::Text,
        "The bucket, as `s3://NAME` or `s3://NAME/PREFIX`. Not together with `data`.",
    ),
    unset(
        "s3.endpoint",
        Kind::Url,
        "URL of a store that speaks S3, such as `http://127.0.0.1:9000`. Unset means AWS.",
    ),
    unset(
        "s3.region",
        Kind::Text,
        "Region of the bucket. Unset takes `AWS_REGION` from the environment, then `us-east-1`.",
    ),
    unset(
        "s3.access_key_id",
        Kind::Secret,
        "A static access key. Unset takes the usual AWS sources: environment, web identity, container, instance.",
    ),
    unset(
        "s3.secret_access_key",
        Kind::Secret,
        "The secret of the static access key.",
    ),
    unset(
        "s3.session_token",
        Kind::Secret,
        "The session token of a static key that is a temporary one.",
    ),
    unset(
        "s3.path_style",
        Kind::Flag,
        "Whether the bucket's name stands in the URL's path instead of its host. Unset means yes with `s3.endpoint`, no with AWS.",
    ),
    option(
        "s3.allow_http",
        Kind::Flag,
        "false",
        "Whether plain HTTP is allowed. Without TLS anyone on the network can read and change what is stored.",
    ),
    option(
        "s3.checksum",
        Kind::Choice(&["crc64nvme", "sha256", "none"]),
        "crc64nvme",
        "The checksum that goes with each PUT and that the store verifies.",
    ),
    option(
        "s3.encryption",
        Kind::Choice(&["none", "sse-s3", "sse-kms"]),
        "none",
        "How the store encrypts what is put: `sse-s3` with keys of its own, `sse-kms` with a key of its key service. `none` leaves it to the bucket, which may have a default. What was put before stays as it is.",
    ),
    unset(
        "s3.kms_key",
        Kind::Text,
        "The key of `s3.encryption=sse-kms`: its id, alias or ARN. Unset takes the store's default key.",
    ),
    option(
        "s3.sign_payload",
        Kind::Flag,
        "false",
        "Whether bodies are signed, which costs a SHA-256 of each. For stores that refuse unsigned payloads.",
    ),
    option(
        "s3.connect_timeout",
        Kind::Span("100ms", "1m"),
        "3s",
        "Longest wait for a connection.",
    ),
    option(
        "s3.request_timeout",
        Kind::Span("1s", "10m"),
        "2m",
        "Longest time of one request with its body. The attempt's own limit, `requests.attempt_timeout`, acts first.",
    ),
    option(
        "s3.pool_idle_timeout",
        Kind::Span("1s", "10m"),
        "15s",
        "How long an idle connection is kept.",
    ),
    option(
        "s3.pool_idle_max",
        Kind::Integer(1, 4096),
        "64",
        "How many idle connections are kept.",
    ),
    option(
        "local.stale_staged_after",
        Kind::Span("1m", "7d"),
        "1h",
        "Staged files of a local folder that are older are removed at start: a process that died left them.",
    ),
    option(
        "requests.retries_max",
        Kind::Integer(0, 100),
        "5",
        "How often a request to the bucket is sent again after the first time.",
    ),
    option(
        "requests.wait_initial",
        Kind::Span("1ms", "10s"),
        "50ms",
        "The first wait before a request is sent again; it doubles each time.",
    ),
    option(
        "requests.wait_max",
        Kind::Span("1ms", "1m"),
        "2s",
        "The longest wait before a request is sent again.",
    ),
    option(
        "requests.attempt_timeout",
        Kind::Span("100ms", "10m"),
        "20s",
        "How long one attempt of a request may take, body included.",
    ),
    option(
        "requests.hedge",
        Kind::Flag,
        "true",
        "Whether a slow GET is sent a second time. A local folder is never hedged.",
    ),
    option(
        "requests.hedge_percentile",
        Kind::Integer(50, 99),
        "95",
        "A GET is slow when it takes longer than this share of those before it, in percent.",
    ),
    option(
        "requests.hedge_delay_min",
        Kind::Span("1ms", "1m"),
        "20ms",
        "No GET is hedged sooner.",
    ),
    option(
        "requests.hedge_delay_max",
        Kind::Span("1ms", "1m"),
        "2s",
        "A GET that takes this long is hedged in any case.",
    ),
    option(
        "requests.requests_per_hedge",
        Kind::Integer(1, 1000),
        "10",
        "At most one hedge for this many GETs.",
    ),
];
