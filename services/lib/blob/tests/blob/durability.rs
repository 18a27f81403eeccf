//! What is answered is on the disk: seen from outside, in the system calls.
//!
//! The test runs itself again under `strace`: the child puts one object and then writes a word to its
//! standard output, and the parent reads from the trace that everything was flushed before that word. Where
//! there is no `strace`, the test says so and ends.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path as FsPath, PathBuf};
use std::process::Command;

use tidelog_blob::local::LocalStore;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{ObjectStore as _, PutMode, PutOptions, PutPayload};

/// Where the child finds the folder to write to; also what makes it the child.
const FOLDER: &str = "TIDELOG_TEST_FOLDER";
/// Whether the child creates or overwrites.
const MODE: &str = "TIDELOG_TEST_MODE";
const OBJECT: &str = "cluster/seg/ab/0001/0002";
const ANSWERED: &str = "the-put-has-its-answer";

/// Not a test of its own: what the child runs.
#[tokio::test]
async fn child_puts_one_object_and_says_when_it_was_answered() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let store = LocalStore::open(FsPath::new(&folder)).unwrap();
    let mode = match env::var(MODE).as_deref() {
        Ok("create") => PutMode::Create,
        _ => PutMode::Overwrite,
    };
    let body = PutPayload::from_static(b"durable");
    store
        .put_opts(&Path::from(OBJECT), body, PutOptions::from(mode))
        .await
        .unwrap();
    let mut out = io::stdout();
    out.write_all(ANSWERED.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The system calls of one put, in their order, one a line; calls that were interleaved are joined.
fn trace(folder: &FsPath, mode: &str) -> Option<Vec<String>> {
    let strace = env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("strace"))
        .find(|program| program.is_file())?;
    let log = folder.with_extension("strace");
    let calls =
        "trace=openat,mkdir,mkdirat,link,linkat,rename,renameat,renameat2,fsync,fdatasync,write";
    let status = Command::new(strace)
        .args(["-f", "-y", "-s", "200", "-e", calls, "-o"])
        .arg(&log)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("durability::child_puts_one_object_and_says_when_it_was_answered")
        .env(FOLDER, folder)
        .env(MODE, mode)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    let text = std::fs::read_to_string(log).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// The first line from `from` on that has all these parts and is the end of its call.
fn find(lines: &[String], from: usize, parts: &[&str]) -> usize {
    let found = lines
        .iter()
        .enumerate()
        .skip(from)
        .find(|(_, line)| parts.iter().all(|part| line.contains(part)));
    let Some((at, line)) = found else {
        panic!(
            "nothing with {parts:?} after line {from} of\n{}",
            lines.join("\n")
        );
    };
    if !line.contains("<unfinished") {
        return at;
    }
    // The call ends where the same thread resumes it.
    let thread = line.split_whitespace().next().unwrap_or_default();
    let resumed = lines
        .iter()
        .enumerate()
        .skip(at)
        .find(|(_, line)| line.starts_with(thread) && line.contains("resumed>"));
    resumed
        .map(|(at, _)| at)
        .expect("an unfinished call is resumed")
}

fn flushes_before_it_answers(mode: &str, publish: &str) {
    let dir = tempfile::tempdir().unwrap();
    let folder = PathBuf::from(dir.path()).join("bucket");
    let Some(lines) = trace(&folder, mode) else {
        eprintln!("no `strace` on the path, so nothing was seen");
        return;
    };
    let object = folder.join(OBJECT);
    let parent = object.parent().unwrap().to_owned();
    let synced = |path: &FsPath| format!("<{}>)", path.display());
    let object_text = object.display().to_string();
    let answer = find(&lines, 0, &["write(1", ANSWERED]);

    let file = find(&lines, 0, &["fsync(", &format!("<{object_text}#")]);
    let published = find(&lines, file, &[publish, &object_text]);
    let listed = find(&lines, published, &["fsync(", &synced(&parent)]);
    assert!(listed < answer, "the folder was flushed after the answer");

    // The way down to the new folder: the parent of each is flushed after it was made.
    for new in parent
        .ancestors()
        .take_while(|path| path.starts_with(&folder))
    {
        let created = find(&lines, 0, &["mkdir", &format!("\"{}\"", new.display())]);
        let flushed = find(&lines, created, &["fsync(", &synced(new.parent().unwrap())]);
        assert!(
            flushed < answer,
            "`{}` was flushed after the answer",
            new.display()
        );
    }
}

#[test]
fn a_create_is_flushed_linked_and_flushed_before_it_is_answered() {
    flushes_before_it_answers("create", "link");
}

#[test]
fn an_overwrite_is_flushed_renamed_and_flushed_before_it_is_answered() {
    flushes_before_it_answers("overwrite", "rename");
}
