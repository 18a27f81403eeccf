//! Generates `services/lib/api/src/gen` and `docs/reference/grpc.md` from `proto/`.
//!
//! Without arguments it writes the files; with `--check` it only says whether they are as they should be.
//! It is the one place that needs `protoc`: everybody else builds from the files checked in.

mod reference;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// A package: the folder below `proto/` that holds its files, and the file of its descriptors.
struct Package {
    folder: &'static str,
    descriptors: &'static str,
}

/// What clients see: its descriptors are for reflection, and the page for people shows it.
const PUBLIC: Package = Package {
    folder: "tidelog/v1",
    descriptors: "tidelog.bin",
};

/// What members of a cluster say to each other; in neither of the two.
const INTERNAL: Package = Package {
    folder: "tidelog/internal/v1",
    descriptors: "tidelog.internal.bin",
};

/// The page for people.
const PAGE_FILE: &str = "grpc.md";

fn main() -> Result<()> {
    let check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("unknown argument `{other}`, only `--check` is known"),
    };
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = api
        .join("../../..")
        .canonicalize()
        .context("the repository is not there")?;

    let staging = tempfile::tempdir()?;
    for package in [PUBLIC, INTERNAL] {
        generate(&root.join("proto"), &package, staging.path())?;
    }
    let code = read_folder(staging.path())?;
    let descriptors = code
        .get(OsStr::new(PUBLIC.descriptors))
        .context("no descriptors were made")?;
    let page = BTreeMap::from([(
        PAGE_FILE.into(),
        reference::render(descriptors)?.into_bytes(),
    )]);

    let folder = api.join("src/gen");
    let docs = root.join("docs/reference");
    if check {
        let found = fs::read(docs.join(PAGE_FILE)).unwrap_or_default();
        let same = read_folder(&folder)? == code && page.values().all(|wanted| *wanted == found);
        if !same {
            bail!("generated files differ from `proto`: run `cargo xtask codegen` and commit them");
        }
        return Ok(());
    }
    remove_others(&folder, &code)?;
    write(&folder, &code)?;
    write(&docs, &page)
}

/// Runs `protoc` and the generators of one package into `out`.
fn generate(proto: &Path, package: &Package, out: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(proto.join(package.folder))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "proto"));
    files.sort();
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::BoundedCodec")
        .out_dir(out)
        .file_descriptor_set_path(out.join(package.descriptors))
        .emit_rerun_if_changed(false)
        .compile_with_config(config, &files, &[proto.to_path_buf()])
        .context("`protoc` failed; is it installed?")
}

/// All files of a folder by name.
fn read_folder(folder: &Path) -> Result<Files> {
    let mut files = BTreeMap::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?
    {
        let entry = entry?;
        files.insert(entry.file_name(), fs::read(entry.path())?);
    }
    Ok(files)
}

/// Files of a folder by name.
type Files = BTreeMap<OsString, Vec<u8>>;

/// Removes what is no longer generated.
fn remove_others(folder: &Path, wanted: &Files) -> Result<()> {
    fs::create_dir_all(folder)?;
    for name in read_folder(folder)?
        .keys()
        .filter(|name| !wanted.contains_key(*name))
    {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

fn write(folder: &Path, wanted: &Files) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in wanted {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
