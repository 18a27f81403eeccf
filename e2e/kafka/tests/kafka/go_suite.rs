//! The tests that franz-go is shipped with, all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_e2e_harness::{Cli, Tools};

use crate::support::World;

const LIMIT: Duration = Duration::from_mins(14);
/// Records that each chain of groups or transactions carries.
const RECORDS: &str = "20000";

/// Tests that must have run, so that a suite which leaves them out does not pass.
const MUST_RUN: [&str; 2] = ["TestGroupETL", "TestTxnEtl"];

/// What does not pass, and why.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "Test848RegexBrokerResolves",
        "it reads the records of `__consumer_offsets`, which is no log here",
    ),
    (
        "TestConsumeRegex",
        "it passes over `__consumer_offsets` in the list of all topics, which has no internal ones here",
    ),
];

/// How each test has ended, and what it has said.
fn read(printed: &str) -> BTreeMap<String, (String, String)> {
    let mut outcomes: BTreeMap<String, (String, String)> = BTreeMap::new();
    for event in printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let field = |name: &str| event.get(name).and_then(Value::as_str);
        let (Some(test), Some(what)) = (field("Test"), field("Action")) else {
            continue;
        };
        let outcome = outcomes.entry(test.to_owned()).or_default();
        match what {
            "output" => outcome.1 += field("Output").unwrap_or_default(),
            "pass" | "fail" | "skip" => what.clone_into(&mut outcome.0),
            _ => {}
        }
    }
    outcomes
}

#[tokio::test]
async fn all_that_passes_against_apache_kafka_passes() -> Result<()> {
    Tools::program("go")?;
    let world = World::on_folder(1).await?;
    let suite = Tools::repository()?.join("e2e/kafka/go/suite");
    let finished = Cli::script(&suite, &[&world.address(), RECORDS], LIMIT).await?;
    let outcomes = read(&finished.text());
    let with = |how: &str| -> Vec<&String> {
        let found = outcomes.iter().filter(|(_, outcome)| outcome.0 == how);
        found.map(|(test, _)| test).collect()
    };
    let passed = with("pass");
    ensure!(!outcomes.is_empty(), "no test has run: {finished:?}");
    // One that did not end is as good as failed.
    let mut wrong = String::new();
    for (test, (how, said)) in &outcomes {
        let is_listed = DIFFERENT.iter().any(|(name, _)| name == test);
        let expected = if is_listed {
            how == "fail"
        } else {
            how == "pass" || how == "skip"
        };
        if !expected {
            // Writing to a string cannot fail.
            let _ = writeln!(wrong, "{test}: {how}: {said}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    println!(
        "franz-go: {} passed, different: {DIFFERENT:?}, skipped: {:?}",
        passed.len(),
        with("skip")
    );
    for test in MUST_RUN {
        passed
            .iter()
            .find(|name| **name == test)
            .with_context(|| format!("{test} has not run"))?;
    }
    Ok(())
}
