//! Reads one table of a configuration: each key is asked for by name, kind and default.
//!
//! The one design choice: asking for a key declares it. What was asked for is also what may stand
//! there, what the effective configuration shows, and, when nothing is read, the reference page.
//! So the three cannot say different things.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use medusa_core::sys::privileges::Keep;

use crate::config::kind::{Kind, Word, quoted};
use crate::config::problem::{Problem, Problems};
use crate::config::record::{Item, Record, What};
use crate::config::script::NamedScript;
use crate::config::suggest::suggest;
use crate::config::value::{Data, Span, Table, Value};

static NOTHING: Table = Table { span: 0..0, entries: Vec::new() };

/// What all sections of one configuration share.
pub(crate) struct Reader {
    base: PathBuf,
    problems: RefCell<Problems>,
    needs: RefCell<Needs>,
    /// Nothing is read: only what may be there is asked.
    describes: bool,
}

impl Reader {
    /// Reads a configuration whose paths are relative to `base`.
    pub(crate) fn new(base: &Path, problems: Problems) -> Self {
        Self {
            base: base.to_owned(),
            problems: RefCell::new(problems),
            needs: RefCell::default(),
            describes: false,
        }
    }

    /// Reads nothing, to learn what could be read.
    pub(crate) fn describing() -> Self {
        Self {
            base: PathBuf::new(),
            problems: RefCell::default(),
            needs: RefCell::default(),
            describes: true,
        }
    }

    /// Reads a whole document.
    pub(crate) fn read<T>(
        &self,
        table: &Table,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> (T, Record) {
        self.read_as("", table, read)
    }

    /// Reads a table that stands alone, as the section of this title.
    pub(crate) fn read_as<T>(
        &self,
        title: &str,
        table: &Table,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> (T, Record) {
        let mut section = Section::new(self, title.to_owned(), table.span.clone(), table);
        let result = read(&mut section);
        (result, section.finish())
    }

    pub(crate) fn add(&self, problem: Problem) {
        if !self.describes {
            self.problems.borrow_mut().add(problem);
        }
    }

    /// What is wrong with all that was read, and what it needs.
    pub(crate) fn finish(self) -> (Problems, Needs) {
        (self.problems.into_inner(), self.needs.into_inner())
    }
}

/// What a configuration needs of the system besides its addresses, for a process that gives up
/// all else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Directories that are read.
    pub(crate) read: Vec<PathBuf>,
    /// Directories that are written, too.
    pub(crate) write: Vec<PathBuf>,
    /// Some of it looks names up.
    pub(crate) resolver: bool,
    /// Scripts, in the order in which they were read.
    pub(crate) scripts: Vec<NamedScript>,
    /// Where programs are that it starts.
    pub(crate) execute: Vec<PathBuf>,
    /// What of root's privileges it needs: to run under the identities of users.
    pub(crate) keep: Keep,
}

/// One table that is being read.
pub(crate) struct Section<'a> {
    reader: &'a Reader,
    /// How it is named in the file, without brackets; empty for the file itself.
    title: String,
    /// It is one of a list, and its name stands in double brackets.
    is_listed: bool,
    /// Where it begins.
    span: Span,
    table: &'a Table,
    items: Vec<Item>,
    /// Unknown keys say nothing: what decides about them is wrong itself.
    lenient: bool,
    /// Keys that have been told to be wrong here.
    forbidden: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader, title: String, span: Span, table: &'a Table) -> Self {
        Self {
            reader,
            title,
            is_listed: false,
            span,
            table,
            items: Vec::new(),
            lenient: false,
            forbidden: Vec::new(),
        }
    }

    /// Whether nothing is read and everything that may be here is to be asked for.
    pub(crate) fn describes(&self) -> bool {
        self.reader.describes
    }

    /// Whether a key stands here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.entry(name).is_some()
    }

    /// Where the value of a key stands, or the section if it is not there.
    pub(crate) fn place(&self, name: &str) -> Span {
        self.table.entry(name).map_or_else(|| self.span.clone(), |e| e.value.span.clone())
    }

    /// The places of the values in a list.
    pub(crate) fn places(&self, name: &str) -> Vec<Span> {
        match self.table.entry(name).map(|e| &e.value) {
            Some(Value { data: Data::List(list), .. }) => {
                list.iter().map(|value| value.span.clone()).collect()
            }
            Some(value) => vec![value.span.clone()],
            None => Vec::new(),
        }
    }

    /// The table of this name; empty where there is none.
    pub(crate) fn table_of(&self, name: &str) -> Table {
        match self.table.entry(name).map(|e| &e.value.data) {
            Some(Data::Table(table)) => table.clone(),
            _ => Table::default(),
        }
    }

    /// The names of the keys in the table of this name.
    pub(crate) fn keys_of(&self, name: &str) -> Vec<String> {
        match self.table.entry(name).map(|e| &e.value.data) {
            Some(Data::Table(table)) => table.entries.iter().map(|e| e.name.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Says what else the section needs of the system.
    pub(crate) fn need(&self, say: impl FnOnce(&mut Needs)) {
        say(&mut self.reader.needs.borrow_mut());
    }

    /// Says that the value of a key is wrong.
    pub(crate) fn refuse(&self, name: &str, what: impl Into<String>) {
        self.reader.add(Problem::new(self.place(name), what));
    }

    /// Says that the value of a key is wrong, and what to do about it.
    pub(crate) fn advise(&self, name: &str, what: impl Into<String>, help: impl Into<String>) {
        self.reader.add(Problem::new(self.place(name), what).help(help));
    }

    /// Says that something is wrong with the section.
    pub(crate) fn add_here(&self, what: &str, help: &str) {
        self.reader.add(Problem::new(self.span.clone(), what).help(help));
    }

    /// Says that something is wrong.
    pub(crate) fn add(&self, problem: Problem) {
        self.reader.add(problem);
    }

    /// Says that a key cannot be here, if it is, though it may be in others of its kind.
    pub(crate) fn forbid(&mut self, name: &'static str, what: &str, help: &str) {
        if self.has(name) {
            self.advise(name, what, help);
            self.forbidden.push(name);
        }
    }

    /// Reads a key that has a default.
    pub(crate) fn or<K: Kind>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        kind: &K,
        default: K::Value,
    ) -> K::Value {
        let shown = Some(kind.write(&default));
        let value = self.read(name, kind).unwrap_or(default);
        self.declare(name, doc, kind, Some(kind.write(&value)), shown, false);
        value
    }

    /// Reads a key that may be left out.
    pub(crate) fn maybe<K: Kind>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        kind: &K,
    ) -> Option<K::Value> {
        let value = self.read(name, kind);
        self.declare(name, doc, kind, value.as_ref().map(|v| kind.write(v)), None, false);
        value
    }

    /// Reads a key that must be there; `None` has been told.
    pub(crate) fn needed<K: Kind>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        kind: &K,
    ) -> Option<K::Value> {
        let value = self.read(name, kind);
        if !self.has(name) {
            let help = format!("`{name}` takes {}", kind.expects());
            let what = format!("{} needs `{name}`", self.shown_title());
            self.reader.add(Problem::new(self.span.clone(), what).help(help));
        }
        self.declare(name, doc, kind, value.as_ref().map(|v| kind.write(v)), None, true);
        value
    }

    fn read<K: Kind>(&self, name: &str, kind: &K) -> Option<K::Value> {
        let entry = self.table.entry(name)?;
        match kind.read(&entry.value, &self.reader.base) {
            Ok(value) => Some(value),
            Err(mut problem) => {
                problem.what = format!("`{name}` {}", problem.what);
                self.reader.add(problem);
                None
            }
        }
    }

    fn declare<K: Kind>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        kind: &K,
        value: Option<String>,
        default: Option<String>,
        needed: bool,
    ) {
        let what = What::Key { expects: kind.expects(), value, default, needed };
        self.items.push(Item { name, doc, what });
    }

    /// Reads a table; one that is not there reads as an empty one.
    pub(crate) fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let title = self.below(name);
        let (table, span) = match self.table.entry(name) {
            None => (&NOTHING, self.span.clone()),
            Some(entry) => {
                if let Data::Table(table) = &entry.value.data {
                    (table, entry.value.span.clone())
                } else {
                    self.wants(name, &entry.value, &format!("a table, as [{title}]"));
                    (&NOTHING, entry.value.span.clone())
                }
            }
        };
        let mut section = Section::new(self.reader, title, span, table);
        let result = read(&mut section);
        let record = section.finish();
        self.items.push(Item { name, doc, what: What::Table(record) });
        result
    }

    /// Reads a table that may be left out.
    pub(crate) fn maybe_section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> Option<T> {
        if self.has(name) || self.describes() {
            return Some(self.section(name, doc, read));
        }
        self.items.push(Item { name, doc, what: What::Tables(Vec::new()) });
        None
    }

    /// Reads a list of tables, at most so many.
    pub(crate) fn tables<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let title = self.below(name);
        let (mut all, mut records) = (Vec::new(), Vec::new());
        let mut one = |span: Span, table: &Table| {
            let mut section = Section::new(self.reader, title.clone(), span, table);
            section.is_listed = true;
            all.push(read(&mut section));
            records.push(section.finish());
        };
        let how = format!("a list of tables, each beginning with [[{title}]]");
        if self.describes() {
            one(0..0, &NOTHING);
        } else if let Some(entry) = self.table.entry(name) {
            match &entry.value.data {
                Data::List(list) if list.len() > most => {
                    self.wants(name, &entry.value, &format!("at most {most} tables"));
                }
                Data::List(list) => {
                    for value in list {
                        match &value.data {
                            Data::Table(table) => one(value.span.clone(), table),
                            _ => self.wants(name, value, &how),
                        }
                    }
                }
                _ => self.wants(name, &entry.value, &how),
            }
        }
        self.items.push(Item { name, doc, what: What::Tables(records) });
        all
    }

    /// Reads tables that have names of their own, at most so many.
    pub(crate) fn named<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        most: usize,
        mut read: impl FnMut(&str, &mut Section<'_>) -> T,
    ) -> Vec<T> {
        let (mut all, mut records) = (Vec::new(), Vec::new());
        let mut one = |key: &str, span: Span, table: &Table| {
            let title = self.below(&format!("{name}.{}", toml_key(key)));
            let mut section = Section::new(self.reader, title, span, table);
            all.push(read(key, &mut section));
            records.push((key.to_owned(), section.finish()));
        };
        let how = format!("tables, each beginning with [{}.NAME]", self.below(name));
        if self.describes() {
            one("NAME", 0..0, &NOTHING);
        } else if let Some(entry) = self.table.entry(name) {
            match &entry.value.data {
                Data::Table(table) if table.entries.len() > most => {
                    self.wants(name, &entry.value, &format!("at most {most} tables"));
                }
                Data::Table(table) => {
                    for entry in &table.entries {
                        match &entry.value.data {
                            Data::Table(table) => {
                                one(&entry.name, entry.value.span.clone(), table);
                            }
                            _ => self.wants(name, &entry.value, &how),
                        }
                    }
                }
                _ => self.wants(name, &entry.value, &how),
            }
        }
        self.items.push(Item { name, doc, what: What::Named(records) });
        all
    }

    /// Reads the key that chooses one of these variants.
    pub(crate) fn chosen<V: Variant>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        variants: &'static [V],
    ) -> Option<&'static V> {
        let names = variants.iter().map(Variant::name).collect();
        let word = self.needed(name, doc, &Word(names))?;
        variants.iter().find(|v| v.name() == word)
    }

    /// Reads on as the variant says, or describes all variants. Without one no unknown key is
    /// told: what may stand here is not known.
    pub(crate) fn variant<V: Variant>(
        &mut self,
        variants: &'static [V],
        chosen: Option<&V>,
        mut read: impl FnMut(&V, &mut Section<'_>) -> Option<V::Made>,
    ) -> Option<V::Made> {
        if self.describes() {
            for variant in variants {
                let mut section = Section::new(self.reader, self.title.clone(), 0..0, &NOTHING);
                // Without values nothing is made.
                let _ = read(variant, &mut section);
                let what = What::Variant(section.finish());
                self.items.push(Item { name: variant.name(), doc: variant.doc(), what });
            }
            return None;
        }
        let Some(variant) = chosen else {
            self.lenient = true;
            return None;
        };
        read(variant, self)
    }

    fn wants(&self, name: &str, value: &Value, expects: &str) {
        let what = format!("`{name}` takes {expects}, not {}", value.kind());
        self.reader.add(Problem::new(value.span.clone(), what));
    }

    fn below(&self, name: &str) -> String {
        if self.title.is_empty() { name.to_owned() } else { format!("{}.{name}", self.title) }
    }

    fn shown_title(&self) -> String {
        match (&*self.title, self.is_listed) {
            ("", _) => "the file".to_owned(),
            (title, true) => format!("[[{title}]]"),
            (title, false) => format!("[{title}]"),
        }
    }

    /// Tells of keys that nobody asked for.
    fn finish(self) -> Record {
        let mut known: Vec<&str> = self
            .items
            .iter()
            .filter(|item| !matches!(item.what, What::Variant(_)))
            .map(|item| item.name)
            .collect();
        known.sort_unstable();
        for entry in &self.table.entries {
            let name = &&*entry.name;
            if self.lenient || known.contains(name) || self.forbidden.contains(name) {
                continue;
            }
            let guess = suggest(&entry.name, known.iter().copied());
            let here = format!("allowed here: {}", known.join(", "));
            let help = guess.map_or_else(|| here.clone(), |guess| format!("{guess} {here}"));
            let what = format!("{} has no key {}", self.shown_title(), shown_key(&entry.name));
            self.reader.add(Problem::new(entry.span.clone(), what).help(help));
        }
        Record(self.items)
    }
}

/// One of several shapes that a table can have.
pub(crate) trait Variant: 'static {
    /// What is made of such a table.
    type Made;
    /// The word that chooses it.
    fn name(&self) -> &'static str;
    /// What it is.
    fn doc(&self) -> &'static str;
}

fn shown_key(name: &str) -> String {
    format!("`{}`", name.escape_debug())
}

/// A name as a key of TOML: bare where it may be.
pub(crate) fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}
