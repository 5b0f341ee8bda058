//! Sessions on the harness: a client that reads every byte, data connections in memory, virtual
//! time.

mod access;
mod data;
mod dialogue;
mod quota;
mod rates;
mod traps;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use medusa_core::Address;
use medusa_core::testing::{Harness, Peer};
use medusa_fs::{FileSystem, MemoryTree, Persona, TreeOptions, VirtualPath};

use crate::{Anonymous, Event, Events, FtpService, FtpSettings, Permissions};

/// What was told of transfers and logins, one line each.
#[derive(Clone, Default)]
pub(crate) struct Told(Rc<RefCell<Vec<String>>>);

impl Events for Told {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Login { user, .. } => format!("login {user}"),
            Event::LoginFailed { name, .. } => format!("failed {name}"),
            Event::Logout { user, .. } => format!("logout {user}"),
            Event::Transfer(t) => format!(
                "{:?} {} {} {}",
                t.direction,
                t.path,
                t.bytes,
                if t.complete { "complete" } else { "incomplete" }
            ),
        };
        self.0.borrow_mut().push(line);
    }
}

/// A server over a tree in memory, and a client.
pub(crate) struct Bench {
    pub(crate) h: Harness,
    pub(crate) service: FtpService,
    pub(crate) control: Peer,
    pub(crate) tree: MemoryTree,
    pub(crate) told: Told,
    /// Kept for as long as it may be read.
    #[expect(dead_code, reason = "it is removed when this is dropped")]
    pub(crate) passwords: Option<tempfile::NamedTempFile>,
}

pub(crate) fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).expect("it is a path").path
}

/// A tree with a few files.
pub(crate) fn tree() -> MemoryTree {
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let options = TreeOptions { writable: true, ..TreeOptions::default() };
    let tree = MemoryTree::with_capacity(options, move || time, 1 << 20);
    for (name, content) in [("/a.txt", "one\ntwo\n"), ("/d/b.txt", "bee"), ("/d/c.bin", "\r\n\0")] {
        tree.insert(&path(name), content.as_bytes().to_vec()).expect("there is room");
    }
    tree
}

pub(crate) fn service(settings: FtpSettings, tree: &MemoryTree, told: &Told) -> FtpService {
    let anonymous = Anonymous::with(Arc::new(tree.clone()), Persona::Process, Permissions::ALL);
    FtpService::new(settings, vec![Rc::new(anonymous)], vec![Rc::new(told.clone())])
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(FtpSettings::default())
    }

    pub(crate) fn with(settings: FtpSettings) -> Self {
        let (mut h, tree, told) = (Harness::new(), tree(), Told::default());
        let service = service(settings, &tree, &told);
        let control = h.accept(&service);
        Self { h, service, control, tree, told, passwords: None }
    }

    /// A client that has logged in.
    pub(crate) fn logged_in() -> Self {
        let mut bench = Self::new();
        bench.log_in();
        bench
    }

    pub(crate) fn log_in(&mut self) {
        self.h.run();
        self.control.take();
        assert_eq!(self.code("USER anonymous"), 331);
        assert_eq!(self.code("PASS x@y"), 230);
    }

    /// What the server says to a command.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.control.send(format!("{line}\r\n"));
        self.h.run();
        self.control.take_text()
    }

    #[track_caller]
    pub(crate) fn code(&mut self, line: &str) -> u16 {
        let text = self.say(line);
        text.get(..3).and_then(|c| c.parse().ok()).unwrap_or_else(|| panic!("{line}: {text:?}"))
    }

    /// Opens a passive port; gives its address.
    #[track_caller]
    pub(crate) fn port(&mut self) -> Address {
        let text = self.say("EPSV");
        let port = text.split('|').nth(3).and_then(|p| p.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("{text}"));
        Address::Inet(SocketAddr::new([127, 0, 0, 1].into(), port))
    }

    /// A data connection that stands.
    #[track_caller]
    pub(crate) fn data(&mut self) -> Peer {
        let address = self.port();
        let data = self.h.connect_to(&address).expect("it listens");
        self.h.run();
        data
    }

    /// Gives a command that sends something; what came, and what was said.
    #[track_caller]
    pub(crate) fn fetch(&mut self, line: &str) -> (Vec<u8>, String) {
        let data = self.data();
        let said = self.say(line);
        (data.take(), said)
    }

    /// Sends something by this command; what was said.
    #[track_caller]
    pub(crate) fn put(&mut self, line: &str, content: &[u8]) -> String {
        let data = self.data();
        let first = self.say(line);
        data.send(content);
        data.close_write();
        self.h.run();
        first + &self.control.take_text()
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.tree.open(&Persona::Process, &path(name)).ok()?;
        match file.content {
            medusa_fs::Content::Memory(bytes) => Some(bytes.to_vec()),
            medusa_fs::Content::Disk(_) => None,
        }
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.0.take()
    }
}
