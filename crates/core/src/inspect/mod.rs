//! The tree of named, typed things that a running server shows and that can be acted upon: the
//! one source of the monitor, the status page and the metrics.
//!
//! The one design choice: nodes are made when they are asked for and hold no reference, so
//! looking costs nothing while nobody looks. The loop's own parts (`reactor`, `process`,
//! `channels`) are answered by the engine; other parts of the program are mounted with
//! [`crate::Handle::mount`]. What can be done with a part is data (an [`Action`]), so whoever
//! shows the tree can explain it, and the tree itself refuses what does not fit or is not allowed.

mod action;
mod figures;
mod own;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

pub use self::action::{Action, Answer, Done, Level, Undo};
pub(crate) use self::own::answer;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::own::channel_name;

/// A part of the program that can be looked at.
pub trait Inspect {
    /// What it shows now. Its actions need not be in it.
    fn node(&self) -> Node;

    /// The part of this name below it.
    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let _ = name;
        None
    }

    /// What can be done with it now.
    fn actions(&self) -> &'static [Action] {
        &[]
    }

    /// Carries out one of [`Inspect::actions`], and answers now or later. The tree has seen to it
    /// that the action is there, that the number of its arguments fits, and that whoever asks may
    /// do it.
    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        let _ = arguments;
        answer.refused(format!("there is no action `{action}` here"));
    }
}

/// What a thing shows: its kind, fields, actions and the names below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// What kind of thing it is: `channel`, `listener`.
    pub kind: &'static str,
    /// What that is, in one sentence; empty where nobody said.
    pub about: &'static str,
    /// What its fields mean, by their names; not all need to be here.
    pub notes: Cow<'static, [(&'static str, &'static str)]>,
    /// Its fields in the order in which people want them.
    pub fields: Vec<(Cow<'static, str>, Value)>,
    /// What can be done with it.
    pub actions: &'static [Action],
    /// The names of the things below it.
    pub children: Vec<String>,
    /// There are more children than are named here: [`Query::list`] gives all of them.
    pub more: bool,
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
    /// A point in time, as the time since 1970.
    Date(Duration),
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
            Self::Date(t) => write!(f, "{} s after 1970", t.as_secs()),
            Self::Flag(yes) => f.write_str(if *yes { "yes" } else { "no" }),
        }
    }
}

impl Node {
    /// Makes a node of this kind.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Says in one sentence what it is, and of its fields, by their names, what they mean.
    #[must_use]
    pub fn about(
        mut self,
        about: &'static str,
        notes: impl Into<Cow<'static, [(&'static str, &'static str)]>>,
    ) -> Self {
        self.about = about;
        self.notes = notes.into();
        self
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

    /// What a field means.
    pub fn note(&self, name: &str) -> Option<&'static str> {
        self.notes.iter().find(|(n, _)| *n == name).map(|(_, note)| *note)
    }
}

/// A question to the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The names from the root down; empty is the root.
    pub path: Vec<String>,
    /// What is asked of the part there.
    pub ask: Ask,
    /// What whoever asks may do.
    pub level: Level,
}

/// What is asked of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What it shows.
    Look,
    /// What the parts below it show.
    List {
        /// The name to begin with; without one, the first.
        from: Option<String>,
        /// How many at most; never more than [`LISTED_A_TURN`](crate::limits::LISTED_A_TURN).
        most: usize,
    },
    /// To do something.
    Act {
        /// The name of an action.
        action: String,
        /// What it is told.
        arguments: Vec<String>,
    },
}

impl Query {
    /// Looks at a path as people write it: `channels/4.1`.
    pub fn look(path: &str) -> Self {
        Self { path: split(path), ask: Ask::Look, level: Level::All }
    }

    /// Looks at all that is below a path, or at as much of it as one answer has.
    pub fn list(path: &str) -> Self {
        let ask = Ask::List { from: None, most: usize::MAX };
        Self { path: split(path), ask, level: Level::All }
    }

    /// The same from this name on: the one that the page before it gave as its next.
    #[must_use]
    pub fn from(mut self, name: &str) -> Self {
        if let Ask::List { from, .. } = &mut self.ask {
            *from = Some(name.to_owned());
        }
        self
    }

    /// The same with at most so many names.
    #[must_use]
    pub fn at_most(mut self, count: usize) -> Self {
        if let Ask::List { most, .. } = &mut self.ask {
            *most = count;
        }
        self
    }

    /// Does something at a path.
    pub fn act(path: &str, action: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        let ask = Ask::Act { action: action.to_owned(), arguments };
        Self { path: split(path), ask, level: Level::All }
    }

    /// Asks as somebody who may do this much; without it, everything.
    #[must_use]
    pub fn by(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// The tree's answer.
#[derive(Debug)]
pub enum Outcome {
    /// What is there.
    Node(Node),
    /// What is below.
    List(Page),
    /// What was done.
    Done(Done),
    /// There is nothing of this name.
    Missing(String),
    /// It cannot be done, and why.
    Refused(String),
}

/// Parts that stand below another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Their names and what they show.
    pub list: Vec<(String, Node)>,
    /// The name with which the next page begins, if there is one.
    pub next: Option<String>,
}

/// What a part shows, with its actions.
fn shown(part: &dyn Inspect) -> Node {
    Node { actions: part.actions(), ..part.node() }
}
