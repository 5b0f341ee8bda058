//! A view as text for Prometheus (its text format, version 0.0.4).
//!
//! The one design choice: what the loop, the process, listeners and HTTP servers show is known
//! here, with the types and names that are usual; every other number in the tree is told too,
//! without a type, under a name made of its kind and its field. So a protocol has metrics without
//! a word here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use medusa_core::histogram::Histogram;
use medusa_core::inspect::Value;

use crate::view::{Part, View};

/// The media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The buckets of turns that are told: powers of two of microseconds, from 16 µs to 4 s.
const TURN_POWERS: std::ops::RangeInclusive<usize> = 4..=22;

/// What kinds of parts are no metrics: lists of what happened once.
const EVENTS: [&str; 2] = ["turn", "request"];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// It only grows.
    Counter,
    Gauge,
    Untyped,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

/// A field of a kind of part that is known, and the metric that it is; without a name, none.
type Known = (&'static str, &'static str, &'static str, Type);

/// The fields that are known. Those of replies have a label more.
const KNOWN: &[Known] = &[
    ("process", "id", "", Type::Gauge),
    // Its opposite, the time of the start, is what is usual.
    ("process", "uptime", "", Type::Gauge),
    ("process", "processor time", "process_cpu_seconds_total", Type::Counter),
    ("process", "resident", "process_resident_memory_bytes", Type::Gauge),
    ("process", "private", "medusa_process_private_memory_bytes", Type::Gauge),
    ("process", "descriptors", "process_open_fds", Type::Gauge),
    ("process", "descriptor limit", "process_max_fds", Type::Gauge),
    ("process", "threads", "medusa_process_threads", Type::Gauge),
    ("reactor", "open", "medusa_connections", Type::Gauge),
    ("reactor", "opened", "medusa_connections_opened_total", Type::Counter),
    ("reactor", "closed", "medusa_connections_closed_total", Type::Counter),
    ("reactor", "turns", "medusa_turns_total", Type::Counter),
    ("reactor", "budget stops", "medusa_budget_stops_total", Type::Counter),
    ("reactor", "panics", "medusa_panics_total", Type::Counter),
    ("reactor", "stalled", "medusa_connections_stalled_total", Type::Counter),
    ("reactor", "slow", "medusa_connections_slow_total", Type::Counter),
    ("reactor", "received", "medusa_received_bytes_total", Type::Counter),
    ("reactor", "sent", "medusa_sent_bytes_total", Type::Counter),
    // The histogram tells them.
    ("reactor", "last turn", "", Type::Gauge),
    ("reactor", "turn p50", "", Type::Gauge),
    ("reactor", "turn p99", "", Type::Gauge),
    ("reactor", "longest turn", "medusa_turn_longest_seconds", Type::Gauge),
    ("reactor", "turns over 20 ms", "medusa_turns_slow_total", Type::Counter),
    // Listeners tell it one by one.
    ("channels", "open", "", Type::Gauge),
    ("listener", "accepted", "medusa_listener_accepted_total", Type::Counter),
    ("listener", "open", "medusa_listener_connections", Type::Gauge),
    ("listener", "turned away", "medusa_listener_turned_away_total", Type::Counter),
    ("http", "requests", "medusa_http_requests_total", Type::Counter),
    ("http", "sent", "medusa_http_sent_bytes_total", Type::Counter),
    ("http", "2xx", REPLIES, Type::Counter),
    ("http", "3xx", REPLIES, Type::Counter),
    ("http", "4xx", REPLIES, Type::Counter),
    ("http", "5xx", REPLIES, Type::Counter),
    ("http", "refused", "medusa_http_refused_total", Type::Counter),
    ("http", "aborted", "medusa_http_aborted_total", Type::Counter),
    ("http", "panics", "medusa_http_panics_total", Type::Counter),
    ("http", "limited", "medusa_http_limited_total", Type::Counter),
    ("http", "slow", "medusa_http_slow_total", Type::Counter),
];

/// The metric of replies, by the class of their status.
const REPLIES: &str = "medusa_http_replies_total";

/// All that is said of one name.
struct Family {
    what: Type,
    help: Cow<'static, str>,
    /// Labels in their braces, and the value.
    samples: Vec<(String, String)>,
}

/// Writes the figures of a view.
pub(crate) fn write(view: &View) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for part in view.parts().iter().filter(|part| !EVENTS.contains(&part.node.kind)) {
        for (field, value) in &part.node.fields {
            let Some((value, unit)) = number(value) else { continue };
            let known =
                KNOWN.iter().find(|(kind, name, ..)| *kind == part.node.kind && name == field);
            let (name, what) = match known {
                Some((_, _, "", _)) => continue,
                Some((_, _, name, what)) => ((*name).to_owned(), *what),
                None => (made_name(part.node.kind, field, unit), Type::Untyped),
            };
            let help = match (name.as_str(), part.node.note(field)) {
                (REPLIES, _) => Cow::Borrowed("Replies by the class of their status."),
                (_, Some(note)) => Cow::Borrowed(note),
                (_, None) => Cow::Owned(format!("{field} of a part of kind {}", part.node.kind)),
            };
            let labels = labels(part, if name == REPLIES { Some(field) } else { None });
            let family = families.entry(name);
            let family = family.or_insert_with(|| Family { what, help, samples: Vec::new() });
            // Two fields whose names differ only in what a metric cannot have.
            if !family.samples.iter().any(|(other, _)| *other == labels) {
                family.samples.push((labels, value));
            }
        }
    }
    let mut out = String::new();
    for (name, Family { what, help, samples }) in families {
        head(&mut out, &name, &help, what.as_str());
        for (labels, value) in samples {
            line(&mut out, &name, &labels, &value);
        }
    }
    write_start(&mut out, view);
    write_turns(&mut out, &view.turns);
    out
}

/// A value as a number and the unit that its name ends in.
fn number(value: &Value) -> Option<(String, &'static str)> {
    match value {
        Value::Count(n) => Some((n.to_string(), "")),
        Value::Bytes(n) => Some((n.to_string(), "_bytes")),
        Value::Time(time) => Some((time.as_secs_f64().to_string(), "_seconds")),
        Value::Date(time) => Some((time.as_secs_f64().to_string(), "_timestamp_seconds")),
        Value::Flag(yes) => Some((u8::from(*yes).to_string(), "")),
        Value::Text(_) => None,
    }
}

/// A name of what a metric's may have: letters, digits and underscores.
fn made_name(kind: &str, field: &str, unit: &str) -> String {
    let mut name = String::from("medusa");
    for word in
        [kind, field].iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
    {
        if !word.is_empty() {
            name.push('_');
            name.push_str(&word.to_ascii_lowercase());
        }
    }
    name.push_str(unit);
    name
}

/// The labels of a part: there is one loop and one process, a listener has its address, and
/// anything else its place in the tree.
fn labels(part: &Part, class: Option<&str>) -> String {
    let mut labels: Vec<(&str, Cow<'_, str>)> = match part.node.kind {
        "process" | "reactor" => Vec::new(),
        "listener" => ["protocol", "address"]
            .iter()
            .map(|name| (*name, Cow::Borrowed(part.text(name).unwrap_or_default())))
            .collect(),
        _ => vec![("path", Cow::Owned(part.path()))],
    };
    labels.extend(class.map(|class| ("class", Cow::Borrowed(class))));
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value, true))).collect();
    format!("{{{}}}", labels.join(","))
}

/// Escapes what stands in a label, or, without its quotes, behind `HELP`.
fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            // The format has no escape for it, and readers of lines may take it for an end.
            '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

fn head(out: &mut String, name: &str, help: &str, what: &str) {
    let help = escape(help, false);
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {what}").expect("a string takes everything");
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    writeln!(out, "{name}{labels} {value}").expect("a string takes everything");
}

/// When the loop began, from which everything counts.
fn write_start(out: &mut String, view: &View) {
    const NAME: &str = "process_start_time_seconds";
    let uptime = view.of_kind("process").find_map(|part| match part.node.value("uptime")? {
        Value::Time(time) => Some(*time),
        _ => None,
    });
    if let Some(uptime) = uptime {
        head(out, NAME, "When the loop began, as the time since 1970.", "gauge");
        let began = view.unix_time.saturating_sub(uptime).as_secs_f64();
        line(out, NAME, "", &began.to_string());
    }
}

/// How long turns of the loop took.
fn write_turns(out: &mut String, turns: &Histogram) {
    const NAME: &str = "medusa_turn_seconds";
    head(out, NAME, "How long turns of the loop took: others wait for that long.", "histogram");
    let bucket = format!("{NAME}_bucket");
    for power in TURN_POWERS {
        let end = (1_u64 << power) as f64 / 1e6;
        line(out, &bucket, &format!("{{le=\"{end}\"}}"), &turns.below(power).to_string());
    }
    let count = turns.count().to_string();
    line(out, &bucket, "{le=\"+Inf\"}", &count);
    line(out, &format!("{NAME}_sum"), "", &turns.sum().as_secs_f64().to_string());
    line(out, &format!("{NAME}_count"), "", &count);
}
