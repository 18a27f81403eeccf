//! Generates `services/lib/api/src/gen` from `proto/`.
//!
//! Without arguments it writes the files; with `--check` it only says whether they are as they should be.
//! It is the one place that needs `protoc`: everybody else builds from the files checked in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// The files that hold services or messages, below `proto/`.
const PROTO_FOLDER: &str = "tidelog/v1";

/// The file descriptor set, for reflection.
const DESCRIPTOR_FILE: &str = "tidelog.bin";

fn main() -> Result<()> {
    let check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("unknown argument `{other}`, only `--check` is known"),
    };
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let proto = api
        .join("../../../proto")
        .canonicalize()
        .context("`proto` is not there")?;
    let target = api.join("src/gen");

    let staging = tempfile::tempdir()?;
    generate(&proto, staging.path())?;
    let wanted = read_folder(staging.path())?;
    if check {
        compare(&target, &wanted)
    } else {
        write(&target, &wanted)
    }
}

/// Runs `protoc` and the generators into `out`.
fn generate(proto: &Path, out: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(proto.join(PROTO_FOLDER))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "proto"));
    files.sort();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .out_dir(out)
        .file_descriptor_set_path(out.join(DESCRIPTOR_FILE))
        .emit_rerun_if_changed(false)
        .compile_protos(&files, &[proto.to_path_buf()])
        .context("`protoc` failed; is it installed?")
}

/// All files of a folder by name.
fn read_folder(folder: &Path) -> Result<BTreeMap<OsString, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?
    {
        let entry = entry?;
        files.insert(entry.file_name(), fs::read(entry.path())?);
    }
    Ok(files)
}

fn compare(target: &Path, wanted: &BTreeMap<OsString, Vec<u8>>) -> Result<()> {
    if read_folder(target)? == *wanted {
        return Ok(());
    }
    bail!("generated code differs from `proto`: run `cargo xtask codegen` and commit the result")
}

fn write(target: &Path, wanted: &BTreeMap<OsString, Vec<u8>>) -> Result<()> {
    fs::create_dir_all(target)?;
    for name in read_folder(target)?
        .keys()
        .filter(|name| !wanted.contains_key(*name))
    {
        fs::remove_file(target.join(name))?;
    }
    for (name, content) in wanted {
        fs::write(target.join(name), content)?;
    }
    Ok(())
}
