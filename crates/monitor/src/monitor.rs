//! The monitor of a server: its sessions, and who may have one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use medusa_auth::scram;
use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};
use medusa_core::{ChannelId, ChannelSettings, Handle, Peer, Protocol, Service};

use crate::audit::Audit;
use crate::connection::Connection;
use crate::follow::Followed;
use crate::limits::{HALF_OPEN, MonitorSettings, RESUME_WITHIN, WAITING_SESSIONS};
use crate::outbox::Outbox;
use crate::session::{Session, Who};
use crate::wire::Role;

/// The monitor; cheap to clone, bound to the loop's thread.
#[derive(Clone)]
pub struct Monitor(Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) handle: Handle,
    pub(crate) settings: RefCell<Rc<MonitorSettings>>,
    /// The program and its version, as clients hear it.
    pub(crate) server: String,
    audit: RefCell<Rc<dyn Audit>>,
    followed: RefCell<Rc<dyn Followed>>,
    sessions: RefCell<Vec<Rc<Session>>>,
    last: Cell<u64>,
    half_open: RefCell<VecDeque<ChannelId>>,
    /// Logins that failed, and connections that were closed to make room for others.
    pub(crate) failed: Cell<u64>,
    pushed_out: Cell<u64>,
    channel: Rc<ChannelSettings>,
}

impl Monitor {
    /// Makes a monitor, and shows its sessions in the inspection tree under `sessions`. `server`
    /// is the program and its version.
    pub fn new(
        handle: &Handle,
        server: &str,
        settings: MonitorSettings,
        audit: Rc<dyn Audit>,
        followed: Rc<dyn Followed>,
    ) -> Self {
        let monitor = Self(Rc::new(Inner {
            handle: handle.clone(),
            settings: RefCell::new(Rc::new(settings)),
            server: server.to_owned(),
            audit: RefCell::new(audit),
            followed: RefCell::new(followed),
            sessions: RefCell::default(),
            last: Cell::new(0),
            half_open: RefCell::default(),
            failed: Cell::new(0),
            pushed_out: Cell::new(0),
            channel: Rc::default(),
        }));
        handle.mount("sessions", monitor.inspect());
        monitor
    }

    /// Its sessions as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Sessions(Rc::downgrade(&self.0)))
    }

    /// Goes by other settings, trail and logs from the next session on.
    pub fn replace(
        &self,
        settings: MonitorSettings,
        audit: Rc<dyn Audit>,
        followed: Rc<dyn Followed>,
    ) {
        *self.0.followed.borrow_mut() = followed;
        *self.0.settings.borrow_mut() = Rc::new(settings);
        *self.0.audit.borrow_mut() = audit;
    }
}

impl Service for Monitor {
    fn name(&self) -> &'static str {
        "monitor"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Connection::new(self.0.clone())))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.0.channel.clone()
    }
}

impl Inner {
    /// A connection has begun that has not logged in; the oldest of too many makes room.
    pub(crate) fn begin_login(&self, id: ChannelId) {
        let mut half_open = self.half_open.borrow_mut();
        half_open.push_back(id);
        if half_open.len() > HALF_OPEN
            && let Some(oldest) = half_open.pop_front()
        {
            self.pushed_out.set(self.pushed_out.get() + 1);
            self.handle.close(oldest);
        }
    }

    /// It has logged in, or is gone.
    pub(crate) fn end_login(&self, id: ChannelId) {
        self.half_open.borrow_mut().retain(|other| *other != id);
    }

    /// Begins a session for an operator.
    pub(crate) fn open(
        &self,
        operator: &str,
        role: Role,
        from: &str,
        outbox: Rc<Outbox>,
    ) -> Result<Rc<Session>, String> {
        let settings = self.settings.borrow().clone();
        if self.sessions.borrow().len() >= settings.sessions && !self.drop_waiting() {
            return Err(format!(
                "there are {} sessions already; close one, or wait until one ends",
                settings.sessions
            ));
        }
        let token = scram::nonce().map_err(|e| format!("no random numbers: {e}"))?;
        let number = self.last.get() + 1;
        self.last.set(number);
        let (operator, from) = (operator.to_owned(), from.to_owned());
        let who = Who { number, token, operator, role, from: from.clone() };
        let audit = self.audit.borrow().clone();
        let followed = self.followed.borrow().clone();
        let session = Session::new(&self.handle, who, &settings, audit, followed);
        let session = session.map_err(|e| format!("the console cannot be started: {e}"))?;
        session.attach(outbox, from);
        self.sessions.borrow_mut().push(session.clone());
        Ok(session)
    }

    /// Ends the session that has waited longest to be resumed; says whether there was one.
    fn drop_waiting(&self) -> bool {
        let oldest = {
            let sessions = self.sessions.borrow();
            sessions.iter().find(|session| session.waiting.get().is_some()).cloned()
        };
        oldest.inspect(|session| self.close(session)).is_some()
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
        if let Some(timer) = session.waiting.take() {
            self.handle.cancel_timer(timer);
        }
        session.end();
    }

    /// A session's connection is gone: it waits for another.
    pub(crate) fn detach(self: &Rc<Self>, session: &Rc<Session>) {
        session.cancel(None);
        *session.desk.outbox.borrow_mut() = None;
        if session.statements.get() == 0 {
            return self.close(session);
        }
        let (inner, waits) = (Rc::downgrade(self), Rc::downgrade(session));
        let timer = self.handle.timer(RESUME_WITHIN, move |_| {
            if let (Some(inner), Some(session)) = (inner.upgrade(), waits.upgrade()) {
                inner.close(&session);
            }
        });
        session.waiting.set(Some(timer));
        // The end of the list is the youngest.
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|other| !Rc::ptr_eq(other, session));
        sessions.push(session.clone());
        let waiting = sessions.iter().filter(|other| other.waiting.get().is_some()).count();
        drop(sessions);
        if waiting > WAITING_SESSIONS {
            self.drop_waiting();
        }
    }

    /// Gives a client an earlier session in the place of its own.
    pub(crate) fn resume(
        &self,
        token: &str,
        own: &Rc<Session>,
        outbox: &Rc<Outbox>,
        from: &str,
    ) -> Option<Rc<Session>> {
        let found = {
            let sessions = self.sessions.borrow();
            let is_it = |session: &&Rc<Session>| {
                !Rc::ptr_eq(session, own)
                    && session.operator == own.operator
                    && session.role == own.role
                    && is_same(&session.token.borrow(), token)
            };
            sessions.iter().find(is_it).cloned()
        }?;
        if let Some(timer) = found.waiting.take() {
            self.handle.cancel_timer(timer);
        }
        // From now on it is known by what the client has heard last.
        found.token.swap(&own.token);
        // A connection that is broken may not know it yet.
        let before = found.desk.outbox.take();
        found.attach(outbox.clone(), from.to_owned());
        if let Some(before) = before {
            self.handle.close(before.channel());
        }
        self.close(own);
        Some(found)
    }
}

/// Compares in constant time.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The sessions in the inspection tree.
struct Sessions(Weak<Inner>);

/// What the fields of the sessions mean.
const SESSIONS_NOTES: &[(&str, &str)] = &[
    ("open", "Sessions, those included whose connection is gone and that can be resumed."),
    ("half open", "Connections that have not logged in yet."),
    ("failed logins", "Wrong names, passwords and proofs."),
    ("pushed out", "Connections that were closed before they had logged in, to make room."),
];

impl Inspect for Sessions {
    fn node(&self) -> Node {
        let node = Node::new("sessions").about("Consoles of operators.", SESSIONS_NOTES);
        let Some(inner) = self.0.upgrade() else { return node };
        let sessions = inner.sessions.borrow();
        let mut numbers: Vec<u64> = sessions.iter().map(|session| session.number).collect();
        numbers.sort_unstable();
        let mut node = node
            .field("open", Value::Count(sessions.len() as u64))
            .field("half open", Value::Count(inner.half_open.borrow().len() as u64))
            .field("failed logins", Value::Count(inner.failed.get()))
            .field("pushed out", Value::Count(inner.pushed_out.get()));
        node.children = numbers.iter().map(u64::to_string).collect();
        node
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let number: u64 = name.parse().ok()?;
        let inner = self.0.upgrade()?;
        let sessions = inner.sessions.borrow();
        let session = sessions.iter().find(|session| session.number == number)?.clone();
        Some(Rc::new(Shown { inner: self.0.clone(), session }))
    }
}

/// A session in the inspection tree.
struct Shown {
    inner: Weak<Inner>,
    session: Rc<Session>,
}

/// What the fields of a session mean.
const SESSION_NOTES: &[(&str, &str)] = &[
    ("operator", "Who it is of."),
    ("role", "What the operator may do."),
    ("from", "Where the operator is."),
    ("since", "When it began."),
    ("statements", "Statements that were begun."),
    ("statement", "The one that runs."),
    ("for", "How long it has been running or waiting."),
    ("memory", "Bytes of memory of its interpreter."),
    ("to confirm", "Changes that are undone unless they are confirmed."),
    ("undone in", "When they are undone."),
];

/// What can be done with a session.
const SESSION_ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "cancel", "", "Ends the statement that runs."),
    Action::new(Level::Operate, "confirm", "", "Keeps the changes that wait to be confirmed."),
    Action::new(Level::Operate, "undo", "", "Undoes the changes that wait to be confirmed."),
    Action::new(Level::All, "close", "", "Ends the session and its connection."),
];

impl Inspect for Shown {
    fn node(&self) -> Node {
        let session = &self.session;
        let state = match (session.waiting.get(), session.is_busy()) {
            (Some(_), _) => "gone",
            (None, true) => "busy",
            (None, false) => "idle",
        };
        let mut node = Node::new("session")
            .about("A console of an operator.", SESSION_NOTES)
            .field("operator", Value::Text(session.operator.clone()))
            .field("role", Value::Text(session.role.to_string()))
            .field("from", Value::Text(session.from.borrow().clone()))
            .field("state", Value::Text(state.to_owned()))
            .field("since", Value::Date(session.since))
            .field("statements", Value::Count(session.statements.get()))
            .field("memory", Value::Bytes(session.memory() as u64));
        if let Some((statement, since)) = session.doing() {
            node = node.field("statement", Value::Text(statement)).field("for", Value::Time(since));
        }
        if let Some((changes, until)) = session.desk.trial.borrow().armed() {
            let left = until.saturating_duration_since(session.desk.handle.now());
            node = node
                .field("to confirm", Value::Count(changes as u64))
                .field("undone in", Value::Time(left));
        }
        node
    }

    fn actions(&self) -> &'static [Action] {
        SESSION_ACTIONS
    }

    fn act(&self, action: &str, _: &[String], answer: Answer) {
        let session = self.session.clone();
        let number = session.number;
        match action {
            "confirm" => answer.result(session.desk.confirm()),
            "undo" => answer.result(session.desk.undo()),
            "cancel" => {
                if session.cancel(None) {
                    answer.done(format!("the statement of session {number} was cancelled"));
                } else {
                    answer.refused(format!("session {number} runs no statement"));
                }
            }
            _ => {
                let Some(inner) = self.inner.upgrade() else { return };
                answer.done(format!("session {number} closed"));
                let outbox = session.desk.outbox.take();
                // After the answer, which it may wait for itself.
                inner.handle.clone().timer(Duration::ZERO, move |handle| {
                    inner.close(&session);
                    if let Some(outbox) = outbox {
                        handle.close(outbox.channel());
                    }
                });
            }
        }
    }
}
