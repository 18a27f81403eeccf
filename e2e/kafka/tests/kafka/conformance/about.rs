//! Of what is served, of the cluster, and of who coordinates.

use anyhow::Result;
use tidelog_kafka_codec::ApiKey;
use tidelog_kafka_codec::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, FindCoordinatorRequest,
};

use super::peer::{Peer, named};

/// The features that brokers of Apache Kafka may have.
const FEATURES: &[&str] = &[
    "eligible.leader.replicas.version",
    "group.version",
    "kraft.version",
    "metadata.version",
    "share.version",
    "streams.version",
    "transaction.version",
];

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    versions(peer).await?;
    cluster(peer).await?;
    coordinators(peer).await
}

async fn versions(peer: &mut Peer) -> Result<()> {
    let software = |name: &'static str, version: &'static str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..Default::default()
    };
    for version in 0..=4 {
        let answer = peer.answer(&software("both", "1.0"), version).await?;
        peer.note(
            &format!("what is served v{version}"),
            named(answer.error_code).to_owned(),
        );
        if version == 4 {
            apis(peer, &answer);
        }
    }
    for (name, version) in [("", "1"), ("both", ""), ("a b", "1"), ("-a", "1.0-")] {
        let answer = peer.answer(&software(name, version), 3).await?;
        peer.note(
            &format!("what is served for {name:?} {version:?}"),
            named(answer.error_code).to_owned(),
        );
    }
    Ok(())
}

/// Notes each API and each feature.
fn apis(peer: &mut Peer, answer: &ApiVersionsResponse) {
    for key in ApiKey::ALL {
        let told = answer.api_keys.iter().find(|it| it.api_key == key.code());
        let text = told.map(|it| format!("{}-{}", it.min_version, it.max_version));
        peer.note(key.name(), text.unwrap_or_else(|| "not served".to_owned()));
    }
    for name in FEATURES {
        let known = answer.supported_features.iter();
        let known = known.filter(|it| it.name == *name);
        let known = known.map(|it| format!("{}-{}", it.min_version, it.max_version));
        let on = answer.finalized_features.iter();
        let on = on.filter(|it| it.name == *name);
        let on = on.map(|it| format!("at {}", it.max_version_level));
        let told: Vec<String> = known.chain(on).collect();
        peer.note(name, told.join(" "));
    }
}

async fn cluster(peer: &mut Peer) -> Result<()> {
    for version in 0..=2 {
        for is_with_operations in [false, true] {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: is_with_operations,
                ..Default::default()
            };
            let what = format!("the cluster, with operations {is_with_operations}");
            peer.ask(&what, request, version).await?;
        }
    }
    for endpoint_type in [2, 7] {
        let request = DescribeClusterRequest {
            endpoint_type,
            ..Default::default()
        };
        let what = format!("endpoints of the type {endpoint_type}");
        peer.ask(&what, request, 1).await?;
    }
    let request = DescribeClusterRequest {
        include_fenced_brokers: true,
        ..Default::default()
    };
    peer.ask("the cluster with fenced brokers", request, 2)
        .await?;
    Ok(())
}

async fn coordinators(peer: &mut Peer) -> Result<()> {
    for version in 0..=6 {
        for (what, key, key_type) in [
            ("the coordinator of a group", "g", 0),
            ("the coordinator of a transactional id", "x", 1),
            ("the coordinator of nothing", "", 0),
            ("the coordinator of no transactional id", "", 1),
            ("the coordinator of a share group", "s", 2),
            ("the coordinator of something odd", "g", 9),
        ] {
            if version == 0 && key_type != 0 {
                continue;
            }
            let is_many = version >= 4;
            let request = FindCoordinatorRequest {
                key: if is_many { "" } else { key }.into(),
                key_type,
                coordinator_keys: if is_many {
                    vec![key.into()]
                } else {
                    Vec::new()
                },
            };
            if key_type == 1 && key == "x" {
                // Kafka makes its topic of transactions first.
                peer.shows(what, &request, version, |answer| {
                    answer.error_code == 0
                        && answer.coordinators.iter().all(|it| it.error_code == 0)
                })
                .await?;
            }
            peer.ask(what, request, version).await?;
        }
    }
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["a".into(), "".into(), "a".into()],
        ..Default::default()
    };
    peer.ask("several coordinators", request, 6).await?;
    Ok(())
}
