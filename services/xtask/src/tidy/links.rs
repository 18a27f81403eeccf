//! Links in the documentation lead somewhere.

use std::collections::BTreeSet;

use super::{Finding, Tree, has_extension};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let known: BTreeSet<&str> = tree.paths.iter().map(String::as_str).collect();
    let mut findings = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| has_extension(&file.path, "md"))
    {
        let mut fenced = false;
        for (index, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line) {
                if !leads_somewhere(&file.path, target, &known) {
                    let what = format!("the link `{target}` leads nowhere");
                    findings.push(Finding::at(file, index + 1, what));
                }
            }
        }
    }
    findings
}

/// The targets of the links on a line of Markdown.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let rest = &line[at + 2..];
        rest.find(')').map(|end| rest[..end].trim())
    })
}

fn leads_somewhere(from: &str, target: &str, known: &BTreeSet<&str>) -> bool {
    let path = target.split(['#', ' ']).next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(joined) = join(folder, path) else {
        return false;
    };
    known.contains(joined.as_str())
        || known
            .iter()
            .any(|path| path.starts_with(&format!("{joined}/")))
        || joined.is_empty()
}

/// Joins and resolves `..`; nothing leads out of the repository.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::File;

    fn broken(text: &str) -> usize {
        let paths = vec![
            "docs/a.md".to_owned(),
            "services/lib/env/src/lib.rs".to_owned(),
        ];
        let tree = Tree {
            paths,
            files: vec![File::new("docs/a.md", text)],
        };
        check(&tree).len()
    }

    #[test]
    fn a_link_to_a_file_a_folder_or_the_web_is_good_and_any_other_is_not() {
        assert_eq!(
            broken("[x](a.md#top) [y](../services/lib/env) [z](https://example.com)"),
            0
        );
        assert_eq!(broken("[x](b.md)"), 1);
        assert_eq!(broken("[x](../../out.md)"), 1);
    }

    #[test]
    fn examples_in_fences_are_not_links() {
        assert_eq!(broken("```\n[x](b.md)\n```"), 0);
    }
}
