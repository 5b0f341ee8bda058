//! Uploads by foreign clients, and what a real disk and a killed process make of them. The server is
//! the example `uploads`, which `cargo test` has built.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use server::{PATIENCE, is_missing, noise, read_answer};
use tempfile::TempDir;

/// A running server; it is killed when the test is over, however that ends.
struct Uploads {
    child: Child,
    address: String,
}

impl Drop for Uploads {
    fn drop(&mut self) {
        // A test may have killed it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Uploads {
    fn to(directory: &Path) -> Self {
        let test = std::env::current_exe().expect("a test has a path");
        let built = test.parent().and_then(Path::parent).expect("it stands in target/*/deps");
        let path = built.join("examples/uploads");
        let mut child = Command::new(&path)
            .arg("127.0.0.1:0")
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{}: {e}; `cargo build --examples` makes it", path.display())
            });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("it says something").expect("in UTF-8");
        let listening = line();
        let address = listening.strip_prefix("listening uploads ").expect("the address").to_owned();
        assert_eq!(line(), "ready");
        Self { child, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(&self.address).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        client
    }
}

/// A directory to upload to, a server over it, and a directory of the client's own.
fn uploads() -> (TempDir, Uploads, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Uploads::to(directory.path());
    (directory, server, tempfile::tempdir().expect("a directory"))
}

/// A file of the client's.
fn file(directory: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("it is written");
    path
}

/// Runs curl with the surroundings' settings kept out; gives the body and the status.
#[track_caller]
fn curl_from(input: Stdio, arguments: &[&str]) -> String {
    let fixed = ["-q", "-sS", "--noproxy", "*", "--max-time", "60", "-w", " %{http_code}"];
    let output = Command::new("curl").args(fixed).args(arguments).stdin(input).output();
    let Output { status, stdout, stderr } = output.expect("it runs");
    assert!(status.success(), "{arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

#[track_caller]
fn curl(arguments: &[&str]) -> String {
    curl_from(Stdio::null(), arguments)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it lists");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn curl_puts_and_posts() {
    if is_missing("curl", "curl_puts_and_posts") {
        return;
    }
    let (directory, server, own) = uploads();
    let (small, large) = (b"hello".to_vec(), noise(3_000_000));
    let one = file(&own, "one \"1\".txt", &small);
    let two = file(&own, "two;2.bin", &large);
    let (one, two) = (one.to_str().expect("UTF-8"), two.to_str().expect("UTF-8"));
    // The large one curl announces and waits for a 100; from standard input it comes in chunks.
    assert_eq!(curl(&["-T", two, &server.url("/a")]), " 201");
    assert_eq!(curl(&["-T", one, &server.url("/a")]), " 204");
    assert_eq!(fs::read(directory.path().join("a")).expect("it is there"), small);
    let input = fs::File::open(two).expect("it is there");
    assert_eq!(curl_from(input.into(), &["-T", "-", &server.url("/b")]), " 201");
    assert!(fs::read(directory.path().join("b")).expect("it is there") == large);

    assert_eq!(curl(&["-X", "MKCOL", &server.url("/d")]), " 201");
    let quoted = |path: &str| format!("f=@\"{}\"", path.replace('"', "\\\""));
    let form = ["-F", &quoted(one), "-F", "comment=none", "-F", &quoted(two)];
    let posted = curl(&[&form[..], &[&server.url("/d/")]].concat());
    assert!(
        posted.starts_with("{\"stored\":[{\"name\":\"one \\\"1\\\".txt\",\"size\":5,"),
        "{posted}"
    );
    assert!(posted.ends_with("]}\n 201"), "{posted}");
    assert_eq!(names(&directory.path().join("d")), ["one \"1\".txt", "two;2.bin"]);
    assert!(fs::read(directory.path().join("d/two;2.bin")).expect("it is there") == large);
    assert!(curl(&[&form[..], &[&server.url("/d/")]].concat()).ends_with(" 409"));
    assert!(curl(&["-X", "DELETE", &server.url("/d")]).ends_with(" 409"));
    assert_eq!(curl(&["-X", "DELETE", &server.url("/a")]), " 204");
    assert_eq!(names(directory.path()), ["b", "d"]);
    assert!(curl(&["-T", two, &server.url("/none/a")]).ends_with(" 409"));
}

#[test]
fn python_puts_deletes_and_makes_directories() {
    const SCRIPT: &str = "
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
def ask(method, path, body=None, **fields):
    connection.request(method, path, body, {k.replace('_', '-'): v for k, v in fields.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers
assert ask('MKCOL', '/d')[0] == 201
status, _, headers = ask('PUT', '/d/f', (b'x' * 70000 for _ in range(20)))
assert status == 201 and headers['Location'] == '/d/f', status
status, body, got = ask('GET', '/d/f')
assert body == b'x' * 1400000 and got['ETag'] == headers['ETag']
assert ask('PUT', '/d/f', b'new', If_None_Match='*')[0] == 412
assert ask('PUT', '/d/f', b'new', If_Match=headers['ETag'])[0] == 204
assert ask('PUT', '/d/f', b'newer', If_Match=headers['ETag'])[0] == 412
assert ask('GET', '/d/f')[1] == b'new'
assert ask('OPTIONS', '/d/f')[2]['Allow'] == 'GET, HEAD, OPTIONS, PUT, DELETE, MKCOL, POST'
assert ask('DELETE', '/d')[0] == 409
assert ask('DELETE', '/d/f')[0] == 204
assert ask('DELETE', '/d/')[0] == 204
print('done')
";
    if is_missing("python3", "python_puts_deletes_and_makes_directories") {
        return;
    }
    let (directory, server, _own) = uploads();
    let output = Command::new("python3").args(["-c", SCRIPT, &server.address]).output();
    let Output { stdout, stderr, .. } = output.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&stdout), "done\n", "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(names(directory.path()), [""; 0]);
}

/// Whether the server has a file open that is in this directory, or was to be.
fn has_file_open(server: &Uploads, directory: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("it runs");
    files.flatten().any(|file| {
        fs::read_link(file.path()).is_ok_and(|to| to != directory && to.starts_with(directory))
    })
}

#[test]
fn a_killed_server_leaves_nothing_of_an_upload() {
    let (directory, mut server, _own) = uploads();
    let mut client = server.connect();
    client
        .write_all(b"PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
        .expect("it reads");
    client.write_all(&noise(300_000)).expect("it reads");
    let begin = Instant::now();
    while !has_file_open(&server, directory.path()) {
        assert!(begin.elapsed() < PATIENCE, "it opens no file");
        std::thread::yield_now();
    }
    if !names(directory.path()).is_empty() {
        let why = "the file system has no files without a name";
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a_killed_server_leaves_nothing_of_an_upload: {why}"
        );
        return;
    }
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ran");
    assert_eq!(names(directory.path()), [""; 0]);
}

/// A small file system in memory, for as long as this lives.
struct Small(TempDir);

impl Small {
    fn mount(kilobytes: u32, test: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let size = format!("size={kilobytes}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        let _ = writeln!(std::io::stderr(), "skipped: {test}: only root can mount a small disk");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A server that has not ended yet may still use it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_answers_507_and_leaves_no_debris() {
    let Some(disk) = Small::mount(1024, "a_full_disk_answers_507_and_leaves_no_debris") else {
        return;
    };
    let server = Uploads::to(disk.0.path());
    let large = noise(3_000_000);
    let part = "--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n";
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    for (method, fields, before) in [("PUT /f", "", ""), ("POST /", form, part)] {
        let mut client = server.connect();
        let length = before.len() + large.len();
        let head =
            format!("{method} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n");
        client.write_all((head + before).as_bytes()).expect("it reads");
        // It hears the answer before it has sent everything, or when it has.
        let _ = client.write_all(&large);
        assert_eq!(read_answer(&mut client).status, 507, "{method}");
        let _ = client.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("it ends without a reset");
        assert_eq!(names(disk.0.path()), [""; 0]);
        // The room is free again, as soon as a helper thread has come to that.
        let begin = Instant::now();
        let mut status = 507;
        while status == 507 {
            assert!(begin.elapsed() < PATIENCE, "the disk stays full");
            let mut client = server.connect();
            let length = 900_000;
            let head = format!("PUT /g HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            client.write_all(head.as_bytes()).expect("it reads");
            let _ = client.write_all(&large[..length]);
            status = read_answer(&mut client).status;
        }
        assert_eq!(status, 201);
        fs::remove_file(disk.0.path().join("g")).expect("it is there");
    }
}

/// What Chromium makes of a page that is served beside the uploads.
fn browse(server: &Uploads, page: &str, own: &TempDir) -> String {
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server"])
        .args(["--disable-dev-shm-usage", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", own.path().display()))
        .arg(server.url(page))
        .output()
        .expect("it runs");
    let (text, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(text).expect("UTF-8")
}

/// Makes files in the page and sends them by a script; shows what came back.
const SENDS: &str = "<!doctype html><pre id=out>nothing</pre><script>
const form = new FormData();
form.append('comment', 'a text');
form.append('file', new Blob(['x'.repeat(200000)]), 'a \"b\" ä.txt');
form.append('file', new Blob(['two']), 'two.txt');
fetch('/', { method: 'POST', body: form })
  .then(async answer => { out.textContent = answer.status + ' ' + await answer.text(); })
  .catch(error => { out.textContent = error; });
</script>";

/// Chooses a file as a person does and submits the form; the browser goes where it is sent.
const SUBMITS: &str = "<!doctype html>
<form method=post action=/d/ enctype=multipart/form-data>
<input type=file name=file multiple></form><script>
const files = new DataTransfer();
files.items.add(new File(['chosen'], 'chosen.txt'));
document.querySelector('input').files = files.files;
document.querySelector('form').submit();
</script>";

#[test]
fn chromium_uploads_by_script_and_by_form() {
    if is_missing("chromium", "chromium_uploads_by_script_and_by_form") {
        return;
    }
    let (directory, server, own) = uploads();
    file(&directory, "sends.html", SENDS.as_bytes());
    file(&directory, "submits.html", SUBMITS.as_bytes());
    fs::create_dir(directory.path().join("d")).expect("it is made");
    let page = browse(&server, "/sends.html", &own);
    assert!(
        page.contains("201 {\"stored\":[{\"name\":\"a \\\"b\\\" ä.txt\",\"size\":200000,"),
        "{page}"
    );
    let stored = fs::read(directory.path().join("a \"b\" ä.txt")).expect("it is there");
    assert!(stored == "x".repeat(200_000).as_bytes());
    assert_eq!(fs::read(directory.path().join("two.txt")).expect("it is there"), b"two");
    // A second time the names are taken, and the page hears that too.
    let page = browse(&server, "/sends.html", &own);
    assert!(page.contains("409 "), "{page}");
    let page = browse(&server, "/submits.html", &own);
    assert!(page.contains("href=\"chosen.txt\""), "it shows the directory: {page}");
    assert_eq!(fs::read(directory.path().join("d/chosen.txt")).expect("it is there"), b"chosen");
}
