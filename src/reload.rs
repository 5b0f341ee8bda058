//! What runs, and how it becomes what a changed configuration says.
//!
//! The one design choice: all or nothing. The new configuration is read, checked and opened on a
//! helper thread, its services are built, its new addresses are bound; only when all of that has
//! worked does the first thing change, and then everything does in one step of the loop. So a
//! broken file leaves what runs as it is.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_core::handle::ListenerId;
use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::reactor::{Bind, ListenOptions, ListenerChange, NotBound};
use medusa_core::{Address, Handle, Reactor};
use medusa_dns::Resolver;
use medusa_http::{Coder, Extension, Made};
use medusa_log::Logs;
use medusa_scripted::inspect::Shown;
use medusa_scripted::scripts::{Loaded as LoadedScripts, NotLoaded, Scripts};
use medusa_scripted::{Callers, ScriptPlan};
use medusa_status::Station;

use crate::config::extension::plugged::Written;
use crate::config::{
    self, Build, Built, Config, Listen, Loaded, NamedScript, Problem, Process, Serving, Setup,
    Source, Span, Trees,
};
use crate::control::Plugging;
use crate::life::Life;
use crate::life::systemd::Notifier;
use crate::log;
use crate::serve::connection_limit;

/// Hears the outcome of a reload: what there is now, or what is wrong.
type Heard = Box<dyn FnOnce(&Result<String, String>)>;

/// Callers that wait for one reload; the ones behind them are told to ask again.
const MAX_WAITING: usize = 64;

/// The servers that run.
pub(crate) struct Running {
    handle: Handle,
    source: Source,
    /// Where a console of the same user finds the monitor.
    local: Option<Address>,
    logs: Logs,
    scripts: Rc<Scripts>,
    /// Threads that wait for the scripts of file trees.
    callers: Callers,
    /// Where everybody looks on who looks at the server, before a reload and after it.
    station: Station,
    resolver: Resolver,
    state: RefCell<State>,
    /// A reload is under way; whoever asked for it, and whoever asked since for another.
    busy: Cell<bool>,
    /// The process is confined to what it was started with.
    confined: Cell<bool>,
    notifier: Rc<Notifier>,
    hearing: RefCell<Vec<Heard>>,
    waiting: RefCell<Vec<Heard>>,
}

/// What a reload replaces.
struct State {
    /// Configurations that have been in force, this one included.
    generation: u64,
    /// Since when it is in force, as the time since 1970.
    since: Duration,
    summary: String,
    /// What was wrong with the last one that was refused, until one is taken.
    refused: Option<String>,
    process: Process,
    trees: Arc<Trees>,
    /// Compresses on the fly for all servers.
    coder: Coder,
    servers: Vec<Server>,
}

struct Server {
    /// By which it is found in the inspection tree: no two have the same.
    name: String,
    protocol: &'static str,
    service: Serving,
    listeners: Vec<Listener>,
}

#[derive(Clone)]
struct Listener {
    /// As configured.
    address: Address,
    options: ListenOptions,
    id: ListenerId,
    /// What the system made of the address.
    bound: Address,
}

/// How what runs becomes what a new configuration says.
struct Plan {
    change: ListenerChange,
    /// The protocols and addresses to be bound, and where the configuration says so.
    places: Vec<(&'static str, Address, Span)>,
    servers: Vec<Planned>,
    /// What cannot change while the server runs.
    notes: Vec<String>,
}

/// A server to be.
struct Planned {
    protocol: &'static str,
    service: Serving,
    /// For a service that runs already.
    setup: Option<Box<dyn Setup>>,
    listeners: Vec<Origin>,
}

/// Where a listener comes from.
enum Origin {
    Kept(Listener),
    /// The next of those that are bound.
    Bound(Address, ListenOptions),
}

impl Plan {
    /// A new server that listens where an old one of the same protocol did is that one with
    /// another setup, so that its connections go by it too.
    fn new(built: Vec<Built>, running: &[Server]) -> Self {
        // Several may have the same address, if the system chooses their ports.
        let mut old: HashMap<Address, VecDeque<(usize, Listener)>> = HashMap::new();
        for (number, server) in running.iter().enumerate() {
            for listener in &server.listeners {
                let same = old.entry(listener.address.clone()).or_default();
                same.push_back((number, listener.clone()));
            }
        }
        let mut free = vec![true; running.len()];
        let mut plan = Self {
            change: ListenerChange::default(),
            places: Vec::new(),
            servers: Vec::new(),
            notes: Vec::new(),
        };
        for Built { protocol, listen, options, setup } in built {
            let mut kept = Vec::new();
            let mut origins = Vec::new();
            for Listen { address, span } in listen {
                let before = old.get_mut(&address).and_then(VecDeque::pop_front);
                if let Some((owner, listener)) = before {
                    if listener.options != options {
                        plan.notes.push(format!(
                            "`backlog` and `socket_mode` of {address} stay as they are until the \
                             server is started again"
                        ));
                    }
                    kept.push((owner, listener.id));
                    origins.push(Origin::Kept(listener));
                } else {
                    plan.places.push((protocol, address.clone(), span));
                    origins.push(Origin::Bound(address, options));
                }
            }
            let same = |owner: usize| free[owner] && running[owner].protocol == protocol;
            let before = kept.iter().map(|(owner, _)| *owner).find(|owner| same(*owner));
            let (service, setup) = match before {
                Some(owner) => {
                    free[owner] = false;
                    (running[owner].service.clone(), Some(setup))
                }
                None => (setup.start(), None),
            };
            for (owner, id) in kept {
                if Some(owner) != before {
                    plan.change.serve.push((id, service.service.clone()));
                }
            }
            for origin in &origins {
                if let Origin::Bound(address, options) = origin {
                    let (address, options) = (address.clone(), *options);
                    let service = service.service.clone();
                    plan.change.bind.push(Bind { address, service, options });
                }
            }
            plan.servers.push(Planned { protocol, service, setup, listeners: origins });
        }
        plan.change.stop = old.into_values().flatten().map(|(_, listener)| listener.id).collect();
        plan
    }
}

/// Makes the servers what was planned, when those listeners are bound that were to be.
fn carry_out(planned: Vec<Planned>, bound: Vec<(ListenerId, Address)>) -> Vec<Server> {
    let mut bound = bound.into_iter();
    let mut listener = |origin| match origin {
        Origin::Kept(listener) => listener,
        Origin::Bound(address, options) => {
            let (id, bound) = bound.next().expect("each of them was bound");
            Listener { address, options, id, bound }
        }
    };
    let mut names: HashMap<&'static str, usize> = HashMap::new();
    let mut server = |Planned { protocol, service, setup, listeners }| {
        if let Some(setup) = setup {
            setup.replace(&service);
        }
        let listeners = Vec::into_iter(listeners).map(&mut listener).collect();
        let number = names.entry(protocol).or_insert(0);
        *number += 1;
        let name = if *number == 1 { protocol.to_owned() } else { format!("{protocol}-{number}") };
        Server { name, protocol, service, listeners }
    };
    planned.into_iter().map(&mut server).collect()
}

impl Running {
    /// Starts the servers of a configuration, or tells what is wrong. `local` is where a console of
    /// the same user finds the monitor.
    pub(crate) fn start(
        source: Source,
        loaded: Loaded,
        local: Option<Address>,
        logs: Logs,
        reactor: &mut Reactor,
        life: &Life,
    ) -> Result<Rc<Self>, String> {
        let handle = reactor.handle().clone();
        let Loaded { config, trees, text, needs, .. } = loaded;
        let (summary, process) = (config.summary(), config.process);
        let scripts = Scripts::new(&handle, config.script);
        let resolver = Resolver::new(&handle, config.resolver);
        let ready = load_at_once(&scripts, &needs.scripts, &trees).map_err(|p| text.show_one(p))?;
        let access = config.log.access.as_ref();
        let transfers = config.log.transfers.as_ref();
        let coder = Coder::new(config.coding);
        let (logged, scripting) = (Some((&logs, &handle)), Some(&scripts));
        let station = config::station();
        let build = Build {
            trees: &trees,
            logs: logged,
            access,
            transfers,
            coder: coder.clone(),
            station: station.clone(),
            scripts: &ready,
            scripting,
            resolver: Some(&resolver),
        };
        let mut plans = config.servers;
        plans.extend(config.monitor.server(local.as_ref()));
        let built = config::build(plans, &build).map_err(|p| text.show_one(p))?;
        let plan = Plan::new(built, &[]);
        let bound = reactor.change_listeners(plan.change).map_err(|e| {
            let (protocol, address, span) = &plan.places[e.place];
            let mut problem = cannot_listen(address, &e.error, life.is_successor());
            if !text.is_file() {
                problem = problem.help(way_out_by_flags(protocol));
            }
            text.show_one(problem.at(span.clone()))
        })?;
        let servers = carry_out(plan.servers, bound);
        let callers = Callers::new(reactor.remote());
        trees.attach(&ready, &callers);
        scripts.replace(&ready);
        handle.mount("scripts", Rc::new(Shown(scripts.clone())));
        handle.mount("resolver", resolver.inspect());
        let state = State {
            generation: 1,
            since: handle.unix_time(),
            summary,
            refused: None,
            process,
            trees: Arc::new(trees),
            coder,
            servers,
        };
        let running = Rc::new(Self {
            handle,
            source,
            local,
            logs,
            scripts,
            callers,
            station,
            resolver,
            state: RefCell::new(state),
            busy: Cell::new(false),
            confined: Cell::new(life.is_confined()),
            notifier: life.notifier().clone(),
            hearing: RefCell::default(),
            waiting: RefCell::default(),
        });
        running.equip();
        Ok(running)
    }

    /// Lets extensions be plugged into the servers that run.
    fn equip(self: &Rc<Self>) {
        let maker = Rc::new(Plugging(Rc::downgrade(self)));
        let state = self.state.borrow();
        let all = state.servers.iter().filter_map(|server| server.service.http.as_ref());
        all.for_each(|http| http.set_maker(maker.clone()));
    }

    /// Makes an extension that an operator has written, with what runs now.
    pub(crate) fn make(self: &Rc<Self>, written: Written, made: Made) {
        let plans = plans(&written.scripts, &self.trees());
        let running = self.clone();
        self.scripts.load(plans, false, move |scripts| {
            let result = match scripts {
                Ok(scripts) => running.make_with(written, &scripts),
                Err(NotLoaded { place, error }) => {
                    let problem = written.scripts[place].cannot_load(&error);
                    Err(written.text.show_one(problem))
                }
            };
            made(result);
        });
    }

    fn make_with(
        &self,
        written: Written,
        scripts: &LoadedScripts,
    ) -> Result<Rc<dyn Extension>, String> {
        let (trees, coder) = (self.trees(), self.state.borrow().coder.clone());
        if let Some(gone) = written.trees.iter().find(|tree| !trees.has(tree)) {
            let gone = gone.escape_debug();
            return Err(format!("there is no file tree `{gone}` any more; the file was reloaded"));
        }
        let logs = Some((&self.logs, &self.handle));
        let build = Build {
            trees: &trees,
            logs,
            access: None,
            transfers: None,
            coder,
            station: self.station.clone(),
            scripts,
            scripting: Some(&self.scripts),
            resolver: Some(&self.resolver),
        };
        written.make(&build)
    }

    /// The file trees.
    pub(crate) fn trees(&self) -> Arc<Trees> {
        self.state.borrow().trees.clone()
    }

    /// The names of the servers in the inspection tree.
    pub(crate) fn server_names(&self) -> Vec<String> {
        self.state.borrow().servers.iter().map(|server| server.name.clone()).collect()
    }

    /// A server as a part of the inspection tree.
    pub(crate) fn server(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let state = self.state.borrow();
        let found = state.servers.iter().find(|server| server.name == name)?;
        Some(found.service.inspect.clone())
    }

    /// Where the configuration comes from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The services of the loop.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The protocol and the real address of each listener.
    pub(crate) fn listening(&self) -> Vec<(&'static str, Address)> {
        let state = self.state.borrow();
        let of = |s: &Server| {
            s.listeners.iter().map(|l| (s.protocol, l.bound.clone())).collect::<Vec<_>>()
        };
        state.servers.iter().flat_map(of).collect()
    }

    /// Reads the configuration again and becomes what it says; `heard` hears what there is now,
    /// or what is wrong, in lines for people. Asked while a reload is under way, another one
    /// follows it.
    pub(crate) fn reload(self: &Rc<Self>, heard: impl FnOnce(&Result<String, String>) + 'static) {
        if !self.busy.replace(true) {
            self.hearing.borrow_mut().push(Box::new(heard));
            self.read_again();
        } else if self.waiting.borrow().len() < MAX_WAITING {
            self.waiting.borrow_mut().push(Box::new(heard));
        } else {
            heard(&Err("too many reloads are waiting already; try again later".to_owned()));
        }
    }

    fn read_again(self: &Rc<Self>) {
        let (source, old) = (self.source.clone(), self.state.borrow().trees.clone());
        let (running, confined) = (self.clone(), self.confined.get());
        self.notifier.reloading();
        self.handle.run(
            move || config::load(&source, Some(&old), confined),
            move |loaded| match loaded {
                Ok(Ok(loaded)) => running.load_scripts(loaded),
                Ok(Err(why)) => running.end(&Err(why)),
                Err(lost) => running.end(&Err(format!("cannot read the configuration: {lost}"))),
            },
        );
    }

    /// Loads the scripts that are new or have changed; what runs goes on with the old ones.
    fn load_scripts(self: &Rc<Self>, loaded: Loaded) {
        let plans = plans(&loaded.needs.scripts, &loaded.trees);
        let running = self.clone();
        self.scripts.load(plans, false, move |scripts| match scripts {
            Ok(scripts) => running.apply(loaded, scripts),
            Err(NotLoaded { place, error }) => {
                let problem = loaded.needs.scripts[place].cannot_load(&error);
                running.end(&Err(loaded.text.show_one(problem)));
            }
        });
    }

    fn apply(self: &Rc<Self>, loaded: Loaded, ready: LoadedScripts) {
        let Loaded { config, trees, text, .. } = loaded;
        let summary = config.summary();
        let Config { process, log, coding, script, resolver, servers: mut plans, monitor, .. } =
            config;
        plans.extend(monitor.server(self.local.as_ref()));
        let logs = Some((&self.logs, &self.handle));
        let (access, transfers) = (log.access.as_ref(), log.transfers.as_ref());
        let (coder, station) = (Coder::new(coding), self.station.clone());
        let scripting = Some(&self.scripts);
        let build = Build {
            trees: &trees,
            logs,
            access,
            transfers,
            coder: coder.clone(),
            station,
            scripts: &ready,
            scripting,
            resolver: Some(&self.resolver),
        };
        let built = match config::build(plans, &build) {
            Ok(built) => built,
            Err(problem) => return self.end(&Err(text.show_one(problem))),
        };
        let Plan { change, places, servers: planned, mut notes } =
            Plan::new(built, &self.state.borrow().servers);
        if script != *self.scripts.options() {
            let note = "`memory` and `store` of scripts stay as they are until the server is started \
                        again";
            notes.push(note.to_owned());
        }
        let running = self.clone();
        self.handle.change_listeners(change, move |bound| match bound {
            Ok(bound) => {
                let servers = carry_out(planned, bound);
                trees.attach(&ready, &running.callers);
                running.scripts.replace(&ready);
                running.resolver.set(resolver);
                running.handle.limit_connections(connection_limit(&process));
                if let Err(e) = log::set_diagnostics(&running.logs, &log) {
                    notes.push(format!("diagnostics go where they went before: {e}"));
                }
                let mut state = running.state.borrow_mut();
                let generation = state.generation + 1;
                let since = running.handle.unix_time();
                let trees = Arc::new(trees);
                let report = [vec![summary.clone()], notes].concat().join("; ");
                let refused = None;
                *state =
                    State { generation, since, summary, refused, process, trees, coder, servers };
                drop(state);
                running.equip();
                running.end(&Ok(report));
            }
            Err(NotBound { place, error }) => {
                let (_, address, span) = &places[place];
                let problem = cannot_listen(address, &error, running.confined.get());
                running.end(&Err(text.show_one(problem.at(span.clone()))));
            }
        });
    }

    /// Tells everybody who waits how a reload went, and begins the next one.
    fn end(self: &Rc<Self>, outcome: &Result<String, String>) {
        match outcome {
            Ok(report) => tracing::info!("reloaded {}: {report}", self.source),
            Err(why) => {
                tracing::error!("not reloaded, nothing has changed: {why}");
                self.state.borrow_mut().refused = Some(why.clone());
            }
        }
        self.notifier.ready();
        for heard in self.hearing.take() {
            heard(outcome);
        }
        let next = self.waiting.take();
        if next.is_empty() {
            self.busy.set(false);
        } else {
            self.hearing.replace(next);
            self.read_again();
        }
    }

    /// How long a shutdown waits for what is in flight.
    pub(crate) fn shutdown_grace(&self) -> Duration {
        self.state.borrow().process.shutdown_grace
    }

    /// Says whether the process is confined to what it was started with.
    pub(crate) fn set_confined(&self, confined: bool) {
        self.confined.set(confined);
    }

    /// Whether there is a file to be read again.
    pub(crate) fn has_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }
}

/// What is to be loaded, with these trees.
fn plans(named: &[NamedScript], trees: &Trees) -> Vec<ScriptPlan> {
    named.iter().map(|script| script.plan(trees)).collect()
}

/// Loads the scripts of a configuration while the loop does not run yet.
fn load_at_once(
    scripts: &Scripts,
    named: &[NamedScript],
    trees: &Trees,
) -> Result<LoadedScripts, Problem> {
    let loaded: Rc<Cell<Option<Result<LoadedScripts, NotLoaded>>>> = Rc::default();
    let to = loaded.clone();
    scripts.load(plans(named, trees), true, move |result| {
        to.set(Some(result));
    });
    let result = loaded.take().expect("nothing that is loaded at once waits");
    result.map_err(|NotLoaded { place, error }| named[place].cannot_load(&error))
}

/// Tells why an address cannot be listened on; by a process that `has_given_up` privileges, or was
/// started by one.
fn cannot_listen(address: &Address, error: &io::Error, has_given_up: bool) -> Problem {
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => match address {
            Address::Inet(_) => "another program has this port",
            _ => "another program listens on it, or a file is in its place",
        },
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied if has_given_up => {
            "what was given up to serve may be needed for it, so it takes a restart"
        }
        io::ErrorKind::PermissionDenied => "this user may not use it",
        io::ErrorKind::NotFound if matches!(address, Address::Unix(_)) => {
            "its directory does not exist"
        }
        _ => "",
    };
    let why = if way_out.is_empty() { error.to_string() } else { way_out.to_owned() };
    Problem::new(0..0, format!("cannot listen on {address}: {why}"))
        .help("choose another (port 0 takes a free one)")
}

/// What may be done on the command line about an address that cannot be listened on.
fn way_out_by_flags(protocol: &str) -> String {
    let another = format!("choose another with --{protocol} ADDR (port 0 takes a free one)");
    if protocol == "ftp" { another + ", or do without FTP: --no-ftp" } else { another }
}

const NOTES: &[(&str, &str)] = &[
    ("source", "Where it comes from."),
    ("generation", "Configurations that have been in force, this one included."),
    ("since", "Since when it is in force."),
    ("has", "What it has."),
    ("refused", "What was wrong with the last one that was refused, until one is taken."),
];

impl Inspect for Running {
    fn node(&self) -> Node {
        let state = self.state.borrow();
        Node::new("configuration")
            .about("The configuration that is in force.", NOTES)
            .field("source", Value::Text(self.source.to_string()))
            .field("generation", Value::Count(state.generation))
            .field("since", Value::Date(state.since))
            .field("has", Value::Text(state.summary.clone()))
            .field("refused", Value::Text(state.refused.clone().unwrap_or_default()))
    }
}
