//! How a server begins, ends, and loses its bucket.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::support::{Server, failed, text, tidelog};

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_asked_to_end_drains_and_the_next_one_has_everything() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    let mut server = Server::start(home.path(), &folder);
    assert!(get(&server.http, "/readyz").ends_with("ready\n"));
    assert!(get(&server.http, "/metrics").contains("tidelog_append_records_total"));
    server.ok(home.path(), &["topic", "create", "lines", "-p", "2"]);
    assert!(
        server
            .feed(home.path(), &["produce", "lines"], "one\ntwo\n")
            .status
            .success()
    );
    assert_eq!(server.terminate().code(), Some(0));

    let server = Server::start(home.path(), &folder);
    let consumed = server.ok(
        home.path(),
        &["consume", "lines", "-f", "earliest", "--until-end"],
    );
    let mut lines: Vec<&str> = consumed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn a_reader_that_follows_does_not_hold_up_the_end() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path(), &home.path().join("data"));
    server.ok(home.path(), &["topic", "create", "lines"]);
    server.feed(home.path(), &["produce", "lines"], "one\n");
    let mut reader = tidelog(home.path())
        .args([
            "--address",
            &server.grpc,
            "consume",
            "lines",
            "-f",
            "earliest",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    reader
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(&first, b"one\n");
    assert_eq!(server.terminate().code(), Some(0));
    reader.kill().unwrap();
    reader.wait().unwrap();
}

#[test]
fn a_second_server_takes_the_bucket_and_the_first_ends_with_its_own_code() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    let mut first = Server::start(home.path(), &folder);
    first.ok(home.path(), &["topic", "create", "lines"]);
    let second = Server::start(home.path(), &folder);
    // The first one hears of it when it writes, and what it is asked for does not happen.
    let output = first.feed(
        home.path(),
        &["--timeout", "5s", "produce", "lines"],
        "lost\n",
    );
    assert!(!output.status.success());
    assert_eq!(first.wait().code(), Some(3));
    assert!(
        second
            .feed(home.path(), &["produce", "lines"], "kept\n")
            .status
            .success()
    );
    let args = ["consume", "lines", "-f", "earliest", "--until-end"];
    assert_eq!(second.ok(home.path(), &args), "kept\n");
}

#[test]
fn a_server_whose_port_is_taken_leaves_the_bucket_alone() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = tidelog(home.path())
        .args([
            "serve",
            "--grpc",
            &address,
            "--http",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(
        text(&output.stderr).contains("`listen.grpc`"),
        "{}",
        text(&output.stderr)
    );
    assert!(!folder.exists());
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let ports = [
        "serve",
        "--grpc",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
    ];
    let output = tidelog(home.path())
        .args(ports)
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("cannot be used"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_address_for_everyone_needs_consent() {
    let home = tempfile::tempdir().unwrap();
    let args = ["serve", "--grpc", "0.0.0.0:0", "--http", "127.0.0.1:0"];
    let output = tidelog(home.path()).args(args).output().unwrap();
    let error = failed(&output, 2);
    assert!(error.contains("--insecure"), "{error}");
}
