//! The monitor on the harness, under virtual time. What it offers is tried as a client would.

mod login;
mod runaway;
mod statements;
mod trials;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::time::Duration;

use medusa_auth::scram::{Client, Record};
use medusa_core::Peer as Address;
use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Outcome, Value as Field};
use medusa_core::testing::{Harness, Peer};
use tempfile::TempDir;

use crate::audit::{Audit, Entry};
use crate::follow::{Followed, Hear};
use crate::operators::edit;
use crate::wire::{
    Cancel, Complete, Done, Failed, FromClient, FromServer, Hello, LoginData, More, Resume, Role,
    Run, Value, Welcome,
};
use crate::{Monitor, MonitorSettings};

/// An audit trail that can be read.
#[derive(Default)]
struct Trail(RefCell<Vec<String>>);

impl Audit for Trail {
    fn statement(&self, entry: &Entry<'_>) {
        // Times are real, and never asserted.
        let entry = Entry { ran: Duration::ZERO, took: Duration::ZERO, ..entry.clone() };
        self.0.borrow_mut().push(entry.line());
    }
}

/// A log that the test writes.
#[derive(Default)]
struct Log(RefCell<Vec<Follower>>);

type Follower = Weak<dyn Fn(&[u8])>;

impl Followed for Log {
    fn follow(&self, what: &str, hear: Hear) -> Result<Box<dyn std::any::Any>, String> {
        if !["", "access"].contains(&what) {
            return Err(format!("there is no log `{what}`: there is access"));
        }
        self.0.borrow_mut().push(Rc::downgrade(&hear));
        Ok(Box::new(hear))
    }
}

impl Log {
    fn line(&self, line: &str) {
        for hear in self.0.borrow().iter().filter_map(Weak::upgrade) {
            hear(line.as_bytes());
        }
    }
}

/// A part of the tree with a number that can be changed.
struct Knob(Rc<RefCell<i64>>);

const KNOB_ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "set", "N", "Sets the number.").undoable(),
    Action::new(Level::Operate, "burn", "", "Sets it to 0, for good."),
    Action::new(Level::All, "secret", "", "For the few."),
];

impl Inspect for Knob {
    fn node(&self) -> Node {
        Node::new("knob")
            .about("A number.", &[("value", "What it is set to.")])
            .field("value", Field::Count(*self.0.borrow() as u64))
    }

    fn actions(&self) -> &'static [Action] {
        KNOB_ACTIONS
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        let before = *self.0.borrow();
        *self.0.borrow_mut() = match action {
            "set" => match arguments[0].parse() {
                Ok(n) => n,
                Err(_) => return answer.refused("that is no number"),
            },
            _ => 0,
        };
        let knob = self.0.clone();
        match action {
            "set" => answer.undoable("set", move || {
                *knob.borrow_mut() = before;
                Ok("set back".to_owned())
            }),
            _ => answer.done("burnt"),
        }
    }
}

/// A file with the operators `ann`, `ops` and `eye`, whose passwords are their names.
fn operators() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        for (name, role) in [("ann", Role::All), ("ops", Role::Operate), ("eye", Role::Look)] {
            let record = Record::with(name, b"sixteen bytes!!!", 4096);
            text = edit(&text, name, Some((role, &record))).expect("random").expect("added");
        }
        text
    })
}

/// A server with a monitor.
struct Bench {
    h: Harness,
    monitor: Monitor,
    trail: Rc<Trail>,
    log: Rc<Log>,
    knob: Rc<RefCell<i64>>,
    directory: TempDir,
}

/// A client.
struct Console {
    peer: Peer,
    /// What has come and was not looked at.
    heard: Vec<FromServer>,
    welcome: Option<Welcome>,
    last: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(MonitorSettings::default())
    }

    #[expect(clippy::needless_pass_by_value)] // reads better where it is called
    fn with(settings: MonitorSettings) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("operators");
        std::fs::write(&file, operators()).expect("written");
        let settings = MonitorSettings { operators: Some(file), ..settings };
        Self::of(settings, directory)
    }

    fn without_operators() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::of(MonitorSettings::default(), directory)
    }

    fn of(settings: MonitorSettings, directory: TempDir) -> Self {
        let h = Harness::new();
        let (trail, log, knob) = (Rc::<Trail>::default(), Rc::<Log>::default(), Rc::default());
        h.handle().mount("knob", Rc::new(Knob(Rc::clone(&knob))));
        let monitor =
            Monitor::new(&h.handle(), "medusa test", settings, trail.clone(), log.clone());
        Self { h, monitor, trail, log, knob, directory }
    }

    fn operators(&self) -> PathBuf {
        self.directory.path().join("operators")
    }

    /// Connects over a Unix-domain socket.
    fn local(&mut self) -> Console {
        let mut console = self.connect(Address::Unix);
        console.hello(&mut self.h);
        match console.hear(&mut self.h) {
            FromServer::Welcome(welcome) => console.welcome = Some(welcome),
            other => panic!("no welcome but {other:?}"),
        }
        console
    }

    fn connect(&mut self, from: Address) -> Console {
        let peer = self.h.accept_from(&self.monitor, from).expect("it accepts");
        Console { peer, heard: Vec::new(), welcome: None, last: 0 }
    }

    fn remote(&mut self) -> Console {
        self.connect(Address::V4([198, 51, 100, 1].into(), 50_000))
    }

    /// Logs in over TCP.
    fn login(&mut self, name: &str) -> Console {
        let mut console = self.remote();
        console.hello(&mut self.h);
        let welcome = console.try_login(&mut self.h, name, name);
        console.welcome = Some(welcome.expect("the right password"));
        console
    }

    fn audited(&self) -> Vec<String> {
        self.trail.0.take()
    }

    fn sessions(&mut self) -> Node {
        match self.h.inspect("sessions") {
            Outcome::Node(node) => node,
            other => panic!("{other:?}"),
        }
    }
}

impl Console {
    fn say(&self, message: &FromClient) {
        let mut line = Vec::new();
        message.write(&mut line);
        self.peer.send(line);
    }

    fn listen(&mut self) {
        let text = self.peer.take_text();
        for line in text.lines() {
            self.heard.push(FromServer::read(line.as_bytes()).expect(line));
        }
    }

    /// The next message, for which time passes if need be.
    fn hear(&mut self, h: &mut Harness) -> FromServer {
        loop {
            h.run();
            self.listen();
            if !self.heard.is_empty() {
                return self.heard.remove(0);
            }
            let wait = h.next_due().expect("something will happen");
            h.advance(wait);
        }
    }

    /// What has come by now.
    fn all(&mut self, h: &mut Harness) -> Vec<FromServer> {
        h.run();
        self.listen();
        std::mem::take(&mut self.heard)
    }

    fn hello(&mut self, h: &mut Harness) -> Hello {
        match self.hear(h) {
            FromServer::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    fn try_login(
        &mut self,
        h: &mut Harness,
        name: &str,
        password: &str,
    ) -> Result<Welcome, String> {
        let (client, first) = Client::new(name, "client-nonce".to_owned());
        self.say(&FromClient::Login(LoginData { data: first }));
        let challenge = match self.hear(h) {
            FromServer::Challenge(challenge) => challenge,
            FromServer::Refused(refused) => return Err(refused.why),
            other => panic!("{other:?}"),
        };
        let (proof, last) = client.answer(&challenge.data, password).expect("a challenge");
        self.say(&FromClient::Proof(LoginData { data: last }));
        match self.hear(h) {
            FromServer::Welcome(welcome) => {
                let data = welcome.data.as_deref().expect("the server's own proof");
                proof.verify(data).expect("the server knows the password");
                Ok(welcome)
            }
            FromServer::Refused(refused) => Err(refused.why),
            other => panic!("{other:?}"),
        }
    }

    /// Begins a statement; gives its id.
    fn begin(&mut self, code: &str) -> u64 {
        self.last += 1;
        self.say(&FromClient::Run(Run { id: self.last, code: code.to_owned(), rows: None }));
        self.last
    }

    /// Hears what a request printed, and how it ended.
    fn end(&mut self, h: &mut Harness, id: u64) -> (String, Result<Done, Failed>) {
        let mut printed = String::new();
        loop {
            match self.hear(h) {
                FromServer::Print(print) if print.id == id => printed += &print.text,
                FromServer::Done(done) if done.id == id => return (printed, Ok(done)),
                FromServer::Failed(failed) if failed.id == id => return (printed, Err(failed)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn run(&mut self, h: &mut Harness, code: &str) -> (String, Result<Done, Failed>) {
        let id = self.begin(code);
        self.end(h, id)
    }

    /// The results of a statement, as JSON.
    fn values(&mut self, h: &mut Harness, code: &str) -> String {
        match self.run(h, code) {
            (_, Ok(done)) => json(&done.values),
            (_, Err(failed)) => panic!("{code}: {failed:?}"),
        }
    }

    /// Why a statement has failed.
    fn failure(&mut self, h: &mut Harness, code: &str) -> Failed {
        self.run(h, code).1.expect_err(code)
    }

    fn text(&mut self, h: &mut Harness, code: &str) -> String {
        let (_, result) = self.run(h, code);
        match result.expect(code).values.first() {
            Some(Value::Text(text)) => text.clone(),
            other => panic!("{code}: {other:?}"),
        }
    }

    fn complete(&mut self, h: &mut Harness, code: &str) -> (usize, Vec<String>) {
        self.last += 1;
        let (id, code, at) = (self.last, code.to_owned(), code.len());
        self.say(&FromClient::Complete(Complete { id, code, at }));
        match self.hear(h) {
            FromServer::Completions(found) if found.id == id => (found.from, found.names),
            other => panic!("{other:?}"),
        }
    }
}

fn json(values: &[Value]) -> String {
    serde_json::to_string(values).expect("values can be written")
}
