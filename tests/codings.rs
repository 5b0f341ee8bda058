//! Content codings over real sockets: foreign decoders read what was coded.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use server::{Server, is_missing, noise};

/// Sizes that are coded at once, in one go by a helper thread, and in several steps.
const SIZES: [usize; 3] = [5_000, 100_000, 2_000_000];

/// Text that becomes shorter when it is coded.
fn page(bytes: usize) -> Vec<u8> {
    let mut page = Vec::new();
    for byte in noise(bytes / 8 + 1) {
        page.extend_from_slice(format!("<p>{byte:03}</p>\n").as_bytes());
    }
    page.truncate(bytes);
    page
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for size in SIZES {
        fs::write(directory.path().join(format!("{size}.html")), page(size)).expect("written");
    }
    directory
}

/// What curl gets, undecoded unless the arguments say otherwise.
fn curl(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("curl");
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.args(["-q", "-sSf", "--noproxy", "*", "--max-time", "60"]).args(arguments);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", output.stderr.escape_ascii());
    output.stdout
}

/// Runs a program on these bytes.
fn filter(program: &str, arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("nobody panics").expect("it reads all");
    assert!(output.status.success(), "{program}: {}", output.status);
    output.stdout
}

/// Gets each page in a coding, twice, and has a foreign program decode it.
fn decodes(test: &str, coding: &str, program: &str) {
    if is_missing("curl", test) || is_missing(program, test) {
        return;
    }
    let directory = directory();
    let server = Server::of(directory.path());
    let wish = format!("Accept-Encoding: {coding}");
    for size in SIZES {
        for _ in 0..2 {
            let coded = curl(&["-H", &wish, &server.url(&format!("/{size}.html"))]);
            assert!(coded.len() < size / 2, "{size} became {}", coded.len());
            assert!(filter(program, &["-dc"], coded) == page(size), "{size}");
        }
    }
}

#[test]
fn gzip_decodes() {
    decodes("gzip_decodes", "gzip", "gzip");
}

#[test]
fn brotli_decodes() {
    decodes("brotli_decodes", "br", "brotli");
}

#[test]
fn zstd_decodes() {
    decodes("zstd_decodes", "zstd", "zstd");
}

#[test]
fn curl_decodes_whatever_it_asks_for() {
    if is_missing("curl", "curl_decodes_whatever_it_asks_for") {
        return;
    }
    let directory = directory();
    let server = Server::of(directory.path());
    for size in SIZES {
        let url = server.url(&format!("/{size}.html"));
        let code = ["-w", "%{stderr}%{size_download}"];
        let got = curl(&[&["--compressed"][..], &code, &[&url]].concat());
        assert!(got == page(size), "{size}");
        let head = curl(&["--compressed", "-I", &url]);
        let head = String::from_utf8(head).expect("heads are ASCII");
        assert!(head.contains("\r\nContent-Encoding: "), "{head}");
        assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
        assert!(curl(&[&url]) == page(size), "{size}");
    }
}

#[test]
fn a_neighbour_made_by_gzip_is_served() {
    let test = "a_neighbour_made_by_gzip_is_served";
    if is_missing("curl", test) || is_missing("gzip", test) {
        return;
    }
    let directory = directory();
    let plain = directory.path().join("100000.html");
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    let file = fs::File::options().write(true).open(&plain).expect("it is there");
    file.set_modified(long_ago).expect("the file system keeps times");
    let status = Command::new("gzip").args(["-9", "-k"]).arg(&plain).status().expect("it runs");
    assert!(status.success());
    let stored = fs::read(directory.path().join("100000.html.gz")).expect("gzip made it");
    let server = Server::of(directory.path());
    let url = server.url("/100000.html");
    for _ in 0..3 {
        assert!(curl(&["-H", "Accept-Encoding: gzip", &url]) == stored);
    }
    // It is enough alone.
    fs::remove_file(plain).expect("it is there");
    assert!(curl(&["-H", "Accept-Encoding: gzip", &url]) == stored);
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    let plain = Command::new("curl")
        .args(["-q", "-sS", "--noproxy", "*", "--max-time", "60"])
        .args(code)
        .arg(&url)
        .output()
        .expect("it runs");
    assert_eq!(plain.stdout, b"404");
}
