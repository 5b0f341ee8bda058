//! `medusa serve`: builds the servers and runs the loop.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::reactor::ListenOptions;
use medusa_core::{Address, ChannelSettings, Reactor, Settings};
use medusa_fs::{FileSystem, LocalTree, Persona, TreeOptions};
use medusa_http::{Extensions, Files, FilesOptions, HttpService, HttpSettings, MediaTypes};
use medusa_log::{Destination, Logs};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::command::{AccessLogTo, Serve};
use crate::life::{Life, Reach};
use crate::log;
use crate::signals::reopen_on_signal;

/// Descriptors that are not for connections: listeners, files being sent, the loop's own.
const RESERVED_DESCRIPTORS: u64 = 256;

/// The server cannot start, or cannot go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for is wrong.
    Usage(String),
    /// The system failed.
    System(String),
}

impl Failure {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::System(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::System(what) => f.write_str(what),
        }
    }
}

/// Serves until a signal stops it.
pub(crate) fn serve(options: &Serve) -> Result<(), Failure> {
    let logs = log::open(options)?;
    let mut life = Life::begin()?;
    let result = run(options, &logs, &mut life);
    if let Err(failure) = &result {
        life.failed(failure);
    }
    result
}

fn run(options: &Serve, logs: &Logs, life: &mut Life) -> Result<(), Failure> {
    let tree = open_tree(&options.directory, life)?;
    let mut reach = Reach::default();
    reach.read(&options.directory);
    options.http.iter().for_each(|address| reach.listen(address));
    if let Some(AccessLogTo::Log(Destination::File { path, .. })) = &options.access_log {
        reach.write_beside(path);
    }
    let descriptors = raise_descriptor_limit();
    let max_connections = options.max_connections.map_or_else(
        || descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(16) as usize,
        |n| n as usize,
    );

    let failed = |what: &str, e: io::Error| Failure::System(format!("cannot {what}: {e}"));
    let mut reactor =
        Reactor::new(Settings { max_connections }).map_err(|e| failed("make the loop", e))?;
    let access_log = log::access(logs, reactor.handle(), options)?;
    let media = MediaTypes::default().with_list("/etc/mime.types");
    let files = FilesOptions { media, ..FilesOptions::default() };
    let files = Files::new(tree, Persona::Process, files);
    let service = Rc::new(HttpService::new(
        Rc::new(Extensions::new(vec![Rc::new(files)])),
        HttpSettings::default(),
        ChannelSettings::default(),
        access_log,
    ));
    reactor.handle().mount("http", service.inspect());
    logs.mount(reactor.handle());

    reactor.pass(life.sockets());
    let mut out = io::stdout().lock();
    for address in &options.http {
        let (_, bound) = reactor
            .listen(address, service.clone(), ListenOptions::default())
            .map_err(|e| cannot_listen("http", address, &e, life))?;
        // Whoever started us may not care to read.
        let _ = writeln!(out, "listening http {bound}");
    }
    for address in reactor.close_passed() {
        tracing::warn!("nobody listens on {address} any more: its socket is closed");
    }
    life.give_up(&options.life, reach)?;
    life.watch(reactor.handle(), &options.life).map_err(|e| failed("catch signals", e))?;
    logs.start().map_err(|e| failed("start the log's thread", e))?;
    reopen_on_signal(reactor.handle(), logs.clone()).map_err(|e| failed("catch signals", e))?;
    let _ = writeln!(out, "ready");
    let _ = out.flush();
    drop(out);

    let result = reactor.run().map_err(|e| failed("wait for events", e));
    logs.finish();
    result
}

fn open_tree(directory: &Path, life: &Life) -> Result<Arc<dyn FileSystem>, Failure> {
    let shown = directory.display();
    match LocalTree::open(directory, TreeOptions::default()) {
        Ok(tree) => Ok(Arc::new(tree)),
        Err(e) => Err(Failure::Usage(match e.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no directory `{shown}`; name one that exists: medusa serve DIR")
            }
            io::ErrorKind::NotADirectory => format!(
                "`{shown}` is not a directory; name the directory that it is in: medusa serve DIR"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "the directory `{shown}` may not be opened by this user; allow it (chmod), or \
                 serve another one{}",
                life.hint(&e)
            ),
            _ => format!("cannot open the directory `{shown}`: {e}"),
        })),
    }
}

fn cannot_listen(protocol: &str, address: &Address, error: &io::Error, life: &Life) -> Failure {
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => match address {
            Address::Inet(_) => "another program has this port",
            _ => "another program listens on it, or a file is in its place",
        },
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied if life.is_successor() => {
            "what was given up to serve is needed for it, so it takes a restart instead of an upgrade"
        }
        io::ErrorKind::PermissionDenied => "this user may not use it",
        io::ErrorKind::NotFound if matches!(address, Address::Unix(_)) => {
            "its directory does not exist"
        }
        _ => "",
    };
    let why = if way_out.is_empty() { error.to_string() } else { way_out.to_owned() };
    Failure::Usage(format!(
        "cannot listen on {address}: {why}; choose another with --{protocol} ADDR (port 0 takes a \
         free one)"
    ))
}

/// Allows as many open files as the system lets us, and says how many that is.
fn raise_descriptor_limit() -> u64 {
    const DEFAULT: u64 = 1024;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let raised = limit.maximum;
        let before = limit.current;
        limit.current = raised;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = before;
        }
    }
    limit.current.unwrap_or(DEFAULT * 1024)
}
