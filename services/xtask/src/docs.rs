//! `cargo xtask docs`: the reference pages, written by the binary that they describe.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::root::Workspace;

/// The pages of `docs/reference/`; each is what `tidelog reference NAME` prints.
const PAGES: &[&str] = &["settings", "cli", "metrics"];

/// Writes the pages, or with `check` fails if what is checked in differs.
pub(crate) fn run(workspace: &Workspace, check: bool) -> Result<()> {
    let folder = workspace.root.join("docs/reference");
    fs::create_dir_all(&folder)?;
    let mut stale = Vec::new();
    for page in PAGES {
        let text = process::output(
            workspace
                .cargo(["run", "--quiet", "-p", "tidelog-server", "--", "reference"])
                .arg(page),
        )?;
        let path = folder.join(format!("{page}.md"));
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(format!("docs/reference/{page}.md"));
        } else {
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
            println!("wrote docs/reference/{page}.md");
        }
    }
    if !stale.is_empty() {
        bail!(
            "out of date: {}; run `cargo xtask docs` and commit",
            stale.join(", ")
        );
    }
    println!("docs: {} reference pages are up to date", PAGES.len());
    Ok(())
}
