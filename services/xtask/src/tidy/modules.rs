//! Every source file is part of some crate: one that no module names is dead.

use std::collections::BTreeMap;

use super::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let texts: BTreeMap<&str, &str> = tree
        .files
        .iter()
        .filter(|file| file.is_rust())
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    tree.files
        .iter()
        .filter(|file| file.is_our_rust() && is_module(&file.path))
        .filter(|file| !is_named(&file.path, &texts))
        .map(|file| Finding::error(&file.path, "no module names this file: it is dead"))
        .collect()
}

/// Whether the file is a module, not the root of a crate, a test, an example or a program.
fn is_module(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    if matches!(name, "lib.rs" | "main.rs" | "build.rs") {
        return false;
    }
    // A folder `tests` inside `src` is a module like any other, and `mod.rs` always is one.
    let targets = ["/tests", "/benches", "/examples", "/fuzz_targets"];
    let beside_src =
        !folder.contains("/src/") && targets.iter().any(|target| folder.ends_with(target));
    name == "mod.rs" || !(beside_src || folder.ends_with("/src/bin"))
}

/// Whether one of the files that may declare this module does so.
fn is_named(path: &str, texts: &BTreeMap<&str, &str>) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return true;
    };
    let (folder, module) = if name == "mod.rs" {
        folder.rsplit_once('/').unwrap_or(("", folder))
    } else {
        (folder, name.trim_end_matches(".rs"))
    };
    let declaration = format!("mod {module};");
    let by_parent = ["mod.rs", "lib.rs", "main.rs"].iter().any(|parent| {
        texts
            .get(format!("{folder}/{parent}").as_str())
            .is_some_and(|text| text.contains(&declaration))
    });
    // `foo.rs` beside `foo/`, the roots of tests and programs, and files that are named by path.
    by_parent
        || texts
            .get(format!("{folder}.rs").as_str())
            .is_some_and(|text| text.contains(&declaration))
        || texts.iter().any(|(other, text)| {
            other
                .rsplit_once('/')
                .is_some_and(|(dir, _)| dir == folder || folder.starts_with(dir))
                && (text.contains(&format!("/{name}\"")) || text.contains(&format!("\"{name}\"")))
        })
        || texts.iter().any(|(other, text)| {
            other.rsplit_once('/').is_some_and(|(dir, _)| dir == folder)
                && !is_module(other)
                && text.contains(&declaration)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::File;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files
            .iter()
            .map(|(path, text)| File::new(*path, *text))
            .collect();
        let tree = Tree {
            paths: Vec::new(),
            files,
        };
        check(&tree)
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let files = [
            ("a/src/lib.rs", "mod used;"),
            ("a/src/used.rs", ""),
            ("a/src/left.rs", ""),
        ];
        assert_eq!(dead(&files), ["a/src/left.rs"]);
    }

    #[test]
    fn a_folder_module_is_named_by_the_folder_above() {
        let files = [
            ("a/src/lib.rs", "pub mod part;"),
            ("a/src/part/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("a/src/part/tests.rs", ""),
            ("a/tests/whole.rs", ""),
        ];
        assert_eq!(dead(&files), Vec::<String>::new());
    }
}
