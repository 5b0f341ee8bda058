//! The program is replaced while it serves: what clients see of it, and what happens when the new
//! one is broken.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::process::{Signal, kill_process};
use server::{
    PATIENCE, Server, get, install, is_running, medusa, noise, read_answer, read_head, wait_for_end,
};

/// A file that is much larger than what the sockets between us can hold.
const HUGE: usize = 64 << 20;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("f"), "content").expect("it is written");
    directory
}

/// The program in a place of its own, where it can be replaced.
struct Installed {
    directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let installed = Self { directory: directory() };
        installed.install_real();
        installed
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn install_real(&self) {
        install(Path::new(env!("CARGO_BIN_EXE_medusa")), &self.path("medusa"));
    }

    /// Puts something else in the program's place.
    fn install(&self, content: &str) {
        fs::write(self.path("script"), content).expect("it is written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path("script"), mode).expect("it is allowed");
        install(&self.path("script"), &self.path("medusa"));
    }

    fn start(&self, options: &[&str]) -> Server {
        let mut command = Command::new(self.path("medusa"));
        command.arg(self.directory.path()).args(["--http", "127.0.0.1:0"]).args(options);
        if !options.contains(&"--ftp") {
            command.arg("--no-ftp");
        }
        Server::start(&mut command)
    }
}

fn asks(client: &mut (impl Read + Write)) -> server::Answer {
    client.write_all(get("/f").as_bytes()).expect("it reads");
    let answer = read_answer(client);
    assert_eq!((answer.status, &*answer.body), (200, &b"content"[..]));
    answer
}

fn closes(answer: &server::Answer) -> bool {
    answer.field("Connection") == Some("close")
}

/// Connections that are kept, as long as the server wants that, and asked again and again.
struct Load {
    stop: AtomicBool,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Load {
    /// Waits until so many more requests are answered.
    fn wait(&self, more: u64) {
        let until = self.requests.load(Ordering::Relaxed) + more;
        let begin = Instant::now();
        while self.requests.load(Ordering::Relaxed) < until {
            assert!(begin.elapsed() < PATIENCE, "the load stands still");
            std::thread::yield_now();
        }
    }

    /// Asks over this many connections at a time.
    fn run(&self, address: &str, connections: usize) {
        let connect = || {
            let client = TcpStream::connect(address)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.set_nodelay(true)?;
            Ok::<_, io::Error>(client)
        };
        let mut clients: Vec<_> = (0..connections).map(|_| connect()).collect();
        let request = get("/f");
        while !self.stop.load(Ordering::Relaxed) {
            for client in &mut clients {
                let sent = client.as_mut().map(|c| c.write_all(request.as_bytes()));
                if !matches!(sent, Ok(Ok(()))) {
                    self.fail(&format!("{sent:?}"));
                    *client = connect();
                }
            }
            for client in &mut clients {
                let Ok(open) = client else { continue };
                match reply(open) {
                    Ok(last) => {
                        self.requests.fetch_add(1, Ordering::Relaxed);
                        if last {
                            *client = connect();
                        }
                    }
                    Err(e) => {
                        self.fail(&e.to_string());
                        *client = connect();
                    }
                }
            }
        }
    }

    fn fail(&self, why: &str) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < 10 {
            eprintln!("a request failed: {why}");
        }
    }
}

/// Reads one reply; says whether it is the last of its connection.
fn reply(client: &mut TcpStream) -> io::Result<bool> {
    const BODY: &[u8] = b"\r\n\r\ncontent";
    let mut got = Vec::new();
    let mut buffer = [0; 1024];
    while !got.ends_with(BODY) {
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => got.extend_from_slice(&buffer[..n]),
        }
    }
    if !got.starts_with(b"HTTP/1.1 200 OK\r\n") {
        return Err(io::Error::other(String::from_utf8_lossy(&got).into_owned()));
    }
    Ok(got.windows(19).any(|w| w == b"\r\nConnection: close"))
}

#[test]
fn upgrades_under_load_fail_no_request() {
    const THREADS: usize = 4;
    const CONNECTIONS: usize = 64;
    const UPGRADES: usize = 5;
    let directory = directory();
    let server = Server::of(directory.path());
    let load = Load {
        stop: AtomicBool::new(false),
        requests: AtomicU64::new(0),
        failures: AtomicU64::new(0),
    };
    let mut replaced = vec![server.pid()];
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| load.run(server.address(), CONNECTIONS / THREADS));
        }
        for _ in 0..UPGRADES {
            // So that each connection has asked more than once in between.
            load.wait(4 * CONNECTIONS as u64);
            replaced.push(server.upgrade());
        }
        load.wait(4 * CONNECTIONS as u64);
        load.stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(load.failures.load(Ordering::Relaxed), 0);
    let last = replaced.pop().expect("the last one");
    // All of their connections have ended, so they do.
    replaced.into_iter().for_each(wait_for_end);
    assert!(is_running(last));
}

#[test]
fn what_is_under_way_is_finished_and_what_is_idle_is_answered_once_more() {
    let directory = directory();
    let content = noise(HUGE);
    fs::write(directory.path().join("huge"), &content).expect("it is written");
    let mut server = Server::of(directory.path());
    let mut idle = server.connect();
    assert!(!closes(&asks(&mut idle)));
    let mut fresh = server.connect();
    let mut slow = server.connect();
    slow.write_all(get("/huge").as_bytes()).expect("it reads");
    read_head(&mut slow);
    let mut partial = server.connect();
    partial.write_all(b"GET /f HTTP/1.1\r\nHo").expect("it reads");
    // The loop has accepted all of them before it answers this.
    for _ in 0..10 {
        asks(&mut idle);
    }

    let new = server.upgrade();
    assert!(!closes(&asks(&mut server.connect())), "the new process answers it");
    for client in [&mut idle, &mut fresh] {
        assert!(closes(&asks(client)));
        assert_eq!(client.read(&mut [0; 10]).expect("an ordinary end"), 0);
    }
    partial.write_all(b"st: a\r\n\r\n").expect("it reads");
    assert!(closes(&read_answer(&mut partial)));
    let mut rest = vec![0; HUGE];
    slow.read_exact(&mut rest).expect("the rest");
    assert!(rest == content, "it is whole");
    assert!(closes(&asks(&mut slow)));
    drop((idle, fresh, slow, partial));
    wait_for_end(server.pid());

    kill_process(new, Signal::TERM).expect("it runs");
    let (status, more) = server.wait();
    assert_eq!(status.code(), Some(0));
    let listening = format!("listening http {}", server.address());
    // It keeps the socket that is named after the first process.
    let monitor = format!("listening monitor unix:{}", server.monitor().display());
    assert_eq!(more, [&*listening, &*monitor, "ready"], "what the new process printed");
    server.wait_for_line(&format!("\"GET /huge HTTP/1.1\" 200 {HUGE} "));
}

#[test]
fn a_socket_file_goes_over_and_goes_with_the_last_process() {
    let directory = directory();
    let socket = directory.path().join("s");
    let asked = format!("unix:{}", socket.display());
    let server = Server::with(directory.path(), &["--http", &asked, "--http", "127.0.0.1:0"]);
    for _ in 0..2 {
        let mut before = UnixStream::connect(&socket).expect("it listens");
        asks(&mut before);
        let old = server.current();
        server.upgrade();
        assert!(closes(&asks(&mut before)));
        drop(before);
        wait_for_end(old);
        asks(&mut UnixStream::connect(&socket).expect("it still listens"));
    }
    let last = server.current();
    kill_process(last, Signal::TERM).expect("it runs");
    wait_for_end(last);
    assert!(!socket.exists());
}

#[test]
fn if_the_new_program_is_broken_the_old_one_goes_on() {
    let installed = Installed::new();
    let server = installed.start(&["--confine", "off", "--upgrade-timeout", "1"]);
    let mut kept = server.connect();
    for (program, why) in [
        ("#!/bin/sh\nexit 3\n", "it has ended before it was ready (exit status: 3)"),
        ("#!/bin/sh\nexec sleep 1000\n", "it was not ready within 1 seconds"),
        ("#!/no/such/interpreter\n", "it cannot be started: "),
    ] {
        installed.install(program);
        let before = server.errors().len();
        server.signal(Signal::USR2);
        let line = server.wait_for_line_after(before, program, |l| l.contains("has failed"));
        assert!(line.contains(why), "{line}");
        assert!(!closes(&asks(&mut kept)));
        asks(&mut server.connect());
    }
    assert_eq!(server.successors(), []);
    // And with a sound one it is replaced after all.
    installed.install_real();
    server.upgrade();
    assert!(closes(&asks(&mut kept)));
    asks(&mut server.connect());
}

#[test]
fn the_reason_why_the_new_process_does_not_serve_is_in_the_log_of_the_old_one() {
    let installed = Installed::new();
    let socket = installed.path("s");
    let asked = format!("unix:{}", socket.display());
    let site = installed.path("site");
    fs::create_dir(&site).expect("it is made");
    fs::write(site.join("f"), "content").expect("it is written");
    let server = Server::with(&site, &["--http", &asked, "--http", "127.0.0.1:0"]);
    fs::rename(&site, installed.path("elsewhere")).expect("it is moved");
    server.signal(Signal::USR2);
    let line = server.wait_for_line("the upgrade has failed");
    assert!(line.contains("there is no directory") && line.contains("site"), "{line}");
    // It had taken the socket, and has not removed its file.
    asks(&mut UnixStream::connect(&socket).expect("it listens"));
}

#[test]
fn one_upgrade_at_a_time_and_none_while_the_server_stops() {
    let installed = Installed::new();
    let mut server = installed.start(&["--confine", "off"]);
    let started = installed.path("started");
    installed.install(&format!(
        "#!/bin/sh\necho $$ >{0}.tmp && mv {0}.tmp {0}\nexec sleep 1000\n",
        started.display()
    ));
    server.signal(Signal::USR2);
    let begin = Instant::now();
    while !started.exists() {
        assert!(begin.elapsed() < PATIENCE, "it is not started");
        std::thread::yield_now();
    }
    server.signal(Signal::USR2);
    server.wait_for_line("an upgrade is under way already");
    // Something is in flight, so that stopping takes its time.
    asks(&mut server.connect());
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    let pid = fs::read_to_string(started).expect("it was started");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number"));
    wait_for_end(pid.expect("a process"));
}

#[test]
fn a_process_that_was_replaced_refuses_to_be_replaced_again_and_can_be_stopped() {
    let directory = directory();
    let file = fs::File::create(directory.path().join("huge")).expect("it is made");
    file.set_len(HUGE as u64).expect("it is extended");
    let server = Server::of(directory.path());
    let mut slow = server.connect();
    slow.write_all(get("/huge").as_bytes()).expect("it reads");
    read_head(&mut slow);
    let new = server.upgrade();
    server.signal(Signal::USR2);
    server.wait_for_line(&format!("process {} has taken over already", new.as_raw_pid()));
    // The first lets the download finish, the second does not.
    let begin = Instant::now();
    while is_running(server.pid()) {
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        server.signal(Signal::TERM);
        std::thread::yield_now();
    }
    asks(&mut server.connect());
}

#[test]
fn connections_that_do_not_end_are_dropped_when_the_time_is_over() {
    let directory = directory();
    let file = fs::File::create(directory.path().join("huge")).expect("it is made");
    file.set_len(HUGE as u64).expect("it is extended");
    let options = ["--http", "127.0.0.1:0", "--drain-timeout", "0"];
    let server = Server::with(directory.path(), &options);
    let mut slow = server.connect();
    slow.write_all(get("/huge").as_bytes()).expect("it reads");
    read_head(&mut slow);
    server.upgrade();
    wait_for_end(server.pid());
    asks(&mut server.connect());
}

#[test]
fn a_variable_that_nobody_wrote_is_refused_and_one_for_another_process_is_not_ours() {
    let directory = directory();
    let start = |value: &str| {
        let mut command = medusa([directory.path()]);
        command.args(["--http", "127.0.0.1:0", "--no-ftp"]).env("MEDUSA_UPGRADE", value);
        command
    };
    let output = start("nonsense").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("MEDUSA_UPGRADE"), "{said}");
    asks(&mut Server::start(&mut start("1:50:free:51")).connect());
    let own = std::process::id();
    for passed in [format!("{own}:2:free"), format!("{own}:999999:free")] {
        let output = start(&passed).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{passed}");
    }
}

#[test]
fn the_program_is_looked_for_where_it_was_called() {
    // A link that is turned to another version is how many install.
    let installed = Installed::new();
    let link = installed.path("current");
    std::os::unix::fs::symlink("medusa", &link).expect("it is linked");
    let mut command = Command::new("./current");
    command.current_dir(installed.directory.path());
    command.args([".", "--http", "127.0.0.1:0", "--no-ftp"]);
    let server = Server::start(&mut command);
    install(Path::new(env!("CARGO_BIN_EXE_medusa")), &installed.path("second"));
    fs::remove_file(&link).expect("it is removed");
    std::os::unix::fs::symlink("second", &link).expect("it is linked");
    let new = server.upgrade();
    let running = fs::read_link(format!("/proc/{}/exe", new.as_raw_pid())).expect("it runs");
    assert_eq!(running.file_name(), Path::new("second").file_name());
}
