//! `[server.limits]`, and the limits that are extensions: `rate-limit` and `body-limit`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use medusa_core::limits::{MAX_EXEMPT_NETWORKS, MAX_RATE_AMOUNT, READ_BUFFER_BYTES};
use medusa_core::{ChannelSettings, Clients, Rate, ServerLimitOptions};
use medusa_http::extensions::{BodyLimit, RateLimit, RateLimitOptions};
use medusa_http::{HttpLimits, HttpSettings};

use crate::config::extension::{Around, Make};
use crate::config::kind::{DAY, List, Number, Parsed, SECOND, Size, Time};
use crate::config::section::Section;

/// Everything that limits a server.
pub(crate) struct Limits {
    pub(crate) settings: HttpSettings,
    pub(crate) channel: ChannelSettings,
    pub(crate) of_all: HttpLimits,
}

/// Bytes that a buffer of one connection may have.
const BUFFERS: RangeInclusive<u64> = 1024..=64 << 20;

/// Units of time that a frequency may have.
const UNITS: &[(&str, Duration)] = &[
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
    ("d", DAY),
];

/// How often something may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Frequency {
    times: u64,
    unit: usize,
}

fn frequency() -> Parsed<Frequency> {
    Parsed {
        what: "how often in a time, as \"10/s\", \"100/m\", \"1000/h\" or \"5000/d\"",
        parse: |text| {
            let (times, unit) = text.split_once('/').ok_or("there is no `/` in it")?;
            let unit = UNITS.iter().position(|(name, _)| *name == unit.trim());
            let unit = unit.ok_or("the time is one of s, m, h and d")?;
            let times = times.trim().parse().ok().filter(|n| (1..=MAX_RATE_AMOUNT).contains(n));
            let times = times.ok_or("the number is too large, too small, or none")?;
            Ok(Frequency { times, unit })
        },
        write: |&Frequency { times, unit }| format!("{times}/{}", UNITS[unit].0),
    }
}

pub(super) fn network() -> Parsed<IpNet> {
    Parsed {
        what: "an address or a network, as \"10.0.0.0/8\"",
        parse: |text| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse()).map_err(|_| "it is neither".to_owned())
        },
        write: |net| net.to_string(),
    }
}

/// A bandwidth of at least a byte a second.
pub(super) fn bandwidth(
    section: &mut Section<'_>,
    name: &'static str,
    doc: &'static str,
) -> Option<Rate> {
    let bytes = section.maybe(name, doc, &Size(1..=MAX_RATE_AMOUNT))?;
    Some(Rate::bytes_a_second(bytes).expect("it is within the bounds"))
}

/// Who counts as one client.
fn clients(section: &mut Section<'_>) -> Clients {
    let ipv4 = section.or(
        "ipv4_prefix",
        "Leading bits that IPv4 addresses of one client share.",
        &Number(0..=32),
        32,
    );
    let ipv6 = section.or(
        "ipv6_prefix",
        "Leading bits that IPv6 addresses of one client share.",
        &Number(0..=128),
        64,
    );
    let exempt = section.or(
        "exempt",
        "Addresses and networks that are not counted. Peers over Unix-domain sockets never are.",
        &List(network(), 0..=MAX_EXEMPT_NETWORKS),
        Vec::new(),
    );
    Clients::new(ipv4 as u8, ipv6 as u8, exempt).expect("they are within the bounds")
}

/// How often one client may ask, and how much of that at once.
fn requests(section: &mut Section<'_>, of: Frequency, clients: Clients) -> RateLimitOptions {
    let burst = section.or(
        "burst",
        "How many of `requests` may come at once.",
        &Number(1..=MAX_RATE_AMOUNT),
        of.times,
    );
    let rate = Rate::new(of.times, UNITS[of.unit].1, burst).expect("it is within the bounds");
    let options = RateLimitOptions::new(rate);
    let remembered = section.or(
        "remembered",
        "Clients whose requests are counted at once; past them the one that asked longest ago \
         begins anew.",
        &Number(2..=16_777_216),
        options.remembered as u64,
    );
    RateLimitOptions { clients, remembered: remembered as usize, ..options }
}

/// Reads `[server.limits]`.
pub(crate) fn limits(section: &mut Section<'_>) -> Limits {
    let (settings, stall) = times(section);
    let channel = ChannelSettings::default();
    let min_send_rate = section.or(
        "min_send_rate",
        "Bytes a second that a client must take of a reply that waits for it, averaged over \
         `stall`; none for any.",
        &Size(0..=MAX_RATE_AMOUNT),
        channel.min_send_rate,
    );
    let send_rate = bandwidth(
        section,
        "connection_send_rate",
        "Bytes a second that are sent on one connection. Left out: any.",
    );
    let receive_rate = bandwidth(
        section,
        "connection_receive_rate",
        "Bytes a second that are read from one connection. Left out: any.",
    );
    let channel =
        ChannelSettings { stall, min_send_rate, send_rate, receive_rate, ..buffers(section) };
    let send_rate =
        bandwidth(section, "send_rate", "Bytes a second that the server sends. Left out: any.");
    let receive_rate =
        bandwidth(section, "receive_rate", "Bytes a second that the server reads. Left out: any.");
    let connections = section.maybe(
        "connections_per_client",
        "Connections that one client may have open at once; further ones are answered 503 and \
         closed. Left out: any number.",
        &Number(1..=u64::from(u32::MAX)),
    );
    let frequency = section.maybe(
        "requests",
        "How often one client may ask; past it the answer is 429. Left out: any number.",
        &frequency(),
    );
    let clients = clients(section);
    // Read in any case, so that they are described.
    let per_second = Frequency { times: 100, unit: 0 };
    let options = requests(section, frequency.unwrap_or(per_second), clients.clone());
    let server = ServerLimitOptions {
        connections_a_client: connections.map(|n| n as u32),
        clients,
        send_rate,
        receive_rate,
    };
    let of_all = HttpLimits { server, requests: frequency.map(|_| options) };
    Limits { settings, channel, of_all }
}

/// How much is read, held and sent at once.
fn buffers(section: &mut Section<'_>) -> ChannelSettings {
    let channel = ChannelSettings::default();
    let mut size = |name, doc, sizes: RangeInclusive<u64>, default: usize| {
        section.or(name, doc, &Size(sizes), default as u64) as usize
    };
    let read_bytes = size(
        "read_size",
        "Bytes that are read from a connection at once.",
        1024..=READ_BUFFER_BYTES as u64,
        channel.read_bytes,
    );
    let output_high_bytes = size(
        "output_high",
        "Bytes that wait to be sent on a connection from which on nothing more is read from it.",
        BUFFERS,
        channel.output_high_bytes,
    );
    let output_low_bytes = size(
        "output_low",
        "Bytes that wait to be sent at which reading goes on; at most `output_high`.",
        BUFFERS,
        channel.output_low_bytes,
    );
    let piece_min_bytes = size(
        "piece_min",
        "Bytes of a body that are made at once for a client that takes them slowly.",
        BUFFERS,
        channel.piece_min_bytes,
    );
    let piece_max_bytes = size(
        "piece_max",
        "The same for one that takes them quickly; at least `piece_min`.",
        BUFFERS,
        channel.piece_max_bytes,
    );
    if output_low_bytes > output_high_bytes {
        section.advise("output_low", "`output_low` is above `output_high`", "make it smaller");
    }
    if piece_min_bytes > piece_max_bytes {
        section.advise("piece_min", "`piece_min` is above `piece_max`", "make it smaller");
    }
    let piece_start_bytes = channel.piece_start_bytes.max(piece_min_bytes).min(piece_max_bytes);
    ChannelSettings {
        read_bytes,
        output_high_bytes,
        output_low_bytes,
        piece_start_bytes,
        piece_min_bytes,
        piece_max_bytes,
        ..channel
    }
}

fn times(section: &mut Section<'_>) -> (HttpSettings, Duration) {
    let http = HttpSettings::default();
    let head_timeout = section.or(
        "head_timeout",
        "Time for the first request head of a connection to arrive. A later one may take what is \
         left of the keep-alive time, and then this long.",
        &Time(SECOND..=DAY),
        http.head_timeout,
    );
    let body_timeout = section.or(
        "body_timeout",
        "Time within which some of a request body must arrive, and for which it may fall behind \
         `min_body_rate`.",
        &Time(SECOND..=DAY),
        http.body_timeout,
    );
    let min_body_rate = section.or(
        "min_body_rate",
        "Bytes a second with which a request body must come on average; none for any.",
        &Size(0..=MAX_RATE_AMOUNT),
        http.min_body_rate,
    );
    let keep_alive = section.or(
        "keep_alive",
        "Time that a connection may be idle between requests.",
        &Time(Duration::ZERO..=DAY),
        http.keep_alive,
    );
    let pipeline_depth = section.or(
        "pipeline_depth",
        "Requests of one connection whose replies have not left yet.",
        &Number(1..=1024),
        http.pipeline_depth as u64,
    );
    let max_body_bytes = section.or(
        "max_body",
        "Bytes that a request body may have.",
        &Size(0..=i64::MAX as u64),
        http.max_body_bytes,
    );
    let stall = section.or(
        "stall",
        "How long a reply may stand still because its client takes nothing.",
        &Time(SECOND..=DAY),
        ChannelSettings::default().stall,
    );
    let retire_idle = section.or(
        "retire_idle",
        "Time that an idle connection stays once another process, or nobody, listens where it came \
         from: its client may be sending a request this very moment.",
        &Time(Duration::ZERO..=DAY),
        http.retire_idle,
    );
    let settings = HttpSettings {
        head_timeout,
        body_timeout,
        min_body_rate,
        keep_alive,
        retire_idle,
        pipeline_depth: pipeline_depth as usize,
        max_body_bytes,
    };
    (settings, stall)
}

/// Reads the extension `rate-limit`.
pub(super) fn rate_limit(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let frequency = section.needed(
        "requests",
        "How often one client may ask; past it the answer is 429.",
        &frequency(),
    );
    let clients = clients(section);
    let per_second = Frequency { times: 100, unit: 0 };
    let options = requests(section, frequency.unwrap_or(per_second), clients);
    frequency?;
    Some(Box::new(move |_| Ok(Rc::new(RateLimit::named("rate-limit", options)))))
}

/// Reads the extension `body-limit`.
pub(super) fn body_limit(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let most = section.needed(
        "max",
        "Bytes that a request body may have; past them the answer is 413.",
        &Size(0..=i64::MAX as u64),
    )?;
    Some(Box::new(move |_| Ok(Rc::new(BodyLimit::new(most)))))
}
