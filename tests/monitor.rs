//! The monitor of the real program: where it listens, who gets in, what survives an upgrade, and that
//! nothing that is typed holds the server up.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use medusa_monitor::wire::{Budget, FromClient, FromServer, NoticeKind, Resume, Run, Value};
use rustix::process::Signal;
use server::{PATIENCE, Server, medusa};

/// A client that speaks the protocol itself.
struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    session: String,
    last: u64,
}

impl Client {
    fn connect(path: &Path) -> Self {
        let writer = UnixStream::connect(path).expect("it listens");
        writer.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let reader = BufReader::new(writer.try_clone().expect("a socket can be cloned"));
        let mut client = Self { reader, writer, session: String::new(), last: 0 };
        assert!(matches!(client.hear(), FromServer::Hello(_)));
        let FromServer::Welcome(welcome) = client.hear() else { panic!("no welcome") };
        client.session = welcome.session;
        client
    }

    fn say(&mut self, message: &FromClient) {
        let mut line = Vec::new();
        message.write(&mut line);
        self.writer.write_all(&line).expect("it reads");
    }

    fn hear(&mut self) -> FromServer {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("it answers");
        FromServer::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    fn begin(&mut self, code: &str) {
        self.last += 1;
        let run = Run { id: self.last, code: code.to_owned(), rows: None };
        self.say(&FromClient::Run(run));
    }

    /// How the last statement ended.
    fn end(&mut self) -> FromServer {
        loop {
            match self.hear() {
                FromServer::Print(_) => {}
                other => return other,
            }
        }
    }

    fn values(&mut self, code: &str) -> Vec<Value> {
        self.begin(code);
        match self.end() {
            FromServer::Done(done) => done.values,
            other => panic!("{code}: {other:?}"),
        }
    }
}

fn site() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("f"), "content").expect("written");
    place
}

/// A server whose sockets are in a directory of the test's own.
fn start(place: &Path, options: &[&str]) -> Server {
    Server::start(
        medusa([place.as_os_str()])
            .args(["--http", "127.0.0.1:0", "--no-ftp"])
            .args(options)
            .env("XDG_RUNTIME_DIR", place)
            .env("XDG_CONFIG_HOME", place),
    )
}

/// Runs the program to its end, with this on its standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = medusa(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    // It may have ended without reading.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_listens_by_default_where_only_this_user_can_go() {
    let place = site();
    let mut server = start(place.path(), &[]);
    let path = server.monitor().to_owned();
    assert_eq!(path, place.path().join(format!("medusa/{}.sock", server.pid().as_raw_pid())));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!((mode(path.parent().expect("a directory")), mode(&path)), (0o700, 0o600));
    assert!(server.listening.last().expect("a line").starts_with("listening monitor unix:"));
    let mut client = Client::connect(&path);
    assert_eq!(client.values("1 + 1"), [Value::Integer(2)]);
    let line = server.wait_for_line("AUDIT session 1 of ");
    assert!(line.contains("(all) from unix: \"1 + 1\"") && line.ends_with(": done"), "{line}");

    // Another server of the same user has a place of its own.
    let other = start(place.path(), &[]);
    assert_ne!(other.monitor(), path);
    assert_eq!(Client::connect(other.monitor()).values("2"), [Value::Integer(2)]);

    server.signal(Signal::TERM);
    let FromServer::Notice(notice) = client.end() else { panic!("no notice") };
    assert_eq!(notice.kind, NoticeKind::Stopping);
    assert!(server.wait().0.success());
    assert!(!path.exists());
}

#[test]
fn it_can_be_left_out() {
    let place = site();
    let server = start(place.path(), &["--no-monitor"]);
    assert_eq!(server.listening.len(), 1, "{:?}", server.listening);
    assert!(!place.path().join("medusa").exists());
}

#[test]
fn on_tcp_it_needs_operators_who_then_log_in() {
    let place = site();
    let file = place.path().join("operators");
    let file = file.to_str().expect("UTF-8");
    let directory = place.path().to_str().expect("UTF-8");
    let refused = run(
        &[directory, "--http", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--operators", file],
        "",
    );
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("a monitor on 127.0.0.1:0 needs operators"), "{said}");
    assert!(said.contains("medusa passwd --monitor --operators"), "{said}");

    let passwd = |options: &[&str], input: &str| {
        run(&[&["passwd", "--monitor", "--operators", file], options].concat(), input)
    };
    let no_role = passwd(&["--stdin", "ann"], "secret\n");
    assert!(text(&no_role.stderr).contains("--role look, operate or all"), "{no_role:?}");
    assert_eq!(
        text(&passwd(&["--stdin", "--role", "all", "ann"], "secret\n").stdout),
        "ann: added\n"
    );
    assert_eq!(
        text(&passwd(&["--stdin", "--role", "look", "eye"], "see\n").stdout),
        "eye: added\n"
    );
    let again = passwd(&["--stdin", "ann"], "secret2\n");
    assert_eq!(text(&again.stdout), "ann: has a new password\n");
    let kept = fs::read_to_string(file).expect("it is there");
    assert!(kept.contains("\nann:all:SCRAM-SHA-256$") && kept.contains("\neye:look:"), "{kept}");
    assert!(!kept.contains("secret"));
    assert_eq!(fs::metadata(file).expect("it is there").mode() & 0o777, 0o600);
    assert_eq!(passwd(&["--delete", "bob"], "").status.code(), Some(1));

    let server = start(place.path(), &["--monitor", "127.0.0.1:0", "--operators", file]);
    let line = server.listening.iter().find(|line| line.starts_with("listening monitor 127."));
    let address = line.expect("it listens").rsplit(' ').next().expect("an address").to_owned();
    let console = |user: &str, password: &str, statement: &str| {
        let secret = place.path().join(format!("password-of-{user}"));
        fs::write(&secret, password).expect("written");
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, only_ours).expect("it is ours");
        let secret = secret.to_str().expect("UTF-8").to_owned();
        run(
            &[
                "console",
                &address,
                "--user",
                user,
                "--password-file",
                &secret,
                "--json",
                "-e",
                statement,
            ],
            "",
        )
    };
    let right = console("ann", "secret2", "1 + 1");
    assert_eq!(
        (text(&right.stdout), right.status.code()),
        ("2\n".to_owned(), Some(0)),
        "{right:?}"
    );
    for (user, password) in [("ann", "secret"), ("nobody", "secret")] {
        let wrong = console(user, password, "1 + 1");
        assert_eq!(wrong.status.code(), Some(2));
        assert!(text(&wrong.stderr).contains("wrong name or password"), "{wrong:?}");
    }
    server.wait_for_line("a login to the monitor from 127.0.0.1");
    let look = console("eye", "see", "act('logs', 'reopen')");
    assert_eq!(look.status.code(), Some(1));
    assert!(text(&look.stderr).contains("for those who may `operate`"), "{look:?}");
}

#[test]
fn a_session_finds_its_variables_in_the_process_that_has_taken_over() {
    let place = site();
    let server = start(place.path(), &[]);
    let path = server.monitor().to_owned();
    let mut client = Client::connect(&path);
    client.values("x = {answer = 42}");
    server.upgrade();
    let FromServer::Notice(notice) = client.end() else { panic!("no notice") };
    assert_eq!(notice.kind, NoticeKind::Moved);
    let mut next = Client::connect(&path);
    next.say(&FromClient::Resume(Resume {
        id: 77,
        session: client.session.clone(),
        kept: notice.kept,
    }));
    assert!(matches!(next.end(), FromServer::Done(done) if done.id == 77));
    assert_eq!(next.values("x.answer"), [Value::Integer(42)]);
    assert_eq!(next.values("look('sessions/1').state"), [Value::from("busy")]);
}

/// The statements of the figures, and the budget that ends each; `None` is an error at once.
const RUNAWAY: [(&str, Option<Budget>); 6] = [
    ("while true do end", Some(Budget::Time)),
    ("local t = {} for i = 1, 1e12 do t[i] = ('x'):rep(100000) .. i end", Some(Budget::Memory)),
    ("while true do print(('x'):rep(1000)) end", Some(Budget::Output)),
    ("string.rep('x', 10 * 1024 * 1024 * 1024)", None),
    ("string.find(('a'):rep(1e4), '.-.-.-.-b$')", None),
    ("table.sort({3, 1, 2}, function() while true do end end)", Some(Budget::Time)),
];

#[test]
fn whatever_is_typed_ends_by_itself_while_the_server_serves() {
    let place = site();
    let file = place.path().join("m.toml");
    let configuration = "[monitor]\nstatement_time = \"1s\"\n[log.access]\nto = \"off\"\n\
                         [files.site]\npath = \".\"\n[[server]]\nprotocol = \"http\"\n\
                         listen = \"127.0.0.1:0\"\n[[server.extension]]\nuse = \"files\"\n\
                         files = \"site\"\n";
    fs::write(&file, configuration).expect("written");
    let server = Server::start(
        medusa(["--config", file.to_str().expect("UTF-8")]).env("XDG_RUNTIME_DIR", place.path()),
    );
    for (code, budget) in RUNAWAY {
        let mut client = Client::connect(server.monitor());
        client.begin(code);
        // While it runs, requests are answered.
        for _ in 0..20 {
            let answer = server.ask("GET /f HTTP/1.0\r\n\r\n");
            assert!(answer.ends_with(b"content"), "{}", text(&answer));
        }
        let FromServer::Failed(failed) = client.end() else { panic!("{code}") };
        assert_eq!(failed.budget, budget, "{code}: {failed:?}");
        assert!(!failed.message.is_empty());
        assert_eq!(client.values("'well'"), [Value::from("well")]);
    }
}

#[test]
fn the_system_users_of_others_do_not_get_in() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "skipped: the_system_users_of_others_do_not_get_in: only root can be another user"
        );
        return;
    }
    let place = site();
    let server = start(place.path(), &[]);
    // Even where the directory lets them.
    let open = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).expect("it is ours");
    };
    open(place.path(), 0o755);
    open(&place.path().join("medusa"), 0o755);
    open(server.monitor(), 0o666);
    let script = format!(
        "import os, socket\nos.setgid(65534); os.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\n\
         s.settimeout({})\ns.connect('{}')\nwhile True:\n    d = s.recv(4096)\n    if not d: break\n    \
         print(d.decode(), end='')\n",
        PATIENCE.as_secs(),
        server.monitor().display()
    );
    let Ok(said) = Command::new("python3").args(["-c", &script]).output() else {
        eprintln!("skipped: the_system_users_of_others_do_not_get_in: there is no python3");
        return;
    };
    let said = text(&said.stdout);
    assert!(said.contains("\"refused\":{\"why\":\"this is the monitor of another user"), "{said}");
    assert!(!said.contains("welcome"), "{said}");
}
