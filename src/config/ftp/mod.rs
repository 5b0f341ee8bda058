//! `protocol = "ftp"`: who may log in, and what they may do then.

mod events;
mod limits;
mod passive;
mod unix;
mod users;

use std::cell::RefCell;
use std::rc::Rc;

use medusa_ftp::{Authorizer, Events, FtpService, FtpSettings};
use medusa_log::Destination;

use crate::config::build::{Parts, Serving, Setup};
use crate::config::ftp::events::ToScripts;
use crate::config::kind::{Bytes, Flag};
use crate::config::live::Live;
use crate::config::log::{To, transfers};
use crate::config::section::Section;
use crate::config::server::Plan;
use crate::config::value::Table;

/// Bytes of the name of a file.
const MAX_NAME: usize = 255;

/// What an FTP server is told.
struct FtpSetup {
    settings: FtpSettings,
    /// The same with the limits that nobody has set.
    unlimited: FtpSettings,
    /// What the section of limits says.
    limits_table: Table,
    authorizers: Vec<Rc<dyn Authorizer>>,
    events: Vec<Rc<dyn Events>>,
}

/// A server that runs.
struct Running {
    service: Rc<FtpService>,
    unlimited: Rc<RefCell<FtpSettings>>,
    limits: Live,
}

impl Setup for FtpSetup {
    fn start(self: Box<Self>) -> Serving {
        let Self { settings, unlimited, limits_table, authorizers, events } = *self;
        let service = Rc::new(FtpService::new(settings, authorizers, events));
        let unlimited = Rc::new(RefCell::new(unlimited));
        let (limited, base) = (service.clone(), unlimited.clone());
        let limits = Live::new("server.limits", limits_table, move |section| {
            let mut settings = base.borrow().clone();
            limits::limits(section, &mut settings);
            let service = limited.clone();
            Box::new(move || service.set_settings(settings))
        });
        let parts = vec![("limits", limits.inspect())];
        Serving {
            service: service.clone(),
            inspect: Parts::below(service.inspect(), parts),
            http: None,
            itself: Rc::new(Running { service, unlimited, limits }),
        }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let Self { settings, unlimited, limits_table, authorizers, events } = *self;
        let running = running.itself.downcast_ref::<Running>().expect("both speak FTP");
        running.service.replace(settings, authorizers, events);
        running.unlimited.replace(unlimited);
        running.limits.reloaded(limits_table);
    }
}

/// Reads what an FTP server has.
pub(crate) fn read(section: &mut Section<'_>, trees: &[String]) -> Option<Plan> {
    let mut settings = FtpSettings::default();
    settings.banner = section.or(
        "banner",
        "What a client reads first; it may have several lines.",
        &Bytes(users::MAX_TEXT),
        settings.banner,
    );
    settings.active = section.or(
        "active",
        "Whether the server connects to clients (PORT, EPRT); only ever to their own address.",
        &Flag,
        settings.active,
    );
    settings.atomic_uploads = section.or(
        "atomic_uploads",
        "Whether an upload takes its name only when it is complete.",
        &Flag,
        settings.atomic_uploads,
    );
    settings.message = section.or(
        "message",
        "The name of the file in a directory that whoever enters it, or begins in it, reads; the tree \
         need not show it. With an empty one nobody reads anything.",
        &Bytes(MAX_NAME),
        settings.message,
    );
    if settings.message.contains(['/', '\0']) || [".", ".."].contains(&&*settings.message) {
        section.refuse("message", "a message is named without its directory");
    }
    section.section(
        "passive",
        "Where clients are told to connect for data (PASV, EPSV).",
        |section| passive::passive(section, &mut settings),
    );
    let (unlimited, limits_table) = (settings.clone(), section.table_of("limits"));
    section.section(
        "limits",
        "How long clients may take, how many may come, how often they may guess, how fast data \
         goes.",
        |section| limits::limits(section, &mut settings),
    );
    let log = section.maybe_section(
        "log",
        "The line that is logged for each transfer with this server. Left out: as [log.transfers] \
         says.",
        |section| transfers(section, To::Log(Destination::Stderr)),
    );
    let anonymous = section.maybe_section(
        "anonymous",
        "Lets anybody in, as `anonymous` or `ftp` and with any password. Left out: nobody.",
        |section| users::anonymous(section, trees),
    );
    let users = users::users(section, trees);
    let unix = section.maybe_section(
        "unix_users",
        "Lets users of the system in, each under their own identity and with their own password. \
         The server must be started as root; with `user` in [process] it keeps what it takes to be \
         its users, and to read their passwords. Left out: nobody.",
        unix::unix,
    );
    let has = |keys: &[&str]| keys.iter().any(|key| section.has(key));
    if !has(&["anonymous", "user", "passwords", "unix_users"]) {
        let help = "give it [server.anonymous], [[server.user]] or [server.unix_users]";
        section.add_here("nobody can log in", help);
    }
    if has(&["unix_users"]) && has(&["user", "passwords"]) {
        section.advise(
            "unix_users",
            "a server has users of its own, or those of the system, not both",
            "make another server of them: how long an answer takes would tell whose a name is",
        );
    }
    let anonymous = match anonymous {
        None => None,
        Some(made) => Some(made?),
    };
    let users = users?;
    Some(Box::new(move |build| {
        let mut events: Vec<Rc<dyn Events>> =
            build.transfer_log(log.as_ref())?.into_iter().collect();
        // The first that decides about a name is asked; all but the anonymous decide about all.
        let mut authorizers: Vec<Rc<dyn Authorizer>> = Vec::new();
        authorizers.extend(anonymous.map(|plan| plan.build(build)));
        authorizers.extend(users.build(build)?);
        authorizers.extend(unix.map(unix::UnixPlan::build).transpose()?);
        let scripts = build.scripting.map(|scripts| ToScripts(scripts.clone()));
        events.extend(scripts.map(|scripts| Rc::new(scripts) as Rc<dyn Events>));
        Ok(Box::new(FtpSetup { settings, unlimited, limits_table, authorizers, events }))
    }))
}
