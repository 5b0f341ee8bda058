//! `protocol = "http"`: limits, hosts and extensions.

use std::rc::Rc;

use medusa_core::ChannelSettings;
use medusa_http::access_log::AccessLog;
use medusa_http::hosts::{Host, HostError, Hosts, MAX_HOST_NAMES, Unknown};
use medusa_http::{Extensions, HttpLimits, HttpService, HttpSettings};
use medusa_log::Destination;

use crate::config::Span;
use crate::config::build::{Build, Parts, Serving, Setup};
use crate::config::extension::{Make, extensions};
use crate::config::kind::{Choice, List, Text};
use crate::config::limits::{self, Limits};
use crate::config::live::Live;
use crate::config::log::{To, access};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::server::Plan;
use crate::config::value::Table;

/// Virtual hosts of one server.
const MAX_HOSTS: usize = 4096;

/// What an HTTP server is told.
struct HttpSetup {
    hosts: Hosts,
    settings: HttpSettings,
    channel: ChannelSettings,
    limits: HttpLimits,
    /// What the section of limits says.
    limits_table: Table,
    log: Option<Rc<dyn AccessLog>>,
}

/// A server that runs.
struct Running {
    service: Rc<HttpService>,
    limits: Live,
}

impl Setup for HttpSetup {
    fn start(self: Box<Self>) -> Serving {
        let Self { hosts, settings, channel, limits, limits_table, log } = *self;
        let service = Rc::new(HttpService::new(hosts, settings, channel, log));
        service.set_limits(limits);
        let limited = service.clone();
        let limits = Live::new("server.limits", limits_table, move |section| {
            let Limits { settings, channel, of_all } = limits::limits(section);
            let service = limited.clone();
            Box::new(move || {
                service.set_settings(settings, channel);
                service.set_limits(of_all);
            })
        });
        let parts = vec![("limits", limits.inspect())];
        Serving {
            service: service.clone(),
            inspect: Parts::below(service.inspect(), parts),
            http: Some(service.clone()),
            itself: Rc::new(Running { service, limits }),
        }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let Self { hosts, settings, channel, limits, limits_table, log } = *self;
        let running = running.itself.downcast_ref::<Running>().expect("both speak HTTP");
        running.service.replace(hosts, settings, channel, log);
        running.service.set_limits(limits);
        running.limits.reloaded(limits_table);
    }
}

/// A host as the configuration has it.
struct HostPlan {
    names: Vec<(String, Span)>,
    extensions: Vec<Make>,
}

impl HostPlan {
    fn build(self, place: usize, build: &Build<'_>) -> Result<Host, Problem> {
        let names: Vec<String> = self.names.into_iter().map(|(name, _)| name).collect();
        let list: Result<_, _> = self.extensions.into_iter().map(|make| make(build)).collect();
        // The inspection tree finds a host by its first name.
        let name = names.first().cloned().unwrap_or_else(|| format!("host {}", place + 1));
        Ok(Host { name, names, extensions: Rc::new(Extensions::new(list?)) })
    }
}

/// Reads what an HTTP server has.
pub(crate) fn read(section: &mut Section<'_>, trees: &[String]) -> Option<Plan> {
    let unknown = section.or(
        "unknown_host",
        "What becomes of a request for a host that has no section: \"default\" has it answered by \
         the server's own extensions, or by its first host if there are none; \"refuse\" answers \
         421.",
        &Choice(&[("default", Unknown::ToDefault), ("refuse", Unknown::Misdirected)]),
        Unknown::ToDefault,
    );
    let Limits { settings, channel, of_all } = section.section(
        "limits",
        "How long clients may take, how much they may send, how often they may ask.",
        limits::limits,
    );
    let limits_table = section.table_of("limits");
    let log = section.maybe_section(
        "log",
        "The line that is logged for each request to this server. Left out: as [log.access] says.",
        |section| access(section, To::Log(Destination::Stderr)),
    );
    let own = extensions(
        section,
        "What answers requests for no host that has a section, in this order: the first that \
         matches answers.",
        trees,
    );
    let mut hosts = section.tables(
        "host",
        "A virtual host: the names by which clients ask for it, and what answers them.",
        MAX_HOSTS,
        |section| host(section, trees),
    );
    check_names(section, &hosts);
    if !section.has("extension") && !section.has("host") {
        section.add_here(
            "the server answers nothing",
            "give it [[server.extension]] or [[server.host]]",
        );
    }
    if section.has("extension") {
        hosts.insert(0, own.map(|extensions| HostPlan { names: Vec::new(), extensions }));
    }
    let hosts: Option<Vec<HostPlan>> = hosts.into_iter().collect();
    let hosts = hosts?;
    Some(Box::new(move |build| {
        let log = build.access_log(log.as_ref())?;
        let hosts = hosts.into_iter().enumerate().map(|(place, host)| host.build(place, build));
        let hosts = Hosts::new(hosts.collect::<Result<_, _>>()?);
        let hosts = hosts.map_err(|e| Problem::new(0..0, e.to_string()))?.with_unknown(unknown);
        Ok(Box::new(HttpSetup { hosts, settings, channel, limits: of_all, limits_table, log }))
    }))
}

fn host(section: &mut Section<'_>, trees: &[String]) -> Option<HostPlan> {
    let names = section.needed(
        "names",
        "The names: `example.org`, an address, or `*.example.org` for all names below that one. \
         International names are written as on the wire (`xn--...`).",
        &List(Text("the name of a host"), 1..=MAX_HOST_NAMES),
    );
    let extensions =
        extensions(section, "What answers, in this order: the first that matches.", trees);
    if !section.has("extension") {
        section.add_here("the host answers nothing", "give it [[server.host.extension]]");
    }
    let names = names?.into_iter().zip(section.places("names")).collect();
    Some(HostPlan { names, extensions: extensions? })
}

/// Tells of names that are none, and of the first that is there twice.
fn check_names(section: &Section<'_>, hosts: &[Option<HostPlan>]) {
    let table = |names: Vec<String>| {
        let host = Host { name: String::new(), names, extensions: Rc::default() };
        Hosts::new(vec![host])
    };
    let all = || hosts.iter().flatten().flat_map(|host| &host.names);
    let mut right = Vec::new();
    for (name, span) in all() {
        match table(vec![name.clone()]) {
            Ok(_) => right.push(name.clone()),
            Err(e) => section.add(Problem::new(span.clone(), e.to_string())),
        }
    }
    if let Err(e) = table(right) {
        let again = match &e {
            HostError::Twice(twice) => all().rfind(|(name, _)| name == twice),
            _ => all().next_back(),
        };
        let span = again.map_or(0..0, |(_, span)| span.clone());
        section.add(Problem::new(span, e.to_string()));
    }
}
