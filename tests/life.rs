//! What the program is given by a service manager, what it tells it, and what it gives up.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use server::{PATIENCE, Server, get, install, medusa, read_answer, wait_for_end};

/// A directory that any user may enter, with a file that any user may read.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), mode).expect("it is allowed");
    fs::write(directory.path().join("f"), "content").expect("it is written");
    directory
}

fn ask(server: &Server, path: &str) -> u16 {
    let mut client = server.connect();
    client.write_all(get(path).as_bytes()).expect("it reads");
    read_answer(&mut client).status
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = medusa(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("it speaks UTF-8"))
}

#[test]
fn sockets_from_systemd_are_used_by_address_and_by_name() {
    let directory = directory();
    let path = directory.path().join("s");
    let (tcp, unix, spare) = (
        TcpListener::bind("127.0.0.1:0").expect("a free port"),
        UnixListener::bind(&path).expect("a free path"),
        TcpListener::bind("127.0.0.1:0").expect("a free port"),
    );
    let address = tcp.local_addr().expect("bound").to_string();
    let unused = spare.local_addr().expect("bound").to_string();
    let passed = [
        rustix::io::dup(&tcp).expect("a descriptor"),
        rustix::io::dup(&unix).expect("a descriptor"),
        rustix::io::dup(&spare).expect("a descriptor"),
    ];
    // The numbers from 3 on, and the id of the process that is meant, as systemd does it.
    let as_number = |(number, descriptor): (i32, &OwnedFd)| {
        format!("exec {number}<&{}; ", descriptor.as_raw_fd())
    };
    let mut script: String = (3..).zip(&passed).map(as_number).collect();
    script += "LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=tcp:web:spare exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_medusa")]).arg(directory.path());
    command.args(["--no-ftp", "--http", &address, "--http", "systemd:web"]);
    let server = Server::start(&mut command);
    drop((tcp, unix, spare, passed));
    let shown = format!("unix:{}", path.display());
    assert_eq!(server.addresses(), [&*address, &*shown]);
    server.wait_for_line(&format!("nobody listens on {unused} any more"));
    for _ in 0..2 {
        assert_eq!(ask(&server, "/f"), 200);
        let mut client = UnixStream::connect(&path).expect("it listens");
        client.write_all(get("/f").as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut client).status, 200);
        // The next process knows the name too.
        server.upgrade();
    }
    let last = server.current();
    kill_process(last, Signal::TERM).expect("it runs");
    wait_for_end(last);
    assert!(path.exists(), "it is systemd's");
}

#[test]
fn a_socket_that_was_not_passed_is_missed() {
    let directory = directory();
    let shown = directory.path().to_str().expect("UTF-8");
    let (status, said) = refused(&[shown, "--http", "systemd:web"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("systemd:web") && said.contains("passed no such socket"), "{said}");
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a free path");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self { socket, heard: Vec::new() }
    }

    /// Waits for a message with this line.
    fn wait_for(&mut self, line: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|e| {
                panic!("{e} while waiting for {line}; heard {:?}", self.heard);
            });
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|l| l == line) {
                return message;
            }
            self.heard.push(message);
        }
    }
}

#[test]
fn the_service_manager_hears_how_it_is_going() {
    let directory = directory();
    let path = directory.path().join("notify");
    let mut manager = Manager::at(&path);
    let mut command = medusa([directory.path()]);
    command.args(["--http", "127.0.0.1:0", "--no-ftp"]).env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "50000");
    let server = Server::start(&mut command);
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    let new = server.upgrade();
    let message = manager.wait_for(&format!("MAINPID={}", new.as_raw_pid()));
    assert!(message.contains("READY=1"), "{message}");
    wait_for_end(server.pid());
    // What was said before is heard; what comes now is from the new process.
    manager.wait_for("WATCHDOG=1");
    kill_process(new, Signal::TERM).expect("it runs");
    manager.wait_for("STOPPING=1");
    let stops = manager.heard.iter().filter(|message| message.contains("STOPPING")).count();
    assert_eq!(stops, 0, "the old process did not speak for the service any more");
}

/// The lines of each thread's status that begin with one of these.
fn of_each_thread(pid: Pid, names: &[&str]) -> Vec<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())).expect("it runs");
    let status = |task: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let words: Vec<_> = value.split_whitespace().collect();
            names.contains(&name).then(|| format!("{name} {}", words.join(" ")))
        };
        Some(status.lines().filter_map(line).collect())
    };
    tasks.filter_map(status).collect()
}

fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: needs root");
    }
    root
}

#[test]
fn privileges_are_given_up_by_all_threads_and_for_good() {
    if !is_root("privileges_are_given_up_by_all_threads_and_for_good") {
        return;
    }
    let directory = directory();
    // What root may read and the user may not.
    fs::write(directory.path().join("secret"), "").expect("it is written");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(directory.path().join("secret"), mode).expect("it is allowed");
    fs::create_dir(directory.path().join("listed")).expect("it is made");
    // Where the user finds the program that is to replace it.
    let program = directory.path().join("medusa");
    install(Path::new(env!("CARGO_BIN_EXE_medusa")), &program);
    let run = directory.path().join("run");
    fs::create_dir(&run).expect("it is made");
    chown(&run, Some(1), Some(1)).expect("root may");
    let socket = format!("unix:{}", run.join("s").display());
    let mut command = Command::new(&program);
    command.arg(directory.path());
    command.args(["--no-ftp", "--http", "127.0.0.1:0", "--http", &socket]);
    let server = Server::start(command.args(["--user", "daemon", "--group", "54321"]));
    for _ in 0..2 {
        assert_eq!(ask(&server, "/f"), 200);
        assert_ne!(ask(&server, "/secret"), 200);
        // Made by a helper thread.
        assert_eq!(ask(&server, "/listed/"), 200);
        let names = [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
        ];
        let threads = of_each_thread(server.current(), &names);
        assert!(threads.len() > 1, "there are helper threads");
        for thread in threads {
            assert_eq!(
                thread,
                [
                    "Uid 1 1 1 1",
                    "Gid 54321 54321 54321 54321",
                    "Groups 54321",
                    "CapInh 0000000000000000",
                    "CapPrm 0000000000000000",
                    "CapEff 0000000000000000",
                    "CapBnd 0000000000000000",
                    "CapAmb 0000000000000000",
                    "NoNewPrivs 1",
                ]
            );
        }
        server.upgrade();
    }
}

#[test]
fn new_privileges_are_forbidden_unless_they_are_allowed() {
    let directory = directory();
    let server = Server::of(directory.path());
    for thread in of_each_thread(server.pid(), &["NoNewPrivs"]) {
        assert_eq!(thread, ["NoNewPrivs 1"]);
    }
    let options = ["--http", "127.0.0.1:0", "--allow-new-privileges"];
    let server = Server::with(directory.path(), &options);
    for thread in of_each_thread(server.pid(), &["NoNewPrivs"]) {
        // Whoever runs the tests may have forbidden them already, and it is inherited.
        let own = of_each_thread(rustix::process::getpid(), &["NoNewPrivs"]);
        assert!(own.contains(&thread), "{thread:?}");
    }
}

#[test]
fn a_user_that_cannot_be_taken_on_is_told_with_the_way_out() {
    let directory = directory();
    let shown = directory.path().to_str().expect("UTF-8");
    for (options, thing, way_out) in [
        (&["--user", "no-such-user"][..], "no-such-user", "--user"),
        (&["--user", "daemon", "--group", "no-such-group"], "no-such-group", "--group"),
        (&["--user", "root"], "root", "name another user"),
        (&["--user", "54321"], "54321", "--group"),
        (&["--group", "daemon"], "--user", "--help"),
    ] {
        let (status, said) = refused(&[&[shown, "--http", "127.0.0.1:0"], options].concat());
        assert_eq!(status, Some(2), "{options:?}: {said}");
        assert!(said.contains(thing) && said.contains(way_out), "{said}");
    }
}

/// The kernel allows no program outside of the places that the server knows, so what now stands in
/// the program's place cannot have a shell run.
#[test]
fn the_server_is_confined_where_the_kernel_can() {
    let directory = directory();
    let program = directory.path().join("medusa");
    install(Path::new(env!("CARGO_BIN_EXE_medusa")), &program);
    let command = |confine: &str| {
        let mut command = Command::new(&program);
        command.arg(directory.path());
        command.args(["--http", "127.0.0.1:0", "--no-ftp", "--confine", confine]);
        command
    };
    let servers = if has_landlock() {
        vec![
            (Server::start(&mut command("require")), true),
            (Server::start(&mut command("auto")), true),
        ]
    } else {
        let output = command("require").output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("--confine auto"), "{said}");
        let server = Server::start(&mut command("auto"));
        server.wait_for_line("is not confined");
        vec![(server, false)]
    };
    let free = Server::start(&mut command("off"));
    for server in servers.iter().map(|(server, _)| server).chain([&free]) {
        assert_eq!(ask(server, "/f"), 200);
        assert_eq!(ask(server, "/"), 200);
        // The program and its libraries can be reached. And once each process put a confinement of
        // its own on that of the one before, up to the kernel's limit of 16.
        for _ in 0..17 {
            server.upgrade();
        }
        assert_eq!(ask(server, "/f"), 200);
    }
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 3\n").expect("it is written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is allowed");
    install(&script, &program);
    for (server, confined) in servers.iter().map(|(s, c)| (s, *c)).chain([(&free, false)]) {
        kill_process(server.current(), Signal::USR2).expect("it runs");
        let line = server.wait_for_line("the upgrade has failed");
        let why = if confined { "Permission denied" } else { "exit status: 3" };
        assert!(line.contains(why), "{line}");
        assert_eq!(ask(server, "/f"), 200);
    }
}

/// Whether the kernel of this machine can confine.
fn has_landlock() -> bool {
    use medusa_core::sys::confinement::{Confined, Places, confine};
    // On a thread of its own, which is all that is confined.
    let try_it = || {
        medusa_core::sys::privileges::forbid_new().expect("anybody may");
        confine(&Places::default()).expect("it is tried") != Confined::Not
    };
    std::thread::spawn(try_it).join().expect("it does not panic")
}
