//! Rules between options, which no option can check alone.

use tidelog_types::Role;
use tidelog_types::limits::SEGMENT_BYTES_MAX;

use super::{ByteSize, MetadataStore, Settings, SettingsError};
use crate::memory::MemoryPlan;

/// Everything that does not fit together.
pub(super) fn check(settings: &Settings) -> Vec<SettingsError> {
    let rules = [
        where_data_goes,
        credentials,
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
