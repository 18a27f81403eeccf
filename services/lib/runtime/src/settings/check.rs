//! Rules between options, which no option can check alone.

use tidelog_types::Role;
use tidelog_types::limits::SEGMENT_BYTES_MAX;

use super::{ByteSize, Encryption, MAIN_BUCKET, MetadataStore, Settings, SettingsError};
use crate::memory::MemoryPlan;

/// Classes of S3 whose objects cannot be read as they are.
const RESTORED_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Everything that does not fit together.
pub(super) fn check(settings: &Settings) -> Vec<SettingsError> {
    let rules = [
        where_data_goes,
        credentials,
        encryption,
        buckets,
        classes,
        roles,
        listeners,
        peers,
        foundationdb,
        connections,
        segments,
        disk,
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

fn encryption(settings: &Settings) -> Option<String> {
    let s3 = &settings.s3;
    (s3.kms_key.is_some() && s3.encryption != Encryption::SseKms)
        .then(|| "`s3.kms_key` is for `s3.encryption=sse-kms`: set both or none".to_owned())
}

/// A place without what does not matter in it. That two places are one is found by their markers in the end.
fn spelled(location: &str) -> &str {
    let location = location.strip_prefix("file://").unwrap_or(location);
    location.trim_end_matches('/')
}

/// Buckets beside the main one: where they are, and that no two are the same.
fn buckets(settings: &Settings) -> Option<String> {
    let buckets = &settings.storage.buckets;
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (name, bucket) in buckets {
        let key = format!("storage.buckets.{name}");
        if name == MAIN_BUCKET {
            return Some(format!("`{key}`: `{MAIN_BUCKET}` is the main bucket"));
        }
        let Some(location) = bucket.location.as_deref().filter(|at| !at.is_empty()) else {
            return Some(format!("`{key}.location` is not set"));
        };
        if !location.starts_with("s3://") && !spelled(location).starts_with('/') {
            return Some(format!(
                "`{key}.location` is `{location}`: write `s3://NAME`, `s3://NAME/PREFIX`, or a folder from the root on"
            ));
        }
        let location = spelled(location);
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == location) {
            return Some(format!(
                "`{key}.location` is that of `storage.buckets.{other}`: give each bucket a prefix of its own"
            ));
        }
        let data = settings.data.as_ref().and_then(|data| data.to_str());
        let main = settings.bucket.as_deref().or(data);
        if main.map(spelled) == Some(location) {
            return Some(format!("`{key}.location` is the main bucket"));
        }
        seen.push((name, location));
        let class = bucket.storage_class.as_deref();
        if let Some(class) = class.filter(|class| RESTORED_CLASSES.contains(class)) {
            return Some(format!(
                "`{key}.storage_class` is `{class}`: what has to be restored before it is read cannot be read"
            ));
        }
        let s3 = bucket.s3(&settings.s3);
        if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
            return Some(format!(
                "`{key}.access_key_id` and `{key}.secret_access_key` go together: set both"
            ));
        }
        if s3.kms_key.is_some() && s3.encryption != Encryption::SseKms {
            return Some(format!("`{key}.kms_key` is for `{key}.encryption=sse-kms`"));
        }
        let endpoint = s3.endpoint.as_deref();
        if endpoint.is_some_and(|at| at.starts_with("http://")) && !s3.allow_http {
            return Some(format!(
                "`{key}.endpoint` is plain HTTP: use https, or set `{key}.allow_http` if the network is yours"
            ));
        }
    }
    None
}

/// Classes name buckets that there are.
fn classes(settings: &Settings) -> Option<String> {
    let storage = &settings.storage;
    let is_known = |name: &str| name == MAIN_BUCKET || storage.buckets.contains_key(name);
    storage.classes.iter().find_map(|(class, options)| {
        let named = [
            ("bucket", options.bucket.as_deref()),
            ("merged_bucket", options.merged_bucket.as_deref()),
        ];
        named.into_iter().find_map(|(key, name)| {
            let name = name.filter(|name| !is_known(name))?;
            Some(format!(
                "`storage.classes.{class}.{key}` is `{name}`, and there is no `storage.buckets.{name}`"
            ))
        })
    })
}

fn roles(settings: &Settings) -> Option<String> {
    let alone = !settings.roles.has(Role::Metadata) && settings.cluster.metadata.is_empty();
    alone.then(|| {
        format!(
            "`roles` is `{}`, and nothing says where the metadata processes are: set `cluster.metadata`, or \
             add the role `metadata`",
            settings.roles
        )
    })
}

fn listeners(settings: &Settings) -> Option<String> {
    let listen = &settings.listen;
    let internal = settings.internal_address();
    let all = [
        Some(("listen.grpc", listen.grpc)),
        Some(("listen.kafka", listen.kafka)),
        Some(("listen.http", listen.http)),
        internal.map(|address| ("listen.internal", address)),
    ];
    let all: Vec<_> = all.into_iter().flatten().collect();
    for (at, (name, address)) in all.iter().enumerate() {
        let mut others = all.iter().skip(at + 1);
        let same = others.find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = same {
            return Some(format!("`{name}` and `{other}` are both `{address}`"));
        }
    }
    let is_open = |(name, address): &&(&str, std::net::SocketAddr)| {
        let has_tls = *name == "listen.internal" && settings.cluster.tls_cert.is_some();
        !address.ip().is_loopback() && !has_tls
    };
    let open = all.iter().find(is_open)?;
    let remedy = if open.0 == "listen.internal" {
        "set `cluster.tls_cert`, `cluster.tls_key` and `cluster.tls_ca`"
    } else {
        "bind to 127.0.0.1"
    };
    (!listen.insecure).then(|| {
        format!(
            "`{}` is `{}`, which other machines can reach, and there is no TLS and no authentication \
             yet: {remedy}, or set `listen.insecure` (`--insecure`) if the network is yours",
            open.0, open.1
        )
    })
}

fn peers(settings: &Settings) -> Option<String> {
    let cluster = &settings.cluster;
    let given = [&cluster.tls_cert, &cluster.tls_key, &cluster.tls_ca];
    let given = given.iter().filter(|path| path.is_some()).count();
    if given != 0 && given != 3 {
        return Some(
            "`cluster.tls_cert`, `cluster.tls_key` and `cluster.tls_ca` go together: set all three"
                .to_owned(),
        );
    }
    (cluster.lease.get() < cluster.beat.get() * 3).then(|| {
        format!(
            "`cluster.lease` is `{}`, which is less than three times `cluster.beat` (`{}`): one beat that \
             is late would cost the process its shards",
            cluster.lease, cluster.beat
        )
    })
}

fn foundationdb(settings: &Settings) -> Option<String> {
    let fdb = &settings.fdb;
    if fdb.tls_cert.is_some() != fdb.tls_key.is_some() {
        return Some("`fdb.tls_cert` and `fdb.tls_key` go together: set both".to_owned());
    }
    let is_used = settings.metadata.store != MetadataStore::Embedded;
    let no_metadata = is_used && !settings.roles.has(Role::Metadata);
    no_metadata.then(|| {
        "`metadata.store` is for processes with the role `metadata`: the others ask those"
            .to_owned()
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

/// Each class has an open segment besides.
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
    let classes = settings.storage.classes.values();
    let sizes = classes.map(|class| class.segment_bytes.map_or(segment, ByteSize::get));
    let all = sizes.fold(segment.saturating_mul(2), u64::saturating_add);
    if all > plan.segments {
        return Some(format!(
            "segments of all `storage.classes` and two of `produce.segment_bytes` ({}) do not fit into the \
             share of `memory.total` ({}) for segments: raise the one or lower the others",
            settings.produce.segment_bytes, settings.memory.total
        ));
    }
    (segment * 2 > u64::from(SEGMENT_BYTES_MAX))
        .then(|| "`produce.segment_bytes` is larger than half of the largest segment".to_owned())
}

fn disk(settings: &Settings) -> Option<String> {
    let cache = &settings.cache;
    (cache.disk_path.is_some() != cache.disk_size.is_some())
        .then(|| "`cache.disk_path` and `cache.disk_size` go together: set both".to_owned())
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
