//! What stands in a configuration, each value with its place.
//!
//! The one design choice: values are owned and made from the TOML document or from the flags of
//! the command line, so there is one way from either to a server.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::{Problem, Problems};

/// Where something stands in the file, in bytes. Empty at 0 for what does not come from a file.
pub(crate) type Span = Range<usize>;

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<Value>),
    Table(Table),
    /// A path from the command line, which need not be text.
    Path(PathBuf),
    /// What no key takes: a date, a number that is too large.
    Other(&'static str),
}

/// Keys with their values, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) span: Span,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) span: Span,
    pub(crate) value: Value,
}

impl Value {
    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Text(_) => "a text",
            Data::Number(_) => "a number",
            Data::Fraction(_) => "a fraction",
            Data::Flag(_) => "true or false",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
            Data::Path(_) => "a path",
            Data::Other(what) => what,
        }
    }
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        Self { span: 0..0, data }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Data::Text(text.to_owned()).into()
    }
}

impl Table {
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// Adds a key that does not come from a file.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.entries.push(Entry { name: name.to_owned(), span: 0..0, value: value.into() });
        self
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Data::Table(table).into()
    }
}

impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Self {
        Data::List(list).into()
    }
}

/// Parses a TOML document (version 1.0 and what 1.1 adds).
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let what = format!("this is no TOML: {}", error.message());
        problems.add(Problem::new(error.span().unwrap_or(0..0), what));
    }
    // What the parser made of broken text would only cause errors that mean nothing.
    errors.is_empty().then(|| table(&document))
}

fn table(spanned: &Spanned<DeTable<'_>>) -> Table {
    let mut entries: Vec<Entry> = spanned
        .get_ref()
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().clone().into_owned(),
            span: name.span(),
            value: self::value(value),
        })
        .collect();
    entries.sort_by_key(|e| e.span.start);
    Table { span: spanned.span(), entries }
}

fn value(spanned: &Spanned<DeValue<'_>>) -> Value {
    let data = match spanned.get_ref() {
        DeValue::String(text) => Data::Text(text.clone().into_owned()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or(Data::Other("a number that is too large"), Data::Number),
        DeValue::Float(n) => n.as_str().parse().map_or(Data::Other("a fraction"), Data::Fraction),
        DeValue::Boolean(flag) => Data::Flag(*flag),
        DeValue::Datetime(_) => Data::Other("a date"),
        DeValue::Array(list) => Data::List(list.iter().map(value).collect()),
        DeValue::Table(inner) => Data::Table(table(&Spanned::new(spanned.span(), inner.clone()))),
    };
    Value { span: spanned.span(), data }
}
