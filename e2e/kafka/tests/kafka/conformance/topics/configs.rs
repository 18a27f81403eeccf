//! Of configurations.

use anyhow::Result;
use tidelog_kafka_codec::messages::alter_configs_request::{
    AlterConfigsResource, AlterableConfig as Whole,
};
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::describe_configs_response::DescribeConfigsResourceResult;
use tidelog_kafka_codec::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Changed, AlterableConfig,
};
use tidelog_kafka_codec::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};

use crate::conformance::peer::{Peer, first, named};

/// Every key that a topic of Apache Kafka has.
const KEYS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    described(peer).await?;
    keys(peer).await?;
    incremental(peer).await?;
    whole(peer).await
}

fn describe(kind: i8, name: &'static str, keys: Option<&[&'static str]>) -> DescribeConfigsRequest {
    let keys = keys.map(|keys| keys.iter().map(|key| (*key).into()).collect());
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: keys,
        }],
        ..Default::default()
    }
}

async fn described(peer: &mut Peer) -> Result<()> {
    for version in 1..=4 {
        let keys = ["retention.ms", "cleanup.policy", "odd"];
        let request = describe(TOPIC, "t", Some(&keys));
        peer.ask("some keys", request, version).await?;
        let detailed = DescribeConfigsRequest {
            include_synonyms: true,
            ..describe(TOPIC, "t", Some(&["retention.ms"]))
        };
        peer.ask("a key with synonyms", detailed, version).await?;
    }
    for (what, kind, name) in [
        ("keys of no topic", TOPIC, "nowhere"),
        ("keys of an odd topic", TOPIC, "a b"),
        ("keys of a nameless topic", TOPIC, ""),
        ("keys of an odd broker", BROKER, "odd"),
        ("keys of no broker", BROKER, "77"),
        ("keys of no logger", LOGGER, "77"),
        ("keys of a group", 32, "g"),
        ("keys of a subscription to metrics", 16, "m"),
        ("keys of something odd", 77, "x"),
        ("keys of nothing", 0, "x"),
    ] {
        let request = describe(kind, name, Some(&["odd"]));
        peer.ask(what, request, 4).await?;
    }
    let mut twice = describe(TOPIC, "t", Some(&["retention.ms"]));
    twice.resources.push(twice.resources[0].clone());
    peer.ask("keys of a topic twice", twice, 4).await?;
    Ok(())
}

/// Every key for itself, and what there is besides.
async fn keys(peer: &mut Peer) -> Result<()> {
    let request = DescribeConfigsRequest {
        include_documentation: true,
        ..describe(TOPIC, "t", None)
    };
    let answer = peer.answer(&request, 4).await?;
    let found = &first(&answer.results)?.configs;
    let mut other = found
        .iter()
        .map(|it| &*it.name)
        .filter(|it| !KEYS.contains(it));
    peer.note("keys besides", other.next().unwrap_or_default().to_owned());
    for key in KEYS {
        let found = found.iter().find(|it| it.name == *key);
        peer.note(
            &format!("the key {key}"),
            found.map_or_else(String::new, text),
        );
    }
    Ok(())
}

/// A key without its documentation, which is told or not.
fn text(it: &DescribeConfigsResourceResult) -> String {
    format!(
        "{:?}, read only {}, source {}, sensitive {}, type {}, documented {}",
        it.value,
        it.read_only,
        it.config_source,
        it.is_sensitive,
        it.config_type,
        it.documentation.is_some()
    )
}

type Operation = (&'static str, i8, Option<&'static str>);

fn change(kind: i8, name: &'static str, keys: &[Operation]) -> Changed {
    let configs = keys.iter().map(|(key, operation, value)| AlterableConfig {
        name: (*key).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    });
    Changed {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs.collect(),
    }
}

/// What is set of a topic now.
async fn shown(peer: &mut Peer, what: &str) -> Result<()> {
    let set = async |peer: &mut Peer| {
        let answer = peer.answer(&describe(TOPIC, "t", Some(&SET)), 4).await?;
        let mut set: Vec<String> = first(&answer.results)?.configs.iter().map(text).collect();
        set.sort_unstable();
        Ok(set.join("; "))
    };
    let what = format!("{what}: what is set");
    peer.note_settled(&what, set).await
}

/// The keys that are changed here.
const SET: [&str; 3] = ["retention.ms", "cleanup.policy", "max.message.bytes"];

/// What is done to keys of a topic; the numbers of operations are Kafka's.
const OPERATIONS: &[(&str, &[Operation])] = &[
    ("a key is set", &[("retention.ms", 0, Some("7200000"))]),
    ("a key is set to nothing", &[("retention.ms", 0, None)]),
    ("a key is set oddly", &[("retention.ms", 0, Some("odd"))]),
    ("a key is set too low", &[("retention.ms", 0, Some("-2"))]),
    ("a key is made default", &[("retention.ms", 1, None)]),
    (
        "a list has one more",
        &[("cleanup.policy", 2, Some("compact"))],
    ),
    (
        "a list has the same again",
        &[("cleanup.policy", 2, Some("delete"))],
    ),
    (
        "a list has one less",
        &[("cleanup.policy", 3, Some("compact"))],
    ),
    (
        "a list has not that one",
        &[("cleanup.policy", 3, Some("odd"))],
    ),
    (
        "a list has an odd one",
        &[("cleanup.policy", 2, Some("odd"))],
    ),
    (
        "what is no list has one more",
        &[("retention.ms", 2, Some("1"))],
    ),
    ("an odd key is set", &[("odd", 0, Some("1"))]),
    ("an odd key is made default", &[("odd", 1, None)]),
    ("an odd operation", &[("retention.ms", 9, Some("1"))]),
    ("nothing is done", &[]),
    (
        "a key is set twice",
        &[
            ("retention.ms", 0, Some("1")),
            ("retention.ms", 0, Some("2")),
        ],
    ),
    (
        "one of two keys is odd",
        &[
            ("max.message.bytes", 0, Some("5000")),
            ("odd", 0, Some("2")),
        ],
    ),
];

async fn incremental(peer: &mut Peer) -> Result<()> {
    let resource = |kind, name| vec![change(kind, name, &[("retention.ms", 0, Some("1"))])];
    let of_t = OPERATIONS.iter();
    let of_t = of_t.map(|(what, keys)| (*what, vec![change(TOPIC, "t", keys)]));
    let of_others = [
        ("a key of no topic is set", resource(TOPIC, "nowhere")),
        ("a key of an odd topic is set", resource(TOPIC, "a b")),
        ("a key of no broker is set", resource(BROKER, "77")),
        ("a key of an odd resource is set", resource(77, "x")),
        (
            "a topic is changed twice",
            [resource(TOPIC, "t"), resource(TOPIC, "t")].concat(),
        ),
    ];
    for (what, resources) in of_t.chain(of_others) {
        for (validate_only, how) in [(true, "tried"), (false, "done")] {
            let request = IncrementalAlterConfigsRequest {
                resources: resources.clone(),
                validate_only,
            };
            let what = format!("{what}, {how}");
            peer.ask(&what, request, i16::from(validate_only)).await?;
        }
        shown(peer, what).await?;
    }
    Ok(())
}

async fn whole(peer: &mut Peer) -> Result<()> {
    let resource = |kind, name: &'static str, keys: &[(&'static str, Option<&'static str>)]| {
        let configs = keys.iter().map(|(key, value)| Whole {
            name: (*key).into(),
            value: value.map(Into::into),
        });
        AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        }
    };
    for version in 0..=2 {
        for (what, kind, name, keys) in [
            (
                "two keys are set",
                TOPIC,
                "t",
                &[
                    ("retention.ms", Some("5")),
                    ("max.message.bytes", Some("6")),
                ][..],
            ),
            (
                "another is set",
                TOPIC,
                "t",
                &[("cleanup.policy", Some("compact"))],
            ),
            ("one of all is odd", TOPIC, "t", &[("odd", Some("5"))]),
            (
                "one of all is nothing",
                TOPIC,
                "t",
                &[("retention.ms", None)],
            ),
            ("nothing is set", TOPIC, "t", &[]),
            ("all keys of no topic", TOPIC, "nowhere", &[]),
            ("all keys of no broker", BROKER, "77", &[]),
            ("all keys of an odd resource", 77, "x", &[]),
        ] {
            for validate_only in [true, false] {
                let request = AlterConfigsRequest {
                    resources: vec![resource(kind, name, keys)],
                    validate_only,
                };
                peer.ask(what, request, version).await?;
            }
            shown(peer, what).await?;
        }
    }
    let answer = peer.answer(&describe(TOPIC, "t", None), 1).await?;
    peer.note(
        "keys in the end",
        named(first(&answer.results)?.error_code).to_owned(),
    );
    Ok(())
}
