//! Every crate has the workspace's lints. One that must make an exception of the rule against unsafe code
//! cannot inherit them, since a forbidden lint takes none: its copy is compared here.

use super::{Finding, Tree};

/// Crates that deny unsafe code instead of forbidding it, so that one call can be expected to be unsafe.
const DENY_UNSAFE: &[&str] = &[
    "services/lib/heap/Cargo.toml",
    "services/lib/store-fdb/Cargo.toml",
];
/// Crates that are a workspace of their own.
const APART: &[&str] = &[
    "e2e/kafka/rust/Cargo.toml",
    "services/lib/format/fuzz/Cargo.toml",
    "services/lib/kafka-codec/fuzz/Cargo.toml",
];

const FORBIDDEN: &str = "unsafe_code = \"forbid\"";
const DENIED: &str = "unsafe_code = \"deny\"";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let text = |path: &str| tree.files.iter().find(|file| file.path == path);
    let Some(workspace) = text("Cargo.toml") else {
        return Vec::new();
    };
    let expected = ["rust", "clippy"]
        .map(|tool| section(&workspace.text, &format!("[workspace.lints.{tool}]")))
        .concat();
    let manifests = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !APART.contains(&file.path.as_str()));
    manifests
        .filter(|file| section(&file.text, "[lints]") != ["workspace = true"])
        .filter(|file| {
            let own = ["rust", "clippy"]
                .map(|tool| section(&file.text, &format!("[lints.{tool}]")))
                .concat();
            let allowed = expected.iter().map(|line| line.replace(FORBIDDEN, DENIED));
            !(DENY_UNSAFE.contains(&file.path.as_str()) && allowed.eq(own))
        })
        .map(|file| Finding::error(&file.path, "its lints are not those of the workspace"))
        .collect()
}

/// The lines of a section of TOML, without comments and empty ones.
fn section(text: &str, header: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::File;

    const WORKSPACE: &str = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n[workspace.lints.clippy]\nall = \"warn\"\n\n[x]\n";

    fn faults(path: &str, text: &str) -> usize {
        let files = vec![File::new("Cargo.toml", WORKSPACE), File::new(path, text)];
        let paths = Vec::new();
        check(&Tree { paths, files }).len()
    }

    #[test]
    fn a_crate_inherits_the_lints() {
        assert_eq!(faults("a/Cargo.toml", "[lints]\nworkspace = true\n"), 0);
        assert_eq!(faults("a/Cargo.toml", "[package]\n"), 1);
        assert_eq!(faults("a/Cargo.toml", "[lints]\nworkspace = false\n"), 1);
    }

    #[test]
    fn an_exception_copies_all_of_them_but_one() {
        let copy =
            "[lints.rust]\n# why\nunsafe_code = \"deny\"\n\n[lints.clippy]\nall = \"warn\"\n";
        assert_eq!(faults(DENY_UNSAFE[0], copy), 0);
        assert_eq!(faults("a/Cargo.toml", copy), 1);
        assert_eq!(faults(DENY_UNSAFE[0], &copy.replace("deny", "allow")), 1);
        assert_eq!(
            faults(DENY_UNSAFE[0], &copy.replace("all = \"warn\"\n", "")),
            1
        );
    }
}
