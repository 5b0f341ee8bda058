//! Foreign clients: curl and wget get from us what they expect of a server.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use server::{Server, is_missing, noise};

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("digits"), "0123456789").expect("it is written");
    fs::write(directory.path().join("large"), noise(3_000_000)).expect("it is written");
    fs::create_dir(directory.path().join("d")).expect("it is made");
    fs::write(directory.path().join("d/index.html"), "<p>index").expect("it is written");
    directory
}

/// Runs a client with the surroundings' proxies and settings kept out.
fn client(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    match program {
        "curl" => command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "60"]),
        _ => command.args(["--no-config", "--no-proxy", "-nv", "-t", "1", "-T", "60"]),
    };
    command.args(arguments).output().expect("it runs")
}

#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = client("curl", arguments);
    let error = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "curl {arguments:?}: {status}: {error}");
    String::from_utf8(stdout).expect("text")
}

#[track_caller]
fn wget(arguments: &[&str]) {
    let Output { status, stderr, .. } = client("wget", arguments);
    let error = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "wget {arguments:?}: {status}: {error}");
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn curl_gets_and_heads() {
    if is_missing("curl", "curl_gets_and_heads") {
        return;
    }
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    assert_eq!(curl(&[&server.url("/digits")]), "0123456789");
    let file = out.path().join("large");
    curl(&["-o", shown(&file), &server.url("/large")]);
    assert!(fs::read(&file).expect("it is there") == noise(3_000_000));
    let head = curl(&["-I", &server.url("/large")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 3000000\r\n"), "{head}");
    let what = ["-L", "-w", " %{http_code} %{num_redirects} %{url_effective}"];
    let url = server.url("/d/");
    assert_eq!(curl(&[&what[..], &[&server.url("/d")]].concat()), format!("<p>index 200 1 {url}"));
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(curl(&[&code[..], &[&server.url("/none")]].concat()), "404");
    let above = server.url("/../digits");
    assert_eq!(curl(&[&code[..], &["--path-as-is", &above]].concat()), "400");
}

#[test]
fn curl_speaks_1_0() {
    if is_missing("curl", "curl_speaks_1_0") {
        return;
    }
    let directory = directory();
    let server = Server::of(directory.path());
    let output = curl(&["--http1.0", "-i", &server.url("/digits")]);
    assert!(output.contains("\r\nConnection: close\r\n"), "{output}");
    assert!(output.ends_with("\r\n\r\n0123456789"), "{output}");
}

#[test]
fn curl_gets_ranges_and_resumes() {
    if is_missing("curl", "curl_gets_ranges_and_resumes") {
        return;
    }
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    assert_eq!(curl(&["-r", "2-4", &server.url("/digits")]), "234");
    assert_eq!(curl(&["-r", "-3", &server.url("/digits")]), "789");
    let parts = curl(&["-r", "0-1,8-9", &server.url("/digits")]);
    assert_eq!(parts.matches("Content-Range: bytes ").count(), 2, "{parts}");
    let code =
        curl(&["-r", "10-", "-o", "/dev/null", "-w", "%{http_code}", &server.url("/digits")]);
    assert_eq!(code, "416");
    let file = out.path().join("large");
    fs::write(&file, &noise(3_000_000)[..1_234_567]).expect("it is written");
    let code = curl(&["-C", "-", "-w", "%{http_code}", "-o", shown(&file), &server.url("/large")]);
    assert_eq!(code, "206");
    assert!(fs::read(&file).expect("it is there") == noise(3_000_000));
}

#[test]
fn curl_asks_for_what_has_changed() {
    if is_missing("curl", "curl_asks_for_what_has_changed") {
        return;
    }
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    let copy = out.path().join("copy");
    curl(&["-R", "-o", shown(&copy), &server.url("/digits")]);
    let again = ["-w", "%{http_code}", "-o", "/dev/null", "-z"];
    assert_eq!(curl(&[&again[..], &[shown(&copy), &server.url("/digits")]].concat()), "304");
    let old = "Sun, 09 Sep 2001 01:46:40 GMT";
    assert_eq!(curl(&[&again[..], &[old, &server.url("/digits")]].concat()), "200");
    let tags = out.path().join("tags");
    let url = server.url("/digits");
    curl(&["--etag-save", shown(&tags), &url]);
    let code = curl(&["--etag-compare", shown(&tags), "-w", "%{http_code}", &url]);
    assert_eq!(code, "304");
}

#[test]
fn curl_may_not_upload() {
    if is_missing("curl", "curl_may_not_upload") {
        return;
    }
    let directory = directory();
    let server = Server::of(directory.path());
    let url = server.url("/new");
    // The larger one makes curl wait for a 100.
    for name in ["digits", "large"] {
        let file = directory.path().join(name);
        let code = ["-o", "/dev/null", "-w", "%{http_code}"];
        let upload = [&code[..], &["-T", shown(&file), &url]].concat();
        assert_eq!(curl(&upload), "405");
        let chunked = [&upload[..], &["-H", "Transfer-Encoding: chunked"]].concat();
        assert_eq!(curl(&chunked), "405");
    }
    assert!(!directory.path().join("new").exists());
}

#[test]
fn curl_uses_its_connection_again() {
    if is_missing("curl", "curl_uses_its_connection_again") {
        return;
    }
    let directory = directory();
    let server = Server::of(directory.path());
    let url = server.url("/digits");
    let connects = ["-w", "%{num_connects} "];
    let three = [&connects[..], &["-o", "/dev/null", &url].repeat(3)].concat();
    assert_eq!(curl(&three), "1 0 0 ");
    // Also past an answer without a file, and a short body that nobody wants.
    let (none, null) = (server.url("/none"), ["-o", "/dev/null"]);
    let mixed =
        [&connects[..], &null, &["-d", "form", &none], &null, &["-d", "form", &url]].concat();
    assert_eq!(curl(&mixed), "1 0 ");
}

#[test]
fn curl_uses_a_unix_domain_socket() {
    if is_missing("curl", "curl_uses_a_unix_domain_socket") {
        return;
    }
    let directory = directory();
    let socket = directory.path().join("socket");
    let address = format!("unix:{}", socket.display());
    let _server = Server::with(directory.path(), &["--http", &address]);
    let output = curl(&["--unix-socket", shown(&socket), "http://anything/digits"]);
    assert_eq!(output, "0123456789");
}

#[test]
fn wget_mirrors_a_tree() {
    if is_missing("wget", "wget_mirrors_a_tree") {
        return;
    }
    let (directory, out) = (tempfile::tempdir(), tempfile::tempdir());
    let (directory, out) = (directory.expect("a directory"), out.expect("a directory"));
    let files = [
        "plain",
        "a b",
        "ä.txt",
        "a&b",
        "100%",
        "a+b",
        "a=b;c",
        "sub/one",
        "sub/deep er/two.bin",
        "sub/deep er/<three>",
    ];
    for (n, name) in files.iter().enumerate() {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is made");
        fs::write(path, &noise(100_000)[n..n * 10_000 + n]).expect("it is written");
    }
    let server = Server::of(directory.path());
    let names = "--restrict-file-names=nocontrol";
    wget(&["-r", "-np", "-nH", names, "-P", shown(out.path()), &server.url("/")]);
    for name in files {
        let copy = fs::read(out.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(copy == fs::read(directory.path().join(name)).expect("it is there"), "{name}");
    }
}

#[test]
fn wget_resumes() {
    if is_missing("wget", "wget_resumes") {
        return;
    }
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    let file = out.path().join("large");
    fs::write(&file, &noise(3_000_000)[..1_234_567]).expect("it is written");
    wget(&["-c", "-P", shown(out.path()), &server.url("/large")]);
    assert!(fs::read(&file).expect("it is there") == noise(3_000_000));
    let line = server.wait_for_line("\" 206 ");
    assert!(line.contains(&format!("\" 206 {} ", 3_000_000 - 1_234_567)), "{line}");
}
