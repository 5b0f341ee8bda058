//! Replaces the running program by the one that now stands in its place, without losing a
//! connection.
//!
//! ```text
//!   SIGUSR2 ─► start the program, with the sockets ─► it says `ready` ─► leave the listeners to it
//!                     │                                                   and end when the
//!                     └─ it says why not, ends, or is late ─► kill it,    connections have ended
//!                                                             and go on
//! ```
//!
//! The one design choice: until the new process has said that it is ready, the old one changes
//! nothing of itself. Both accept from the same sockets for a moment, so nobody waits, and what
//! is in their queues belongs to whichever process is left.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use medusa_core::sys::privileges::{Keep, pass_on};
use medusa_core::transport::Transport;
use medusa_core::{Close, Context, Frame, Handle, PassedSocket, Protocol, Terminator, sys};

use super::handover::{Left, Legacy, MAX_WORD_BYTES, READY, VARIABLE};
use super::systemd::{self, Notifier};

/// How this process was started, and how its successor will be.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch {
    /// Notes it, while the file that was started is still in its place.
    pub(super) fn of_this_process() -> Self {
        let mut arguments = env::args_os();
        let named = arguments.next().unwrap_or_default();
        let search = env::var_os("PATH").unwrap_or_default();
        let own = env::current_exe().ok();
        let program = own.as_deref().and_then(|own| find(Path::new(&named), &search, own));
        // The name that it was called by may be anything.
        let program = program.or(own).unwrap_or_else(|| PathBuf::from(named));
        Self { program, arguments: arguments.collect() }
    }

    /// The directory that the program is in.
    pub(super) fn directory(&self) -> PathBuf {
        super::directory_of(&self.program)
    }
}

/// The path by which `own`, the file of this program, was started as `named`. Unlike `own` it may
/// lead over links, which may be turned to another version.
fn find(named: &Path, search: &OsString, own: &Path) -> Option<PathBuf> {
    let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
    let same = |path: &PathBuf| identity(path).is_some_and(|id| Some(id) == identity(own));
    let found = if named.components().count() > 1 || named.is_absolute() {
        Some(named.to_owned()).filter(same)
    } else {
        env::split_paths(search).map(|directory| directory.join(named)).find(same)
    };
    std::path::absolute(found?).ok()
}

/// What an upgrade is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Time that the new process has to become ready.
    pub(super) ready_within: Duration,
    /// Time that connections have afterwards to end by themselves.
    pub(super) drain: Duration,
    /// What was kept of root's privileges, which the new process needs too.
    pub(super) keep: Keep,
    /// This process is confined.
    pub(super) confined: bool,
}

/// Replaces the process when it is asked to.
#[derive(Clone)]
pub(super) struct Upgrade(Rc<Inner>);

struct Inner {
    handle: Handle,
    launch: Launch,
    notifier: Rc<Notifier>,
    settings: Settings,
    state: RefCell<State>,
    /// Who asked for the upgrade that is under way.
    heard: RefCell<Option<Heard>>,
}

/// Hears what came of an upgrade: the process that has taken over, or why none has.
type Heard = Box<dyn FnOnce(Result<u32, String>)>;

enum State {
    Idle,
    /// The new process is being started.
    Starting,
    /// It has not said yet whether it is ready.
    Waiting(Child),
    /// It serves.
    Replaced(u32),
    /// This process stops; nobody is to take its place.
    Stopping,
}

impl Upgrade {
    pub(super) fn new(
        handle: &Handle,
        launch: Launch,
        notifier: Rc<Notifier>,
        settings: Settings,
    ) -> Self {
        let (handle, state) = (handle.clone(), RefCell::new(State::Idle));
        let heard = RefCell::default();
        Self(Rc::new(Inner { handle, launch, notifier, settings, state, heard }))
    }

    /// Starts the program anew, unless that is going on already; `heard` hears what came of it,
    /// before this process leaves its listeners to the new one.
    pub(super) fn start(&self, heard: impl FnOnce(Result<u32, String>) + 'static) {
        let under_way = match &*self.0.state.borrow() {
            State::Idle => None,
            State::Starting | State::Waiting(_) => {
                Some("an upgrade is under way already".to_owned())
            }
            State::Replaced(pid) => {
                Some(format!("process {pid} has taken over already; send the signal to it"))
            }
            State::Stopping => Some("the server stops, so it is not upgraded".to_owned()),
        };
        if let Some(why) = under_way {
            tracing::warn!("{why}");
            return heard(Err(why));
        }
        self.0.heard.replace(Some(Box::new(heard)));
        self.0.state.replace(State::Starting);
        tracing::info!("upgrading: starting {}", self.0.launch.program.display());
        let upgrade = self.clone();
        self.0.handle.passed_sockets(move |sockets| {
            let begun = sockets.and_then(|sockets| {
                let (ours, theirs) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                Ok((sockets, ours, theirs))
            });
            match begun {
                Ok((sockets, ours, theirs)) => upgrade.spawn(sockets, ours, theirs),
                Err(e) => upgrade.failed(&format!("cannot hand the sockets over: {e}")),
            }
        });
    }

    /// Starts it on a helper thread: the file may be on a slow disk.
    fn spawn(&self, sockets: Vec<PassedSocket>, ours: UnixStream, theirs: UnixStream) {
        let (launch, settings) = (self.0.launch.clone(), self.0.settings);
        let upgrade = self.clone();
        self.0.handle.run(
            move || spawn(&launch, settings, &sockets, &theirs),
            move |child| match child {
                Ok(Ok(child)) => upgrade.started(child, ours),
                Ok(Err(e)) => upgrade.failed(&format!("it cannot be started: {e}")),
                Err(lost) => upgrade.failed(&format!("it cannot be started: {lost}")),
            },
        );
    }

    fn started(&self, child: Child, word: UnixStream) {
        if matches!(*self.0.state.borrow(), State::Stopping) {
            return self.end(child, |_, _| {});
        }
        self.0.state.replace(State::Waiting(child));
        let word = Transport::Unix(mio::net::UnixStream::from_std(word));
        self.0.handle.adopt_background(word, Box::new(Word(self.clone())));
    }

    /// The new process serves.
    fn ready(&self) {
        let mut state = self.0.state.borrow_mut();
        let State::Waiting(child) = &*state else { return };
        let pid = child.id();
        *state = State::Replaced(pid);
        drop(state);
        self.0.notifier.replaced_by(pid);
        self.tell(Ok(pid));
        self.0.handle.retire(self.0.settings.drain, move || {
            tracing::info!(
                "upgraded: process {pid} serves now, this one finishes what is in flight"
            );
        });
    }

    /// The new process will never serve.
    fn refused(&self, why: Option<String>) {
        let mut state = self.0.state.borrow_mut();
        if !matches!(*state, State::Waiting(_)) {
            return;
        }
        if let State::Waiting(child) = std::mem::replace(&mut *state, State::Starting) {
            drop(state);
            self.end(child, move |upgrade, status| {
                upgrade.failed(&why.unwrap_or_else(|| match status {
                    Ok(status) => format!("it has ended before it was ready ({status})"),
                    Err(e) => format!("it has ended before it was ready, and is lost: {e}"),
                }));
            });
        }
    }

    /// Kills it, which changes nothing if it has ended, and hears how it ended.
    fn end(&self, mut child: Child, then: impl FnOnce(&Self, io::Result<ExitStatus>) + 'static) {
        let upgrade = self.clone();
        self.0.handle.run(
            move || child.kill().and_then(|()| child.wait()),
            move |status| then(&upgrade, status.unwrap_or_else(|lost| Err(io::Error::other(lost)))),
        );
    }

    fn failed(&self, why: &str) {
        let mut state = self.0.state.borrow_mut();
        if matches!(*state, State::Starting) {
            *state = State::Idle;
        }
        drop(state);
        tracing::error!("the upgrade has failed, and this process goes on: {why}");
        self.tell(Err(format!("the upgrade has failed, and this process goes on: {why}")));
    }

    fn tell(&self, outcome: Result<u32, String>) {
        let heard = self.0.heard.take();
        if let Some(heard) = heard {
            heard(outcome);
        }
    }

    /// The process is to stop: so is its successor, unless that serves already.
    pub(super) fn give_up(&self) {
        self.tell(Err("the server stops, so it is not upgraded".to_owned()));
        let mut state = self.0.state.borrow_mut();
        if !matches!(*state, State::Replaced(_))
            && let State::Waiting(child) = std::mem::replace(&mut *state, State::Stopping)
        {
            drop(state);
            self.end(child, |_, _| {});
        }
    }
}

fn spawn(
    launch: &Launch,
    settings: Settings,
    sockets: &[PassedSocket],
    word: &UnixStream,
) -> io::Result<Child> {
    let left = |socket: &PassedSocket| {
        sys::passed::pass_on(socket.as_fd())?;
        Ok(Left {
            number: socket.as_fd().as_raw_fd(),
            chosen: socket.is_chosen(),
            name: socket.name().map(str::to_owned),
        })
    };
    let sockets: io::Result<Vec<_>> = sockets.iter().map(left).collect();
    sys::passed::pass_on(word.as_fd())?;
    let legacy = Legacy {
        from: std::process::id(),
        word: word.as_raw_fd(),
        confined: settings.confined,
        sockets: sockets?,
    };
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env(VARIABLE, legacy.write());
    for variable in systemd::PRIVATE {
        command.env_remove(variable);
    }
    pass_on(settings.keep, || command.spawn())?
}

/// Hears the one word of the new process.
struct Word(Upgrade);

impl Protocol for Word {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.set_terminator(Terminator::Delimiter { delimiter: b"\n", limit: MAX_WORD_BYTES });
        cx.set_timeout(self.0.0.settings.ready_within);
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::End(READY) => self.0.ready(),
            Frame::End(why) => self.0.refused(Some(String::from_utf8_lossy(why).into_owned())),
            _ => self.0.refused(None),
        }
        Err(Close::Flush)
    }

    fn timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        let within = self.0.0.settings.ready_within.as_secs();
        self.0.refused(Some(format!("it was not ready within {within} seconds")));
        Err(Close::Flush)
    }

    fn closed(&mut self, _: &medusa_core::Ending) {
        // Whatever ended it: nothing further will be heard.
        self.0.refused(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_program_is_found_by_the_name_it_was_called_by() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["v1", "other", "links"] {
            fs::create_dir(path(name)).expect("made");
        }
        fs::write(path("v1/medusa"), "").expect("written");
        fs::write(path("other/medusa"), "").expect("written");
        symlink(path("v1/medusa"), path("links/medusa")).expect("linked");
        let own = path("v1/medusa");
        let search = env::join_paths([path("missing"), path("other"), path("links")]);
        let found = |named: &Path| find(named, search.as_ref().expect("paths"), &own);
        assert_eq!(found(Path::new("medusa")), Some(path("links/medusa")));
        assert_eq!(found(&path("links/medusa")), Some(path("links/medusa")));
        assert_eq!(found(&own), Some(own.clone()));
        for another in ["anything", "", "-sh", "/bin/true"] {
            assert_eq!(found(Path::new(another)), None, "{another}");
        }
        assert_eq!(found(&path("other/medusa")), None, "it is another file");
    }
}
