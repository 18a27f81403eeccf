//! `cargo xtask test`: all that CI runs, in steps that can be run alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::fdb::{BENCH_FEATURES, Fdb, SERVER_FEATURES, TEST_FEATURES};
use crate::root::Workspace;
use crate::{codegen, docs, process, tidy, tools};

/// The server under test, in the folder of builds, and the one that can keep metadata on `FoundationDB`.
const SERVER: &str = "debug/tidelog";
const SERVER_FDB: &str = "debug/tidelog-fdb";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Leave these parts out.
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Part>,
    /// A filter for the tests' names, as nextest's filter sets take it.
    #[arg(long, short = 'E')]
    filter: Option<String>,
}

/// A part of the whole, in the order in which they run: quick and strict first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Tools that the other parts need.
    Tools,
    /// `cargo fmt --check`.
    Fmt,
    /// What lints cannot say.
    Tidy,
    /// Licences, bans and sources of dependencies.
    Deny,
    /// Clippy over all targets, warnings denied.
    Clippy,
    /// Generated code equals what is checked in.
    Codegen,
    /// Generated reference pages equal what is checked in.
    Docs,
    /// Unit, property and crate tests.
    Unit,
    /// Examples in the documentation.
    Doctest,
    /// End-to-end scenarios with real processes, an S3 server and clients of other languages.
    E2e,
}

/// How a part ended.
enum Outcome {
    Passed,
    /// It did what it could; the text says what was left out and why.
    Partly(String),
    Failed(String),
    Skipped(&'static str),
}

struct Report {
    part: Part,
    outcome: Outcome,
    took: Duration,
}

/// Runs the chosen parts, all of them even after one has failed, and sums up at the end.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    std::fs::create_dir_all(&workspace.cache)
        .with_context(|| format!("cannot make `{}`", workspace.cache.display()))?;
    let mut reports = Vec::new();
    for part in Part::value_variants() {
        reports.push(run_part(workspace, options, *part));
    }
    Ok(summary(&reports))
}

fn run_part(workspace: &Workspace, options: &Options, part: Part) -> Report {
    let start = Instant::now();
    let outcome = if options.skip.contains(&part) {
        Outcome::Skipped("left out by --skip")
    } else if !options.only.is_empty() && !options.only.contains(&part) {
        Outcome::Skipped("not chosen by --only")
    } else {
        println!("\n=== {} {}", name(part), "=".repeat(60 - name(part).len()));
        perform(workspace, options, part)
            .unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    };
    let took = start.elapsed();
    match &outcome {
        Outcome::Skipped(_) => {}
        Outcome::Failed(why) => println!(
            "--- {} FAILED after {:.1} s: {why}",
            name(part),
            took.as_secs_f64()
        ),
        Outcome::Passed | Outcome::Partly(_) => {
            println!("--- {} passed in {:.1} s", name(part), took.as_secs_f64());
        }
    }
    Report {
        part,
        outcome,
        took,
    }
}

fn perform(workspace: &Workspace, options: &Options, part: Part) -> Result<Outcome> {
    match part {
        Part::Tools => ensure_tools(workspace),
        Part::Fmt => passed(process::run(
            &mut workspace.cargo(["fmt", "--all", "--check"]),
        )),
        Part::Tidy => passed(tidy::run(workspace)),
        Part::Deny => check_dependencies(workspace),
        Part::Clippy => passed(lint(workspace)),
        Part::Codegen => passed(codegen::run(workspace, true)),
        Part::Docs => passed(docs::run(workspace, true)),
        Part::Unit => nextest(workspace, options, "not package(/^tidelog-e2e/)"),
        Part::Doctest => passed(process::run(&mut workspace.cargo([
            "test",
            "--doc",
            "--workspace",
            "--locked",
        ]))),
        Part::E2e => end_to_end(workspace, options),
    }
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

/// What links the client of `FoundationDB` is linted too, on every machine: that needs no library.
fn lint(workspace: &Workspace) -> Result<()> {
    let everything = ["--workspace"];
    let fdb = ["-p", "tidelog-store-fdb", "--features", "client"];
    let server = ["-p", "tidelog-server", "--features", SERVER_FEATURES];
    let suites = [
        "-p",
        "tidelog-e2e-cluster",
        "-p",
        "tidelog-e2e-kafka",
        "--features",
        "tidelog-e2e-cluster/fdb,tidelog-e2e-kafka/fdb",
    ];
    let bench = ["-p", "tidelog-e2e-bench", "--features", BENCH_FEATURES];
    for packages in [
        &everything[..],
        &fdb[..],
        &server[..],
        &suites[..],
        &bench[..],
    ] {
        process::run(
            workspace
                .cargo(["clippy", "--all-targets", "--locked"])
                .args(packages)
                .args(["--", "-D", "warnings"]),
        )?;
    }
    Ok(())
}

fn ensure_tools(workspace: &Workspace) -> Result<Outcome> {
    tools::debian(workspace)?;
    tools::nextest(workspace)?;
    tools::deny(workspace)?;
    tools::minio(workspace)?;
    tools::kafka_clients(workspace)?;
    Ok(Outcome::Passed)
}

/// Licences, bans and sources come with the crates. Advisories come from a database that not every place
/// can fetch: without it they are left out, and that is said.
fn check_dependencies(workspace: &Workspace) -> Result<Outcome> {
    let deny = tools::deny(workspace)?;
    process::run(workspace.command(&deny).args([
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))?;
    let database = process::succeeds(workspace.command(&deny).args(["fetch", "db"]));
    if !database {
        return Ok(Outcome::Partly(
            "advisories were not checked: their database cannot be fetched from here".to_owned(),
        ));
    }
    passed(process::run(
        workspace.command(&deny).args(["check", "advisories"]),
    ))
}

fn end_to_end(workspace: &Workspace, options: &Options) -> Result<Outcome> {
    tools::minio(workspace)?;
    let build = ["build", "-p", "tidelog-server", "--locked"];
    if let Ok(fdb) = Fdb::find(workspace) {
        let mut command = workspace.cargo(build);
        fdb.apply(&mut command, SERVER_FEATURES);
        process::run(&mut command)?;
        // The artefact without it, which is built next, takes the same name.
        std::fs::copy(
            workspace.target.join(SERVER),
            workspace.target.join(SERVER_FDB),
        )
        .context("the server with FoundationDB cannot be kept")?;
    }
    process::run(&mut workspace.cargo(build))?;
    nextest(workspace, options, "package(/^tidelog-e2e/)")
}

fn nextest(workspace: &Workspace, options: &Options, packages: &str) -> Result<Outcome> {
    let nextest: PathBuf = tools::nextest(workspace)?;
    let filter = match &options.filter {
        Some(filter) => format!("({packages}) and ({filter})"),
        None => packages.to_owned(),
    };
    let mut command = workspace.command(nextest);
    command
        .args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "-E",
            &filter,
        ])
        .env("TIDELOG_TOOLS", workspace.tools())
        .env("TIDELOG_CACHE", &workspace.cache)
        .env("TIDELOG_BIN", workspace.target.join(SERVER))
        .env("TIDELOG_BIN_FDB", workspace.target.join(SERVER_FDB));
    if std::env::var_os("CI").is_some() {
        command.args(["--profile", "ci"]);
    }
    let fdb = Fdb::find(workspace);
    if let Ok(fdb) = &fdb {
        fdb.apply(&mut command, TEST_FEATURES);
    }
    process::run(&mut command)?;
    Ok(match fdb {
        Ok(_) => Outcome::Passed,
        Err(missing) => Outcome::Partly(missing),
    })
}

fn name(part: Part) -> String {
    part.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

fn summary(reports: &[Report]) -> ExitCode {
    println!("\n=== summary {}", "=".repeat(53));
    let mut failed = 0;
    for report in reports {
        let name = name(report.part);
        let seconds = report.took.as_secs_f64();
        match &report.outcome {
            Outcome::Passed => println!("  passed   {name:<8} {seconds:>7.1} s"),
            Outcome::Partly(what) => println!("  passed   {name:<8} {seconds:>7.1} s   but {what}"),
            Outcome::Skipped(why) => println!("  skipped  {name:<8}             {why}"),
            Outcome::Failed(why) => {
                failed += 1;
                println!("  FAILED   {name:<8} {seconds:>7.1} s   {why}");
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failed} parts failed");
        ExitCode::FAILURE
    }
}
