//! `[resolver]`, which looks names up for the whole process, and `protocol = "dns"`, which answers
//! others with it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use medusa_dns::cache::CacheSettings;
use medusa_dns::limits::MAX_SERVERS;
use medusa_dns::{Forwarder, Resolver, ResolverSettings};

use crate::config::build::{Serving, Setup};
use crate::config::kind::{DAY, FilePath, List, Parsed, SECOND, Size, Time};
use crate::config::limits::network;
use crate::config::section::Section;
use crate::config::server::Plan;

/// Networks that one server allows.
const MAX_NETWORKS: usize = 256;
/// Bytes that kept answers may take.
const CACHE: std::ops::RangeInclusive<u64> = 0..=1 << 32;

/// Reads `[resolver]`.
pub(super) fn resolver(section: &mut Section<'_>) -> ResolverSettings {
    let mut settings = ResolverSettings::default();
    settings.servers = section.or(
        "servers",
        "Name servers to ask, instead of those that resolv.conf names.",
        &List(server(), 0..=MAX_SERVERS),
        settings.servers,
    );
    settings.resolv_conf = section.or(
        "resolv_conf",
        "The file that names the servers and says how to ask them; read again when it changes.",
        &FilePath,
        settings.resolv_conf,
    );
    settings.hosts = section.or(
        "hosts",
        "The file that names hosts; read again when it changes.",
        &FilePath,
        settings.hosts,
    );
    settings.timeout = section.maybe(
        "timeout",
        "How long a server has until the next is asked. Left out: what resolv.conf says.",
        &Time(Duration::from_millis(10)..=DAY),
    );
    settings.deadline = section.or(
        "deadline",
        "How long a name may take in all.",
        &Time(Duration::from_millis(10)..=DAY),
        settings.deadline,
    );
    settings.stale_after = section.or(
        "stale_after",
        "After so long without an answer the last one is given, though its time is over (RFC 8767).",
        &Time(Duration::ZERO..=DAY),
        settings.stale_after,
    );
    section
        .section("cache", "Answers that are kept.", |section| cache(section, &mut settings.cache));
    settings
}

fn cache(section: &mut Section<'_>, settings: &mut CacheSettings) {
    settings.bytes = section.or(
        "size",
        "Bytes that they may take together; 0 keeps none.",
        &Size(CACHE),
        settings.bytes as u64,
    ) as usize;
    settings.least = section.or(
        "least",
        "No answer is kept for less, whatever it says itself.",
        &Time(Duration::ZERO..=DAY),
        settings.least,
    );
    settings.most =
        section.or("most", "No answer is kept for longer.", &Time(SECOND..=7 * DAY), settings.most);
    settings.most_negative = section.or(
        "most_negative",
        "No answer that there is nothing is kept for longer.",
        &Time(Duration::ZERO..=DAY),
        settings.most_negative,
    );
    settings.stale = section.or(
        "stale",
        "How long past its time an answer may be given when no server answers; 0 is never.",
        &Time(Duration::ZERO..=7 * DAY),
        settings.stale,
    );
}

fn server() -> Parsed<SocketAddr> {
    Parsed {
        what: "the address of a name server, as \"192.0.2.53\" or \"192.0.2.53:5353\"",
        parse: |text| {
            let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
            ip.or_else(|_| text.parse()).map_err(|_| "it is none".to_owned())
        },
        write: ToString::to_string,
    }
}

/// What a forwarder is told.
struct DnsSetup {
    resolver: Option<Resolver>,
    allow: Vec<IpNet>,
}

impl DnsSetup {
    fn allowed(allow: Vec<IpNet>) -> medusa_dns::forward::Allowed {
        Rc::new(move |ip| allow.iter().any(|network| network.contains(&ip)))
    }
}

impl Setup for DnsSetup {
    fn start(self: Box<Self>) -> Serving {
        let resolver = self.resolver.expect("what is served has a loop");
        let service = Rc::new(Forwarder::new(resolver, Self::allowed(self.allow)));
        Serving {
            service: service.clone(),
            inspect: service.inspect(),
            itself: service,
            http: None,
        }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let service = running.itself.downcast_ref::<Forwarder>().expect("both speak DNS");
        service.allow(Self::allowed(self.allow));
    }
}

/// Reads what a DNS server has.
#[expect(clippy::unnecessary_wraps, reason = "other protocols may lack something")]
pub(super) fn read(section: &mut Section<'_>, _: &[String]) -> Option<Plan> {
    let local = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
        .into_iter()
        .chain(["169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"])
        .map(|network| network.parse().expect("a network"));
    let allow = section.or(
        "allow",
        "Who may ask. All others are refused: a server that answers everybody is used to flood \
         others.",
        &List(network(), 0..=MAX_NETWORKS),
        local.collect(),
    );
    section.need(|needs| needs.resolver = true);
    Some(Box::new(move |build| {
        let resolver = build.resolver.cloned();
        Ok(Box::new(DnsSetup { resolver, allow }))
    }))
}
