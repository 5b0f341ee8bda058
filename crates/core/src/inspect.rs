//! The tree of named, typed things that a running server shows: the one source of the monitor,
//! the status page and the metrics.
//!
//! The one design choice: nodes are made when they are asked for and hold no reference, so
//! looking costs nothing while nobody looks. The loop's own parts (`reactor`, `process`,
//! `channels`) are answered by the engine; other parts of the program are mounted with
//! [`crate::Handle::mount`].

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use slotmap::{Key, KeyData};

use crate::bandwidth::Way;
use crate::channel::{Channel, Phase};
use crate::engine::{ChannelId, Engine};
use crate::handle::Handle;
use crate::sys::usage::{Usage, usage};

/// A part of the program that can be looked at.
pub trait Inspect {
    /// What it shows now.
    fn node(&self) -> Node;

    /// The part of this name below it.
    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let _ = name;
        None
    }

    /// Carries out one of the node's actions and says what was done.
    fn act(&self, action: &str, arguments: &[String]) -> Result<String, String> {
        let _ = arguments;
        Err(format!("there is no action `{action}` here"))
    }
}

/// What a thing shows: its kind, fields, actions and the names below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// What kind of thing it is: `channel`, `listener`.
    pub kind: &'static str,
    /// Its fields in the order in which people want them.
    pub fields: Vec<(Cow<'static, str>, Value)>,
    /// What can be done with it.
    pub actions: Vec<&'static str>,
    /// The names of the things below it.
    pub children: Vec<String>,
}

/// A typed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; may come from a peer, so whoever shows it escapes it.
    Text(String),
    /// A number of things.
    Count(u64),
    /// A number of bytes.
    Bytes(u64),
    /// A span of time.
    Time(Duration),
    /// Yes or no.
    Flag(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", text.escape_debug()),
            Self::Count(n) => n.fmt(f),
            Self::Bytes(n) => write!(f, "{n} B"),
            Self::Time(t) => write!(f, "{:.3} s", t.as_secs_f64()),
            Self::Flag(yes) => f.write_str(if *yes { "yes" } else { "no" }),
        }
    }
}

impl Node {
    /// Makes a node of this kind.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        self.fields.push((name.into(), value));
        self
    }

    /// The value of a field.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// A question to the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The names from the root down; empty is the root.
    pub path: Vec<String>,
    /// An action to carry out there, with its arguments; `None` only looks.
    pub action: Option<(String, Vec<String>)>,
}

impl Query {
    /// Looks at a path as people write it: `channels/4.1`.
    pub fn look(path: &str) -> Self {
        Self { path: split(path), action: None }
    }

    /// Does something at a path.
    pub fn act(path: &str, action: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        Self { path: split(path), action: Some((action.to_owned(), arguments)) }
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// The tree's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What is there.
    Node(Node),
    /// What was done.
    Done(String),
    /// There is nothing of this name.
    Missing(String),
    /// It cannot be done, and why.
    Refused(String),
}

/// The part of the tree that is read on a helper thread.
const PROCESS: &str = "process";

/// The part of the reactor that has the turns that took longest.
const SLOWEST_TURNS: &str = "slowest turns";

/// Whether a question takes a helper thread; it is answered by [`process`] then.
pub(crate) fn is_of_process(query: &Query) -> bool {
    query.action.is_none() && query.path == [PROCESS]
}

/// Says what the process uses of the machine, as soon as that has been read.
pub(crate) fn process(handle: &Handle, then: impl FnOnce(Outcome) + 'static) {
    let uptime = handle.uptime();
    handle.run(usage, move |usage| {
        then(match usage {
            Ok(usage) => Outcome::Node(describe_process(&usage, uptime)),
            Err(lost) => Outcome::Refused(format!("cannot read what the process uses: {lost}")),
        });
    });
}

fn describe_process(usage: &Usage, uptime: Duration) -> Node {
    let mut node = Node::new("process")
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

/// The name of a channel in the tree.
pub(crate) fn channel_name(id: ChannelId) -> String {
    let number = id.data().as_ffi();
    format!("{}.{}", number & u64::from(u32::MAX), number >> 32)
}

fn channel_of(name: &str) -> Option<ChannelId> {
    let (index, version) = name.split_once('.')?;
    let (index, version): (u32, u32) = (index.parse().ok()?, version.parse().ok()?);
    Some(KeyData::from_ffi(u64::from(version) << 32 | u64::from(index)).into())
}

/// Answers a question from the engine's own parts and from what is mounted.
pub(crate) fn answer(engine: &mut Engine, query: &Query) -> Outcome {
    let path: Vec<&str> = query.path.iter().map(String::as_str).collect();
    match (path.as_slice(), &query.action) {
        ([], None) => Outcome::Node(root(engine)),
        (["reactor"], None) => Outcome::Node(reactor(engine)),
        (["reactor", SLOWEST_TURNS, rest @ ..], None) => match slowest_turns(engine.handle(), rest)
        {
            Some(node) => Outcome::Node(node),
            None => Outcome::Missing("so many slow turns are not remembered".to_owned()),
        },
        (["channels"], None) => Outcome::Node(Node {
            children: engine.channels().map(|(id, _)| channel_name(id)).collect(),
            ..Node::new("channels").field("open", Value::Count(engine.channels().count() as u64))
        }),
        (["channels", name], action) => {
            let found = channel_of(name).and_then(|id| Some((id, engine.channel(id)?)));
            match (found, action) {
                (None, _) => Outcome::Missing(format!("there is no channel `{name}`")),
                (Some((_, channel)), None) => Outcome::Node(describe(engine, channel)),
                (Some((id, _)), Some((action, _))) => act(engine, id, name, action),
            }
        }
        ([mount, rest @ ..], action) => {
            let mounted = engine.handle().mounts().into_iter().find(|(name, _)| name == mount);
            let Some((_, mut part)) = mounted else {
                return Outcome::Missing(format!("there is no `{mount}`"));
            };
            for name in rest {
                match part.child(name) {
                    Some(child) => part = child,
                    None => return Outcome::Missing(format!("there is no `{name}` there")),
                }
            }
            match action {
                None => Outcome::Node(part.node()),
                Some((action, arguments)) => match part.act(action, arguments) {
                    Ok(done) => Outcome::Done(done),
                    Err(why) => Outcome::Refused(why),
                },
            }
        }
        ([], Some((action, _))) => {
            Outcome::Refused(format!("there is no action `{action}` at the root"))
        }
    }
}

fn root(engine: &Engine) -> Node {
    let mut children = ["reactor", PROCESS, "channels"].map(str::to_owned).to_vec();
    children.extend(engine.handle().mounts().into_iter().map(|(name, _)| name));
    Node { children, ..Node::new("server") }
}

fn reactor(engine: &Engine) -> Node {
    let mut totals = (engine.figures.received, engine.figures.sent);
    for (_, channel) in engine.channels() {
        totals.0 += channel.io.received;
        totals.1 += channel.io.sent;
    }
    let figures = &engine.figures;
    let turns = engine.handle().turns();
    let node = Node::new("reactor")
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
        .field("turn p50", Value::Time(turns.histogram.quantile(500)))
        .field("turn p99", Value::Time(turns.histogram.quantile(10)))
        .field("longest turn", Value::Time(turns.longest))
        .field("turns over 20 ms", Value::Count(turns.slow));
    Node { children: vec![SLOWEST_TURNS.to_owned()], ..node }
}

/// The turns that took longest of late, or one of them, by its place from 1 on.
fn slowest_turns(handle: &Handle, rest: &[&str]) -> Option<Node> {
    let turns = handle.turns();
    let slowest = turns.slowest.list(handle.now());
    match rest {
        [] => {
            let children = (1..=slowest.len()).map(|place| place.to_string()).collect();
            Some(Node { children, ..Node::new(SLOWEST_TURNS) })
        }
        [place] => {
            let slow = slowest.get(place.parse::<usize>().ok()?.checked_sub(1)?)?;
            let ago = handle.now().saturating_duration_since(slow.at);
            Some(
                Node::new("turn")
                    .field("took", Value::Time(slow.took))
                    .field("ago", Value::Time(ago))
                    .field("events", Value::Count(slow.what.events as u64)),
            )
        }
        _ => None,
    }
}

fn describe(engine: &Engine, channel: &Channel) -> Node {
    let io = &channel.io;
    let mut doing = String::new();
    // Writing to a string cannot fail; a protocol that fails anyway only says less.
    let told = catch_unwind(AssertUnwindSafe(|| channel.protocol.doing(&mut doing)));
    if told.is_err() {
        doing.push_str(" (panicked)");
    }
    let handle = engine.handle();
    let held = |until: u64| Value::Time(handle.until(until));
    let (output, input) = io
        .limited
        .as_ref()
        .map_or((0, 0), |limited| (limited.held_until(Way::Out), limited.held_until(Way::In)));
    let state = match (io.phase, io.closing) {
        (Phase::Connecting, _) => "connecting",
        (Phase::Lingering, _) => "lingering",
        (Phase::Open, Some(_)) => "closing",
        (Phase::Open, None) if io.held_by_operator => "paused",
        (Phase::Open, None) => "open",
    };
    Node {
        actions: vec!["close", "pause", "resume"],
        ..Node::new("channel")
            .field("peer", Value::Text(io.peer.to_string()))
            .field("state", Value::Text(state.to_owned()))
            .field("doing", Value::Text(doing))
            .field("age", Value::Time(io.age(handle.tick())))
            .field("idle", Value::Time(handle.since(io.active)))
            .field("received", Value::Bytes(io.received))
            .field("sent", Value::Bytes(io.sent))
            .field("queued", Value::Bytes(io.out.as_ref().map_or(0, |o| o.queued_bytes()) as u64))
            .field("queue", Value::Count(io.out.as_ref().map_or(0, |o| o.len()) as u64))
            .field("stashed", Value::Bytes(io.stashed().len() as u64))
            .field("piece", Value::Bytes(1 << io.piece_log2))
            .field("output held", held(output))
            .field("input held", held(input))
            .field("listener", Value::Count(u64::from(io.listener)))
    }
}

fn act(engine: &mut Engine, id: ChannelId, name: &str, action: &str) -> Outcome {
    match action {
        "close" => {
            engine.drop_channel(id);
            Outcome::Done(format!("channel {name} closed"))
        }
        "pause" => {
            engine.pause(id, true);
            Outcome::Done(format!("channel {name} takes no input until it is resumed"))
        }
        "resume" => {
            engine.pause(id, false);
            Outcome::Done(format!("channel {name} takes input again"))
        }
        other => Outcome::Refused(format!(
            "there is no action `{other}` for a channel: it can close, pause, resume"
        )),
    }
}
