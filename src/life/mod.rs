//! The life of the process: what it is started with, what it gives up before it serves, how it is
//! stopped, and how another one takes its place.
//!
//! The one design choice: [`Life`] is begun before anything else and asked three times: for the
//! sockets that were passed, before listeners are made; to give up privileges, when everything is
//! open and before there is a second thread; and to watch, when the loop is about to run.

mod confinement;
mod handover;
mod privileges;
pub(crate) mod systemd;
mod upgrade;

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use medusa_core::sys::privileges::Keep;
use medusa_core::{Handle, PassedSocket};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};

pub(crate) use self::confinement::Reach;
use self::handover::Predecessor;
use self::systemd::Notifier;
use self::upgrade::{Launch, Upgrade};
use crate::serve::Failure;
use crate::signals::on_signals;

/// How the process lives.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Life cycle")]
pub(crate) struct LifeOptions {
    /// The user to become when everything is open: a name or a number. Root only.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// The group to become, instead of the user's own.
    #[arg(long, value_name = "GROUP", requires = "user")]
    pub(crate) group: Option<String>,

    /// Whether to confine the server to the directories that it needs. `auto` does what the
    /// kernel can (Landlock), `require` does not start where it can do nothing.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) confine: Confine,

    /// Lets programs that the server starts get privileges by their file's mode.
    #[arg(long)]
    pub(crate) allow_new_privileges: bool,

    /// Seconds that the program started by SIGUSR2 has to become ready.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) upgrade_timeout: u32,

    /// Some of the server takes on the identities of users, so what that needs is kept of root's
    /// privileges. Nobody asks for it: it follows from what is served.
    #[arg(skip)]
    pub(crate) keep: Keep,

    /// Seconds that connections have to end by themselves after an upgrade.
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    pub(crate) drain_timeout: u32,
}

/// Whether to confine the process.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confine {
    /// As far as the kernel can.
    Auto,
    /// Not at all.
    Off,
    /// At least to what the kernel knows, or not start.
    Require,
}

/// The process from its start to its end.
pub(crate) struct Life {
    launch: Launch,
    sockets: Vec<PassedSocket>,
    notifier: Rc<Notifier>,
    predecessor: Option<Predecessor>,
    /// It was confined, by itself or by the process before it.
    confined: bool,
}

impl Life {
    /// Takes what the process was started with. To be called before anything is opened.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let launch = Launch::of_this_process();
        let notifier = Rc::new(Notifier::of_this_process());
        let failed =
            |e: io::Error| Failure::System(format!("cannot use what the process was given: {e}"));
        let (predecessor, sockets, confined) = match Predecessor::of_this_process() {
            Some(inherited) => {
                let inherited = inherited.map_err(failed)?;
                (Some(inherited.predecessor), inherited.sockets, inherited.confined)
            }
            None => (None, systemd::passed_sockets().map_err(failed)?, false),
        };
        Ok(Self { launch, sockets, notifier, predecessor, confined })
    }

    /// The sockets that this process was given, to be passed to the loop.
    pub(crate) fn sockets(&mut self) -> Vec<PassedSocket> {
        std::mem::take(&mut self.sockets)
    }

    /// Tells the service manager what the server does.
    pub(crate) fn notifier(&self) -> &Rc<Notifier> {
        &self.notifier
    }

    /// Gives up what is not needed to serve: root, new privileges, other places in the file
    /// system. To be called when everything is open, and before there is a second thread.
    pub(crate) fn give_up(&mut self, options: &LifeOptions, reach: Reach) -> Result<(), Failure> {
        privileges::give_up(options)?;
        self.confined |= confinement::confine(options, reach, &self.launch, self.confined)?;
        Ok(())
    }

    /// Whether this process was started to replace another, and has not done so yet.
    pub(crate) fn is_successor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Whether the process may have shut itself off from files that are denied to it.
    pub(crate) fn is_confined(&self) -> bool {
        self.confined
    }

    /// Watches for the signals that end the process or have it replaced, and tells everybody who
    /// waits for it that it is ready, once the loop runs. `grace` is how long a stop waits for what
    /// is in flight. What comes back does the same as those signals.
    pub(crate) fn watch(
        &mut self,
        handle: &Handle,
        options: &LifeOptions,
        grace: impl Fn() -> Duration + 'static,
    ) -> io::Result<Orders> {
        let upgrade = Upgrade::new(
            handle,
            self.launch.clone(),
            self.notifier.clone(),
            upgrade::Settings {
                ready_within: Duration::from_secs(options.upgrade_timeout.into()),
                drain: Duration::from_secs(options.drain_timeout.into()),
                keep: options.keep,
                confined: self.confined,
            },
        );
        let orders = Orders {
            handle: handle.clone(),
            notifier: self.notifier.clone(),
            upgrade,
            grace: Rc::new(grace),
        };
        let (stops, starts) = (orders.clone(), orders.clone());
        // What came of it is logged.
        on_signals(handle, &[SIGTERM, SIGINT], move |_| {
            stops.stop();
        })?;
        on_signals(handle, &[SIGUSR2], move |_| starts.upgrade(|_| {}))?;
        self.notifier.feed_watchdog(handle);
        let (notifier, predecessor) = (self.notifier.clone(), self.predecessor.take());
        // From within the loop: that it turns is what it is to be trusted for.
        handle.later(move |_| match predecessor {
            // It tells the service manager, to which this process is not yet known.
            Some(predecessor) => predecessor.ready(),
            None => notifier.ready(),
        });
        Ok(orders)
    }

    /// Tells the process that was to be replaced why it is not.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.failed(&failure.to_string());
        }
    }
}

/// What the process can be told: to stop, or to have another take its place.
#[derive(Clone)]
pub(crate) struct Orders {
    handle: Handle,
    notifier: Rc<Notifier>,
    upgrade: Upgrade,
    grace: Rc<dyn Fn() -> Duration>,
}

impl Orders {
    /// Stops accepting, and ends when what is in flight has ended; gives the longest that this may
    /// take. Told a second time, it ends at once.
    pub(crate) fn stop(&self) -> Duration {
        let grace = (self.grace)();
        self.notifier.stopping();
        self.upgrade.give_up();
        self.handle.shutdown(grace);
        grace
    }

    /// Has the program that now stands in this one's place take over; `heard` hears the number of
    /// its process, or why it has not.
    pub(crate) fn upgrade(&self, heard: impl FnOnce(Result<u32, String>) + 'static) {
        self.upgrade.start(heard);
    }
}

/// The directory that a file is in, as it can be opened.
pub(crate) fn directory_of(file: &std::path::Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
