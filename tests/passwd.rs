//! `medusa passwd`, run as a user does.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use medusa_auth::PasswordFile;

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
