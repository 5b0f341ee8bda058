//! `medusa serve`: builds the servers and runs the loop.

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use medusa_core::{Address, Handle, PassedSocket, Reactor, Settings};
use medusa_log::Logs;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGHUP;

use crate::config::{self, Loaded, Process, Source};
use crate::control;
use crate::life::{Life, Reach};
use crate::log;
use crate::monitor;
use crate::reload::Running;
use crate::signals::{on_signals, reopen_on_signal};

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
pub(crate) fn serve(source: Source) -> Result<(), Failure> {
    let mut life = Life::begin()?;
    let result = run(source, &mut life);
    if let Err(failure) = &result {
        life.failed(failure);
    }
    result
}

fn run(source: Source, life: &mut Life) -> Result<(), Failure> {
    let loaded = config::load(&source, None, life.is_confined()).map_err(Failure::Usage)?;
    let failed = |what: &str, e: io::Error| Failure::System(format!("cannot {what}: {e}"));
    let logs = Logs::new().map_err(|e| failed("log to standard error", e))?;
    logs.take_panics();
    log::set_diagnostics(&logs, &loaded.config.log).map_err(|e| Failure::Usage(e.to_string()))?;
    let options = loaded.config.process.life.clone();
    let max_connections = connection_limit(&loaded.config.process);
    let mut reactor =
        Reactor::new(Settings { max_connections }).map_err(|e| failed("make the loop", e))?;
    logs.mount(reactor.handle());
    let sockets = life.sockets();
    let local = local_monitor(&loaded, &sockets);
    let reach = reach(&loaded, local.as_ref());
    reactor.pass(sockets);
    let running = Running::start(source, loaded, local, logs.clone(), &mut reactor, life);
    let running = running.map_err(Failure::Usage)?;
    let mut out = io::stdout().lock();
    for (protocol, address) in running.listening() {
        // Whoever started us may not care to read.
        let _ = writeln!(out, "listening {protocol} {address}");
    }
    for address in reactor.close_passed() {
        tracing::warn!("nobody listens on {address} any more: its socket is closed");
    }
    life.give_up(&options, reach)?;
    running.set_confined(life.is_confined());
    logs.start().map_err(|e| failed("start the log's thread", e))?;
    let handle = reactor.handle();
    let stopped = running.clone();
    let orders = life.watch(handle, &options, move || stopped.shutdown_grace());
    let orders = orders
        .and_then(|orders| heed_signals(handle, &running, logs.clone()).map(|()| orders))
        .map_err(|e| failed("catch signals", e))?;
    control::mount(handle, &running, orders);
    let _ = writeln!(out, "ready");
    let _ = out.flush();
    drop(out);

    let result = reactor.run().map_err(|e| failed("wait for events", e));
    logs.finish();
    result
}

/// Where a console of the same user finds the monitor, if it is to find it and there is a place.
fn local_monitor(loaded: &Loaded, passed: &[PassedSocket]) -> Option<Address> {
    if !loaded.config.monitor.local {
        return None;
    }
    let found = monitor::local_socket(passed);
    found
        .inspect_err(|why| {
            tracing::warn!(
                "there is no place for the socket of the monitor, so `medusa console` finds no \
                 server: {why}; name one with --monitor unix:PATH"
            );
        })
        .ok()
}

/// What the configuration needs of the file system.
fn reach(loaded: &Loaded, local: Option<&Address>) -> Reach {
    let mut reach = Reach::default();
    loaded.needs.read.iter().for_each(|path| reach.read(path));
    loaded.needs.write.iter().for_each(|path| reach.write(path));
    loaded.needs.execute.iter().for_each(|path| reach.execute(path));
    let listeners = loaded.config.servers.iter().flat_map(|server| &server.listen);
    let listeners = listeners.chain(&loaded.config.monitor.listen).map(|listen| &listen.address);
    listeners.chain(local).for_each(|address| reach.listen(address));
    reach
}

/// Has the logs opened anew on SIGUSR1, and the configuration file read again on SIGHUP. Without
/// a file that signal ends the program, as it does when its terminal goes away.
fn heed_signals(handle: &Handle, running: &Rc<Running>, logs: Logs) -> io::Result<()> {
    reopen_on_signal(handle, logs)?;
    if running.has_file() {
        let running = running.clone();
        // What came of it is logged.
        on_signals(handle, &[SIGHUP], move |_| running.reload(|_| {}))?;
    }
    Ok(())
}

/// How many connections may be open at once: what is configured, or what the limit of open files
/// allows.
pub(crate) fn connection_limit(process: &Process) -> usize {
    let descriptors = raise_descriptor_limit();
    process
        .max_connections
        .unwrap_or_else(|| descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(16) as usize)
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
