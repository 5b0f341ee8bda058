//! A view as JSON: for programs that ask once, and for those that look on.
//!
//! The one design choice: values are plain (numbers, texts, true and false), and where a number is
//! one of bytes, of seconds or a date, `units` beside it says so.

use std::collections::VecDeque;

use bytes::Bytes;
use medusa_core::inspect::{Node, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::sample::{COLUMNS, Sample};
use crate::station::Program;
use crate::view::{Part, View};

/// Everything in one object, for whoever asks once.
pub(crate) fn whole(program: &Program, view: &View, sample: &Sample) -> Bytes {
    line(&Whole { program, view, sample })
}

/// The event with which a stream begins: what happened of late.
pub(crate) fn history(program: &Program, samples: &VecDeque<Sample>) -> Bytes {
    event("history", &Past { program, samples })
}

/// The event of one moment.
pub(crate) fn now(view: &View, sample: &Sample) -> Bytes {
    event("now", &Now { view, sample })
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("all keys are texts");
    text.push(b'\n');
    text.into()
}

/// An event of a stream; JSON has no line ends outside its texts, and none as such in them.
fn event(name: &str, value: &impl Serialize) -> Bytes {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    serde_json::to_writer(&mut text, value).expect("all keys are texts");
    text.extend_from_slice(b"\n\n");
    text.into()
}

struct Whole<'a> {
    program: &'a Program,
    view: &'a View,
    sample: &'a Sample,
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("program", &self.program.name)?;
        map.serialize_entry("version", &self.program.version)?;
        map.serialize_entry("figures", &Figures(self.sample))?;
        map.serialize_entry("protocols", &Protocols(self.sample))?;
        map.serialize_entry("tree", &Tree(self.view, 0))?;
        map.end()
    }
}

struct Past<'a> {
    program: &'a Program,
    samples: &'a VecDeque<Sample>,
}

impl Serialize for Past<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("program", &self.program.name)?;
        map.serialize_entry("version", &self.program.version)?;
        map.serialize_entry("columns", &COLUMNS[..])?;
        map.serialize_entry("rows", &Rows(self.samples))?;
        map.end()
    }
}

struct Now<'a> {
    view: &'a View,
    sample: &'a Sample,
}

impl Serialize for Now<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("row", &Row(self.sample))?;
        map.serialize_entry("tree", &Tree(self.view, 0))?;
        map.end()
    }
}

struct Rows<'a>(&'a VecDeque<Sample>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Row))
    }
}

/// The figures in the order of [`COLUMNS`], and behind them connections by protocol.
struct Row<'a>(&'a Sample);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut row = out.serialize_seq(Some(COLUMNS.len() + 1))?;
        for figure in &self.0.figures {
            row.serialize_element(figure)?;
        }
        row.serialize_element(&Protocols(self.0))?;
        row.end()
    }
}

struct Figures<'a>(&'a Sample);

impl Serialize for Figures<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(COLUMNS.iter().zip(&self.0.figures))
    }
}

struct Protocols<'a>(&'a Sample);

impl Serialize for Protocols<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.protocols.iter().map(|(name, open)| (name, open)))
    }
}

/// A part at this place, with all below it; as deep as a view is.
struct Tree<'a>(&'a View, usize);

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Part { node, more, below, .. } = &self.0.parts()[self.1];
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("kind", node.kind)?;
        if !node.about.is_empty() {
            map.serialize_entry("about", node.about)?;
        }
        if !node.fields.is_empty() {
            map.serialize_entry("fields", &Fields(node))?;
        }
        if node.fields.iter().any(|(_, value)| unit(value).is_some()) {
            map.serialize_entry("units", &Units(node))?;
        }
        if !below.is_empty() {
            map.serialize_entry("parts", &Below(self.0, below))?;
        }
        if *more {
            map.serialize_entry("more", more)?;
        }
        map.end()
    }
}

/// The parts below one, by their names in their order.
struct Below<'a>(&'a View, &'a [usize]);

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let named = |&place: &usize| (&self.0.parts()[place].name, Tree(self.0, place));
        out.collect_map(self.1.iter().map(named))
    }
}

struct Fields<'a>(&'a Node);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.fields.iter().map(|(name, value)| (name, Plain(value))))
    }
}

struct Units<'a>(&'a Node);

impl Serialize for Units<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let units = self.0.fields.iter().filter_map(|(name, value)| Some((name, unit(value)?)));
        out.collect_map(units)
    }
}

fn unit(value: &Value) -> Option<&'static str> {
    match value {
        Value::Bytes(_) => Some("bytes"),
        Value::Time(_) => Some("seconds"),
        Value::Date(_) => Some("date"),
        Value::Text(_) | Value::Count(_) | Value::Flag(_) => None,
    }
}

struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => out.serialize_str(text),
            Value::Count(n) | Value::Bytes(n) => out.serialize_u64(*n),
            Value::Time(time) | Value::Date(time) => out.serialize_f64(time.as_secs_f64()),
            Value::Flag(yes) => out.serialize_bool(*yes),
        }
    }
}
