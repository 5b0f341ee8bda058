//! The real program, started for a test and stopped with it.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test uses some of it

pub mod ftp;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for what must come, so that a fault fails it instead of hanging it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; it is killed when the test is over, however that ends.
pub struct Server {
    child: Child,
    /// The lines on standard output before `ready`.
    pub listening: Vec<String>,
    out: Mutex<Receiver<String>>,
    errors: Arc<(Mutex<VecDeque<String>>, Condvar)>,
}

/// The program with these arguments.
pub fn medusa<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medusa"));
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Server {
    /// Serves a directory on a free port.
    pub fn of(directory: &Path) -> Self {
        Self::with(directory, &["--http", "127.0.0.1:0"])
    }

    /// Serves a directory with these options; by FTP only if they say so.
    pub fn with(directory: &Path, options: &[&str]) -> Self {
        let mut command = medusa([directory.as_os_str()]);
        if !options.contains(&"--ftp") {
            command.arg("--no-ftp");
        }
        Self::start(command.args(options))
    }

    /// Starts it and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let (say, out) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new((Mutex::new(VecDeque::new()), Condvar::new()));
        let (stderr, lines) = (child.stderr.take().expect("piped"), errors.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.0.lock().expect("nobody panics").push_back(line);
                lines.1.notify_all();
            }
        });
        let mut server = Self { child, listening: Vec::new(), out: Mutex::new(out), errors };
        loop {
            match server.line() {
                Ok(line) if line == "ready" => return server,
                Ok(line) => server.listening.push(line),
                Err(e) => panic!("it is not ready: {e}; it said {:?}", server.errors()),
            }
        }
    }

    /// The next line on standard output.
    fn line(&self) -> Result<String, RecvTimeoutError> {
        self.out.lock().expect("nobody panics").recv_timeout(PATIENCE)
    }

    /// The address of the first listener for HTTP.
    pub fn address(&self) -> &str {
        self.addresses()[0]
    }

    /// The addresses of all listeners for HTTP.
    pub fn addresses(&self) -> Vec<&str> {
        self.listening_for("http")
    }

    /// The address of the first listener for FTP.
    pub fn ftp(&self) -> &str {
        self.listening_for("ftp")[0]
    }

    /// The address of the first listener for DNS.
    pub fn dns(&self) -> &str {
        self.listening_for("dns")[0]
    }

    /// The path of the socket on which the monitor listens.
    pub fn monitor(&self) -> &Path {
        let address = self.listening_for("monitor")[0];
        Path::new(address.strip_prefix("unix:").expect("a Unix-domain socket"))
    }

    fn listening_for(&self, protocol: &str) -> Vec<&str> {
        let listening = self.listening.iter().map(|line| {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let [said, protocol, address] = words[..] else { panic!("{line}") };
            assert!(
                said == "listening" && ["http", "ftp", "dns", "monitor"].contains(&protocol),
                "{line}"
            );
            (protocol, address)
        });
        let fits = |(of, address)| (of == protocol).then_some(address);
        listening.filter_map(fits).collect()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Connects to the first listener.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        client
    }

    /// Sends `input` on a connection of its own, ends our side, and reads to the end.
    pub fn ask(&self, input: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.connect();
        client.write_all(input.as_ref()).expect("it reads");
        client.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut output = Vec::new();
        client.read_to_end(&mut output).expect("it answers and closes");
        output
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Its process id; its successors have others.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The processes that have taken over, one after the other.
    pub fn successors(&self) -> Vec<Pid> {
        self.errors().iter().filter_map(|line| successor(line)).collect()
    }

    /// The process that serves now.
    pub fn current(&self) -> Pid {
        self.successors().last().copied().unwrap_or_else(|| self.pid())
    }

    /// Has the program replaced, and waits until the new process serves; gives its id.
    pub fn upgrade(&self) -> Pid {
        let before = self.errors().len();
        kill_process(self.current(), Signal::USR2).expect("it runs");
        let line = self.wait_for_line_after(before, "upgrade", |line| {
            successor(line).is_some() || line.contains("the upgrade has failed")
        });
        successor(&line).unwrap_or_else(|| panic!("{line}"))
    }

    /// Waits for a line on standard error, behind the first so many, that is as told.
    pub fn wait_for_line_after(
        &self,
        mut behind: usize,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> String {
        let mut lines = self.errors.0.lock().expect("nobody panics");
        loop {
            if let Some(line) = lines.iter().skip(behind).find(|line| is_it(line)) {
                return line.clone();
            }
            behind = lines.len();
            let (guard, timed_out) =
                self.errors.1.wait_timeout(lines, PATIENCE).expect("nobody panics");
            assert!(!timed_out.timed_out(), "no line about {what}: {guard:?}");
            lines = guard;
        }
    }

    /// Waits until nobody can connect any more.
    pub fn wait_until_deaf(&self) {
        let begin = std::time::Instant::now();
        while TcpStream::connect(self.address()).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "it still listens");
            std::thread::yield_now();
        }
    }

    /// Waits for its end; gives the exit status and whatever else it wrote on standard output.
    pub fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.line() {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(e) => panic!("it does not end: {e}"),
            }
        }
        (self.child.wait().expect("it ran"), lines)
    }

    /// What it wrote on standard error so far.
    pub fn errors(&self) -> Vec<String> {
        self.errors.0.lock().expect("nobody panics").iter().cloned().collect()
    }

    /// Waits for a line on standard error that contains this.
    pub fn wait_for_line(&self, part: &str) -> String {
        let mut lines = self.errors.0.lock().expect("nobody panics");
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let (guard, timed_out) =
                self.errors.1.wait_timeout(lines, PATIENCE).expect("nobody panics");
            assert!(!timed_out.timed_out(), "no line with {part:?}: {guard:?}");
            lines = guard;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed by other means.
        for successor in self.successors().into_iter().filter(|pid| is_running(*pid)) {
            let _ = kill_process(successor, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that a line of the log says has taken over.
fn successor(line: &str) -> Option<Pid> {
    let (_, rest) = line.split_once("upgraded: process ")?;
    let (pid, _) = rest.split_once(' ')?;
    Pid::from_raw(pid.parse().ok()?)
}

/// Whether a process runs: one that has ended, and that nobody has asked how, does not.
pub fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    // The state stands behind the name, which is in brackets.
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z')))
}

/// Waits until a process has ended.
pub fn wait_for_end(pid: Pid) {
    let begin = std::time::Instant::now();
    while is_running(pid) {
        assert!(begin.elapsed() < PATIENCE, "process {pid:?} does not end");
        std::thread::yield_now();
    }
}

/// Puts a copy of a program into a place, which another may have had.
///
/// Another process writes it: what this one has open for writing, a program that another test
/// starts at that moment has open too, and until it runs nobody can run what is written.
pub fn install(program: &Path, place: &Path) {
    let next = place.with_extension("next");
    let copied = Command::new("cp").arg("-p").args([program, &next]).status();
    assert!(copied.expect("there is a cp").success());
    std::fs::rename(next, place).expect("it is put there");
}

/// Whether a foreign client is missing; says so on standard error, past the capture of output,
/// so that skipped tests can be counted.
pub fn is_missing(client: &str, test: &str) -> bool {
    let missing = Command::new(client).arg("--version").output().is_err();
    if missing {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {client} is not installed");
    }
    missing
}

/// A GET request.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// One reply, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads one reply whose body has a Content-Length, if any.
pub fn read_answer(from: &mut impl Read) -> Answer {
    let mut answer = read_head(from);
    let length = answer.field("Content-Length").map_or(0, |n| n.parse().expect("a length"));
    answer.body = vec![0; length];
    from.read_exact(&mut answer.body).expect("the whole body");
    answer
}

/// Reads the head of one reply, and not a byte more.
pub fn read_head(from: &mut impl Read) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("heads are ASCII");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Answer { status: status.expect("a status line"), head, body: Vec::new() }
}

/// Takes replies apart whose bodies all have a Content-Length.
pub fn answers(mut output: &[u8]) -> Vec<Answer> {
    let mut all = Vec::new();
    while !output.is_empty() {
        all.push(read_answer(&mut output));
    }
    all
}

/// Bytes that do not repeat, so that a part in the wrong place is noticed.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(step).collect()
}
