//! How large a file may be, and what may lie at the top.

use super::{Finding, Tree};
use crate::tidy::source;

/// Past this a file is hard to hold in mind.
const LINES_WARN: usize = 400;
/// Past this it must be split.
const LINES_MAX: usize = 500;
/// Inline tests longer than this go into a file of their own.
const INLINE_TEST_LINES_MAX: usize = 250;

/// All that may lie at the top of the repository, besides dotfiles.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "docs",
    "e2e",
    "helm",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "services",
    "terraform",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = sizes(tree);
    findings.extend(top(tree));
    findings
}

fn sizes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_our_rust()) {
        let all = file.text.lines().count();
        let code = source::lines_without_tests(&file.text);
        if code > LINES_MAX {
            let what = format!("{code} lines of code; more than {LINES_MAX} must be split");
            findings.push(Finding::error(&file.path, what));
        } else if code > LINES_WARN {
            let what = format!("{code} lines of code; aim for less than {LINES_WARN}");
            findings.push(Finding::warning(&file.path, what));
        }
        if all - code > INLINE_TEST_LINES_MAX {
            let what = format!(
                "{} lines of inline tests; move them to `tests.rs`",
                all - code
            );
            findings.push(Finding::error(&file.path, what));
        }
    }
    findings
}

fn top(tree: &Tree) -> Vec<Finding> {
    let mut names: Vec<&str> = tree
        .paths
        .iter()
        .filter_map(|path| path.split('/').next())
        .collect();
    names.dedup();
    names
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(name))
        .map(|name| Finding::error(name, "does not belong at the top of the repository"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::File;

    fn tree(path: &str, text: String) -> Tree {
        Tree {
            paths: vec![path.to_owned()],
            files: vec![File::new(path, text)],
        }
    }

    #[test]
    fn a_file_is_measured_without_its_inline_tests() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert!(!check(&tree("services/a.rs", long.clone()))[0].warning);
        assert!(check(&tree("services/a.rs", "x\n".repeat(LINES_WARN + 1)))[0].warning);
        let tested = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "x\n".repeat(LINES_WARN),
            "y\n".repeat(200)
        );
        assert_eq!(check(&tree("services/a.rs", tested)), []);
        assert_eq!(check(&tree("services/generated/a.rs", long)), []);
    }

    #[test]
    fn only_the_agreed_names_lie_at_the_top() {
        assert_eq!(
            check(&tree("scripts/run.sh", String::new()))[0].place,
            "scripts"
        );
        assert_eq!(check(&tree(".ci/run", String::new())), []);
    }
}
