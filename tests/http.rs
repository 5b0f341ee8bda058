//! HTTP over real sockets, in raw bytes: what the harness cannot show, and the essentials again.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use server::{PATIENCE, Server, answers, get, noise, read_answer, read_head};

/// A file that is much larger than what the sockets between us can hold.
const HUGE: u64 = 64 << 20;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("f"), "content").expect("it is written");
    fs::write(directory.path().join("large"), noise(1_000_000)).expect("it is written");
    fs::create_dir(directory.path().join("d")).expect("it is made");
    directory
}

fn huge(directory: &Path) {
    let file = fs::File::create(directory.join("huge")).expect("it is made");
    file.set_len(HUGE).expect("it is extended");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let directory = directory();
    for n in 0..50 {
        fs::write(directory.path().join(n.to_string()), format!("file {n}")).expect("written");
    }
    let server = Server::of(directory.path());
    let input: String = (0..200).map(|n| get(&format!("/{}", n % 51))).collect();
    let all = answers(&server.ask(input));
    assert_eq!(all.len(), 200);
    for (n, answer) in all.iter().enumerate() {
        if n % 51 == 50 {
            assert_eq!(answer.status, 404);
        } else {
            assert_eq!(answer.body, format!("file {}", n % 51).as_bytes());
        }
    }
}

#[test]
fn connections_are_kept_and_requests_come_in_pieces() {
    let directory = directory();
    let server = Server::of(directory.path());
    let mut client = server.connect();
    client.set_nodelay(true).expect("a socket option");
    for version in ["1.1", "1.0"] {
        let request = format!("GET /f HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        for byte in request.bytes() {
            client.write_all(&[byte]).expect("it reads");
        }
        assert_eq!(read_answer(&mut client).body, b"content");
    }
    client.write_all(b"GET /f HTTP/1.0\r\n\r\nGET /f HTTP/1.0\r\n\r\n").expect("it reads");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("it closes");
    assert_eq!(answers(&rest).len(), 1);
}

#[test]
fn a_large_file_and_its_ranges_are_what_is_on_the_disk() {
    let directory = directory();
    let content = noise(1_000_000);
    let server = Server::of(directory.path());
    let input = get("/large")
        + &get("/large").replace("GET", "HEAD")
        + &get("/large").replace("\r\n\r\n", "\r\nRange: bytes=300000-699999\r\n\r\n")
        + &get("/large").replace("\r\n\r\n", "\r\nRange: bytes=-5\r\n\r\n")
        + &get("/f");
    let mut client = server.connect();
    client.write_all(input.as_bytes()).expect("it reads");
    assert!(read_answer(&mut client).body == content);
    assert_eq!(read_head(&mut client).field("Content-Length"), Some("1000000"));
    let part = read_answer(&mut client);
    assert_eq!(part.field("Content-Range"), Some("bytes 300000-699999/1000000"));
    assert!(part.body == content[300_000..700_000]);
    assert!(read_answer(&mut client).body == content[999_995..]);
    assert_eq!(read_answer(&mut client).body, b"content");
}

#[test]
fn several_ranges_of_a_large_file_come_in_parts() {
    let directory = directory();
    let content = noise(1_000_000);
    let server = Server::of(directory.path());
    let lines = "\r\nRange: bytes=0-99999, 900000-\r\n\r\n";
    let answer = &answers(&server.ask(get("/large").replace("\r\n\r\n", lines)))[0];
    assert_eq!(answer.status, 206);
    for part in [&content[..100_000], &content[900_000..]] {
        assert!(answer.body.windows(part.len()).any(|window| window == part));
    }
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let directory = directory();
    let server = Server::of(directory.path());
    for (request, status) in [
        ("POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", 413),
        ("POST /f HTTP/1.1\r\nbad\r\n\r\n", 400),
        ("POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", 405),
    ] {
        let mut client = server.connect();
        client.write_all(request.as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut client).status, status);
        // Nobody wants it, and still there is no reset.
        client.write_all(&vec![b'x'; 100_000]).expect("it reads on");
        client.shutdown(std::net::Shutdown::Write).expect("it is open");
        assert_eq!(client.read(&mut [0; 10]).expect("an ordinary end"), 0);
    }
}

/// A client that reads only when it has sent everything got a reset instead of the answer.
#[test]
fn a_refusal_reaches_a_client_that_sends_a_large_body_first() {
    let directory = directory();
    let server = Server::of(directory.path());
    let body = vec![b'x'; 10_000_000];
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    for lines in [&*format!("Content-Length: {}\r\n\r\n", body.len()), &chunked] {
        let mut client = server.connect();
        write!(client, "POST /f HTTP/1.1\r\nHost: a\r\n{lines}").expect("it reads");
        client.write_all(&body).expect("it reads");
        assert_eq!(read_answer(&mut client).status, 405);
    }
}

#[test]
fn a_changed_file_is_noticed_by_the_next_request() {
    let directory = directory();
    let server = Server::of(directory.path());
    let mut client = server.connect();
    for (second, content) in [(1, "first!!"), (2, "second!"), (3, "third!!")] {
        let path = directory.path().join("f");
        fs::write(&path, content).expect("it is written");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + second);
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(time))
            .expect("the time is set");
        for _ in 0..3 {
            client.write_all(get("/f").as_bytes()).expect("it reads");
            assert_eq!(read_answer(&mut client).body, content.as_bytes());
        }
    }
    fs::remove_file(directory.path().join("f")).expect("it is removed");
    client.write_all(get("/f").as_bytes()).expect("it reads");
    assert_eq!(read_answer(&mut client).status, 404);
}

#[test]
fn a_file_truncated_while_it_is_sent_closes_the_connection_early() {
    let directory = directory();
    huge(directory.path());
    let server = Server::of(directory.path());
    let mut client = server.connect();
    client.write_all(get("/huge").as_bytes()).expect("it reads");
    let head = read_head(&mut client);
    assert_eq!(head.field("Content-Length"), Some(&*HUGE.to_string()));
    fs::File::options()
        .write(true)
        .open(directory.path().join("huge"))
        .and_then(|file| file.set_len(1))
        .expect("it is cut");
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    // A reset or an end, but not the whole.
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        got += n as u64;
    }
    assert!(got < HUGE, "{got} bytes");
    let line = server.wait_for_line("\"GET /huge HTTP/1.1\" 200 ");
    assert!(line.ends_with(" aborted"), "{line}");
}

#[test]
fn the_line_of_an_aborted_download_shows_the_bytes() {
    let directory = directory();
    huge(directory.path());
    let server = Server::of(directory.path());
    let mut client = server.connect();
    client.write_all(get("/huge").as_bytes()).expect("it reads");
    read_head(&mut client);
    let mut some = vec![0; 1 << 20];
    client.read_exact(&mut some).expect("a part");
    drop(client);
    let line = server.wait_for_line("\"GET /huge HTTP/1.1\" 200 ");
    let bytes = line.split("\" 200 ").nth(1).and_then(|rest| rest.split(' ').next());
    let bytes: u64 = bytes.and_then(|n| n.parse().ok()).expect("the bytes");
    assert!((1 << 20..HUGE).contains(&bytes), "{line}");
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with(" aborted"), "{line}");
}

#[test]
fn nothing_outside_the_directory_is_served() {
    let outside = tempfile::tempdir().expect("a directory");
    let root = outside.path().join("root");
    fs::create_dir(&root).expect("it is made");
    fs::write(outside.path().join("secret"), "SECRET").expect("it is written");
    fs::write(root.join(".hidden"), "SECRET").expect("it is written");
    std::os::unix::fs::symlink("../secret", root.join("link")).expect("a link");
    let server = Server::of(&root);
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/x/../../secret",
        "/link",
        "/.hidden",
        "/%2Ehidden",
        "//../secret",
    ] {
        let answer = &answers(&server.ask(get(path)))[0];
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(!answer.head.contains("SECRET") && !answer.body.starts_with(b"SECRET"), "{path}");
    }
}

#[test]
fn a_unix_domain_socket_serves_too() {
    let directory = directory();
    let socket = directory.path().join("socket");
    let address = format!("unix:{}", socket.display());
    let mut server = Server::with(directory.path(), &["--http", &address]);
    assert_eq!(server.addresses(), [&*address]);
    let mut client = UnixStream::connect(&socket).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client.write_all(get("/large").repeat(2).as_bytes()).expect("it reads");
    assert!(read_answer(&mut client).body == noise(1_000_000));
    assert!(read_answer(&mut client).body == noise(1_000_000));
    server.wait_for_line("\"GET /large HTTP/1.1\" 200 1000000 ");
    drop(client);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().0.success());
    assert!(!socket.exists(), "it is removed with its server");
}

#[test]
fn many_clients_at_once_get_what_they_asked_for() {
    let directory = directory();
    let server = Server::of(directory.path());
    let content = noise(1_000_000);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (server, content) = (&server, &content);
            scope.spawn(move || {
                let mut client = server.connect();
                for _ in 0..5 {
                    let (path, body) =
                        if n % 2 == 0 { ("/large", &content[..]) } else { ("/f", &b"content"[..]) };
                    client.write_all(get(path).as_bytes()).expect("it reads");
                    assert!(read_answer(&mut client).body == body);
                }
            });
        }
    });
}

/// How long a file must be left alone before the server keeps it in memory, and a bit.
const SETTLED: std::time::Duration = std::time::Duration::from_millis(2100);

/// A way to change the file at a path, and what is there then.
type Change = (&'static str, fn(&Path), Option<&'static str>);

#[test]
fn a_file_kept_in_memory_and_watched_is_never_served_as_it_was() {
    const CHANGES: [Change; 7] = [
        ("written", |path| fs::write(path, "CONTENT").expect("written"), Some("CONTENT")),
        (
            "replaced",
            |path| {
                let new = path.with_extension("new");
                fs::write(&new, "another").expect("written");
                fs::rename(new, path).expect("renamed");
            },
            Some("another"),
        ),
        (
            "appended",
            |path| {
                let mut file = fs::OpenOptions::new().append(true).open(path).expect("opened");
                file.write_all(b"!").expect("written");
            },
            Some("content!"),
        ),
        ("removed", |path| fs::remove_file(path).expect("removed"), None),
        ("renamed", |path| fs::rename(path, path.with_extension("old")).expect("renamed"), None),
        (
            "nested/file",
            |path| {
                let parent = path.parent().expect("a directory");
                fs::rename(parent, parent.with_extension("old")).expect("renamed");
            },
            None,
        ),
        (
            "link",
            |path| {
                fs::remove_file(path).expect("removed");
                std::os::unix::fs::symlink("other", path).expect("linked");
            },
            Some("the other"),
        ),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::create_dir(root.join("nested")).expect("made");
    fs::write(root.join("target"), "content").expect("written");
    fs::write(root.join("other"), "the other").expect("written");
    for (name, ..) in CHANGES {
        match name {
            "link" => std::os::unix::fs::symlink("target", root.join(name)).expect("linked"),
            _ => fs::write(root.join(name), "content").expect("written"),
        }
    }
    let server = Server::of(root);
    let mut client = server.connect();
    let mut body = |name: &str| {
        client.write_all(get(&format!("/{name}")).as_bytes()).expect("it reads");
        let answer = read_answer(&mut client);
        (answer.status == 200).then(|| String::from_utf8(answer.body).expect("text"))
    };
    let begun = std::time::Instant::now();
    while begun.elapsed() < SETTLED {
        assert_eq!(body("target").as_deref(), Some("content"));
    }
    for (name, change, expected) in CHANGES {
        for _ in 0..5 {
            assert_eq!(body(name).as_deref(), Some("content"), "{name}");
        }
        change(&root.join(name));
        assert_eq!(body(name).as_deref(), expected, "{name}");
    }
}
