//! `[[server]]`: a protocol and where it listens. Each protocol is one line in [`PROTOCOLS`].

use std::collections::HashMap;

use medusa_core::Address;
use medusa_core::reactor::ListenOptions;

use crate::config::Span;
use crate::config::build::{Build, Setup};
use crate::config::kind::{List, ListenAddress, Mode, Number};
use crate::config::problem::Problem;
use crate::config::script;
use crate::config::section::{Section, Variant};
use crate::config::{dns, ftp, http};

/// Addresses of one server.
const MAX_LISTENERS: usize = 256;

/// A protocol that can be served.
pub(crate) struct Protocol {
    name: &'static str,
    doc: &'static str,
    /// Why it cannot be served over Unix-domain sockets, if it cannot.
    not_unix: Option<&'static str>,
    /// Reads what it needs of its server's section.
    read: fn(&mut Section<'_>, &[String]) -> Option<Plan>,
}

/// The protocols that there are.
const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "http", doc: "HTTP/1.0 and 1.1.", not_unix: None, read: http::read },
    Protocol {
        name: "ftp",
        doc: "FTP, by RFC 959 and what came after it; without TLS.",
        not_unix: Some("its data connections need the addresses of both ends"),
        read: ftp::read,
    },
    Protocol {
        name: "script",
        doc: "A protocol of one's own: a function in Lua that is called for each connection \
              (docs/SCRIPTS.md).",
        not_unix: None,
        read: script::server,
    },
    Protocol {
        name: "dns",
        doc: "DNS: a caching forwarder, by UDP and TCP.",
        not_unix: Some("its clients ask by UDP"),
        read: dns::read,
    },
];

/// Makes what a server is told, when everything has been read and opened.
pub(crate) type Plan = Box<dyn FnOnce(&Build<'_>) -> Result<Box<dyn Setup>, Problem> + Send>;

/// One server as the configuration has it.
pub(crate) struct ServerPlan {
    pub(crate) protocol: &'static str,
    pub(crate) listen: Vec<Listen>,
    pub(crate) options: ListenOptions,
    pub(crate) plan: Plan,
}

/// Where a server listens, and where that is said.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) address: Address,
    pub(crate) span: Span,
}

impl Variant for Protocol {
    type Made = Plan;

    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }
}

/// Reads one server.
pub(crate) fn server(section: &mut Section<'_>, trees: &[String]) -> Option<ServerPlan> {
    let protocol = section.chosen("protocol", "What it speaks.", PROTOCOLS);
    let listen = section.needed(
        "listen",
        "Where it listens. `:PORT` is all addresses of the machine; port 0 lets the system choose; \
         paths of Unix-domain sockets are relative to this file.",
        &List(ListenAddress, 1..=MAX_LISTENERS),
    );
    let defaults = ListenOptions::default();
    let backlog = section.or(
        "backlog",
        "Connections that the system holds until they are accepted, for each address.",
        &Number(1..=65_535),
        u64::from(defaults.backlog),
    );
    let mode = section.maybe(
        "socket_mode",
        "The mode of the files of Unix-domain sockets. Left out: what the umask makes it.",
        &Mode,
    );
    let plan = section.variant(PROTOCOLS, protocol, |protocol, s| (protocol.read)(s, trees));
    let spans = section.places("listen");
    let listen = listen?.into_iter().zip(spans);
    let listen: Vec<_> = listen.map(|(address, span)| Listen { address, span }).collect();
    let protocol = protocol?;
    if let Some(why) = protocol.not_unix {
        for Listen { address, span } in &listen {
            if matches!(address, Address::Unix(_)) {
                let what = format!("{address} is nowhere to serve {}: {why}", protocol.name);
                section.add(Problem::new(span.clone(), what).help("give it an IP:PORT"));
            }
        }
    }
    Some(ServerPlan {
        protocol: protocol.name,
        listen,
        options: ListenOptions { backlog: backlog as u32, mode, ..ListenOptions::default() },
        plan: plan?,
    })
}

/// Tells of addresses that are there twice.
pub(crate) fn check_addresses(section: &Section<'_>, servers: &[ServerPlan], monitor: &[Listen]) {
    let mut seen: HashMap<&Address, usize> = HashMap::new();
    let all = servers.iter().map(|server| &server.listen[..]).chain([monitor]);
    for (number, listen) in all.enumerate() {
        for Listen { address, span } in listen {
            if matches!(address, Address::Inet(inet) if inet.port() == 0) {
                continue;
            }
            if let Some(first) = seen.insert(address, number) {
                let whom = if first == number { "this server" } else { "another server" };
                let what = format!("{address} is given twice: {whom} listens there already");
                let help = "servers that share an address are hosts of one server";
                section.add(Problem::new(span.clone(), what).help(help));
            }
        }
    }
}
