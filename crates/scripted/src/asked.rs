//! Questions to the script of a file tree, on the loop's thread: which of its functions is called,
//! and what its results mean.
//!
//! The one design choice: whatever a script says that makes no sense is an error of the script,
//! logged as such, and an input or output error to whoever asked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use medusa_fs::{ErrorKind, Kind, VirtualPath};
use medusa_script::library::text;
use medusa_script::{Budget, Callable, Library, Outcome, Value};

use crate::script::{Script, Version, explained};
use crate::tree::TREE_PATIENCE;

/// Bytes of a file that a script makes.
const MADE_BYTES: usize = 16 << 20;

/// Gathers the pieces of a file that a script makes one after another.
const SOURCE: &str = include_str!("tree.lua");

/// What is asked of a script.
pub(crate) enum Question {
    Read(VirtualPath),
    List(VirtualPath),
    Stat(VirtualPath),
    Put(VirtualPath, Vec<u8>),
    Delete(VirtualPath),
}

/// An entry as a script tells of it.
pub(crate) struct Listed {
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: Kind,
    pub(crate) size: Option<u64>,
    /// Since 1970.
    pub(crate) modified: Option<Duration>,
}

/// What a script says.
pub(crate) enum Told {
    /// There is nothing, or it will not.
    Nothing,
    /// It has no such function.
    Unknown,
    Content(Vec<u8>, Option<Duration>),
    Listed(Vec<Listed>),
    Entry(Listed),
    Done,
}

/// Files whose pieces are being gathered.
#[derive(Default)]
pub(crate) struct Pieces {
    all: RefCell<HashMap<i64, Vec<u8>>>,
    last: Cell<i64>,
}

impl Pieces {
    fn begin(&self) -> i64 {
        self.last.set(self.last.get() + 1);
        self.all.borrow_mut().insert(self.last.get(), Vec::new());
        self.last.get()
    }

    fn end(&self, token: i64) -> Vec<u8> {
        self.all.borrow_mut().remove(&token).unwrap_or_default()
    }

    /// The library behind `trees`.
    pub(crate) fn library(pieces: &Rc<Self>) -> Library {
        let pieces = pieces.clone();
        let piece = move |args: &[Value]| {
            let token = args.first().and_then(Value::as_integer).unwrap_or(0);
            let mut all = pieces.all.borrow_mut();
            let gathered = all.get_mut(&token).ok_or("the file has been read already")?;
            let piece = text(args, 1).map_err(|_| "a piece of a file must be a string")?;
            if gathered.len() + piece.len() > MADE_BYTES {
                return Err(format!("a file that a script makes has at most {MADE_BYTES} bytes"));
            }
            gathered.extend_from_slice(piece);
            Ok(Vec::new())
        };
        Library::new("trees").function("piece", piece).made_by(SOURCE)
    }
}

/// Asks the newest version of a script; `then` has what it says, perhaps at once.
pub(crate) fn answer(
    script: &Rc<Script>,
    question: Question,
    then: impl FnOnce(Result<Told, ErrorKind>) + 'static,
) {
    let Some(version) = script.version() else { return then(Err(ErrorKind::Busy)) };
    let host = script.host().clone();
    let path = |path: &VirtualPath| Value::from(path.as_bytes().to_vec());
    let (name, arguments) = match &question {
        Question::Read(of) => ("read", vec![path(of)]),
        Question::List(of) => ("list", vec![path(of)]),
        Question::Stat(of) => ("stat", vec![path(of)]),
        Question::Put(of, content) => ("put", vec![path(of), Value::from(content.clone())]),
        Question::Delete(of) => ("delete", vec![path(of)]),
    };
    let Some(function) = version.named(name) else {
        return then(match question {
            Question::Put(..) | Question::Delete(_) => Err(ErrorKind::ReadOnly),
            _ => Ok(Told::Unknown),
        });
    };
    let budget = Budget { within: version.budget.within.min(TREE_PATIENCE), ..version.budget };
    let pieces = host.0.pieces.clone();
    let token = pieces.begin();
    let (function, arguments): (Callable, _) = match question {
        Question::Read(_) => {
            let given = [Value::Function(function), Value::from(token)];
            (host.0.read_tree.clone(), given.into_iter().chain(arguments).collect())
        }
        _ => (function, arguments),
    };
    version.begin_within(&function, &arguments, budget).then(move |outcome| {
        then(ended(&version, &question, outcome, pieces.end(token)));
    });
}

fn ended(
    version: &Version,
    question: &Question,
    outcome: Outcome,
    gathered: Vec<u8>,
) -> Result<Told, ErrorKind> {
    version.printed(&outcome.output);
    let told = match outcome.result {
        Ok(values) => told(question, &values, gathered),
        Err(error) => Err(explained(&error)),
    };
    told.map_err(|why| {
        version.failed(&why);
        ErrorKind::Io
    })
}

/// What the results of a script mean.
fn told(question: &Question, values: &[Value], gathered: Vec<u8>) -> Result<Told, String> {
    let none = Value::Nil;
    let first = values.first().unwrap_or(&none);
    let wrong = |wanted: &str| Err(format!("{wanted}, not a {}", first.kind()));
    match (question, first) {
        (Question::Put(..) | Question::Delete(_), Value::Boolean(false)) => Ok(Told::Nothing),
        (Question::Put(..) | Question::Delete(_), _) => Ok(Told::Done),
        (_, Value::Nil) => Ok(Told::Nothing),
        (Question::Read(_), content) => {
            let modified = values.get(1).map_or(Ok(None), modified)?;
            match content {
                Value::Text(text) => Ok(Told::Content(text.to_vec(), modified)),
                Value::Boolean(true) => Ok(Told::Content(gathered, modified)),
                _ => wrong("`read` gives a string, a function or nil"),
            }
        }
        (Question::List(_), Value::List(list)) => {
            Ok(Told::Listed(list.iter().map(listed).collect::<Result<_, _>>()?))
        }
        (Question::List(_), Value::Map(map)) if map.is_empty() => Ok(Told::Listed(Vec::new())),
        (Question::List(_), _) => wrong("`list` gives a list or nil"),
        (Question::Stat(_), Value::Map(_)) => Ok(Told::Entry(about(first, Box::default())?)),
        (Question::Stat(_), _) => wrong("`stat` gives a table or nil"),
    }
}

fn key<'v>(table: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Map(entries) = table else { return None };
    entries.iter().find(|(key, _)| key.as_text().is_some_and(|key| *key == name)).map(|(_, v)| v)
}

fn modified(about: &Value) -> Result<Option<Duration>, String> {
    let Some(time) = key(about, "modified") else { return Ok(None) };
    let time = time.as_number().and_then(|time| Duration::try_from_secs_f64(time).ok());
    time.map(Some).ok_or_else(|| "`modified` is the time since 1970 in seconds".to_owned())
}

/// An entry of a list: a name, with a slash behind that of a directory, or a table.
fn listed(value: &Value) -> Result<Listed, String> {
    let name = value.as_text().or_else(|| key(value, "name").and_then(Value::as_text));
    let name = name.ok_or("an entry of a list is a name, or a table with a `name`")?;
    let (name, is_dir) = name.strip_suffix(b"/").map_or((&name[..], false), |name| (name, true));
    let child = VirtualPath::root().child(name);
    if !child.is_ok_and(|child| child.name() == Some(name)) {
        let name = String::from_utf8_lossy(name);
        return Err(format!("`{}` cannot be the name of an entry", name.escape_debug()));
    }
    let mut entry = about(value, name.into())?;
    if is_dir {
        entry.kind = Kind::Dir;
    }
    Ok(entry)
}

fn about(value: &Value, name: Box<[u8]>) -> Result<Listed, String> {
    let kind = match key(value, "kind").map(|kind| kind.as_text().map(|kind| &kind[..])) {
        None | Some(Some(b"file")) => Kind::File,
        Some(Some(b"directory")) => Kind::Dir,
        Some(_) => return Err("`kind` is \"file\" or \"directory\"".to_owned()),
    };
    let size = match key(value, "size").map(|size| size.as_integer().map(u64::try_from)) {
        None => None,
        Some(Some(Ok(size))) => Some(size),
        Some(_) => return Err("`size` is a number of bytes".to_owned()),
    };
    Ok(Listed { name, kind, size, modified: modified(value)? })
}
