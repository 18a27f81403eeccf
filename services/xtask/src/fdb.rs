//! `FoundationDB` on this machine: its server, for the tests, and its client's library, to link them.
//!
//! Both are looked for in the folders that `TIDELOG_FDB_DIR` names (and in `bin`, `sbin` and `lib` of
//! them), then on `PATH` and where the linker looks by itself. Nothing is fetched: there is no package that
//! every machine could take it from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::root::Workspace;
use crate::tools;

const FOLDERS: &str = "TIDELOG_FDB_DIR";
const PROGRAMS: &[&str] = &["fdbserver", "fdbcli"];
const LIBRARIES: &[&str] = &["libfdb_c.so", "libfdb_c.dylib"];
/// The features that link the library or test with it, as a build of the whole workspace takes them.
pub(crate) const TEST_FEATURES: &str = "tidelog-store-fdb/client,tidelog-e2e-cluster/fdb";
/// The feature of the server, as a build of it takes it.
pub(crate) const SERVER_FEATURES: &str = "fdb";
/// The feature of the load generator, as a build of it takes it.
pub(crate) const BENCH_FEATURES: &str = "tidelog-e2e-bench/fdb";

/// An installation that can build and run everything that needs it.
#[derive(Debug)]
pub(crate) struct Fdb {
    /// The folder of the library.
    library: PathBuf,
}

impl Fdb {
    /// Finds it, or says what is missing.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self, String> {
        let named = std::env::var_os(FOLDERS).unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&named)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        for program in PROGRAMS {
            if tools::on_path(program).is_none() && !is_in(&folders, &["", "bin", "sbin"], program)
            {
                return Err(missing(program));
            }
        }
        let library = of_folders(&folders).or_else(|| of_linker(workspace));
        let library = library.ok_or_else(|| missing("libfdb_c"))?;
        Ok(Self { library })
    }

    /// Lets cargo build what links the library, and lets what it has built find it.
    pub(crate) fn apply(&self, command: &mut Command, features: &str) {
        command.args(["--features", features]);
        self.link(command);
    }

    /// Lets what was built with the library find it.
    pub(crate) fn link(&self, command: &mut Command) {
        for variable in ["LIBRARY_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            command.env(variable, prepended(variable, &self.library));
        }
    }
}

fn missing(what: &str) -> String {
    format!(
        "the tests on FoundationDB were LEFT OUT: there is no `{what}` here; install FoundationDB 7.3, server \
         and clients, or name its folders in `{FOLDERS}`"
    )
}

fn is_in(folders: &[PathBuf], parts: &[&str], name: &str) -> bool {
    let mut files = folders
        .iter()
        .flat_map(|folder| parts.iter().map(move |part| folder.join(part).join(name)));
    files.any(|file| file.is_file())
}

/// The folder of the library among those that are named.
fn of_folders(folders: &[PathBuf]) -> Option<PathBuf> {
    let candidates = folders
        .iter()
        .flat_map(|folder| ["", "lib", "lib64"].map(|part| folder.join(part)));
    candidates.into_iter().find(|folder| has_library(folder))
}

fn has_library(folder: &Path) -> bool {
    LIBRARIES.iter().any(|name| folder.join(name).is_file())
}

/// The folder in which the system's linker finds the library. The one that rustc uses may know fewer
/// folders, which is why the answer is handed to it.
fn of_linker(workspace: &Workspace) -> Option<PathBuf> {
    let source = workspace.cache.join("fdb-probe.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").ok()?;
    let output = workspace
        .command("cc")
        .arg(&source)
        .arg("-o")
        .arg(workspace.cache.join("fdb-probe"))
        .args(["-lfdb_c", "-Wl,-t"])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    library_of_trace(&String::from_utf8_lossy(&output.stdout))
}

/// The folder of the library in a linker's list of the files that it has read.
fn library_of_trace(trace: &str) -> Option<PathBuf> {
    let files = trace.split_whitespace().map(Path::new);
    let is_library = |file: &&Path| {
        let name = file.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| LIBRARIES.contains(&name))
    };
    files
        .filter(is_library)
        .find_map(Path::parent)
        .map(Path::to_owned)
}

fn prepended(variable: &str, folder: &Path) -> OsString {
    let mut folders = vec![folder.to_owned()];
    if let Some(others) = std::env::var_os(variable) {
        folders.extend(std::env::split_paths(&others));
    }
    // A folder with a separator in its name cannot be handed on; then the linker says that it is missing.
    std::env::join_paths(folders).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_where_the_linker_has_read_it() {
        let trace = "/lib/crt1.o\n/some/where/libfdb_c.so\n/lib/libc.so.6\n";
        assert_eq!(library_of_trace(trace), Some(PathBuf::from("/some/where")));
        assert_eq!(
            library_of_trace("/lib/libfdb_c_other.so /lib/libc.so.6"),
            None
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("fdbserver").contains("`fdbserver`"));
    }
}
