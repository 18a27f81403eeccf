//! Generates `services/lib/kafka-codec/src/generated` from the message definitions in the jar of Kafka's
//! Java client, and the descriptor that the codec's tests read.
//!
//! The first argument is the jar, whose checksum is pinned here. Without another one the files are
//! written; with `--check` it only says whether they are as they should be.

mod definitions;
mod descriptor;
mod emit;
mod files;
mod model;
mod names;
mod versions;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::files::Files;

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let jar = arguments.next().context("the first argument is the jar")?;
    let check = match arguments.next() {
        None => false,
        Some(flag) if flag == "--check" => true,
        Some(other) => bail!("unknown argument `{}`", other.display()),
    };
    let jar = Path::new(&jar);
    let origin = jar.file_name().unwrap_or_default().display().to_string();
    let messages = model::build(&definitions::read(jar)?)?;

    let codec = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the generator lies in the folder of the codec")?;
    let mut code = Files::new();
    emit::all(&messages, &origin, &mut code)?;
    files::format(&mut code, &codec.join("../../../rustfmt.toml"))?;
    let mut tests = Files::new();
    tests.insert("schema.txt".into(), descriptor::render(&messages));

    for (folder, wanted) in [("src/generated", &code), ("tests/generated", &tests)] {
        let folder: PathBuf = codec.join(folder);
        if !check {
            files::write(&folder, wanted)?;
        } else if files::read(&folder)? != *wanted {
            bail!(
                "`{}` differs from the definitions: run `cargo xtask codegen` and commit it",
                folder.display()
            );
        }
    }
    Ok(())
}
