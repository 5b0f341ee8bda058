//! `medusa passwd`, run as a user does.

mod server;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use medusa_auth::PasswordFile;

use crate::server::{Server, medusa, read_answer};

fn passwd(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_medusa"))
        .arg("passwd")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // It may not want to read.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().expect("an exit status"), String::from_utf8(text).expect("text"))
}

#[test]
fn users_are_added_changed_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("users");
    let added = passwd(&file, &["ann", "--stdin"], "secret\n");
    assert_eq!(said(&added), (0, "ann: added\n".to_owned()));
    let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    assert_eq!(said(&passwd(&file, &["bob", "--stdin"], "s:b")).1, "bob: added\n");
    assert_eq!(said(&passwd(&file, &["ann", "--stdin"], "new\r\n")).1, "ann: has a new password\n");
    let users = PasswordFile::read(&file).expect("a file");
    assert!(users.verify("ann", b"new") && users.verify("bob", b"s:b"));
    assert!(!users.verify("ann", b"secret"));
    assert_eq!(said(&passwd(&file, &["ann", "--delete"], "")), (0, "ann: removed\n".to_owned()));
    assert!(!PasswordFile::read(&file).expect("a file").has("ann"));
    let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "the mode stays");
    let left: Vec<_> = fs::read_dir(dir.path()).expect("a directory").collect();
    assert_eq!(left.len(), 1, "and nothing is left beside it");
}

#[test]
fn what_makes_no_sense_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("users");
    let (status, text) = said(&passwd(&file, &["a:b", "--stdin"], "x"));
    assert_eq!(status, 2);
    assert!(text.starts_with("medusa: `a:b` cannot be the name of a user"), "{text}");
    let (status, text) = said(&passwd(&file, &["ann"], "x"));
    assert!(status == 2 && text.contains("--stdin"), "{text}");
    assert_eq!(said(&passwd(&file, &["ann", "--stdin"], "")).0, 2);
    let (status, text) = said(&passwd(&file, &["ann", "--delete"], ""));
    assert!(status == 1 && text.contains("has no user `ann`"), "{text}");
    assert!(!file.exists());
    fs::write(&file, "nonsense\n").expect("ours");
    let (status, text) = said(&passwd(&file, &["ann", "--stdin"], "x"));
    assert!(status == 1 && text.contains("line 1 has no colon"), "{text}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "nonsense\n");
}

/// Memory of a process in KiB that no file stands behind.
#[cfg(target_os = "linux")]
fn memory_of(server: &Server) -> u64 {
    let pid = server.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Each check takes 19 MiB, two run at once; what helper threads keep of it must not add up.
#[cfg(target_os = "linux")]
#[test]
fn checks_of_many_passwords_leave_little_memory_behind() {
    // Ends of Base64: another wrong password each.
    let logins = (b'A'..=b'Z').chain(b'a'..=b'f').map(char::from);
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(said(&passwd(&dir.path().join("users"), &["ann", "--stdin"], "secret")).0, 0);
    let text = "[[server]]\nprotocol = \"http\"\nlisten = \"127.0.0.1:0\"\n\
                [[server.extension]]\nuse = \"basic-auth\"\npasswords = \"users\"\n\
                [[server.extension]]\nuse = \"fixed\"\n";
    let file = dir.path().join("m.toml");
    fs::write(&file, text).expect("it is written");
    let server = Server::start(medusa(["serve", "--config"]).arg(&file));
    let before = memory_of(&server);
    let mut clients = Vec::new();
    for end in logins {
        let mut client = server.connect();
        let login = format!("Authorization: Basic YW5uOnd{end}");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{login}\r\n\r\n");
        client.write_all(request.as_bytes()).expect("it reads");
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(read_answer(client).status, 401);
    }
    let grown = memory_of(&server).saturating_sub(before);
    assert!(grown < 80 * 1024, "{grown} KiB");
}
