//! `[monitor]`: the console into the running server.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::Address;
use medusa_core::reactor::ListenOptions;
use medusa_log::Destination;
use medusa_monitor::follow::Nothing;
use medusa_monitor::{Audit, Followed, Monitor, MonitorSettings, Operators};
use medusa_script::Budget;

use crate::config::build::{Build, Serving, Setup};
use crate::config::kind::{
    Choice, FilePath, Flag, List, ListenAddress, Number, SECOND, Size, Time,
};
use crate::config::log::{To, ToKind, need};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::server::{Listen, ServerPlan};
use crate::life::directory_of;
use crate::monitor::{FollowedLogs, NoTrail, Trail, operators_file};

/// Addresses of the monitor.
const MAX_LISTENERS: usize = 16;

/// The mode of the files of its sockets.
const SOCKET_MODE: u32 = 0o600;

/// What clients hear of the program.
const SERVER: &str = concat!("medusa ", env!("CARGO_PKG_VERSION"));

/// What the monitor is told.
#[derive(Clone, Debug)]
pub(crate) struct MonitorPlan {
    /// Whether there is a socket that a console of the same user finds by itself.
    pub(crate) local: bool,
    pub(crate) listen: Vec<Listen>,
    settings: MonitorSettings,
    trail: Destination,
    json: bool,
}

impl MonitorPlan {
    /// The monitor as one of the servers, if it listens anywhere; `local` is the socket that a
    /// console finds.
    pub(crate) fn server(mut self, local: Option<&Address>) -> Option<ServerPlan> {
        let local = local.filter(|_| self.local).cloned();
        let mut listen = std::mem::take(&mut self.listen);
        listen.extend(local.map(|address| Listen { address, span: 0..0 }));
        if listen.is_empty() {
            return None;
        }
        Some(ServerPlan {
            protocol: "monitor",
            listen,
            options: ListenOptions { mode: Some(SOCKET_MODE), ..ListenOptions::default() },
            plan: Box::new(move |build| Ok(Box::new(self.build(build)?))),
        })
    }

    fn build(self, build: &Build<'_>) -> Result<MonitorSetup, Problem> {
        let Self { settings, trail, json, .. } = self;
        let Some((logs, handle)) = build.logs else {
            let (audit, followed) = (Rc::new(NoTrail), Rc::new(Nothing));
            return Ok(MonitorSetup { settings, audit, followed, handle: None });
        };
        let lines = logs.lines(handle, &trail, json);
        let lines = lines.map_err(|e| Problem::new(0..0, e.to_string()))?;
        let audit = Rc::new(Trail::new(handle, lines, json));
        let followed = Rc::new(FollowedLogs::new(logs, build.access.map(|plan| &plan.to)));
        Ok(MonitorSetup { settings, audit, followed, handle: Some(handle.clone()) })
    }
}

/// What a monitor is told, ready to be.
struct MonitorSetup {
    settings: MonitorSettings,
    audit: Rc<dyn Audit>,
    followed: Rc<dyn Followed>,
    handle: Option<medusa_core::Handle>,
}

impl Setup for MonitorSetup {
    fn start(self: Box<Self>) -> Serving {
        let Self { settings, audit, followed, handle } = *self;
        let handle = handle.expect("what is started has a loop");
        let monitor = Rc::new(Monitor::new(&handle, SERVER, settings, audit, followed));
        let (service, inspect) = (monitor.clone(), monitor.inspect());
        Serving { service, inspect, http: None, itself: monitor }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let monitor = running.itself.downcast_ref::<Monitor>().expect("both are monitors");
        monitor.replace(self.settings, self.audit, self.followed);
    }
}

/// Reads `[monitor]`.
pub(crate) fn monitor(section: &mut Section<'_>) -> MonitorPlan {
    let defaults = MonitorSettings::default();
    let local = section.or(
        "local",
        "Whether to listen on a Unix-domain socket that `medusa console` of the same user finds by \
         itself, in a directory that only this user can enter.",
        &Flag,
        true,
    );
    let listen = section.or(
        "listen",
        "Where else to listen, for operators who log in.",
        &List(ListenAddress, 0..=MAX_LISTENERS),
        Vec::new(),
    );
    let operators = section.maybe(
        "operators",
        "The file of operators, which `medusa passwd --monitor` keeps. It is read at each login. \
         Left out: ~/.config/medusa/operators, for root /etc/medusa/operators.",
        &FilePath,
    );
    let login_within = section.or(
        "login_timeout",
        "How long a login may take.",
        &Time(SECOND..=Duration::from_secs(3600)),
        defaults.login_within,
    );
    let sessions = section.or(
        "sessions",
        "Sessions at once; each may use its memory.",
        &Number(1..=1024),
        defaults.sessions as u64,
    );
    let memory = section.or(
        "memory",
        "Memory that the interpreter of a session may use.",
        &Size(4 << 20..=1 << 30),
        defaults.memory as u64,
    );
    let time = section.or(
        "statement_time",
        "How long a statement may run, waiting not counted.",
        &Time(Duration::from_secs(1)..=Duration::from_secs(3600)),
        defaults.statement.time,
    );
    let output = section.or(
        "statement_output",
        "Bytes that a statement may print.",
        &Size(1 << 10..=1 << 30),
        defaults.statement.output as u64,
    );
    let (trail, json) = section.section(
        "audit",
        "The line that is written for each statement that somebody typed.",
        audit,
    );
    let spans = section.places("listen");
    let listen: Vec<Listen> = listen
        .into_iter()
        .zip(spans.into_iter().chain(std::iter::repeat(0..0)))
        .map(|(address, span)| Listen { address, span })
        .collect();
    let is_remote = |listen: &&Listen| matches!(listen.address, Address::Inet(_));
    let remote = listen.iter().find(is_remote);
    let operators = operators.or_else(|| operators_file().filter(|_| !listen.is_empty()));
    if let Some(remote) = remote
        && !section.describes()
    {
        check_operators(section, remote, operators.as_ref());
    }
    if let Some(file) = &operators {
        // The directory, since the file is replaced when it is changed.
        let directory = directory_of(file);
        if directory.is_dir() {
            section.need(|needs| needs.read.push(directory));
        }
    }
    let statement = Budget { time, output: output as usize, ..defaults.statement };
    MonitorPlan {
        local,
        listen,
        settings: MonitorSettings {
            operators,
            login_within,
            sessions: sessions as usize,
            statement,
            memory: memory as usize,
        },
        trail,
        json,
    }
}

/// On TCP nobody is known but who can log in.
fn check_operators(section: &Section<'_>, remote: &Listen, file: Option<&PathBuf>) {
    let (why, file) = match file {
        None => ("it is not known where their file is".to_owned(), "FILE".to_owned()),
        Some(file) => {
            let shown = file.display().to_string();
            match Operators::read(file) {
                Ok(operators) if operators.is_empty() => (format!("`{shown}` has none"), shown),
                Ok(_) => return,
                Err(e) => (format!("`{shown}`: {e}"), shown),
            }
        }
    };
    let what = format!("a monitor on {} needs operators: {why}", remote.address);
    let help = format!(
        "make one with `medusa passwd --monitor --operators {file} --role all NAME`; a Unix-domain \
         socket needs none"
    );
    section.add(Problem::new(remote.span.clone(), what).help(help));
}

fn audit(section: &mut Section<'_>) -> (Destination, bool) {
    let to = section.or(
        "to",
        "Where it goes.",
        &ToKind { may_be_off: false },
        To::Log(Destination::Stderr),
    );
    let json = section.or(
        "form",
        "What it looks like: lines for people, or objects of JSON.",
        &Choice(&[("human", false), ("json", true)]),
        false,
    );
    let To::Log(to) = to else { unreachable!("the audit trail is not off") };
    need(section, &to);
    (to, json)
}
