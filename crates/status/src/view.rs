//! One look at the inspection tree: all of its parts, but for the single connections, within
//! limits.
//!
//! The one design choice: the questions are asked level by level, all of a level at once, and
//! each answer holds the view that it goes into. When the last of them is there, or will never
//! come, nobody holds the view any more, and it is given to whoever wants it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::Handle;
use medusa_core::histogram::Histogram;
use medusa_core::inspect::{Node, Outcome, Query, Value};

use crate::limits::{MAX_BELOW, MAX_DEPTH, MAX_PARTS};

/// The part of the tree whose children are not looked at: there may be thousands.
const CHANNELS: &str = "channels";

/// The part that is read only when it is asked for itself.
const PROCESS: &str = "process";

/// The whole tree at one moment.
#[derive(Debug)]
pub(crate) struct View {
    /// When it was seen, as the time since 1970.
    pub(crate) unix_time: Duration,
    /// The same by the loop's clock.
    pub(crate) at: Instant,
    /// How long turns of the loop took up to then.
    pub(crate) turns: Histogram,
    /// How long the longest of them took.
    pub(crate) longest_turn: Duration,
    /// The root first; each part stands behind the one that it is part of.
    parts: Vec<Part>,
}

/// A part of the tree.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name; the root has none.
    pub(crate) name: String,
    pub(crate) node: Node,
    /// There are parts below it that are not here.
    pub(crate) more: bool,
    /// The places of the parts below it.
    pub(crate) below: Vec<usize>,
    /// The names from the root down, this one last.
    path: Vec<String>,
}

impl Part {
    /// The names from the root down, divided by slashes.
    pub(crate) fn path(&self) -> String {
        self.path.join("/")
    }

    /// A field that is a number, in its own unit; times in microseconds.
    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        match self.node.value(field)? {
            Value::Count(n) | Value::Bytes(n) => Some(*n),
            Value::Time(time) => Some(micros(*time)),
            _ => None,
        }
    }

    /// A field that is a text.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        match self.node.value(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A time in microseconds; 0.6 million years at most.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl View {
    /// All parts, the root first.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All parts of this kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |part| part.node.kind == kind)
    }
}

/// Looks at the tree; `then` is called when everything has been read.
pub(crate) fn look(handle: &Handle, then: impl FnOnce(&Handle, View) + 'static) {
    let root = Part {
        name: String::new(),
        node: Node::default(),
        more: false,
        below: Vec::new(),
        path: Vec::new(),
    };
    let parts = RefCell::new(vec![root]);
    let walk =
        Rc::new(Walk { handle: handle.clone(), parts, then: RefCell::new(Some(Box::new(then))) });
    let seen = walk.clone();
    handle.inspect(Query::look(""), move |outcome| {
        if let Outcome::Node(node) = outcome {
            seen.parts.borrow_mut()[0].node = node;
        }
    });
    walk.list(0);
}

type Seen = Box<dyn FnOnce(&Handle, View)>;

/// A look that has not ended.
struct Walk {
    handle: Handle,
    parts: RefCell<Vec<Part>>,
    then: RefCell<Option<Seen>>,
}

impl Walk {
    /// Asks for the parts below the one at this place.
    fn list(self: &Rc<Self>, place: usize) {
        // Name by name, for one may have a slash in it.
        let path = self.parts.borrow()[place].path.clone();
        let query = Query { path, ..Query::list("").at_most(MAX_BELOW) };
        let walk = self.clone();
        self.handle.inspect(query, move |outcome| {
            if let Outcome::List(page) = outcome {
                walk.parts.borrow_mut()[place].more |= page.next.is_some();
                for (name, node) in page.list {
                    walk.add(place, name, node);
                }
            }
        });
    }

    /// Adds a part, and asks what is below it.
    fn add(self: &Rc<Self>, above: usize, name: String, node: Node) {
        let mut parts = self.parts.borrow_mut();
        let place = parts.len();
        if place >= MAX_PARTS {
            parts[above].more = true;
            return;
        }
        let mut path = parts[above].path.clone();
        path.push(name.clone());
        let (depth, has_more) = (path.len(), !node.children.is_empty());
        let is_channels = path == [CHANNELS];
        let is_process = path == [PROCESS];
        let ends = is_channels || depth >= MAX_DEPTH;
        let more = has_more && ends;
        parts.push(Part { name, node, more, below: Vec::new(), path });
        parts[above].below.push(place);
        drop(parts);
        if is_process {
            let walk = self.clone();
            self.handle.inspect(Query::look(PROCESS), move |outcome| {
                if let Outcome::Node(node) = outcome {
                    walk.parts.borrow_mut()[place].node = node;
                }
            });
        } else if has_more && !ends {
            self.list(place);
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let Some(then) = self.then.take() else { return };
        let parts = self.parts.take();
        // Not from here: whoever dropped the last answer may hold what is needed there.
        self.handle.later(move |handle| {
            let (unix_time, at) = (handle.unix_time(), handle.now());
            let (turns, longest_turn) = {
                let turns = handle.turns();
                (turns.histogram.clone(), turns.longest)
            };
            then(handle, View { unix_time, at, turns, longest_turn, parts });
        });
    }
}
