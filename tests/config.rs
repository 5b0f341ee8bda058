//! The program with a configuration file: what it serves, what it says of mistakes, and what a
//! reload changes and leaves alone.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use server::{Answer, PATIENCE, Server, answers, get, medusa, read_answer};

/// A directory with two trees.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    for name in ["first", "second", "run"] {
        fs::create_dir(place.path().join(name)).expect("it is made");
        fs::write(place.path().join(name).join("f"), name).expect("it is written");
    }
    place
}

/// A server of one tree.
fn serving(listen: &str, tree: &str) -> String {
    format!(
        "[[server]]\nprotocol = \"http\"\nlisten = {listen}\n[[server.extension]]\nuse = \
         \"files\"\nfiles = \"{tree}\"\n"
    )
}

const TREES: &str = "[files.one]\npath = \"first\"\n[files.two]\npath = \"second\"\n";

fn write(place: &Path, text: &str) {
    fs::write(place.join("m.toml"), text).expect("it is written");
}

fn start(place: &Path) -> Server {
    Server::start(medusa(["serve", "--config"]).arg(place.join("m.toml")))
}

/// Asks for `/f` on a kept connection.
fn ask(client: &mut (impl Read + Write)) -> Vec<u8> {
    client.write_all(get("/f").as_bytes()).expect("it reads");
    let answer = read_answer(client);
    assert_eq!(answer.status, 200);
    answer.body
}

/// Asks a host of the example for a path on a kept connection.
fn ask_for(client: &mut (impl Read + Write), path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: www.example.org\r\n\r\n");
    client.write_all(request.as_bytes()).expect("it reads");
    read_answer(client)
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client
}

/// A port that was free a moment ago, for what must be at the same address twice.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

#[test]
fn several_servers_share_named_trees() {
    let place = place();
    let one = serving("[\"127.0.0.1:0\", \"unix:run/s\"]", "one");
    write(place.path(), &format!("{TREES}{one}{}", serving("\"127.0.0.1:0\"", "two")));
    let server = start(place.path());
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3);
    assert_eq!(ask(&mut connect(addresses[0])), b"first");
    assert_eq!(addresses[1], format!("unix:{}", place.path().join("run/s").display()));
    let socket = UnixStream::connect(place.path().join("run/s"));
    assert_eq!(ask(&mut socket.expect("it listens")), b"first");
    assert_eq!(ask(&mut connect(addresses[2])), b"second");
}

#[test]
fn hosts_are_told_apart_by_their_names() {
    let place = place();
    let host = |names: &str, tree: &str| {
        let extension = "[[server.host.extension]]\nuse = \"files\"\n";
        format!("[[server.host]]\nnames = {names}\n{extension}files = \"{tree}\"\n")
    };
    let hosts = host("[\"two.example\", \"*.two.example\"]", "two");
    write(place.path(), &format!("{TREES}{}{hosts}", serving("\"127.0.0.1:0\"", "one")));
    let server = start(place.path());
    let mut client = server.connect();
    for (name, body) in [
        ("two.example", "second"),
        ("a.b.Two.Example.:80", "second"),
        ("other.example", "first"),
        ("127.0.0.1", "first"),
    ] {
        let request = format!("GET /f HTTP/1.1\r\nHost: {name}\r\n\r\n");
        client.write_all(request.as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut client).body, body.as_bytes(), "{name}");
    }
    let strict = format!("unknown_host = \"refuse\"\n{hosts}");
    let listen = "[[server]]\nprotocol = \"http\"\nlisten = \"127.0.0.1:0\"\n";
    write(place.path(), &format!("{TREES}{listen}{strict}"));
    let server = start(place.path());
    let answer = server.ask("GET /f HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 421 "), "{answer:?}");
}

#[test]
fn extensions_answer_in_their_order() {
    let place = place();
    fs::create_dir(place.path().join("public")).expect("it is made");
    for (name, text) in [("f", "plain"), ("gone.html", "<p>gone"), ("new", "new")] {
        fs::write(place.path().join("public").join(name), text).expect("it is written");
    }
    write(
        place.path(),
        r#"
[files.site]
path = "public"
writable = false

[[server]]
protocol = "http"
listen = ["127.0.0.1:0", "unix:run/http.sock"]

[[server.host]]
names = ["example.org", "*.example.org"]

[[server.host.extension]]
use = "header"
change = [{ name = "X-Here", value = "yes" }, { name = "X-Late", how = "add", value = "1", statuses = "404" }]

[[server.host.extension]]
use = "error-pages"
files = "site"
page = [{ statuses = "404", path = "/gone.html" }]

[[server.host.extension]]
match = "/old/*"
use = "redirect"
to = "/new/$1"

[[server.host.extension]]
match = "/locked/"
use = "access"
rule = [{ action = "allow", from = "unix" }]

[[server.host.extension]]
match = "/locked/*"
use = "rewrite"
to = "/$1"

[[server.host.extension]]
match = "*.txt"
methods = ["GET", "HEAD"]
use = "fixed"
text = "fixed"

[[server.host.extension]]
match = "/"
use = "files"
files = "site"
"#,
    );
    let server = start(place.path());
    let mut tcp = server.connect();
    let mut unix = UnixStream::connect(place.path().join("run/http.sock")).expect("it listens");
    let moved = ask_for(&mut tcp, "/old/a?b");
    assert_eq!((moved.status, moved.field("Location")), (302, Some("/new/a?b")));
    assert_eq!(moved.field("X-Here"), Some("yes"));
    assert_eq!(ask_for(&mut tcp, "/locked/f").status, 403);
    assert_eq!(ask_for(&mut unix, "/locked/f").body, b"plain");
    assert_eq!(ask_for(&mut tcp, "/any.txt").body, b"fixed");
    assert_eq!(ask_for(&mut tcp, "/f").body, b"plain");
    let missing = ask_for(&mut tcp, "/missing");
    assert_eq!((missing.status, &*missing.body), (404, &b"<p>gone"[..]));
    assert_eq!(missing.field("X-Late"), Some("1"));
    assert_eq!(missing.field("X-Here"), Some("yes"));
}

#[test]
fn a_guarded_upload_is_logged_where_its_server_says() {
    let place = place();
    let passwords = place.path().join("passwords");
    let mut passwd = medusa(["passwd", "--stdin"])
        .arg(&passwords)
        .arg("ann")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    passwd.stdin.take().expect("piped").write_all(b"secret\n").expect("it reads");
    assert!(passwd.wait().expect("it ends").success());
    write(
        place.path(),
        r#"
[files.one]
path = "first"
writable = true
[log.access]
to = "off"
[[server]]
protocol = "http"
listen = "127.0.0.1:0"
log = { to = "log", form = "common" }
[[server.extension]]
methods = ["PUT"]
use = "basic-auth"
passwords = "passwords"
users = ["ann"]
[[server.extension]]
use = "upload"
files = "one"
[[server.extension]]
use = "files"
files = "one"
cache_control = [{ match = "*.txt", value = "max-age=60" }]
"#,
    );
    let mut server = start(place.path());
    let put = |login: &str| {
        let request =
            format!("PUT /n.txt HTTP/1.1\r\nHost: a\r\n{login}Content-Length: 3\r\n\r\nnew");
        answers(&server.ask(request))[0].status
    };
    assert_eq!(put(""), 401);
    // `ann:secret`
    assert_eq!(put("Authorization: Basic YW5uOnNlY3JldA==\r\n"), 201);
    let mut client = server.connect();
    client.write_all(get("/n.txt").as_bytes()).expect("it reads");
    let answer = read_answer(&mut client);
    assert_eq!((&*answer.body, answer.field("Cache-Control")), (&b"new"[..], Some("max-age=60")));
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    let log = fs::read_to_string(place.path().join("log")).expect("it is there");
    let statuses: Vec<_> = log.lines().map(|line| line.rsplit(' ').nth(1).expect("two")).collect();
    assert_eq!(statuses, ["401", "201", "200"], "{log}");
}

#[test]
fn a_wrong_file_is_refused_with_line_and_column() {
    let place = place();
    write(place.path(), &format!("{TREES}{}", serving("\"127.0.0.1:0\"", "three")));
    let file = place.path().join("m.toml");
    for command in ["check", "serve", "config"] {
        let output = medusa([command, "--config"]).arg(&file).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).expect("it speaks UTF-8");
        assert!(error.contains(&format!("{}:10:9: ", file.display())), "{error}");
    }
    write(place.path(), &format!("{TREES}{}", serving("\"127.0.0.1:0\"", "two")));
    let output = medusa(["check", "--config"]).arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let said = format!("{}: ok: 1 server, 1 listener, 2 file trees\n", file.display());
    assert_eq!(String::from_utf8(output.stdout).expect("it speaks UTF-8"), said);
    let missing = medusa(["check", "--config", "/no/such/file"]).output().expect("it runs");
    assert_eq!(missing.status.code(), Some(2));
    let error = String::from_utf8(missing.stderr).expect("it speaks UTF-8");
    assert!(error.starts_with("medusa: there is no configuration file `/no/such/file`"), "{error}");
}

#[test]
fn an_address_that_is_taken_is_shown_in_the_file() {
    let place = place();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    write(place.path(), &format!("{TREES}{}", serving(&format!("\"{address}\""), "one")));
    let file = place.path().join("m.toml");
    let output = medusa(["serve", "--config"]).arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).expect("it speaks UTF-8");
    let told = format!("{}:7:10: cannot listen on {address}", file.display());
    assert!(error.contains(&told), "{error}");
}

#[test]
fn what_config_prints_is_served_alike() {
    let place = place();
    let config = |arguments: &[&str]| {
        let output = medusa(arguments).current_dir(place.path()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("it speaks UTF-8")
    };
    write(place.path(), &config(&["config", "--http", "127.0.0.1:0", "first"]));
    let server = start(place.path());
    assert_eq!(ask(&mut server.connect()), b"first");
    let again = config(&["config", "--config", "m.toml"]);
    let body = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let first = fs::read_to_string(place.path().join("m.toml")).expect("it is there");
    assert_eq!(body(&again), body(&first));
}

#[test]
fn completions_and_the_man_page_are_printed() {
    for (arguments, part) in [
        (&["completions", "bash"][..], "complete -F _medusa"),
        (&["completions", "zsh"], "#compdef medusa"),
        (&["completions", "fish"], "complete -c medusa"),
        (&["man"], ".TH medusa 1"),
    ] {
        let output = medusa(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("it speaks UTF-8");
        assert!(text.contains(part), "{arguments:?}: {text}");
        assert!(text.contains("check"), "{arguments:?}");
    }
}

#[test]
fn a_reload_changes_trees_and_listeners() {
    let place = place();
    let (kept, gone, new) = (free_address(), free_address(), free_address());
    let listen = |all: &[&String]| format!("{all:?}");
    write(place.path(), &format!("{TREES}{}", serving(&listen(&[&kept, &gone]), "one")));
    let mut server = start(place.path());
    let mut old = connect(&gone);
    assert_eq!(ask(&mut old), b"first");
    write(place.path(), &format!("{TREES}{}", serving(&listen(&[&kept, &new]), "two")));
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded ");
    assert_eq!(ask(&mut connect(&kept)), b"second");
    assert_eq!(ask(&mut connect(&new)), b"second");
    assert!(TcpStream::connect(&gone).is_err());
    old.write_all(get("/f").as_bytes()).expect("it reads");
    let last = read_answer(&mut old);
    assert_eq!(last.body, b"second", "a kept connection goes by what is new");
    assert_eq!(last.field("Connection"), Some("close"), "and ends, for its listener has gone");
    drop(old);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let place = place();
    let (address, free) = (free_address(), free_address());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    write(place.path(), &format!("{TREES}{}", serving(&format!("{:?}", [&address]), "one")));
    let server = start(place.path());
    for (text, told) in [
        ("[files\n".to_owned(), "m.toml:1:7: this is no TOML"),
        (format!("{TREES}{}", serving(&format!("{:?}", [&free]), "on")), "did you mean `one`?"),
        (
            format!("{TREES}{}", serving(&format!("{:?}", [&free, &taken]), "two")),
            "another program has this port",
        ),
    ] {
        write(place.path(), &text);
        server.signal(Signal::HUP);
        server.wait_for_line(told);
        assert_eq!(ask(&mut connect(&address)), b"first");
        assert!(TcpStream::connect(&free).is_err(), "{told}");
    }
    fs::remove_file(place.path().join("m.toml")).expect("it is there");
    server.signal(Signal::HUP);
    server.wait_for_line("there is no configuration file");
    assert_eq!(ask(&mut connect(&address)), b"first");
}

/// Ends the load, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reloads_under_load_cost_no_request() {
    const CLIENTS: usize = 8;
    const RELOADS: usize = 12;
    let place = place();
    let address = free_address();
    let text = |tree| format!("{TREES}{}", serving(&format!("{:?}", [&address]), tree));
    write(place.path(), &text("one"));
    let server = start(place.path());
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for n in 0..CLIENTS {
            let (address, stop, served) = (&address, &stop, &served);
            scope.spawn(move || {
                let mut client = connect(address);
                let mut asked = 0;
                while !stop.load(Ordering::Relaxed) {
                    let body = ask(&mut client);
                    assert!(body == b"first" || body == b"second", "{body:?}");
                    asked += 1;
                    // Some keep one connection over all reloads, others come anew.
                    if n % 2 == 0 && asked % 50 == 0 {
                        client = connect(address);
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 0..RELOADS {
            let (tree, body) =
                if n % 2 == 0 { ("two", b"second".to_vec()) } else { ("one", b"first".to_vec()) };
            write(place.path(), &text(tree));
            server.signal(Signal::HUP);
            let before = served.load(Ordering::Relaxed);
            let begin = std::time::Instant::now();
            while ask(&mut connect(&address)) != body {
                assert!(begin.elapsed() < PATIENCE, "the change does not come");
            }
            // Everybody has gone on.
            while served.load(Ordering::Relaxed) < before + CLIENTS {
                assert!(begin.elapsed() < PATIENCE, "nobody is served");
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn limits_hold_until_a_reload_takes_them_away() {
    let place = place();
    let address = free_address();
    let listen = format!("{:?}", [&address]);
    let open = format!("{TREES}{}", serving(&listen, "one"));
    let limits = "[server.limits]\nrequests = \"3/d\"\nconnections_per_client = 2\n";
    let strict = open.replace("[[server.extension]]", &format!("{limits}[[server.extension]]"));
    write(place.path(), &strict);
    let server = start(place.path());
    let (mut first, mut second) = (connect(&address), connect(&address));
    assert_eq!((ask(&mut first), ask(&mut second)), (b"first".to_vec(), b"first".to_vec()));
    let turned_away = read_answer(&mut connect(&address));
    assert_eq!(turned_away.status, 503);
    assert!(turned_away.field("Retry-After").is_some());
    assert_eq!(ask(&mut first), b"first");
    second.write_all(get("/f").as_bytes()).expect("it reads");
    let limited = read_answer(&mut second);
    let seconds: u32 = limited.field("Retry-After").and_then(|s| s.parse().ok()).expect("a time");
    assert!(limited.status == 429 && seconds > 20_000, "{seconds}");
    server.wait_for_line("turned 1 connections away");
    server.wait_for_line("answered 429 to 1 requests");
    write(place.path(), &open);
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded ");
    assert_eq!(
        (ask(&mut second), ask(&mut connect(&address))),
        (b"first".to_vec(), b"first".to_vec())
    );
}
