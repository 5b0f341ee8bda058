//! FTP of the real program by foreign clients over real sockets.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use rustix::process::{Signal, kill_process};
use server::ftp::Client;
use server::{Server, is_missing, noise, wait_for_end};
use tempfile::TempDir;

/// Files in the tree that is mirrored.
const MIRRORED: usize = 5000;

/// A running server, and what it serves.
struct Ftp {
    server: Server,
    address: String,
    directory: TempDir,
    /// A directory of the client's own.
    own: TempDir,
}

impl Ftp {
    /// Lets anybody change everything.
    fn start() -> Self {
        Self::with(&["--write"])
    }

    fn with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("a.txt"), "one\ntwo\n").expect("it is written");
        fs::write(directory.path().join("large"), noise(3_000_000)).expect("it is written");
        fs::create_dir(directory.path().join("d")).expect("it is made");
        fs::write(directory.path().join("d/b c"), "bee").expect("it is written");
        let listen = ["--http", "127.0.0.1:0", "--ftp", "127.0.0.1:0"];
        let server = Server::with(directory.path(), &[&listen, options].concat());
        let address = server.ftp().to_owned();
        Self { server, address, directory, own: tempfile::tempdir().expect("a directory") }
    }

    fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }

    fn served(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.path().join(name)).ok()
    }

    /// A control connection that is logged in, in type I.
    fn client(&self) -> Client {
        Client::logged_in(&self.address, "ftp", "x")
    }
}

/// Runs a client with the surroundings' proxies and settings kept out; gives what it wrote.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    for name in ["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("it runs");
    let Output { status, stdout, stderr } = output;
    let error = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program} {arguments:?}: {status}: {error}");
    stdout
}

#[track_caller]
fn curl(arguments: &[&str]) -> Vec<u8> {
    run("curl", &[&["-q", "-sS", "--noproxy", "*", "--max-time", "60"], arguments].concat())
}

#[test]
fn curl_lists_gets_and_puts() {
    if is_missing("curl", "curl_lists_gets_and_puts") {
        return;
    }
    let ftp = Ftp::start();
    assert_eq!(curl(&[&ftp.url("a.txt")]), b"one\ntwo\n");
    // Type A sends CR LF, of which curl makes what a file here has.
    assert_eq!(curl(&["-B", &ftp.url("a.txt")]), b"one\ntwo\n");
    assert_eq!(curl(&["-P", "-", &ftp.url("d/b%20c")]), b"bee");
    assert_eq!(curl(&["--disable-epsv", &ftp.url("d/b%20c")]), b"bee");
    assert_eq!(curl(&["-C", "4", &ftp.url("a.txt")]), b"two\n");
    assert_eq!(curl(&["-r", "0-2", &ftp.url("a.txt")]), b"one");
    assert!(curl(&[&ftp.url("large")]) == noise(3_000_000));
    let list = String::from_utf8(curl(&[&ftp.url("d/")])).expect("text");
    assert!(list.starts_with("-rw") && list.trim_end().ends_with(" b c"), "{list}");
    assert_eq!(curl(&["-l", &ftp.url("d/")]), b"b c\n");
    let head = String::from_utf8(curl(&["-I", &ftp.url("large")])).expect("text");
    assert!(head.contains("Content-Length: 3000000"), "{head}");
    let file = ftp.own.path().join("up");
    fs::write(&file, noise(2_000_000)).expect("it is written");
    let file = file.to_str().expect("UTF-8");
    curl(&["-T", file, &ftp.url("up")]);
    assert!(ftp.served("up") == Some(noise(2_000_000)));
    curl(&["-a", "-T", file, &ftp.url("up")]);
    assert_eq!(ftp.served("up").map(|content| content.len()), Some(4_000_000));
    curl(&["--ftp-create-dirs", "-T", file, &ftp.url("new/dir/up")]);
    assert!(ftp.served("new/dir/up") == Some(noise(2_000_000)));
}

#[test]
fn wget_gets_a_tree() {
    if is_missing("wget", "wget_gets_a_tree") {
        return;
    }
    let ftp = Ftp::start();
    let own = ftp.own.path().to_str().expect("UTF-8");
    let quiet = ["--no-config", "--no-proxy", "-nv", "-t", "1", "-T", "60", "-nH", "-r", "-P", own];
    run("wget", &[&quiet[..], &[&ftp.url("")]].concat());
    assert_eq!(fs::read(ftp.own.path().join("d/b c")).expect("it is there"), b"bee");
    assert!(fs::read(ftp.own.path().join("large")).expect("it is there") == noise(3_000_000));
}

#[test]
fn python_does_what_its_library_can() {
    const SCRIPT: &str = r#"
import ftplib, io, sys
host, port = sys.argv[1].rsplit(":", 1)
for passive in True, False:
    ftp = ftplib.FTP()
    ftp.connect(host, int(port), timeout=60)
    ftp.login()
    ftp.set_pasv(passive)
    assert ftp.pwd() == "/"
    assert sorted(n for n, _ in ftp.mlsd()) == ["a.txt", "d", "large"]
    assert sorted(ftp.nlst()) == ["a.txt", "d", "large"]
    assert ftp.storbinary("STOR x", io.BytesIO(b"abc" * 100000)).startswith("226")
    assert ftp.size("x") == 300000
    ftp.storlines("STOR t", io.BytesIO(b"a\nb\n"))
    lines = []
    ftp.retrlines("RETR t", lines.append)
    assert lines == ["a", "b"], lines
    ftp.rename("x", "y")
    ftp.delete("y")
    ftp.delete("t")
    assert ftp.mkd('n"w') == '/n"w'
    ftp.cwd('n"w')
    ftp.cwd("..")
    ftp.rmd('n"w')
    try:
        ftp.retrbinary("RETR none", print)
        raise SystemExit("it is not there")
    except ftplib.error_perm as e:
        assert str(e).startswith("550"), e
    with ftp.transfercmd("RETR large") as data:
        data.recv(10)
        # It reads the first of two replies only.
        ftp.abort()
        ftp.voidresp()
    assert ftp.voidcmd("NOOP").startswith("2")
    assert ftp.quit().startswith("221")
"#;
    if is_missing("python3", "python_does_what_its_library_can") {
        return;
    }
    let ftp = Ftp::start();
    run("python3", &["-c", SCRIPT, &ftp.address]);
}

#[test]
fn lftp_mirrors_a_tree_both_ways() {
    if is_missing("lftp", "lftp_mirrors_a_tree_both_ways") {
        return;
    }
    let ftp = Ftp::start();
    for n in 0..MIRRORED {
        let directory = ftp.own.path().join(format!("tree/{}", n % 20));
        fs::create_dir_all(&directory).expect("it is made");
        fs::write(directory.join(format!("file {n}")), noise(n % 700)).expect("it is written");
    }
    let (tree, back) = (ftp.own.path().join("tree"), ftp.own.path().join("back"));
    let script = format!(
        "set net:timeout 60; set net:max-retries 1; set cmd:fail-exit yes; \
         open ftp://{}; mirror -R -P 4 {} /tree; mirror -P 4 /tree {}",
        ftp.address,
        tree.display(),
        back.display()
    );
    run("lftp", &["--norc", "-c", &script]);
    for copy in [&back, &ftp.directory.path().join("tree")] {
        let copy = copy.to_str().expect("UTF-8");
        run("diff", &["-r", tree.to_str().expect("UTF-8"), copy]);
    }
}

#[test]
fn tnftp_and_ncftp_get_files() {
    let ftp = Ftp::start();
    let (host, port) = ftp.address.rsplit_once(':').expect("an address");
    let file = ftp.own.path().join("tnftp");
    if !is_missing("tnftp", "tnftp_and_ncftp_get_files") {
        run("tnftp", &["-o", file.to_str().expect("UTF-8"), &ftp.url("large")]);
        assert!(fs::read(&file).expect("it is there") == noise(3_000_000));
    }
    if !is_missing("ncftpget", "tnftp_and_ncftp_get_files") {
        let own = ftp.own.path().to_str().expect("UTF-8");
        run("ncftpget", &["-V", "-t", "60", "-P", port, host, own, "/large"]);
        assert!(fs::read(ftp.own.path().join("large")).expect("it is there") == noise(3_000_000));
    }
}

/// Urgent data, as telnet's rules have it, was not understood, or stopped the reading.
#[test]
fn an_urgent_abort_breaks_a_transfer_off() {
    let ftp = Ftp::start();
    let mut client = ftp.client();
    let data = client.data();
    assert!(client.say("STOR new").starts_with('1'));
    (&data).write_all(b"half").expect("it reads");
    let control = client.stream();
    control.try_clone().expect("it can be").write_all(b"\xff\xf4\xff").expect("it reads");
    send_urgent(control, 0xf2);
    client.stream().write_all(b"ABOR\r\n").expect("it reads");
    assert!(client.reply().starts_with("426 "));
    assert!(client.reply().starts_with("226 "));
    assert!(client.say("NOOP").starts_with("200 "));
    assert_eq!(ftp.served("new"), None);
    let names = fs::read_dir(ftp.directory.path()).expect("it lists").count();
    assert_eq!(names, 3, "nothing is left behind");
}

fn send_urgent(stream: &TcpStream, byte: u8) {
    let socket = std::os::fd::AsFd::as_fd(stream);
    let flags = rustix::net::SendFlags::OOB;
    assert_eq!(rustix::net::send(socket, &[byte], flags).expect("it is sent"), 1);
}

/// The server connected to whatever a client named.
#[test]
fn nobody_else_is_connected_to() {
    let ftp = Ftp::start();
    let mut client = ftp.client();
    let own = TcpListener::bind("127.0.0.2:0").expect("a port");
    let port = own.local_addr().expect("it is bound").port();
    let foreign = format!("PORT 127,0,0,2,{},{}", port / 256, port % 256);
    assert!(client.say(&foreign).starts_with("501 "));
    assert!(client.say("RETR a.txt").starts_with("425 "));
    own.set_nonblocking(true).expect("a socket option");
    assert!(own.accept().is_err());
}

/// Links led out of what was served.
#[test]
fn links_lead_nowhere_outside() {
    let ftp = Ftp::start();
    let secret = ftp.own.path().join("secret");
    fs::write(&secret, "secret").expect("it is written");
    std::os::unix::fs::symlink(&secret, ftp.directory.path().join("out")).expect("it is made");
    std::os::unix::fs::symlink(ftp.own.path(), ftp.directory.path().join("up")).expect("made");
    let mut client = ftp.client();
    for path in ["out", "up/secret", "../secret", "/../../etc/passwd"] {
        let mut data = client.data();
        let said = client.say(&format!("RETR {path}"));
        assert!(said.starts_with("55"), "{path}: {said}");
        drop(client.say("ABOR"));
        let mut got = Vec::new();
        // It may have been reset.
        let _ = data.read_to_end(&mut got);
        assert!(got.is_empty(), "{path}");
    }
    assert!(client.say("CWD up").starts_with("550 "));
    let data = client.data();
    assert!(client.say("STOR up/new").starts_with("55"), "written outside");
    drop(data);
    assert!(!ftp.own.path().join("new").exists());
}

#[test]
fn without_write_nothing_is_changed() {
    let ftp = Ftp::with(&[]);
    let mut client = ftp.client();
    for command in ["DELE a.txt", "MKD new", "RMD d", "RNFR a.txt", "SITE CHMOD 600 a.txt"] {
        assert!(client.say(command).starts_with("550 "), "{command}");
    }
    for command in ["STOR new", "APPE a.txt", "STOU"] {
        let data = client.data();
        assert!(client.say(command).starts_with("550 "), "{command}");
        drop(data);
    }
    assert_eq!(fs::read_dir(ftp.directory.path()).expect("it lists").count(), 3);
}

#[test]
fn what_is_written_by_ftp_is_served_by_http_which_writes_nothing() {
    let ftp = Ftp::start();
    let mut client = ftp.client();
    for content in ["first", "second"] {
        let mut data = client.data();
        assert!(client.say("STOR new").starts_with('1'));
        data.write_all(content.as_bytes()).expect("it reads");
        drop(data);
        assert!(client.reply().starts_with("226 "));
        let got = ftp.server.ask("GET /new HTTP/1.0\r\n\r\n");
        assert!(got.ends_with(content.as_bytes()), "{}", String::from_utf8_lossy(&got));
    }
    let put = "PUT /new HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    let answer = String::from_utf8(ftp.server.ask(put)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(ftp.served("new").as_deref(), Some(&b"second"[..]));
}

/// A session lost its login when the server was replaced.
#[test]
fn a_session_and_its_transfer_outlive_an_upgrade() {
    let ftp = Ftp::start();
    let mut client = ftp.client();
    let mut data = client.data();
    assert!(client.say("STOR new").starts_with('1'));
    data.write_all(b"before ").expect("it reads");
    let new = ftp.server.upgrade();
    data.write_all(b"and after").expect("it reads");
    drop(data);
    assert!(client.reply().starts_with("226 "));
    assert_eq!(ftp.served("new").as_deref(), Some(&b"before and after"[..]));
    // New data connections come to the old process, new sessions to the new one.
    let mut data = client.data();
    assert!(client.say("RETR new").starts_with('1'));
    let mut got = String::new();
    data.read_to_string(&mut got).expect("it is sent");
    assert_eq!(got, "before and after");
    assert!(client.reply().starts_with("226 "));
    assert!(ftp.client().say("NOOP").starts_with("200 "));
    assert!(client.say("QUIT").starts_with("221 "));
    wait_for_end(ftp.server.pid());
    kill_process(new, Signal::TERM).expect("it runs");
    wait_for_end(new);
}

#[test]
fn a_signal_ends_what_is_idle_and_lets_a_transfer_finish() {
    let mut ftp = Ftp::start();
    let mut idle = ftp.client();
    let mut busy = ftp.client();
    let mut data = busy.data();
    assert!(busy.say("STOR new").starts_with('1'));
    ftp.server.signal(Signal::TERM);
    assert!(idle.reply().starts_with("421 "));
    assert_eq!(idle.reply(), "");
    data.write_all(b"all of it").expect("it reads");
    drop(data);
    assert!(busy.reply().starts_with("226 "));
    assert!(busy.reply().starts_with("221 "));
    assert_eq!(ftp.server.wait().0.code(), Some(0));
    assert_eq!(ftp.served("new").as_deref(), Some(&b"all of it"[..]));
}
