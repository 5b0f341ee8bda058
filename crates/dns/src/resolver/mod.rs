//! The resolver: asks servers for what is not known, once for all who want to know it.
//!
//! ```text
//!   who asks ──► search list ──► hosts file ──► cache ──► one question for all who ask it
//!                                                              │
//!                            server 1 ◄── try 1 ── no answer ──┤
//!                            server 2 ◄── try 2 ── cut short ──┴─► the same over TCP
//! ```
//!
//! The one design choice: every try has a socket and an id of its own, both random, and stays open
//! until its question is settled. So a forger has to guess both, and an answer that comes late,
//! when the next server has been asked already, is still an answer.

mod ask;
mod lookup;

mod part;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::Handle;
use medusa_core::inspect::Inspect;

use self::ask::Asking;
pub use self::lookup::Family;
use crate::cache::{Cache, CacheSettings, Kept, Lookup};
use crate::files::{Files, Hosts, Resolv};
use crate::limits::{FAILED_KEPT, FAILED_TIME, FILES_TIME, MAX_QUESTIONS, MAX_WAITERS};
use crate::wire::Question;

/// Asks and remembers; cheap to clone, bound to the loop's thread.
#[derive(Clone)]
pub struct Resolver(Rc<Shared>);

/// What a resolver goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The file that names the servers (resolv.conf(5)).
    pub resolv_conf: PathBuf,
    /// The file that names hosts (hosts(5)).
    pub hosts: PathBuf,
    /// Servers to ask instead of those that the file names.
    pub servers: Vec<SocketAddr>,
    /// How long a server has to answer; `None` is what resolv.conf says.
    pub timeout: Option<Duration>,
    /// How long a question may take in all.
    pub deadline: Duration,
    /// When servers have not answered for so long, what is past its time is given, if it is there
    /// (RFC 8767, section 5).
    pub stale_after: Duration,
    /// Bytes of a datagram that may come (EDNS, RFC 6891).
    pub datagram_bytes: u16,
    /// What is kept.
    pub cache: CacheSettings,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            servers: Vec::new(),
            timeout: None,
            deadline: Duration::from_secs(10),
            stale_after: Duration::from_millis(1800),
            // What passes everywhere in one piece (DNS flag day 2020).
            datagram_bytes: 1232,
            cache: CacheSettings::default(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// There is no such name, or it has nothing of what was asked for.
    NotFound(String),
    /// No server answered in time, or none that was asked could.
    NoAnswer(String),
    /// It is no name of a host.
    BadName(String),
    /// The name stands for a name that stands for a name, and so on.
    TooManyAliases(String),
    /// Too much is being asked at once.
    Busy,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => write!(f, "there is no address for the name {name}"),
            Self::NoAnswer(name) => write!(f, "no name server answers for {name}"),
            Self::BadName(name) => {
                write!(f, "`{}` is no name of a host", name.escape_debug())
            }
            Self::TooManyAliases(name) => write!(f, "the name {name} has too many aliases"),
            Self::Busy => f.write_str("too many names are being looked up; try again in a moment"),
        }
    }
}

impl std::error::Error for ResolveError {}

/// Running totals.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) sent: Cell<u64>,
    pub(crate) over_tcp: Cell<u64>,
    pub(crate) shared: Cell<u64>,
    pub(crate) timed_out: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    pub(crate) foreign: Cell<u64>,
    pub(crate) refreshed: Cell<u64>,
}

pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) state: RefCell<State>,
    pub(crate) figures: Figures,
}

pub(crate) struct State {
    pub(crate) settings: Rc<ResolverSettings>,
    pub(crate) cache: Cache,
    resolv: Rc<Resolv>,
    hosts: Rc<Hosts>,
    /// Nothing while a helper thread reads them.
    files: Option<Files>,
    /// When the files were looked at last.
    looked: Option<Instant>,
    /// Those who wait until the files were read for the first time.
    waiting: Vec<WithFiles>,
    asking: HashMap<Question, Asking>,
    /// Questions that no server answered, and when they may be asked again (RFC 9520).
    failed: HashMap<Question, Instant>,
    /// Servers that did not answer, and until when others are asked first.
    down: HashMap<SocketAddr, Instant>,
    rotation: usize,
    names: u64,
}

/// What is to be done when the files are known.
type WithFiles = Box<dyn FnOnce(&Resolver)>;

/// Hears what came of a question.
pub(crate) type Then = Box<dyn FnOnce(Result<Kept, ResolveError>)>;

impl Resolver {
    /// Makes a resolver for this loop. It reads its files when it is asked something.
    pub fn new(handle: &Handle, settings: ResolverSettings) -> Self {
        let files = Files::new(&settings.resolv_conf, &settings.hosts);
        let state = State {
            cache: Cache::new(settings.cache.clone()),
            settings: Rc::new(settings),
            resolv: Rc::default(),
            hosts: Rc::default(),
            files: Some(files),
            looked: None,
            waiting: Vec::new(),
            asking: HashMap::new(),
            failed: HashMap::new(),
            down: HashMap::new(),
            rotation: 0,
            names: 0,
        };
        let (state, figures) = (RefCell::new(state), Figures::default());
        Self(Rc::new(Shared { handle: handle.clone(), state, figures }))
    }

    /// Goes by other settings from the next question on; what is kept stays.
    pub fn set(&self, settings: ResolverSettings) {
        let mut state = self.0.state.borrow_mut();
        state.cache.set(settings.cache.clone());
        state.files = Some(Files::new(&settings.resolv_conf, &settings.hosts));
        state.looked = None;
        state.settings = Rc::new(settings);
    }

    /// The resolver as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(part::Part(self.clone()))
    }

    /// What the hosts file says, as far as it is known.
    pub(crate) fn hosts(&self) -> Rc<Hosts> {
        self.0.state.borrow().hosts.clone()
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Asks for the answer to a question, from the cache or from a server. `then` is called within
    /// this call or later.
    pub(crate) fn answer(&self, question: Question, then: Then) {
        let now = self.0.handle.now();
        let mut state = self.0.state.borrow_mut();
        if let Lookup::Fresh { kept, refresh } = state.cache.get(&question, now) {
            drop(state);
            if refresh {
                self.refresh(question);
            }
            return then(Ok(kept));
        }
        if state.failed.get(&question).is_some_and(|until| now < *until) {
            drop(state);
            return then(Err(ResolveError::NoAnswer(question.name())));
        }
        if let Some(asking) = state.asking.get_mut(&question) {
            if asking.waiters.len() >= MAX_WAITERS {
                drop(state);
                return then(Err(ResolveError::Busy));
            }
            asking.waiters.push(then);
            count(&self.0.figures.shared);
            return;
        }
        if state.asking.len() >= MAX_QUESTIONS {
            drop(state);
            return then(Err(ResolveError::Busy));
        }
        drop(state);
        self.ask(question, vec![then]);
    }

    /// Looks into the cache, and has asked anew for what ends soon.
    pub(crate) fn look(&self, question: &Question, now: Instant) -> Lookup {
        let found = self.0.state.borrow_mut().cache.get(question, now);
        if let Lookup::Fresh { refresh: true, .. } = found {
            self.refresh(question.clone());
        }
        found
    }

    /// Asks anew for what is asked for often and ends soon.
    fn refresh(&self, question: Question) {
        let state = self.0.state.borrow();
        if state.asking.contains_key(&question) || state.asking.len() >= MAX_QUESTIONS / 2 {
            return;
        }
        drop(state);
        count(&self.0.figures.refreshed);
        self.ask(question, Vec::new());
    }

    /// Calls `then` when the machine's files are known, which they are but for the first time; has
    /// them looked at again when that was not done for a while.
    pub(crate) fn with_files(&self, then: impl FnOnce(&Self) + 'static) {
        let now = self.0.handle.now();
        let mut state = self.0.state.borrow_mut();
        let known = state.looked.is_some();
        if state.looked.is_none_or(|looked| now >= looked + FILES_TIME)
            && let Some(mut files) = state.files.take()
        {
            let this = self.clone();
            self.0.handle.run(
                move || {
                    let read = files.read();
                    (files, read)
                },
                move |result| this.files_read(result.ok()),
            );
        }
        if known || state.waiting.len() >= MAX_WAITERS {
            drop(state);
            then(self);
        } else {
            state.waiting.push(Box::new(then));
        }
    }

    fn files_read(&self, result: Option<(Files, Option<(Resolv, Hosts)>)>) {
        let mut state = self.0.state.borrow_mut();
        let settings = state.settings.clone();
        let (files, read) = match result {
            Some((files, read)) => (files, read),
            // The queue of jobs is full: another time.
            None => (Files::new(&settings.resolv_conf, &settings.hosts), None),
        };
        if let Some((resolv, hosts)) = read {
            (state.resolv, state.hosts) = (Rc::new(resolv), Rc::new(hosts));
        }
        // Unless other settings have come meanwhile.
        if state.files.is_none() {
            state.files = Some(files);
        }
        state.looked = Some(self.0.handle.now());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for then in waiting {
            then(self);
        }
    }
}

impl State {
    /// The servers in the order in which they are asked: first those that answered.
    fn servers(&mut self, now: Instant) -> Vec<SocketAddr> {
        let given = &self.settings.servers;
        let mut servers =
            if given.is_empty() { self.resolv.servers.clone() } else { given.clone() };
        if self.resolv.rotate && !servers.is_empty() {
            self.rotation = (self.rotation + 1) % servers.len();
            servers.rotate_left(self.rotation);
        }
        self.down.retain(|_, until| now < *until);
        servers.sort_by_key(|server| self.down.contains_key(server));
        servers
    }

    /// Remembers that no server answers a question.
    fn note_failed(&mut self, question: &Question, now: Instant) {
        if self.failed.len() >= FAILED_KEPT {
            self.failed.retain(|_, until| now < *until);
        }
        if self.failed.len() < FAILED_KEPT {
            self.failed.insert(question.clone(), now + FAILED_TIME);
        }
    }
}
