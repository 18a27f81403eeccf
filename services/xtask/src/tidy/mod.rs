//! What lints cannot say, checked over every file that git knows.
//!
//! Each check is a function from [`Tree`] to findings, so that its tests need no repository. A file under
//! a folder named `generated`, or whose first lines say `@generated`, is read by no check of our code.

mod files;
mod layers;
mod links;
mod lints;
mod messages;
mod modules;
mod source;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::root::Workspace;

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the repository's root, with `/`.
    path: String,
    /// What is in it.
    text: String,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    fn is_generated(&self) -> bool {
        self.path.split('/').any(|part| part == "generated")
            || self
                .text
                .lines()
                .take(3)
                .any(|line| line.contains("@generated"))
    }

    /// Rust that a person wrote.
    fn is_our_rust(&self) -> bool {
        self.is_rust() && !self.is_generated()
    }
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Where: a path, with a line where there is one.
    place: String,
    /// What is wrong and what to do.
    what: String,
    /// Whether it only warns.
    warning: bool,
}

impl Finding {
    fn error(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            warning: false,
        }
    }

    fn warning(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            warning: true,
        }
    }

    fn at(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self::error(format!("{}:{line}", file.path), what)
    }
}

/// The whole repository as the checks see it.
struct Tree {
    /// Every path, text or not.
    paths: Vec<String>,
    /// The text files among them.
    files: Vec<File>,
}

/// Runs all checks; prints what they find and fails if one of it is more than a warning.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tree = read(workspace)?;
    let mut findings = layers::check(workspace)?;
    findings.extend(files::check(&tree));
    findings.extend(words::check(&tree, &machine_words(workspace)));
    findings.extend(messages::check(&tree));
    findings.extend(modules::check(&tree));
    findings.extend(links::check(&tree));
    findings.extend(lints::check(&tree));
    findings.sort_by(|a, b| (a.warning, &a.place).cmp(&(b.warning, &b.place)));
    for finding in &findings {
        let kind = if finding.warning { "warning" } else { "error" };
        println!("{kind}: {}: {}", finding.place, finding.what);
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    if errors > 0 {
        bail!("tidy found {errors} errors");
    }
    println!("tidy: {} files are as they should be", tree.paths.len());
    Ok(())
}

/// Folders of this machine: a path that only exists here must not be written into the repository.
fn machine_words(workspace: &Workspace) -> Vec<String> {
    let mut words = vec![workspace.root.display().to_string()];
    if let Some(parent) = workspace.root.parent() {
        words.push(parent.display().to_string());
    }
    words.retain(|word| word.len() > 3 && word != "/usr/src");
    words
}

fn read(workspace: &Workspace) -> Result<Tree> {
    let mut paths = Vec::new();
    let mut files = Vec::new();
    for path in workspace.files()? {
        let name = slashed(&path);
        let bytes = std::fs::read(workspace.root.join(&path))
            .with_context(|| format!("cannot read `{name}`"))?;
        paths.push(name.clone());
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File::new(name, text));
        }
    }
    Ok(Tree { paths, files })
}

fn slashed(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

fn has_extension(path: &str, extension: &str) -> bool {
    PathBuf::from(path)
        .extension()
        .is_some_and(|found| found == extension)
}
