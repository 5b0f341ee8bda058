//! One FTP session under a sequence of operations: whatever the client, the clock, the helper
//! threads and the data connections do, each command gets one final reply, in order, and what is
//! told to be complete is complete.
//!
//! An input is a byte of settings, then a list of operations, each a byte with its arguments behind
//! it; see [`Server::operate`].

#![no_main]

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use medusa_core::handle::JobLost;
use medusa_core::inspect::{Outcome, Value};
use medusa_core::testing::{Harness, Peer};
use medusa_core::{Handle, Peer as From, Rate};
use medusa_fs::{
    Detail, FileSystem, Kind, MemoryTree, Persona, Quota, TreeOptions, Usage, VirtualPath,
};
use medusa_ftp::events::Direction;
use medusa_ftp::wire::MAX_LINE_BYTES;
use medusa_ftp::{
    Authorizer, Event, Events, FtpService, FtpSettings, Permissions, RecordForm, User, Verdict,
};
use medusa_fuzz::{Choices, within};

/// Most operations in one run.
const MAX_OPERATIONS: usize = 100;
/// Rounds of a quarter of a second in which all that was asked for must have been answered.
const MAX_ROUNDS: usize = 4000;
/// Longer than everything that a connection waits for, one after the other.
const LONG: Duration = Duration::from_secs(3600);
/// Numbers of REST begin here, so that none is met by chance.
const FIRST_NUMBER: u64 = 7_391_000_000;
/// Bytes that the tree can hold.
const CAPACITY: u64 = 30_000;

/// What a client may send: whole lines, and parts of such.
const TEXTS: &[&str] = &[
    "USER ann\r\n",
    "PASS x\r\n",
    "USER nobody\r\n",
    "QUIT\r\n",
    "REIN\r\n",
    "TYPE I\r\n",
    "TYPE A\r\n",
    "EPSV\r\n",
    "PASV\r\n",
    "EPSV ALL\r\n",
    "EPRT |1|198.51.100.1|5000|\r\n",
    "PORT 198,51,100,1,20,20\r\n",
    "PORT 10,0,0,1,20,20\r\n",
    "RETR big\r\n",
    "RETR a.txt\r\n",
    "RETR none\r\n",
    "RETR d\r\n",
    "STOR new\r\n",
    "STOR big\r\n",
    "STOR d\r\n",
    "STOU\r\n",
    "APPE a.txt\r\n",
    "APPE new\r\n",
    "REST 3\r\n",
    "REST 99999999999999999999\r\n",
    "ABOR\r\n",
    "\u{fffd}ABOR\r\n",
    "STAT\r\n",
    "STAT d\r\n",
    "LIST\r\n",
    "LIST -la d\r\n",
    "NLST *\r\n",
    "MLSD\r\n",
    "MLSD none\r\n",
    "MLST a.txt\r\n",
    "CWD d\r\n",
    "CWD none\r\n",
    "CDUP\r\n",
    "PWD\r\n",
    "MKD e\r\n",
    "RMD e\r\n",
    "RMD d\r\n",
    "DELE new\r\n",
    "DELE a.txt\r\n",
    "RNFR a.txt\r\n",
    "RNTO b.txt\r\n",
    "RNFR b.txt\r\n",
    "RNTO a.txt\r\n",
    "SIZE a.txt\r\n",
    "MDTM a.txt\r\n",
    "MFMT 20200101000000 a.txt\r\n",
    "HASH big\r\n",
    "RANG 1 9\r\n",
    "SITE CHMOD 600 a.txt\r\n",
    "SITE QUOTA\r\n",
    "SITE UMASK\r\n",
    "OPTS MLST size;\r\n",
    "FEAT\r\n",
    "HELP\r\n",
    "NOOP\r\n",
    "ALLO 10\r\n",
    "XYZZY\r\n",
    "\r\n",
    "GET / HTTP/1.1\r\n",
    "RETR ../../a.txt\r\n",
    "CWD d\r\nLIST\r\nPWD\r\n",
    "EPSV\r\nSTOR new\r\nNOOP\r\n",
    "EPSV\r\nRETR big\r\nABOR\r\nNOOP\r\n",
    "USER ann\r\nPASS x\r\nTYPE I\r\nEPSV\r\n",
    "NO",
    "OP\r\n",
];

/// What was told of a transfer.
struct Told {
    direction: Direction,
    bytes: u64,
    complete: bool,
}

#[derive(Clone, Default)]
struct Hears(Rc<RefCell<Vec<Told>>>);

impl Events for Hears {
    fn event(&self, event: &Event<'_>) {
        for form in [RecordForm::Xferlog, RecordForm::Json] {
            let mut line = Vec::new();
            event.record(form, Duration::ZERO, &mut line);
            let end = line.iter().position(|&b| b == b'\n');
            assert_eq!(end.map_or(0, |end| end + 1), line.len(), "one line, or none");
        }
        if let Event::Transfer(transfer) = event {
            let path = transfer.path.as_bytes();
            assert!(path.starts_with(b"/") && !path.split(|&b| b == b'/').any(|n| n == b".."));
            let (direction, bytes) = (transfer.direction, transfer.bytes);
            self.0.borrow_mut().push(Told { direction, bytes, complete: transfer.complete });
        }
    }
}

/// Lets Ann in.
struct Ann(Rc<User>);

impl Authorizer for Ann {
    fn decides(&self, name: &str) -> bool {
        name != "nobody at all"
    }

    fn authorize(
        &self,
        name: &str,
        _: &[u8],
        _: &From,
        _: &Handle,
        then: Box<dyn FnOnce(Verdict)>,
    ) {
        let is_ann = name == "ann";
        then(if is_ann { Verdict::Welcome(self.0.clone()) } else { Verdict::Refused });
    }
}

/// A client's end of a data connection.
struct Data {
    peer: Peer,
    /// Bytes that it has sent, until it ended.
    sent: u64,
    ended: bool,
}

struct Server {
    h: Harness,
    user: Rc<User>,
    told: Hears,
    control: Peer,
    data: Vec<Data>,
    /// All that the client has sent on the control connection.
    said: Vec<u8>,
    /// The client went away, or a job was lost.
    broken: bool,
}

impl Server {
    fn new(choices: &mut Choices<'_>) -> Self {
        let flags = choices.byte();
        let is = |bit: u8| flags & (1 << bit) != 0;
        let options = TreeOptions { writable: true, ..TreeOptions::default() };
        let tree = MemoryTree::with_capacity(options, || UNIX_EPOCH, CAPACITY);
        for (name, content) in
            [("/a.txt", &b"one\ntwo\n"[..]), ("/big", &[7; 6000]), ("/d/b", b"bee")]
        {
            tree.insert(&path(name), content.to_vec()).expect("there is room");
        }
        let rate = Rate::new(2000, Duration::from_secs(1), 1000).ok().filter(|_| is(0));
        let user = User::new("ann", Arc::new(tree), Persona::Process, Permissions::ALL);
        let user = User { send_rate: rate, receive_rate: rate, ..user };
        let bytes = if is(1) { 7000 } else { u64::MAX };
        let user = Rc::new(user.with_quota(Quota { bytes: Some(bytes), files: None }));
        let settings = FtpSettings {
            login_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            data_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(3),
            send_rate: rate,
            transfer_receive_rate: rate,
            passive_ports: is(2).then_some(40_000..=40_001),
            active: !is(3),
            atomic_uploads: !is(4),
            ..FtpSettings::default()
        };
        let told = Hears::default();
        let authorizers: Vec<Rc<dyn Authorizer>> = vec![Rc::new(Ann(user.clone()))];
        let ftp = FtpService::new(settings, authorizers, vec![Rc::new(told.clone())]);
        let mut h = Harness::new();
        h.handle().mount("ftp", ftp.inspect());
        let control = h.accept(&ftp);
        Self { h, user, told, control, data: Vec::new(), said: Vec::new(), broken: false }
    }

    fn lines(&self) -> usize {
        let lines = self.said.iter().filter(|&&b| b == b'\n').count();
        let rest = self.said.rsplit(|&b| b == b'\n').next().map_or(0, <[u8]>::len);
        // One that is too long is told so before it ends.
        lines + usize::from(rest > MAX_LINE_BYTES as usize)
    }

    fn say(&mut self, text: &[u8]) {
        self.control.send(text);
        self.said.extend_from_slice(text);
    }

    /// Carries out one operation.
    fn operate(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() {
            0..90 => self.say(choices.one(TEXTS).as_bytes()),
            90..96 => {
                let (text, cuts) = (choices.one(TEXTS).as_bytes(), choices.cuts());
                self.control.send_split(text, &within(cuts, text.len()));
                self.said.extend_from_slice(text);
            }
            96..104 => {
                let length = usize::from(choices.byte());
                self.say(choices.bytes(length));
            }
            104..116 => {
                let number = FIRST_NUMBER + self.lines() as u64;
                self.say(format!("REST {number}\r\n").as_bytes());
            }
            116..136 => self.h.run(),
            136..140 => self.h.advance(Duration::from_millis(choices.byte().into())),
            140..144 => self.h.advance(Duration::from_secs(choices.byte().into())),
            144..160 => self.connect(From::V4([198, 51, 100, 1].into(), 50_000)),
            160..164 => self.connect(From::V4([10, 9, 9, 9].into(), 50_000)),
            164..172 => {
                if let Some(outgoing) = self.h.take_connect() {
                    let peer = outgoing.accept(&mut self.h);
                    self.data.push(Data { peer, sent: 0, ended: false });
                }
            }
            172..174 => {
                if let Some(outgoing) = self.h.take_connect() {
                    outgoing.refuse(&mut self.h, ErrorKind::ConnectionRefused);
                }
            }
            174..190 => {
                let length = usize::from(choices.short()) % 5000;
                if let Some(data) = self.data(choices).filter(|data| !data.ended) {
                    data.peer.send(vec![b'\n'; length]);
                    data.sent += length as u64;
                }
            }
            190..200 => {
                if let Some(data) = self.data(choices) {
                    data.peer.close_write();
                    data.ended = true;
                }
            }
            200..204 => {
                if let Some(data) = self.data(choices) {
                    data.peer.reset();
                    data.ended = true;
                }
            }
            204..208 => {
                let room = choices.short().into();
                if let Some(data) = self.data(choices) {
                    data.peer.set_write_room(room);
                }
            }
            208..212 => {
                let room = choices.short().into();
                if let Some(data) = self.data(choices) {
                    data.peer.grant(room);
                }
            }
            212..216 => {
                if let Some(data) = self.data(choices) {
                    data.peer.fail_write(ErrorKind::BrokenPipe);
                }
            }
            216..224 => self.h.hold_jobs(),
            224..234 => self.h.run_jobs(),
            234..238 => {
                let number = usize::from(choices.byte());
                if self.h.jobs() > 0 {
                    self.h.run_job(number % self.h.jobs());
                }
            }
            238..240 => {
                let number = usize::from(choices.byte());
                if self.h.jobs() > 0 {
                    self.h.lose_job(number % self.h.jobs(), JobLost::QueueFull);
                }
            }
            240 => self.h.fail_bind(ErrorKind::AddrInUse),
            241 => self.h.fail_bind(ErrorKind::PermissionDenied),
            242 => {
                self.control.close_write();
                self.broken = true;
            }
            243 => {
                self.control.reset();
                self.broken = true;
            }
            244 => self.h.handle().retire(Duration::from_secs(choices.byte().into()), || {}),
            245..248 => self.control.set_write_room(choices.short().into()),
            248..252 => self.control.grant_all(),
            _ => self.h.run(),
        }
    }

    /// Connects to the newest passive port.
    fn connect(&mut self, from: From) {
        self.h.run();
        let Some(address) = self.h.listening().pop() else { return };
        if let Some(peer) = self.h.connect_from(from, &address) {
            self.data.push(Data { peer, sent: 0, ended: false });
        }
    }

    /// One of the data connections, the newest before the others.
    fn data(&mut self, choices: &mut Choices<'_>) -> Option<&mut Data> {
        let back = usize::from(choices.byte()) % self.data.len().max(1);
        self.data.iter_mut().rev().nth(back)
    }

    /// Lets everything come to its end, and looks at what was said.
    fn finish(mut self) {
        self.control.grant_all();
        let mut settled = false;
        for _ in 0..MAX_ROUNDS {
            while let Some(outgoing) = self.h.take_connect() {
                outgoing.refuse(&mut self.h, ErrorKind::ConnectionRefused);
            }
            for data in &mut self.data {
                data.peer.grant_all();
                data.peer.close_write();
                data.ended = true;
            }
            self.h.run_jobs();
            self.h.run();
            let finals = finals(&self.control.received());
            settled = finals > self.lines() || self.control.is_gone();
            if settled && self.h.jobs() == 0 {
                break;
            }
            self.h.advance(Duration::from_millis(250));
        }
        assert!(settled || self.broken, "a command was not answered");
        let said = self.control.received();
        let finals = finals(&said);
        if self.control.is_gone() {
            // Its end may be told besides.
            assert!(finals <= self.lines() + 2, "{finals} replies to {} lines", self.lines());
        } else if !self.broken {
            assert_eq!(finals, self.lines() + 1, "each line has one final reply");
        }
        self.h.advance(LONG);
        for _ in 0..MAX_ROUNDS {
            if self.h.jobs() == 0 {
                break;
            }
            self.h.run_jobs();
            self.h.advance(Duration::from_millis(250));
        }
        assert!(self.control.is_gone(), "no session lasts for ever");
        assert!(self.data.iter().all(|data| data.peer.is_gone()), "nor does a data connection");
        self.check_transfers();
        for field in ["sessions", "users", "passive ports in use"] {
            let Outcome::Node(node) = self.h.inspect("ftp") else { panic!("it is mounted") };
            assert_eq!(node.value(field), Some(&Value::Count(0)), "{field}");
        }
        assert!(self.h.listening().is_empty(), "all passive ports are closed");
        // What was staged and not kept has gone.
        let quota = self.user.quota.as_ref().expect("there is one");
        if let Some(used) = quota.usage() {
            assert_eq!(used, count(quota, &VirtualPath::root()), "what is booked is there");
        }
    }

    /// What was told to be complete is what one of the data connections has carried.
    fn check_transfers(&self) {
        for told in self.told.0.borrow().iter().filter(|told| told.complete) {
            let carried = self.data.iter().any(|data| match told.direction {
                Direction::Received => data.ended && data.sent == told.bytes,
                Direction::Sent => data.peer.received().len() as u64 == told.bytes,
            });
            assert!(carried, "{:?} {} bytes of which nobody knows", told.direction, told.bytes);
        }
    }
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).expect("it is a path").path
}

/// What a tree holds.
fn count(tree: &dyn FileSystem, directory: &VirtualPath) -> Usage {
    let mut usage = Usage::default();
    for entry in tree.list(&Persona::Process, directory, Detail::Full).expect("it lists") {
        let entry = entry.expect("it lists");
        usage.files += 1;
        if entry.kind == Kind::Dir {
            let below = count(tree, &directory.child(&entry.name).expect("it is a name"));
            usage.bytes += below.bytes;
            usage.files += below.files;
        } else {
            usage.bytes += entry.metadata.expect("it was asked for").size;
        }
    }
    usage
}

/// Takes replies apart, asserts that each is well-formed and in its place, and gives the number of
/// the final ones.
fn finals(said: &[u8]) -> usize {
    let (mut finals, mut preliminary, mut inside) = (0, false, None);
    for line in said.split_inclusive(|&b| b == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else { break };
        assert!(!line.iter().any(u8::is_ascii_control), "{line:?}");
        let code = line.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
        let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        match (inside, code, line.get(3)) {
            (None, Some(code), Some(b'-')) => inside = Some(code),
            (Some(first), Some(code), Some(b' ')) if first == code => {
                inside = None;
                finals += 1;
            }
            (Some(_), _, _) => assert_eq!(line.first(), Some(&b' '), "in the middle: {line:?}"),
            (None, Some(code @ 100..200), Some(b' ')) => {
                assert!(!preliminary, "two transfers at once: {code}");
                preliminary = true;
            }
            (None, Some(200..600), Some(b' ')) => {
                if let Some(number) = line.strip_prefix(b"350 The next transfer begins at ")
                    && let Ok(number) =
                        String::from_utf8_lossy(number).trim_end_matches('.').parse::<u64>()
                    && number >= FIRST_NUMBER
                {
                    // The greeting is the first.
                    assert_eq!(number, FIRST_NUMBER + finals as u64 - 1, "in order");
                }
                preliminary = false;
                finals += 1;
            }
            other => panic!("no reply: {other:?} {line:?}"),
        }
    }
    finals
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut server = Server::new(&mut choices);
    for _ in 0..MAX_OPERATIONS {
        if choices.is_empty() {
            break;
        }
        server.operate(&mut choices);
    }
    server.finish();
});
