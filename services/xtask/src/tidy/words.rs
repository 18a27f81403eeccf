//! Words that must not stand in our code, and the few places where they may.

use super::{File, Finding, Tree, has_extension};
use crate::tidy::source;

/// A banned piece of code, why, and what to use.
struct Ban {
    word: &'static str,
    why: &'static str,
    /// Path prefixes where it is allowed.
    except: &'static [&'static str],
    /// Whether tests may use it.
    in_tests: bool,
}

const EFFECTS: &[&str] = &["services/lib/env/", "services/xtask/"];
const CLOCK: &str = "time is an argument: take a `Clock` from tidelog-env";
const RANDOM: &str = "randomness is an argument: take an `Rng` from tidelog-env";
const SPAWN: &str = "tasks have an owner: spawn on the `Supervisor` of tidelog-env";
const UNFINISHED: &str = "unfinished code is not checked in";

const BANS: &[Ban] = &[
    effect("SystemTime::now", CLOCK),
    effect("Instant::now", CLOCK),
    effect("Timestamp::now", CLOCK),
    effect("Zoned::now", CLOCK),
    effect("time::sleep", CLOCK),
    effect("time::interval", CLOCK),
    effect("time::timeout", CLOCK),
    effect("thread::sleep", CLOCK),
    effect("tokio::spawn", SPAWN),
    effect("thread::spawn", SPAWN),
    effect("spawn_blocking", SPAWN),
    effect("rand::rng", RANDOM),
    effect("rand::random", RANDOM),
    effect("Uuid::new_v4", RANDOM),
    always("todo!", UNFINISHED),
    always("unimplemented!", UNFINISHED),
    always("dbg!", "a trace for one's own eyes: use `tracing`"),
    always("#[ignore", "a test that does not run shows nothing"),
    always("allow(dead_code", "what nobody uses goes"),
];

const fn effect(word: &'static str, why: &'static str) -> Ban {
    Ban {
        word,
        why,
        except: EFFECTS,
        in_tests: true,
    }
}

const fn always(word: &'static str, why: &'static str) -> Ban {
    Ban {
        word,
        why,
        except: &[],
        in_tests: false,
    }
}

/// Where one of the effects is the business of the file itself, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "services/server/src/main.rs",
        "Instant::now",
        "the process begins here",
    ),
    (
        "services/lib/blob/src/local",
        "spawn_blocking",
        "files are read and synced off the runtime",
    ),
];

/// Parts of names of hosts that serve packages; a build takes them from the user's configuration.
const HOSTS: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("pypi.org", "/simple"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
    concat!("repo1.", "maven.org"),
];

/// Folders that exist on some machine only.
const FOLDERS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

pub(super) fn check(tree: &Tree, machine: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.is_our_rust() {
            findings.extend(banned(file));
            findings.extend(not_ascii(file));
        }
        findings.extend(stray_todo(file));
        findings.extend(of_a_machine(file, machine));
    }
    findings
}

fn banned(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source::lines(&file.path, &file.text) {
        for ban in BANS {
            let allowed = (line.is_test && ban.in_tests)
                || ban
                    .except
                    .iter()
                    .any(|prefix| file.path.starts_with(prefix))
                || EXCEPTIONS
                    .iter()
                    .any(|(prefix, word, _)| *word == ban.word && file.path.starts_with(prefix));
            if !allowed && contains_word(&line.code, ban.word) {
                let what = format!("`{}` is banned: {}", ban.word, ban.why);
                findings.push(Finding::at(file, line.number, what));
            }
        }
    }
    findings
}

/// Whether the word stands in the code and is not the end of a longer name.
fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !code[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

fn not_ascii(file: &File) -> Option<Finding> {
    let (index, line) = file
        .text
        .lines()
        .enumerate()
        .find(|(_, line)| !line.is_ascii())?;
    let odd = line.chars().find(|c| !c.is_ascii())?;
    Some(Finding::at(
        file,
        index + 1,
        format!("`{}` is not ASCII", odd.escape_unicode()),
    ))
}

fn stray_todo(file: &File) -> Vec<Finding> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    if has_extension(&file.path, "lock") || file.is_generated() {
        return Vec::new();
    }
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            marks
                .iter()
                .any(|mark| contains_word(line, mark) && !line.contains(&format!("{mark}(#")))
        })
        .map(|(index, _)| Finding::at(file, index + 1, "a note to do it later needs a number"))
        .collect()
}

fn of_a_machine(file: &File, machine: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
            let what = format!("`{host}`: addresses of registries belong to the user's settings");
            findings.push(Finding::at(file, index + 1, what));
        }
        let folder = FOLDERS
            .iter()
            .copied()
            .find(|folder| is_absolute(line, folder))
            .or_else(|| {
                machine
                    .iter()
                    .map(String::as_str)
                    .find(|word| is_absolute(line, &format!("{word}/")))
            });
        if let Some(folder) = folder {
            let what = format!("`{folder}` is a path of one machine");
            findings.push(Finding::at(file, index + 1, what));
        }
    }
    findings
}

/// Whether the path starts here and is not the tail of a longer one, as in `workspace/root/`.
fn is_absolute(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}/~*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(path: &str, text: &str) -> Vec<String> {
        let tree = Tree {
            paths: vec![path.to_owned()],
            files: vec![File::new(path, text)],
        };
        check(&tree, &["/srv/checkout".to_owned()])
            .into_iter()
            .map(|found| found.what)
            .collect()
    }

    #[test]
    fn an_effect_is_banned_in_code_but_not_in_tests_comments_strings_or_its_own_crate() {
        let code = "fn f() { tokio::spawn(g()); }";
        assert_eq!(words_of("services/metadata/src/a.rs", code).len(), 1);
        assert_eq!(
            words_of("services/lib/env/src/a.rs", code),
            Vec::<String>::new()
        );
        assert_eq!(
            words_of("services/metadata/tests/a.rs", code),
            Vec::<String>::new()
        );
        assert_eq!(
            words_of("services/metadata/src/a.rs", "// tokio::spawn"),
            Vec::<String>::new()
        );
        assert_eq!(
            words_of("services/metadata/src/a.rs", "f(\"dbg!\")"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn unfinished_code_is_banned_in_tests_too() {
        let code = concat!("fn f() { to", "do!() }");
        assert_eq!(words_of("services/metadata/tests/a.rs", code).len(), 1);
    }

    #[test]
    fn a_letter_outside_ascii_is_found_with_its_line() {
        let tree = Tree {
            paths: Vec::new(),
            files: vec![File::new("services/a.rs", "a\n\u{e4}\n")],
        };
        assert_eq!(check(&tree, &[])[0].place, "services/a.rs:2");
    }

    #[test]
    fn paths_of_a_machine_are_found_and_longer_paths_are_not() {
        assert_eq!(words_of("docs/a.md", "see /srv/checkout/x").len(), 1);
        assert_eq!(
            words_of("docs/a.md", "see target/srv/checkout/x"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_note_to_do_it_later_needs_a_number() {
        let mark = concat!("TO", "DO");
        assert_eq!(words_of("docs/a.md", &format!("{mark}: it")).len(), 1);
        assert_eq!(
            words_of("docs/a.md", &format!("{mark}(#7): it")),
            Vec::<String>::new()
        );
    }
}
