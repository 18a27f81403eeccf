//! Settings, contexts and completion: commands that need no server.

use crate::support::{failed, text, tidelog};

#[test]
fn config_check_says_what_is_wrong_and_what_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tidelog.toml");
    std::fs::write(&file, "[produce]\nlingre = \"5ms\"\n").unwrap();
    let check = || {
        let mut command = tidelog(home.path());
        command.args(["config", "check", "--config"]).arg(&file);
        command
    };
    let error = failed(&check().output().unwrap(), 2);
    assert!(error.contains("did you mean `produce.linger`?"), "{error}");

    std::fs::write(&file, "[produce]\nlinger = \"5ms\"\n").unwrap();
    let output = check()
        .env("TIDELOG_PRODUCE_FLUSH_RATES", "1")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "the settings are right\n");
    assert!(text(&output.stderr).contains("did you mean `TIDELOG_PRODUCE_FLUSH_RATE`?"));
}

#[test]
fn config_show_tells_each_value_and_where_it_comes_from() {
    let home = tempfile::tempdir().unwrap();
    let output = tidelog(home.path())
        .args(["config", "show", "-o", "json", "--set", "memory.total=1GiB"])
        .env("TIDELOG_S3_SECRET_ACCESS_KEY", "hush")
        .env("TIDELOG_S3_ACCESS_KEY_ID", "ada")
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |key: &str| {
        let rows = shown.as_array().unwrap();
        rows.iter()
            .find(|row| row["option"] == key)
            .unwrap()
            .clone()
    };
    assert_eq!(find("memory.total")["value"], "1GiB");
    assert_eq!(find("memory.total")["origin"], "command line");
    assert_eq!(find("s3.secret_access_key")["value"], "<redacted>");
    assert!(!text(&output.stdout).contains("hush"));
}

#[test]
fn contexts_are_remembered_between_commands() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        tidelog(home.path())
            .arg("context")
            .args(args)
            .output()
            .unwrap()
    };
    assert!(run(&["set", "here", "http://127.0.0.1:1"]).status.success());
    assert!(
        run(&["set", "there", "http://127.0.0.1:2"])
            .status
            .success()
    );
    assert!(run(&["use", "there"]).status.success());
    let list = text(&run(&["list"]).stdout);
    assert!(list.contains("*  there"), "{list}");
    let error = failed(&run(&["use", "ther"]), 8);
    assert!(error.contains("did you mean `there`?"), "{error}");
}

#[test]
fn completion_and_help_are_printed_for_any_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = tidelog(home.path())
            .args(["completion", shell])
            .output()
            .unwrap();
        assert!(output.status.success() && text(&output.stdout).contains("delete-records"));
    }
    let output = tidelog(home.path()).arg("--help").output().unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("consume"));
}

#[test]
fn a_cluster_that_is_not_there_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    // Port 9 is for discarding what comes; nobody listens there.
    let args = [
        "--address",
        "127.0.0.1:9",
        "--timeout",
        "300ms",
        "topic",
        "list",
    ];
    let output = tidelog(home.path()).args(args).output().unwrap();
    let error = failed(&output, 7);
    assert!(error.contains("tidelog serve"), "{error}");
}
