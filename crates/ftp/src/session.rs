//! The control connection.
//!
//! ```text
//!   accepted ─► greeted ─► USER ─► PASS ─► logged in ─► QUIT
//!                 ▲                            │
//!                 └──────────── REIN ──────────┘
//! ```
//!
//! Logged in, a session is idle, busy (something runs on a helper thread, and no input is taken), or
//! has a transfer under way. Beside a transfer only ABOR and STAT are answered; one other command is
//! kept until it has ended, and input rests meanwhile.
//!
//! The one design choice: what comes back from a helper thread is a task, put into the session's one
//! slot and run when its channel is woken. A session that is gone has no slot, so nothing reaches a
//! stranger.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use medusa_core::{
    Bandwidth, Close, Context, Ending, Frame, Handle, Peer, Protocol, Terminator, Waker,
};
use medusa_fs::{FileSystem, Persona, VirtualPath};

use crate::authorizer::{Permissions, User};
use crate::commands;
use crate::data::Link;
use crate::events::{Direction, Event};
use crate::guard::Admission;
use crate::passive::Listening;
use crate::service::{Shared, count};
use crate::wire::command::{Command, LineError};
use crate::wire::facts::Facts;
use crate::wire::{MAX_LINE_BYTES, reply};

/// What a method that handles something gives.
pub(crate) type Handled = Result<(), Close>;

/// What is to be done with what a helper thread has found out.
type Task = Box<dyn FnOnce(&mut Session, &mut Context<'_>) -> Handled>;

/// Where a task is put, and whom to wake.
#[derive(Clone)]
pub(crate) struct Slot {
    task: Rc<RefCell<Option<Task>>>,
    waker: Waker,
}

impl Slot {
    /// Has the session do this.
    pub(crate) fn put(
        self,
        task: impl FnOnce(&mut Session, &mut Context<'_>) -> Handled + 'static,
    ) {
        *self.task.borrow_mut() = Some(Box::new(task));
        self.waker.wake();
    }
}

/// What all operations of a user need.
#[derive(Clone)]
pub(crate) struct Grip {
    pub(crate) tree: Arc<dyn FileSystem>,
    pub(crate) who: Persona,
}

/// Which way data connections are made.
pub(crate) enum DataPort {
    /// Nothing was said.
    None,
    /// The server connects.
    Active(SocketAddr),
    /// The client connects.
    Passive {
        link: Link,
        /// Nothing when the client has connected.
        listening: Option<Listening>,
    },
}

/// A transfer under way.
pub(crate) struct Running {
    pub(crate) link: Link,
    /// Keeps the port open until the client has connected.
    pub(crate) listening: Option<Listening>,
    pub(crate) what: What,
    /// What is to be said of its beginning, until it is.
    pub(crate) begun: Option<(u16, Box<str>)>,
    pub(crate) began: Instant,
    pub(crate) ascii: bool,
    /// Some of what came was written under the file's own name.
    pub(crate) in_place: bool,
}

/// What a transfer carries.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum What {
    Listing,
    File(Direction, VirtualPath),
}

/// One control connection.
pub(crate) struct Session {
    pub(crate) shared: Rc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) admission: Admission,
    /// The name that USER gave.
    pub(crate) name: Option<Box<str>>,
    pub(crate) user: Option<Rc<User>>,
    pub(crate) failures: u32,
    pub(crate) directory: VirtualPath,
    pub(crate) ascii: bool,
    pub(crate) port: DataPort,
    /// EPSV ALL was said.
    pub(crate) extended_only: bool,
    /// Where the next transfer begins (REST).
    pub(crate) restart: u64,
    /// The bytes that HASH is about (RANG).
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) rename_from: Option<VirtualPath>,
    pub(crate) facts: Facts,
    pub(crate) hash: commands::hash::Algorithm,
    pub(crate) umask: Option<u32>,
    pub(crate) running: Option<Box<Running>>,
    /// A command that came beside a transfer.
    deferred: Option<Box<Command>>,
    busy: bool,
    /// New connections go elsewhere: this one ends when it is idle for a while.
    retiring: bool,
    slot: Rc<RefCell<Option<Task>>>,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>, peer: Peer, admission: Admission) -> Self {
        Self {
            shared,
            peer,
            admission,
            name: None,
            user: None,
            failures: 0,
            directory: VirtualPath::root(),
            ascii: true,
            port: DataPort::None,
            extended_only: false,
            restart: 0,
            range: None,
            rename_from: None,
            facts: Facts::default(),
            hash: commands::hash::Algorithm::default(),
            umask: None,
            running: None,
            deferred: None,
            busy: false,
            retiring: false,
            slot: Rc::default(),
        }
    }

    /// Answers with one line.
    #[expect(clippy::unnecessary_wraps, reason = "commands end with an answer")]
    pub(crate) fn reply(&self, cx: &mut Context<'_>, code: u16, text: &str) -> Handled {
        if code >= 400 {
            count(&self.shared.figures.refused);
        }
        cx.send_with(|out| reply::line(out, code, text));
        Ok(())
    }

    /// Answers with what `write` appends.
    #[expect(clippy::unnecessary_wraps, reason = "commands end with an answer")]
    pub(crate) fn answer(cx: &mut Context<'_>, write: impl FnOnce(&mut Vec<u8>)) -> Handled {
        cx.send_with(write);
        Ok(())
    }

    /// The path that an argument means, or an answer that it means none.
    pub(crate) fn resolve(
        &self,
        argument: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<VirtualPath, Handled> {
        // Above the root is the root, as in a Unix directory tree.
        let above_root = argument == b".." && self.directory.is_root();
        let argument = if above_root { b"/" } else { argument };
        match self.directory.join(argument) {
            Ok(parsed) => Ok(parsed.path),
            Err(e) => Err(self.reply(cx, 553, &format!("There can be no such file: {e}."))),
        }
    }

    /// Whether the user may do this with the entry at `path`.
    pub(crate) fn may(&self, path: &VirtualPath, permission: Permissions) -> bool {
        self.user.as_ref().is_some_and(|user| user.rights.at(path).has(permission))
    }

    /// Whether an argument means a path with which the user may do this.
    pub(crate) fn may_path(&self, argument: &[u8], permission: Permissions) -> bool {
        self.directory.join(argument).is_ok_and(|parsed| self.may(&parsed.path, permission))
    }

    /// Begins to wait for something: no input is taken until a task is put into the slot.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) -> Slot {
        self.busy = true;
        Slot { task: self.slot.clone(), waker: cx.waker() }
    }

    /// Runs `work` on a helper thread, then `then` with what it gives.
    pub(crate) fn job<T: Send + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(&Grip) -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<'_>) -> Handled + 'static,
    ) -> Handled {
        let Some(user) = &self.user else { return self.reply(cx, 530, "Log in first.") };
        let grip = Grip { tree: user.tree.clone(), who: self.persona(user) };
        let slot = self.wait(cx);
        cx.handle().run(
            move || work(&grip),
            move |result| {
                slot.put(move |session, cx| match result {
                    Ok(value) => then(session, value, cx),
                    Err(lost) => {
                        tracing::warn!("an FTP command was lost: {lost}");
                        session.reply(cx, 450, "The server is too busy; try again.")
                    }
                });
            },
        );
        Ok(())
    }

    /// The persona of a user, with the umask that was set by SITE UMASK.
    fn persona(&self, user: &User) -> Persona {
        match (&user.persona, self.umask) {
            (Persona::User(identity), Some(umask)) => {
                let mut identity = (**identity).clone();
                identity.umask = umask;
                Persona::user(identity)
            }
            (persona, _) => persona.clone(),
        }
    }

    /// The bandwidths that a data connection of this session shares with others.
    pub(crate) fn shares(&self) -> Vec<Rc<Bandwidth>> {
        let all = self.admission.bandwidth().into_iter().chain([&self.shared.bandwidth]);
        all.filter(|bandwidth| bandwidth.is_on()).cloned().collect()
    }

    /// Forgets how data connections were to be made, and closes what was made.
    pub(crate) fn drop_port(&mut self) {
        if let DataPort::Passive { link, .. } = std::mem::replace(&mut self.port, DataPort::None) {
            link.give_up(|_, _| {});
        }
    }

    /// Forgets who is logged in.
    pub(crate) fn log_out(&mut self) {
        if let Some(user) = self.user.take() {
            self.shared.tell(&Event::Logout { user: &user.name, peer: self.peer });
        }
        self.admission.leave_user();
    }

    fn command(&mut self, command: &Command, cx: &mut Context<'_>) -> Handled {
        count(&self.shared.figures.commands);
        commands::run(self, command, cx)
    }

    /// Brings input, timers and what was put off in line with what goes on now.
    fn settle(&mut self, cx: &mut Context<'_>) -> Handled {
        while !self.busy
            && self.running.is_none()
            && let Some(command) = self.deferred.take()
        {
            self.command(&command, cx)?;
        }
        if self.busy || self.deferred.is_some() {
            cx.pause_input();
        } else {
            cx.resume_input();
        }
        if self.user.is_some() && self.running.is_none() {
            if self.busy {
                cx.clear_timeout();
            } else {
                let settings = self.shared.settings();
                let most = if self.retiring { settings.retire_idle } else { settings.idle_timeout };
                cx.set_timeout(most.min(settings.idle_timeout));
            }
        }
        Ok(())
    }

    /// Whether a command is answered beside the transfer. What has been received wholly cannot be
    /// broken off: its answer comes first.
    fn is_urgent(&self, command: &Command) -> bool {
        match command.verb() {
            "ABOR" => self.running.as_ref().is_none_or(|running| !running.link.is_finishing()),
            "STAT" => command.argument.is_empty(),
            _ => false,
        }
    }

    fn line(&mut self, line: &[u8], cx: &mut Context<'_>) -> Handled {
        match Command::parse(line) {
            Ok(command) if self.running.is_some() && !self.is_urgent(&command) => {
                self.deferred = Some(Box::new(command));
                Ok(())
            }
            Ok(command) => self.command(&command, cx),
            Err(e @ LineError::Foreign) => {
                self.reply(cx, 500, &e.to_string())?;
                // What follows may be anything, also what looks like commands.
                Err(Close::Linger)
            }
            Err(e @ LineError::Nul) => self.reply(cx, 501, &e.to_string()),
            Err(e) => self.reply(cx, 500, &e.to_string()),
        }
    }
}

impl Protocol for Session {
    fn opened(&mut self, cx: &mut Context<'_>) -> Handled {
        let settings = self.shared.settings();
        cx.set_terminator(Terminator::Delimiter { delimiter: b"\n", limit: MAX_LINE_BYTES });
        cx.set_timeout(settings.login_timeout);
        Self::answer(cx, |out| reply::text(out, 220, &settings.banner))
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Handled {
        // Whatever is said now comes behind that.
        commands::transfer::announce(self, cx)?;
        match frame {
            Frame::End(line) => self.line(line, cx)?,
            Frame::Overlong(_) => {
                // Its rest is thrown away up to its end, and nothing in it is taken for a command.
                self.reply(cx, 500, "The line is too long.")?;
            }
            Frame::Eof(_) | Frame::Malformed(_) | Frame::Part(_) => return Err(Close::Flush),
        }
        self.settle(cx)
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Handled {
        let task = self.slot.borrow_mut().take();
        if let Some(task) = task {
            self.busy = false;
            task(self, cx)?;
        }
        if let DataPort::Passive { link, listening } = &mut self.port
            && link.is_connected()
        {
            *listening = None;
        }
        commands::transfer::advance(self, cx)?;
        self.settle(cx)
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Handled {
        if let Some(running) = &self.running {
            if !running.link.is_connected() {
                commands::transfer::fail_to_connect(self, cx)?;
            }
            return self.settle(cx);
        }
        let text = match self.user {
            Some(_) if self.retiring => "Another server has taken over; connect again.",
            Some(_) => "You were idle for too long.",
            None => "It took you too long to log in.",
        };
        self.reply(cx, 421, text)?;
        Err(Close::Flush)
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Handled {
        if self.running.is_some() || self.busy {
            // Once that has ended, there is no further command.
            self.deferred = Command::parse(b"QUIT").ok().map(Box::new);
            return self.settle(cx);
        }
        self.reply(cx, 421, "The server is going down.")?;
        Err(Close::Flush)
    }

    /// A login and a directory would be lost with the connection, so whoever goes on may.
    fn retire(&mut self, cx: &mut Context<'_>) -> Handled {
        self.retiring = true;
        self.settle(cx)
    }

    fn closed(&mut self, _: &Ending) {
        commands::transfer::give_up(self);
        self.drop_port();
        self.log_out();
    }

    fn doing(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        match &self.user {
            Some(user) => write!(out, "{} in {}", user.name, self.directory)?,
            None => out.write_str("not logged in")?,
        }
        match self.running.as_ref().map(|running| &running.what) {
            None => Ok(()),
            Some(What::Listing) => out.write_str(", listing"),
            Some(What::File(Direction::Sent, path)) => write!(out, ", sending {path}"),
            Some(What::File(Direction::Received, path)) => write!(out, ", receiving {path}"),
        }
    }
}

/// Answers a client that is not let in.
pub(crate) struct Refusal(pub(crate) &'static str);

impl Protocol for Refusal {
    fn opened(&mut self, cx: &mut Context<'_>) -> Handled {
        cx.send_with(|out| reply::line(out, 421, self.0));
        Err(Close::Flush)
    }

    fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Handled {
        Ok(())
    }
}

/// The handle of a context, which outlives the call.
pub(crate) fn handle_of(cx: &Context<'_>) -> Handle {
    cx.handle().clone()
}
