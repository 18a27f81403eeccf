//! A short run of the load generator: that its figures can be taken, not what they are.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tidelog_e2e_harness::Tools;

/// Those that need nothing but the S3 server and do not wait for what the server does once a minute, and what their figures
/// are called.
const SECTIONS: [(&str, &str); 5] = [
    ("s3", "s3 produce"),
    ("folder", "folder produce"),
    ("lone", "lone record"),
    ("small", "100-byte records"),
    ("express", "express record"),
];

#[test]
fn each_section_takes_all_of_its_figures() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("figures.json");
    let run = Command::new(env!("CARGO_BIN_EXE_tidelog-e2e-bench"))
        .args([
            "--only",
            &SECTIONS.map(|(section, _)| section).join(","),
            "--seconds",
            "1",
            "--rounds",
            "1",
        ])
        .args(["--stores", "folder", "--json"])
        .arg(&json)
        .env("TIDELOG_BIN", Tools::tidelog().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {said}", run.status);
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        let values = row["values"].as_array().unwrap();
        assert!(values.iter().all(Value::is_f64), "no number: {row}");
    }
    for (section, name) in SECTIONS {
        let is_there = |row: &Value| {
            row["section"]
                .as_str()
                .is_some_and(|of| of.starts_with(name))
        };
        assert!(rows.iter().any(is_there), "nothing of {section}: {rows:?}");
    }
}
