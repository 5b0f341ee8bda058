//! A monitor that says what a test wants to hear, on a socket of its own.
//!
//! It answers statements by their text; see [`Talk::run`].
#![allow(dead_code, unreachable_pub, missing_docs)] // each test uses some of it

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use medusa_auth::scram::{self, ClientFirst, Record};
use medusa_monitor::wire::{
    Challenge, Completions, Done, Failed, FromClient, FromServer, Hello, LoginKind, Notice,
    NoticeKind, Print, Refused, Role, Unit, VERSION, Value, Welcome,
};

/// The operator who can log in over TCP, and the password.
pub const OPERATOR: (&str, &str) = ("ann", "correct horse");

/// What the test can look at afterwards.
#[derive(Debug, Default)]
pub struct Seen {
    /// The statements, in order.
    pub statements: Vec<String>,
    /// The sessions that were to be resumed, and what was kept of them.
    pub resumed: Vec<(String, Option<String>)>,
    /// Logins that came in.
    pub connections: usize,
}

/// A running monitor; it goes with the test's process.
pub struct Fake {
    pub address: String,
    pub seen: Arc<Mutex<Seen>>,
}

/// One connection's two directions.
type Ends = (Box<dyn std::io::Read + Send>, Box<dyn std::io::Write + Send>);

impl Fake {
    /// Listens on `NAME.sock` in a directory.
    pub fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("bound");
        let address = format!("unix:{}", path.display());
        Self::serve(address, false, move || {
            let stream: UnixStream = listener.accept().expect("a client").0;
            let read = stream.try_clone().expect("cloned");
            (Box::new(read), Box::new(stream))
        })
    }

    /// Listens on a free port, and asks for a password.
    pub fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address").to_string();
        Self::serve(address, true, move || {
            let stream: TcpStream = listener.accept().expect("a client").0;
            let read = stream.try_clone().expect("cloned");
            (Box::new(read), Box::new(stream))
        })
    }

    fn serve(
        address: String,
        login: bool,
        mut accept: impl FnMut() -> Ends + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            loop {
                let (read, write) = accept();
                let seen = shared.clone();
                std::thread::spawn(move || {
                    let mut talk = Talk { write, seen, waiting: None, moved: false, left: 0 };
                    // A client may go at any time.
                    let _ = talk.talk(BufReader::new(read), login);
                });
            }
        });
        Self { address, seen }
    }

    pub fn statements(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panics").statements.clone()
    }
}

/// One session.
struct Talk {
    write: Box<dyn std::io::Write + Send>,
    seen: Arc<Mutex<Seen>>,
    /// A statement that runs until it is cancelled.
    waiting: Option<u64>,
    /// The connection is to end.
    moved: bool,
    /// Rows that `more` gives.
    left: i64,
}

impl Talk {
    fn say(&mut self, message: &FromServer) -> std::io::Result<()> {
        let mut line = Vec::new();
        message.write(&mut line);
        self.write.write_all(&line)
    }

    fn talk(
        &mut self,
        mut read: BufReader<Box<dyn std::io::Read + Send>>,
        login: bool,
    ) -> std::io::Result<()> {
        let kind = if login { LoginKind::ScramSha256 } else { LoginKind::None };
        let hello = Hello { server: "medusa 0.1.0".into(), version: VERSION, login: kind };
        self.say(&FromServer::Hello(hello))?;
        let mut hear = move || -> std::io::Result<Option<FromClient>> {
            let mut line = Vec::new();
            read.read_until(b'\n', &mut line)?;
            let read = || FromClient::read(&line).expect("what the console says can be read");
            Ok((!line.is_empty()).then(read))
        };
        let (mut operator, mut data) = ("root".to_owned(), None);
        if login {
            let Some(FromClient::Login(first)) = hear()? else { return Ok(()) };
            let first = ClientFirst::read(&first.data).expect("well-formed");
            first.name().clone_into(&mut operator);
            let known = if operator == OPERATOR.0 { OPERATOR.1 } else { "another" };
            let record = Record::with(known, b"salt salt", 4096);
            let (challenge, said) = first.challenge(record, &scram::nonce().expect("random"));
            self.say(&FromServer::Challenge(Challenge { data: said }))?;
            let Some(FromClient::Proof(last)) = hear()? else { return Ok(()) };
            match challenge.verify(&last.data) {
                // An impostor, who lets everybody in.
                Ok(_) if operator == "eve" => data = Some("v=AAAA".to_owned()),
                Ok(said) => data = Some(said),
                Err(e) => {
                    let why = format!("{e}\x1b[2J");
                    return self.say(&FromServer::Refused(Refused { why }));
                }
            }
        }
        let number = {
            let mut seen = self.seen.lock().expect("nobody panics");
            seen.connections += 1;
            seen.connections
        };
        let session = format!("session-{number}");
        self.say(&FromServer::Welcome(Welcome { operator, role: Role::All, session, data }))?;
        // A newer server may say what this client does not know.
        self.write.write_all(b"{\"weather\":{\"rain\":true}}\n")?;
        while let Some(message) = hear()? {
            self.answer(message)?;
            if self.moved {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&mut self, message: FromClient) -> std::io::Result<()> {
        match message {
            FromClient::Run(run) => {
                self.seen.lock().expect("nobody panics").statements.push(run.code.clone());
                self.run(run.id, &run.code, i64::from(run.rows.unwrap_or(50)))
            }
            FromClient::Cancel(cancel) => {
                if self.waiting == Some(cancel.run) {
                    self.waiting = None;
                    let message = "the script was cancelled".into();
                    let failed =
                        Failed { id: cancel.run, message, cancelled: true, ..Failed::default() };
                    self.say(&FromServer::Failed(failed))?;
                }
                self.done(cancel.id, Vec::new())
            }
            FromClient::More(more) => {
                let rows = i64::from(more.rows.unwrap_or(50));
                self.rows(more.id, rows)
            }
            FromClient::Complete(complete) => {
                let word =
                    complete.code[..complete.at].rsplit(|c: char| !c.is_alphanumeric()).next();
                let word = word.unwrap_or_default();
                let names = ["channels", "channel_limit", "close", "evil\x1b[2J"];
                let names = names.iter().filter(|name| name.starts_with(word));
                self.say(&FromServer::Completions(Completions {
                    id: complete.id,
                    from: complete.at - word.len(),
                    names: names.map(|&name| name.to_owned()).collect(),
                }))
            }
            FromClient::Resume(resume) => {
                self.seen
                    .lock()
                    .expect("nobody panics")
                    .resumed
                    .push((resume.session, resume.kept));
                self.done(resume.id, Vec::new())
            }
            other => panic!("the console says {other:?}"),
        }
    }

    fn done(&mut self, id: u64, values: Vec<Value>) -> std::io::Result<()> {
        self.say(&FromServer::Done(Done { id, values, ..Done::default() }))
    }

    fn notice(&mut self, kind: NoticeKind, text: &str) -> std::io::Result<()> {
        let kept = (kind == NoticeKind::Moved).then(|| "{\"x\":1}".to_owned());
        self.say(&FromServer::Notice(Notice { kind, text: text.to_owned(), kept }))
    }

    fn failed(
        &mut self,
        id: u64,
        message: &str,
        line: u32,
        incomplete: bool,
    ) -> std::io::Result<()> {
        let message = message.to_owned();
        self.say(&FromServer::Failed(Failed { id, message, line, incomplete, ..Failed::default() }))
    }

    /// So many rows of those that are left.
    fn rows(&mut self, id: u64, rows: i64) -> std::io::Result<()> {
        let first = 1000 - self.left;
        let now = rows.min(self.left);
        self.left -= now;
        let row = |n| Value::Map(vec![("n".into(), Value::Integer(n))]);
        let values = vec![Value::List((first..first + now).map(row).collect())];
        self.say(&FromServer::Done(Done { id, values, more: self.left > 0, ..Done::default() }))
    }

    fn run(&mut self, id: u64, code: &str, rows: i64) -> std::io::Result<()> {
        let print = |text: &str| FromServer::Print(Print { id, text: text.to_owned() });
        match code {
            "channels()" => {
                let row = |peer: &str, sent, age| {
                    Value::Map(vec![
                        ("peer".into(), peer.into()),
                        ("sent".into(), Value::Integer(sent)),
                        ("age".into(), Value::Number(age)),
                    ])
                };
                let list = vec![row("127.0.0.1:40000", 2048, 0.5), row("[::1]:5", 12, 7260.0)];
                let units =
                    [("sent".to_owned(), Unit::Bytes), ("age".to_owned(), Unit::Seconds)].into();
                let values = vec![Value::List(list)];
                self.say(&FromServer::Done(Done { id, values, units, ..Done::default() }))
            }
            "many()" => {
                self.left = 1000;
                self.rows(id, rows)
            }
            "wait()" => {
                self.waiting = Some(id);
                self.say(&print("waiting\n"))
            }
            "hello()" => {
                self.say(&print("hello\n\x1b]0;owned\x07"))?;
                self.done(id, vec!["evil \x1b[2J".into(), Value::Null])
            }
            "later()" => {
                self.done(id, vec![])?;
                self.notice(NoticeKind::Undone, "nobody confirmed: the change was undone")
            }
            "upgrade()" => {
                self.done(id, vec!["upgraded".into()])?;
                self.moved = true;
                self.notice(NoticeKind::Moved, "another process serves now")
            }
            "hang_up()" => {
                self.moved = true;
                Ok(())
            }
            "x = y +\n  foo.bar" => {
                self.failed(id, "attempt to index a nil value (global 'foo')", 2, false)
            }
            _ if code.ends_with("then_some()") => {
                self.failed(id, "'end' expected near <eof>", 1, true)
            }
            _ if code.contains("error") => self.failed(id, "no way", 1, false),
            _ => self.done(id, vec![code.parse().map_or_else(|_| code.into(), Value::Integer)]),
        }
    }
}

/// A directory for sockets that a console trusts: only its user can enter it.
pub fn runtime(at: &Path) -> PathBuf {
    use std::os::unix::fs::DirBuilderExt as _;
    let directory = at.join("medusa");
    std::fs::DirBuilder::new().mode(0o700).create(&directory).expect("made");
    directory
}
