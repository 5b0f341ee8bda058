//! What the loop shows of itself and of the process.

use std::time::Duration;

use crate::engine::Engine;
use crate::handle::{Handle, Heard};
use crate::inspect::{Node, Outcome, Value};
use crate::sys::usage::{Usage, usage};

/// The part of the tree that is read on a helper thread.
pub(super) const PROCESS: &str = "process";

/// The part of the reactor that has the turns that took longest.
pub(super) const SLOWEST_TURNS: &str = "slowest turns";

/// What the fields of the reactor mean.
const REACTOR_NOTES: &[(&str, &str)] = &[
    ("open", "Connections that are open, of either direction."),
    ("opened", "Connections begun."),
    ("closed", "Connections ended."),
    ("turns", "Turns of the loop."),
    ("budget stops", "Times that a channel had to wait for the next turn to go on."),
    ("panics", "Faults in the program; each cost one connection."),
    ("stalled", "Connections dropped because their output stood still."),
    ("slow", "Connections dropped because their output went too slowly."),
    ("received", "Bytes taken from all connections."),
    ("sent", "Bytes given to all connections."),
    ("last turn", "How long the last turn took, without its wait."),
    ("turn p50", "Half of the turns took no longer."),
    ("turn p99", "All turns but one in a hundred took no longer."),
    ("longest turn", "How long the longest turn took."),
    ("turns over 20 ms", "Turns in which others had to wait noticeably."),
];

/// What the fields of a slow turn mean.
const TURN_NOTES: &[(&str, &str)] = &[
    ("took", "How long it took, without its wait."),
    ("ago", "Time since it ended."),
    ("events", "Sockets that were ready in it."),
];

const PROCESS_ABOUT: &str = "What the process uses of the machine; read when it is looked at.";

/// What the fields of the process mean.
const PROCESS_NOTES: &[(&str, &str)] = &[
    ("id", "Its number."),
    ("uptime", "Time since the loop began."),
    ("processor time", "Time that processors have spent on it."),
    ("resident", "Bytes of memory in use."),
    ("private", "Those of them that it shares with no other process."),
    ("descriptors", "Files and sockets that are open."),
    ("descriptor limit", "How many may be open."),
    ("threads", "Its threads."),
];

/// Says what the process uses of the machine, as soon as that has been read.
pub(super) fn process(handle: &Handle, then: Heard<Outcome>) {
    let uptime = handle.uptime();
    handle.run(usage, move |usage| {
        then(match usage {
            Ok(usage) => Outcome::Node(describe_process(&usage, uptime)),
            Err(lost) => Outcome::Refused(format!("cannot read what the process uses: {lost}")),
        });
    });
}

/// The same without what takes a helper thread.
pub(super) fn process_unread() -> Node {
    Node::new(PROCESS).about(PROCESS_ABOUT, PROCESS_NOTES)
}

fn describe_process(usage: &Usage, uptime: Duration) -> Node {
    let mut node = Node::new(PROCESS)
        .about(PROCESS_ABOUT, PROCESS_NOTES)
        .field("id", Value::Count(u64::from(std::process::id())))
        .field("uptime", Value::Time(uptime))
        .field("processor time", Value::Time(usage.processor_time));
    // What the system does not tell is not there.
    for (name, value) in [
        ("resident", usage.resident.map(Value::Bytes)),
        ("private", usage.private.map(Value::Bytes)),
        ("descriptors", usage.descriptors.map(Value::Count)),
        ("descriptor limit", usage.descriptor_limit.map(Value::Count)),
        ("threads", usage.threads.map(Value::Count)),
    ] {
        if let Some(value) = value {
            node = node.field(name, value);
        }
    }
    node
}

/// The loop itself.
pub(super) fn reactor(engine: &Engine) -> Node {
    let mut totals = (engine.figures.received, engine.figures.sent);
    for (_, channel) in engine.channels() {
        totals.0 += channel.io.received;
        totals.1 += channel.io.sent;
    }
    let figures = &engine.figures;
    let turns = engine.handle().turns();
    let node = Node::new("reactor")
        .about("The event loop.", REACTOR_NOTES)
        .field("open", Value::Count(engine.channels().count() as u64))
        .field("opened", Value::Count(figures.opened))
        .field("closed", Value::Count(figures.closed))
        .field("turns", Value::Count(figures.turns))
        .field("budget stops", Value::Count(engine.budget_stops()))
        .field("panics", Value::Count(figures.panics))
        .field("stalled", Value::Count(figures.stalled))
        .field("slow", Value::Count(figures.slow))
        .field("received", Value::Bytes(totals.0))
        .field("sent", Value::Bytes(totals.1))
        .field("last turn", Value::Time(turns.last))
        // Rounded up, but no longer than the longest that there was.
        .field("turn p50", Value::Time(turns.histogram.quantile(500).min(turns.longest)))
        .field("turn p99", Value::Time(turns.histogram.quantile(10).min(turns.longest)))
        .field("longest turn", Value::Time(turns.longest))
        .field("turns over 20 ms", Value::Count(turns.slow));
    Node { children: vec![SLOWEST_TURNS.to_owned()], ..node }
}

/// The turns that took longest of late, or one of them, by its place from 1 on.
pub(super) fn slowest_turns(handle: &Handle, rest: &[String]) -> Option<Node> {
    let turns = handle.turns();
    let slowest = turns.slowest.list(handle.now());
    match rest {
        [] => {
            let children = (1..=slowest.len()).map(|place| place.to_string()).collect();
            let about = "The turns of the loop that took longest of late, the longest first.";
            Some(Node { children, ..Node::new(SLOWEST_TURNS).about(about, &[]) })
        }
        [place] => {
            let slow = slowest.get(place.parse::<usize>().ok()?.checked_sub(1)?)?;
            let ago = handle.now().saturating_duration_since(slow.at);
            Some(
                Node::new("turn")
                    .about("One turn of the loop.", TURN_NOTES)
                    .field("took", Value::Time(slow.took))
                    .field("ago", Value::Time(ago))
                    .field("events", Value::Count(slow.what.events as u64)),
            )
        }
        _ => None,
    }
}
