//! Who may use whom. A crate that is not in the table fails, so a new one begins with a decision.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::process;
use crate::root::Workspace;

/// A crate and the crates of ours that it may use, lowest layer first.
const LAYERS: &[(&str, &[&str])] = &[
    // Pure: domain words, bytes and wire types.
    ("types", &[]),
    ("crc32c", &[]),
    ("format", &["types", "crc32c"]),
    ("api", &["types"]),
    ("api-codegen", &[]),
    ("kafka-codec", &[]),
    ("kafka-codec-codegen", &[]),
    // Arithmetic about money; what it says of the engine is held against the engine by tests.
    ("cost", &[]),
    // The allocator of the process, which only the server tunes.
    ("heap", &[]),
    // Effects come in through env, and only there.
    ("env", &["types"]),
    ("blob", &["types", "crc32c", "env"]),
    ("blob-admin", &["types", "env", "blob"]),
    ("store", &["types", "env"]),
    ("cache", &["types", "crc32c", "env", "blob"]),
    // Which store it is, only the server knows.
    ("store-embedded", &["types", "env", "store", "blob"]),
    ("store-fdb", &["types", "env", "store"]),
    // The seam between broker and metadata, so that the engine never names a store.
    ("metadata-api", &["types", "env", "format"]),
    // Coordinators without I/O: whoever drives them has the store and the time.
    ("groups", &["types", "env"]),
    ("transactions", &["types", "env", "metadata-api"]),
    (
        "metadata",
        &[
            "types",
            "crc32c",
            "env",
            "format",
            "blob",
            "store",
            "metadata-api",
            "groups",
            "transactions",
        ],
    ),
    // The same seam between processes; which store is behind it, it does not know.
    (
        "metadata-rpc",
        &["types", "env", "format", "api", "metadata-api"],
    ),
    ("runtime", &["types", "env"]),
    // The engine knows neither gRPC nor Kafka; the front ends know no store and no bucket.
    (
        "broker-engine",
        &[
            "types",
            "crc32c",
            "env",
            "format",
            "blob",
            "cache",
            "metadata-api",
        ],
    ),
    // Only tests of the front ends use it.
    (
        "broker-testing",
        &[
            "types",
            "env",
            "blob",
            "cache",
            "store",
            "runtime",
            "metadata-api",
            "metadata",
            "broker-engine",
        ],
    ),
    (
        "broker-grpc",
        &[
            "types",
            "env",
            "format",
            "api",
            "runtime",
            "metadata-api",
            "broker-engine",
        ],
    ),
    (
        "broker-kafka",
        &[
            "types",
            "env",
            "format",
            "kafka-codec",
            "runtime",
            "metadata-api",
            "broker-engine",
        ],
    ),
    // It knows no store: metadata says what there is to do, and the server what backups need.
    (
        "janitor",
        &["types", "env", "format", "blob", "cache", "metadata-api"],
    ),
    ("client", &["types", "env", "format", "api"]),
    // It knows no broker, and brokers know it as somebody near who has pages.
    (
        "reader",
        &[
            "types",
            "crc32c",
            "env",
            "api",
            "blob",
            "cache",
            "metadata-api",
        ],
    ),
];

/// These stand on top and may use everything below them.
const TOP: &[&str] = &[
    "server",
    "e2e-harness",
    "e2e-log",
    "e2e-cluster",
    "e2e-kafka",
    "e2e-bench",
];

/// Tests that start servers of others do it with the harness, which uses nothing of the crate itself.
const HARNESS: &str = "e2e-harness";
const STARTS_SERVERS: &[&str] = &["store-fdb"];

/// Crates of others that a layer must not name: they would let its words leak.
const FOREIGN: &[(&str, &[&str])] = &[
    ("types", &["tokio", "tonic", "object_store", "slatedb"]),
    ("format", &["tokio", "tonic", "object_store", "slatedb"]),
    ("kafka-codec", &["tokio", "tonic", "kafka-protocol"]),
    ("env", &["tonic", "object_store", "slatedb"]),
    ("groups", &["tokio", "tonic", "object_store", "slatedb"]),
    (
        "transactions",
        &["tokio", "tonic", "object_store", "slatedb"],
    ),
    ("store", &["tonic", "slatedb", "object_store"]),
    ("metadata-api", &["tonic", "slatedb", "object_store"]),
    (
        "metadata",
        &["tonic", "prost", "slatedb", "object_store", "aws-sdk-s3"],
    ),
    (
        "broker-engine",
        &["tonic", "prost", "axum", "slatedb", "aws-sdk-s3"],
    ),
    ("broker-grpc", &["slatedb", "object_store", "aws-sdk-s3"]),
    (
        "broker-kafka",
        &[
            "tonic",
            "prost",
            "kafka-protocol",
            "slatedb",
            "object_store",
            "aws-sdk-s3",
        ],
    ),
    ("janitor", &["tonic", "prost", "slatedb", "aws-sdk-s3"]),
    ("client", &["object_store", "slatedb"]),
];

/// What `cargo metadata` says of a crate, as far as we care.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for the usual kind.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let text = process::output(&mut workspace.cargo([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--offline",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read what `cargo metadata` says")?;
    Ok(metadata.packages.iter().flat_map(of_package).collect())
}

fn of_package(package: &Package) -> Vec<Finding> {
    let Some(name) = package.name.strip_prefix("tidelog-") else {
        return outside(package);
    };
    let table: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let Some(allowed) = table.get(name) else {
        if TOP.contains(&name) {
            return Vec::new();
        }
        let what = "is in no layer: add it to the table in `services/xtask/src/tidy/layers.rs`";
        return vec![Finding::error(&package.name, what)];
    };
    let foreign = FOREIGN
        .iter()
        .find(|(of, _)| *of == name)
        .map_or(&[][..], |(_, banned)| banned);
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let dev = dependency.kind.as_deref() == Some("dev");
        let fault = match dependency.name.strip_prefix("tidelog-") {
            // A test may use what a crate may not, but nothing that stands on top of it.
            Some(HARNESS) if dev => !STARTS_SERVERS.contains(&name),
            Some(other) if dev => TOP.contains(&other),
            Some(other) => other != name && !allowed.contains(&other),
            None => !dev && foreign.contains(&dependency.name.as_str()),
        };
        if fault {
            let what = format!(
                "must not use `{}`: the layers point one way",
                dependency.name
            );
            findings.push(Finding::error(&package.name, what));
        }
    }
    findings
}

/// Crates that are not named `tidelog-...` are tools, and tools use nothing of the product.
fn outside(package: &Package) -> Vec<Finding> {
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            dependency.name.starts_with("tidelog-") && !package.name.ends_with("-fuzz")
        })
        .map(|dependency| {
            let what = format!("is a tool and must not use `{}`", dependency.name);
            Finding::error(&package.name, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package {
            name: name.to_owned(),
            dependencies,
        }
    }

    #[test]
    fn a_layer_uses_what_is_below_it_and_nothing_above() {
        assert_eq!(
            of_package(&package("tidelog-blob", &[("tidelog-env", None)])),
            []
        );
        assert_eq!(
            of_package(&package("tidelog-env", &[("tidelog-blob", None)])).len(),
            1
        );
        assert_eq!(
            of_package(&package(
                "tidelog-store",
                &[("tidelog-server", Some("dev"))]
            ))
            .len(),
            1
        );
    }

    #[test]
    fn the_engine_names_no_network_protocol() {
        assert_eq!(
            of_package(&package("tidelog-broker-engine", &[("tonic", None)])).len(),
            1
        );
        assert_eq!(
            of_package(&package("tidelog-broker-engine", &[("bytes", None)])),
            []
        );
    }

    #[test]
    fn a_crate_without_a_layer_and_a_tool_that_uses_the_product_are_found() {
        assert_eq!(of_package(&package("tidelog-surprise", &[])).len(), 1);
        assert_eq!(
            of_package(&package("xtask", &[("tidelog-types", None)])).len(),
            1
        );
    }

    #[test]
    fn the_table_itself_points_one_way() {
        for (index, (name, allowed)) in LAYERS.iter().enumerate() {
            for other in *allowed {
                let place = LAYERS.iter().position(|(known, _)| known == other);
                assert!(
                    place.is_some_and(|place| place < index),
                    "`{name}` uses `{other}`"
                );
            }
        }
    }
}
