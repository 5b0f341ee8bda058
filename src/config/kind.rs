//! The kinds of values that a configuration has: how each is read, written and described.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use medusa_core::Address;

use crate::config::problem::Problem;
use crate::config::section::toml_key;
use crate::config::suggest::suggest;
use crate::config::value::{Data, Entry, Span, Value};

/// A kind of values.
pub(crate) trait Kind {
    type Value: Clone;

    /// What may stand here, in words that follow "takes".
    fn expects(&self) -> String;

    /// Reads a value; paths are relative to `base`.
    fn read(&self, value: &Value, base: &Path) -> Result<Self::Value, Problem>;

    /// Writes a value as TOML that is read as the same, also from another place.
    fn write(&self, value: &Self::Value) -> String;
}

/// The error of a value that is of another kind.
fn other<K: Kind + ?Sized>(kind: &K, value: &Value) -> Problem {
    Problem::new(value.span.clone(), format!("takes {}, not {}", kind.expects(), value.kind()))
}

/// The error of a value that is of its kind and still wrong.
fn wrong<K: Kind + ?Sized>(kind: &K, span: &Span, found: &str) -> Problem {
    Problem::new(span.clone(), format!("takes {}, not {found}", kind.expects()))
}

/// A text as TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\U{:08X}", u32::from(c)).expect("a text takes everything");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// True or false.
pub(crate) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn expects(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, value: &Value, _: &Path) -> Result<bool, Problem> {
        match value.data {
            Data::Flag(flag) => Ok(flag),
            _ => Err(other(self, value)),
        }
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A number within a range.
pub(crate) struct Number(pub(crate) RangeInclusive<u64>);

impl Kind for Number {
    type Value = u64;

    fn expects(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, value: &Value, _: &Path) -> Result<u64, Problem> {
        let Data::Number(n) = value.data else { return Err(other(self, value)) };
        u64::try_from(n)
            .ok()
            .filter(|n| self.0.contains(n))
            .ok_or_else(|| wrong(self, &value.span, &n.to_string()))
    }

    fn write(&self, value: &u64) -> String {
        value.to_string()
    }
}

/// A number with a unit: reads `30s` as 30 and the unit's factor.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[digits..].trim_start();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a number with the largest unit that leaves nothing over; the largest comes first.
fn in_units(n: u64, units: &[(&str, u64)], space: &str) -> String {
    let largest = units.iter().find(|(_, factor)| n > 0 && n.is_multiple_of(*factor));
    let (name, factor) = largest.or(units.last()).expect("there are units");
    format!("{}{space}{name}", n / factor)
}

/// Bytes, as a number or with a unit.
pub(crate) struct Size(pub(crate) RangeInclusive<u64>);

const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Kind for Size {
    type Value = u64;

    fn expects(&self) -> String {
        let [from, to] = [self.0.start(), self.0.end()].map(|n| in_units(*n, SIZES, " "));
        if *self.0.end() >= i64::MAX as u64 {
            return format!("a size of at least {from}, as \"64 KiB\"");
        }
        format!("a size from {from} to {to}, as \"64 KiB\"")
    }

    fn read(&self, value: &Value, _: &Path) -> Result<u64, Problem> {
        let (size, found) = match &value.data {
            Data::Number(n) => (u64::try_from(*n).ok(), n.to_string()),
            Data::Text(text) => (with_unit(text, SIZES), quoted(text)),
            _ => return Err(other(self, value)),
        };
        size.filter(|n| self.0.contains(n)).ok_or_else(|| {
            wrong(self, &value.span, &found).help("units are B, KiB, MiB, GiB and TiB")
        })
    }

    fn write(&self, value: &u64) -> String {
        quoted(&in_units(*value, SIZES, " "))
    }
}

/// A span of time with its unit.
pub(crate) struct Time(pub(crate) RangeInclusive<Duration>);

const TIMES: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A second and a day, for ranges.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

fn time(value: Duration) -> String {
    in_units(value.as_millis() as u64, TIMES, "")
}

impl Kind for Time {
    type Value = Duration;

    fn expects(&self) -> String {
        let (from, to) = (time(*self.0.start()), time(*self.0.end()));
        format!("a time from {from} to {to}, as \"30s\"")
    }

    fn read(&self, value: &Value, _: &Path) -> Result<Duration, Problem> {
        let found = match &value.data {
            Data::Text(text) => quoted(text),
            Data::Number(n) => format!("{n} without a unit"),
            _ => return Err(other(self, value)),
        };
        let time = match &value.data {
            Data::Text(text) => with_unit(text, TIMES).map(Duration::from_millis),
            _ => None,
        };
        time.filter(|t| self.0.contains(t))
            .ok_or_else(|| wrong(self, &value.span, &found).help("units are ms, s, m, h and d"))
    }

    fn write(&self, value: &Duration) -> String {
        quoted(&time(*value))
    }
}

/// Any text that is not empty; the words say what it is.
pub(crate) struct Text(pub(crate) &'static str);

impl Kind for Text {
    type Value = String;

    fn expects(&self) -> String {
        self.0.to_owned()
    }

    fn read(&self, value: &Value, _: &Path) -> Result<String, Problem> {
        match &value.data {
            Data::Text(text) if text.is_empty() => Err(wrong(self, &value.span, "an empty text")),
            Data::Text(text) => Ok(text.clone()),
            _ => Err(other(self, value)),
        }
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// One of a few words, each of which stands for something.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T> Choice<T> {
    fn word(&self) -> Word {
        Word(self.0.iter().map(|(word, _)| *word).collect())
    }
}

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn expects(&self) -> String {
        self.word().expects()
    }

    fn read(&self, value: &Value, base: &Path) -> Result<T, Problem> {
        let chosen = self.word().read(value, base)?;
        let (_, choice) = self.0.iter().find(|(word, _)| *word == chosen).expect("it is one");
        Ok(*choice)
    }

    fn write(&self, value: &T) -> String {
        quoted(self.0.iter().find(|(_, choice)| choice == value).map_or("", |(word, _)| word))
    }
}

/// A text that may be empty, of at most so many bytes.
pub(crate) struct Bytes(pub(crate) usize);

impl Kind for Bytes {
    type Value = String;

    fn expects(&self) -> String {
        format!("a text of at most {} bytes", self.0)
    }

    fn read(&self, value: &Value, _: &Path) -> Result<String, Problem> {
        match &value.data {
            Data::Text(text) if text.len() > self.0 => {
                Err(wrong(self, &value.span, &format!("one of {}", text.len())))
            }
            Data::Text(text) => Ok(text.clone()),
            _ => Err(other(self, value)),
        }
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A text that means something to whoever parses it.
pub(crate) struct Parsed<T> {
    /// What it is.
    pub(crate) what: &'static str,
    /// Parses it, or says what is wrong with it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// Writes what parses as the same.
    pub(crate) write: fn(&T) -> String,
}

impl<T: Clone> Kind for Parsed<T> {
    type Value = T;

    fn expects(&self) -> String {
        self.what.to_owned()
    }

    fn read(&self, value: &Value, _: &Path) -> Result<T, Problem> {
        let Data::Text(text) = &value.data else { return Err(other(self, value)) };
        (self.parse)(text).map_err(|why| wrong(self, &value.span, &quoted(text)).help(why))
    }

    fn write(&self, value: &T) -> String {
        quoted(&(self.write)(value))
    }
}

/// One of a few names.
pub(crate) struct Word(pub(crate) Vec<&'static str>);

impl Kind for Word {
    type Value = &'static str;

    fn expects(&self) -> String {
        one_of(&self.0)
    }

    fn read(&self, value: &Value, _: &Path) -> Result<&'static str, Problem> {
        let Data::Text(text) = &value.data else { return Err(other(self, value)) };
        self.0.iter().copied().find(|word| word == text).ok_or_else(|| {
            let mut problem = wrong(self, &value.span, &quoted(text));
            problem.help = suggest(text, self.0.iter().copied());
            problem
        })
    }

    fn write(&self, value: &&'static str) -> String {
        quoted(value)
    }
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// The name of something that stands elsewhere in the file.
pub(crate) struct Name<'a> {
    /// What it names.
    pub(crate) what: &'static str,
    /// The names that there are.
    pub(crate) names: &'a [String],
}

impl Kind for Name<'_> {
    type Value = String;

    fn expects(&self) -> String {
        format!("the name of {}", self.what)
    }

    fn read(&self, value: &Value, _: &Path) -> Result<String, Problem> {
        let Data::Text(text) = &value.data else { return Err(other(self, value)) };
        if self.names.contains(text) {
            return Ok(text.clone());
        }
        let mut problem = wrong(self, &value.span, &quoted(text));
        problem.help = suggest(text, self.names.iter().map(String::as_str)).or_else(|| {
            let names: Vec<_> =
                self.names.iter().map(|n| format!("`{}`", n.escape_debug())).collect();
            Some(if names.is_empty() {
                "there is none in this file".to_owned()
            } else {
                format!("there is {}", names.join(", "))
            })
        });
        Err(problem)
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A path of the machine, relative to the file.
pub(crate) struct FilePath;

/// Shows a path so that it is the same from any directory.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.to_string_lossy().into_owned()
}

impl Kind for FilePath {
    type Value = PathBuf;

    fn expects(&self) -> String {
        "a path, relative to this file".to_owned()
    }

    fn read(&self, value: &Value, base: &Path) -> Result<PathBuf, Problem> {
        match &value.data {
            Data::Text(text) if text.is_empty() || text.contains('\0') => {
                Err(wrong(self, &value.span, &quoted(text)))
            }
            Data::Text(text) => Ok(base.join(text)),
            Data::Path(path) => Ok(base.join(path)),
            _ => Err(other(self, value)),
        }
    }

    fn write(&self, value: &PathBuf) -> String {
        quoted(&absolute(value))
    }
}

/// A table of whatever somebody else makes something of.
pub(crate) struct Anything(pub(crate) &'static str);

/// Levels of tables and lists that are read.
const MAX_LEVELS: usize = 16;

impl Kind for Anything {
    type Value = Data;

    fn expects(&self) -> String {
        self.0.to_owned()
    }

    fn read(&self, value: &Value, _: &Path) -> Result<Data, Problem> {
        fn check(value: &Value, levels: usize) -> Result<(), Problem> {
            let span = || value.span.clone();
            let Some(below) = levels.checked_sub(1) else {
                return Err(Problem::new(span(), "has too many levels"));
            };
            match &value.data {
                Data::Other(what) => {
                    Err(Problem::new(span(), format!("cannot have {what}"))
                        .help("write it as a text"))
                }
                Data::List(list) => list.iter().try_for_each(|value| check(value, below)),
                Data::Table(table) => table.entries.iter().try_for_each(|e| check(&e.value, below)),
                _ => Ok(()),
            }
        }
        if !matches!(value.data, Data::Table(_)) {
            return Err(other(self, value));
        }
        check(value, MAX_LEVELS).map(|()| value.data.clone())
    }

    fn write(&self, value: &Data) -> String {
        match value {
            Data::Text(text) => quoted(text),
            Data::Number(n) => n.to_string(),
            Data::Fraction(n) => {
                let shown = format!("{n:?}").to_ascii_lowercase();
                // TOML wants digits behind the point where there is no exponent.
                if shown.contains(['.', 'e', 'i', 'n']) { shown } else { format!("{shown}.0") }
            }
            Data::Flag(flag) => flag.to_string(),
            Data::List(list) => {
                let all: Vec<_> = list.iter().map(|value| self.write(&value.data)).collect();
                format!("[{}]", all.join(", "))
            }
            Data::Table(table) => {
                let entry =
                    |e: &Entry| format!("{} = {}", toml_key(&e.name), self.write(&e.value.data));
                let all: Vec<_> = table.entries.iter().map(entry).collect();
                if all.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", all.join(", ")) }
            }
            Data::Path(path) => quoted(&path.to_string_lossy()),
            Data::Other(_) => String::new(),
        }
    }
}

/// An address to listen on.
pub(crate) struct ListenAddress;

impl Kind for ListenAddress {
    type Value = Address;

    fn expects(&self) -> String {
        "an address: \"IP:PORT\", \":PORT\", \"unix:PATH\" or \"systemd:NAME\"".to_owned()
    }

    fn read(&self, value: &Value, base: &Path) -> Result<Address, Problem> {
        let Data::Text(text) = &value.data else { return Err(other(self, value)) };
        match text.parse() {
            Ok(Address::Unix(path)) => Ok(Address::Unix(base.join(path))),
            Ok(address) => Ok(address),
            Err(_) => Err(wrong(self, &value.span, &quoted(text))),
        }
    }

    fn write(&self, value: &Address) -> String {
        quoted(&match value {
            Address::Unix(path) => format!("unix:{}", absolute(path)),
            other => other.to_string(),
        })
    }
}

/// The mode of a file, in octal digits.
pub(crate) struct Mode;

impl Kind for Mode {
    type Value = u32;

    fn expects(&self) -> String {
        "a file mode in octal digits, as \"0660\"".to_owned()
    }

    fn read(&self, value: &Value, _: &Path) -> Result<u32, Problem> {
        let Data::Text(text) = &value.data else { return Err(other(self, value)) };
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
            .ok_or_else(|| wrong(self, &value.span, &quoted(text)))
    }

    fn write(&self, value: &u32) -> String {
        format!("\"{value:04o}\"")
    }
}

/// A list of values of one kind, within a number; one value may stand alone.
pub(crate) struct List<K>(pub(crate) K, pub(crate) RangeInclusive<usize>);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn expects(&self) -> String {
        let (from, to) = (self.1.start(), self.1.end());
        format!("a list of {from} to {to}, each {}", self.0.expects())
    }

    fn read(&self, value: &Value, base: &Path) -> Result<Self::Value, Problem> {
        let Data::List(list) = &value.data else {
            return self.0.read(value, base).map(|one| vec![one]);
        };
        if !self.1.contains(&list.len()) {
            return Err(wrong(self, &value.span, &format!("a list of {}", list.len())));
        }
        list.iter().map(|one| self.0.read(one, base)).collect()
    }

    fn write(&self, value: &Self::Value) -> String {
        let all: Vec<_> = value.iter().map(|one| self.0.write(one)).collect();
        format!("[{}]", all.join(", "))
    }
}
