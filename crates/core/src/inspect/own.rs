//! The loop's own parts of the tree, and the way of a question to the part that answers it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use slotmap::{Key, KeyData};

use crate::bandwidth::Way;
use crate::channel::{Channel, Phase};
use crate::engine::{ChannelId, Engine};
use crate::handle::Heard;
use crate::inspect::action::check;
use crate::inspect::figures::{
    PROCESS, SLOWEST_TURNS, process, process_unread, reactor, slowest_turns,
};
use crate::inspect::{
    Action, Answer, Ask, Inspect, Level, Node, Outcome, Page, Query, Value, shown,
};
use crate::limits::{LISTED_A_TURN, NAMED_CHILDREN};

/// What can be done with a channel.
const CHANNEL_ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "close", "", "Drops the connection at once, for good."),
    Action::new(Level::Operate, "pause", "", "Takes no input from it until it is resumed.")
        .undoable(),
    Action::new(Level::Operate, "resume", "", "Takes input from it again.").undoable(),
];

/// What the fields of a channel mean.
const CHANNEL_NOTES: &[(&str, &str)] = &[
    ("peer", "Who is at the other end."),
    ("state", "connecting, open, paused (by an operator), closing or lingering."),
    ("doing", "What its protocol says it does."),
    ("age", "Time since it began."),
    ("idle", "Time since bytes last went either way."),
    ("received", "Bytes that came."),
    ("sent", "Bytes that left."),
    ("queued", "Bytes of output that wait in memory."),
    ("queue", "Pieces, producers and marks of output that wait."),
    ("stashed", "Bytes of input that are no whole frame yet."),
    ("piece", "Bytes that a producer is asked for at a time."),
    ("output held", "Time until its bandwidth lets more out."),
    ("input held", "Time until its bandwidth lets more in."),
    ("listener", "The number of the listener that accepted it; 0 for none."),
];

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

/// Where a path leads.
enum Place {
    Root,
    Reactor,
    /// The turns that took longest, or one of them.
    Slow(Node),
    Process,
    Channels,
    Channel(ChannelId, String),
    Part(Rc<dyn Inspect>),
}

/// Finds it, or says what is not there.
fn find(engine: &Engine, path: &[String]) -> Result<Place, String> {
    let [first, rest @ ..] = path else { return Ok(Place::Root) };
    match (first.as_str(), rest) {
        ("reactor", []) => return Ok(Place::Reactor),
        ("reactor", [name, rest @ ..]) if name == SLOWEST_TURNS => {
            return match slowest_turns(engine.handle(), rest) {
                Some(node) => Ok(Place::Slow(node)),
                None => Err("so many slow turns are not remembered".to_owned()),
            };
        }
        (PROCESS, []) => return Ok(Place::Process),
        ("channels", []) => return Ok(Place::Channels),
        ("channels", [name]) => {
            let found = channel_of(name).filter(|id| engine.channel(*id).is_some());
            return match found {
                Some(id) => Ok(Place::Channel(id, name.clone())),
                None => Err(format!("there is no channel `{}`", name.escape_debug())),
            };
        }
        _ => {}
    }
    let mounted = engine.handle().mounts().into_iter().find(|(name, _)| name == first);
    let Some((_, mut part)) = mounted else {
        return Err(format!("there is no `{}`", first.escape_debug()));
    };
    let mut behind = first.clone();
    for name in rest {
        let Some(child) = part.child(name) else {
            return Err(format!("there is no `{}` in {behind}", name.escape_debug()));
        };
        part = child;
        behind = format!("{behind}/{}", name.escape_debug());
    }
    Ok(Place::Part(part))
}

impl Place {
    fn node(&self, engine: &Engine) -> Node {
        match self {
            Self::Root => root(engine),
            Self::Reactor => reactor(engine),
            Self::Slow(node) => node.clone(),
            Self::Process => process_unread(),
            Self::Channels => channels(engine),
            Self::Channel(id, _) => {
                engine.channel(*id).map(|c| describe(engine, c)).unwrap_or_default()
            }
            Self::Part(part) => shown(&**part),
        }
    }

    fn actions(&self) -> &'static [Action] {
        match self {
            Self::Channel(..) => CHANNEL_ACTIONS,
            Self::Part(part) => part.actions(),
            _ => &[],
        }
    }

    fn act(self, engine: &mut Engine, action: &str, arguments: &[String], answer: Answer) {
        match self {
            Self::Channel(id, name) => act(engine, id, &name, action, answer),
            Self::Part(part) => part.act(action, arguments, answer),
            _ => {}
        }
    }
}

/// Answers a question from the engine's own parts and from what is mounted: at once, or, if it is
/// an action, when that has ended.
pub(crate) fn answer(engine: &mut Engine, query: Query, then: Heard<Outcome>) {
    let Query { path, ask, level } = query;
    let place = match find(engine, &path) {
        Ok(place) => place,
        Err(what) => return then(Outcome::Missing(what)),
    };
    match ask {
        Ask::Look if matches!(place, Place::Process) => process(engine.handle(), then),
        Ask::Look => then(Outcome::Node(place.node(engine))),
        Ask::List { from, most } => {
            let outcome = list(engine, &path, &place, from.as_deref(), most);
            if let Outcome::List(page) = &outcome {
                engine.listed += page.list.len();
            }
            then(outcome);
        }
        Ask::Act { action, arguments } => {
            match check(place.actions(), &action, arguments.len(), level) {
                Ok(()) => {
                    let answer = Answer::new(engine.handle(), then);
                    place.act(engine, &action, &arguments, answer);
                }
                Err(why) => then(Outcome::Refused(why)),
            }
        }
    }
}

fn list(
    engine: &Engine,
    path: &[String],
    place: &Place,
    from: Option<&str>,
    most: usize,
) -> Outcome {
    let most = most.clamp(1, LISTED_A_TURN);
    let mut page = Page::default();
    match place {
        Place::Channels => {
            let first = match from.map(channel_of) {
                None => 0,
                Some(Some(id)) => index(id),
                Some(None) => return gone(from),
            };
            // By their places, so that one which has ended is a place to go on from.
            let mut rest = engine.channels().skip_while(|(id, _)| index(*id) < first);
            let named = |(id, channel)| (channel_name(id), describe(engine, channel));
            page.list.extend(rest.by_ref().take(most).map(named));
            page.next = rest.next().map(|(id, _)| channel_name(id));
        }
        Place::Root | Place::Reactor | Place::Slow(_) => {
            let names = place.node(engine).children;
            let child = |name: &str| {
                let path: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
                Some(find(engine, &path).ok()?.node(engine))
            };
            return page_of(names, from, most, child);
        }
        Place::Part(part) => {
            let child = |name: &str| Some(shown(&*part.child(name)?));
            return page_of(part.node().children, from, most, child);
        }
        Place::Process | Place::Channel(..) => {}
    }
    Outcome::List(page)
}

fn page_of(
    names: Vec<String>,
    from: Option<&str>,
    most: usize,
    child: impl Fn(&str) -> Option<Node>,
) -> Outcome {
    let first = match from {
        None => 0,
        Some(from) => match names.iter().position(|name| name == from) {
            Some(first) => first,
            None => return gone(Some(from)),
        },
    };
    let mut names = names.into_iter().skip(first);
    let named = |name: String| child(&name).map(|node| (name, node));
    let list = names.by_ref().take(most).filter_map(named).collect();
    Outcome::List(Page { list, next: names.next() })
}

fn gone(from: Option<&str>) -> Outcome {
    let name = from.unwrap_or_default().escape_debug();
    Outcome::Missing(format!("`{name}` is not there any more; list from the beginning"))
}

fn index(id: ChannelId) -> u64 {
    id.data().as_ffi() & u64::from(u32::MAX)
}

fn root(engine: &Engine) -> Node {
    let mut children = ["reactor", PROCESS, "channels"].map(str::to_owned).to_vec();
    children.extend(engine.handle().mounts().into_iter().map(|(name, _)| name));
    Node { children, ..Node::new("root").about("Everything that the server shows.", &[]) }
}

fn channels(engine: &Engine) -> Node {
    let all = engine.channels().count();
    let named = engine.channels().take(NAMED_CHILDREN);
    let children = named.map(|(id, _)| channel_name(id)).collect();
    let notes = &[("open", "How many there are.")];
    let node = Node::new("channels")
        .about("All connections, by their names.", notes)
        .field("open", Value::Count(all as u64));
    Node { children, more: all > NAMED_CHILDREN, ..node }
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
        actions: CHANNEL_ACTIONS,
        ..Node::new("channel")
            .about("A connection.", CHANNEL_NOTES)
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

fn act(engine: &mut Engine, id: ChannelId, name: &str, action: &str, answer: Answer) {
    let resumed = format!("channel {name} takes input again");
    let paused = format!("channel {name} takes no input until it is resumed");
    match action {
        "close" => {
            engine.drop_channel(id);
            answer.done(format!("channel {name} is closed, which cannot be undone"));
        }
        "pause" => {
            let undo = set_paused(engine, id, true, resumed);
            answer.undoable(paused, undo);
        }
        _ => {
            let undo = set_paused(engine, id, false, paused);
            answer.undoable(resumed, undo);
        }
    }
}

/// Gives what undoes it, which then says `undone`.
fn set_paused(
    engine: &mut Engine,
    id: ChannelId,
    paused: bool,
    undone: String,
) -> impl FnOnce() -> Result<String, String> + 'static {
    let was = engine.channel(id).is_some_and(|channel| channel.io.held_by_operator);
    engine.pause(id, paused);
    let handle = engine.handle().clone();
    move || {
        if was != paused {
            handle.pause(id, was);
        }
        Ok(undone)
    }
}
