//! A section that can be changed while its server runs: its limits.
//!
//! The one design choice: what is set is read as the file is read. A key is put in the table that
//! the file gave, and the table is read again as a whole; so there is nothing that can be set but
//! not configured, and no bound that holds for one of the two only.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value as Shown};

use crate::config::problem::Problems;
use crate::config::record::{Item, Record, What};
use crate::config::section::{Reader, Section};
use crate::config::value::{self, Data, Entry, Table, Value};

/// Bytes of a value that is set.
const MAX_VALUE_BYTES: usize = 64 * 1024;

const ACTIONS: &[Action] = &[
    Action::new(
        Level::Operate,
        "set",
        "NAME VALUE",
        "Sets one of these until the next reload, to a value as the configuration has it; texts \
         need no quotes: `30s`, `10 MiB`.",
    )
    .undoable(),
    Action::new(Level::Operate, "unset", "NAME", "Leaves one of these out: it has its default.")
        .undoable(),
];

/// A section of a running server.
pub(crate) struct Live(Rc<Inner>);

struct Inner {
    title: &'static str,
    /// What holds: the file's, with what was set since.
    table: RefCell<Table>,
    /// Times that the file was read: what was set before holds no more.
    generation: Cell<u64>,
    read: Box<dyn Fn(&mut Section<'_>) -> Apply>,
}

/// Puts what was read in force.
type Apply = Box<dyn FnOnce()>;

impl Live {
    /// Makes the section of this title, with the table that the file has. `read` reads it and
    /// gives what puts it in force.
    pub(crate) fn new(
        title: &'static str,
        table: Table,
        read: impl Fn(&mut Section<'_>) -> Apply + 'static,
    ) -> Self {
        let (table, generation) = (RefCell::new(table), Cell::new(1));
        Self(Rc::new(Inner { title, table, generation, read: Box::new(read) }))
    }

    /// The file was read again, and what it says is in force.
    pub(crate) fn reloaded(&self, table: Table) {
        self.0.table.replace(table);
        self.0.generation.set(self.0.generation.get() + 1);
    }

    /// The section as a part of the inspection tree.
    pub(crate) fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Part(self.0.clone()))
    }
}

impl Inner {
    fn read(&self, table: &Table) -> Result<(Apply, Record), String> {
        let reader = Reader::new(Path::new(""), Problems::default());
        let (apply, record) = reader.read_as(self.title, table, |section| (self.read)(section));
        let (problems, _) = reader.finish();
        if problems.is_empty() { Ok((apply, record)) } else { Err(problems.show(None)) }
    }

    /// Gives a key this value, or takes it out; gives what it was.
    fn change(&self, name: &str, value: Option<Value>) -> Result<Option<Value>, String> {
        let mut table = self.table.borrow().clone();
        let place = table.entries.iter().position(|entry| entry.name == name);
        let before = place.map(|place| table.entries.remove(place).value);
        match value {
            Some(value) => {
                table.entries.push(Entry { name: name.to_owned(), span: 0..0, value });
            }
            // So that a name that nobody knows is told.
            None if before.is_none() => drop(self.shown(name)?),
            None => {}
        }
        let (apply, _) = self.read(&table)?;
        self.table.replace(table);
        apply();
        Ok(before)
    }

    /// What a key is now, in the words of the configuration.
    fn shown(&self, name: &str) -> Result<String, String> {
        let (_, Record(items)) = self.read(&self.table.borrow())?;
        let is_key = |item: &&Item| matches!(item.what, What::Key { .. });
        let all: Vec<_> = items.iter().filter(is_key).collect();
        let found = all.iter().find(|item| item.name == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|item| item.name).collect();
            let name = name.escape_debug();
            format!("there is no `{name}` in [{}]; there are: {}", self.title, names.join(", "))
        })?;
        let What::Key { value, .. } = &found.what else { return Ok(String::new()) };
        Ok(value.clone().unwrap_or_else(|| "left out".to_owned()))
    }

    fn act(self: &Rc<Self>, name: &str, value: Option<Value>, answer: Answer) {
        let changed = self.change(name, value).and_then(|before| Ok((before, self.shown(name)?)));
        let (before, now) = match changed {
            Ok(changed) => changed,
            Err(why) => return answer.refused(why),
        };
        let (this, name, generation) = (self.clone(), name.to_owned(), self.generation.get());
        answer.undoable(format!("`{name}` is {now}"), move || {
            if this.generation.get() != generation {
                return Err("the configuration has been loaded anew since, and holds now".into());
            }
            this.change(&name, before)?;
            Ok(format!("`{name}` is {} again", this.shown(&name)?))
        });
    }
}

/// The section in the inspection tree.
struct Part(Rc<Inner>);

/// A value as people write it: as TOML if it is such, and as a text otherwise.
fn written(text: &str) -> Result<Value, String> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("a value has at most {} KiB", MAX_VALUE_BYTES >> 10));
    }
    let parsed = value::parse(&format!("value = {text}"), &mut Problems::default());
    let is_one = |table: &Table| table.entries.len() == 1;
    let entry = parsed.filter(is_one).and_then(|mut table| table.entries.pop());
    // What is told of it has no place in a file.
    let data = entry.map_or_else(|| Data::Text(text.to_owned()), |entry| entry.value.data);
    Ok(data.into())
}

impl Inspect for Part {
    fn node(&self) -> Node {
        let mut notes = Vec::new();
        let mut node = Node::new("limits");
        // What is in force was right when it was read.
        let read = self.0.read(&self.0.table.borrow());
        let Record(items) = read.map(|(_, record)| record).unwrap_or_default();
        for Item { name, doc, what } in items {
            let What::Key { value, .. } = what else { continue };
            notes.push((name, doc));
            node = node.field(name, Shown::Text(value.unwrap_or_else(|| "left out".to_owned())));
        }
        node.about("What limits the server; what is set holds until the next reload.", notes)
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, _: &str, arguments: &[String], answer: Answer) {
        match arguments {
            [name, text] => match written(text) {
                Ok(value) => self.0.act(name, Some(value), answer),
                Err(why) => answer.refused(why),
            },
            [name] => self.0.act(name, None, answer),
            _ => {}
        }
    }
}
