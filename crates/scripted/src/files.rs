//! File trees as scripts see them: `files.read`, `files.list`, `files.stat` and `files.open`; and
//! the files with which handlers answer.
//!
//! The one design choice: a script reaches the trees that it was given, by their names, and no
//! others. All is looked up on helper threads, while the script waits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use medusa_core::Handle;
use medusa_fs::{
    Content, Detail, ErrorKind, FileSystem, Kind, Metadata, OpenFile, Persona, VirtualPath,
};
use medusa_http::{Coder, CodingOptions, Files, FilesOptions};
use medusa_script::library::text;
use medusa_script::limits::TEXT_BYTES;
use medusa_script::{Later, Library, Value};

use crate::desk::Desk;
use crate::script::Version;

/// Bytes that `file:read()` gives unless it is told how many.
const PIECE_BYTES: usize = 64 << 10;
/// Names that one listing gives.
const LISTED: usize = 10_000;
/// Files that one script has open.
const OPEN_FILES: usize = 100;

/// What scripts find as `files`.
const SOURCE: &str = include_str!("files.lua");

/// A file tree that a script may read, and the name by which it does.
#[derive(Clone)]
pub struct GivenTree {
    /// Its name.
    pub name: String,
    /// The tree.
    pub tree: Arc<dyn FileSystem>,
}

impl PartialEq for GivenTree {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.tree, &other.tree)
    }
}

impl fmt::Debug for GivenTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GivenTree").field(&self.name).finish()
    }
}

/// The tree that a script means by this name, or the first without one.
pub(crate) fn find<'t>(trees: &'t [GivenTree], name: &Value) -> Result<&'t GivenTree, String> {
    let found = match name {
        Value::Nil => trees.first(),
        Value::Text(name) => trees.iter().find(|given| given.name.as_bytes() == name),
        other => return Err(format!("the name of a tree is a string, not a {}", other.kind())),
    };
    found.ok_or_else(|| match name {
        Value::Text(name) => format!(
            "the script has no tree `{}`: `trees` in its section of the configuration names them",
            String::from_utf8_lossy(name).escape_debug()
        ),
        _ => "the script has no trees: `trees` in its section of the configuration names them"
            .to_owned(),
    })
}

/// A path in a tree.
pub(crate) fn path_of(path: &[u8]) -> Result<VirtualPath, String> {
    VirtualPath::parse(path).map(|parsed| parsed.path).map_err(|e| {
        format!("`{}` is no path in a tree: {e}", String::from_utf8_lossy(path).escape_debug())
    })
}

/// What answers with the files of a tree. Nothing is coded on the fly, which is left to whatever
/// extension codes what scripts answer.
pub(crate) fn sender(tree: &GivenTree) -> Files {
    let options = FilesOptions { listings: false, archives: false, ..FilesOptions::default() };
    let coder = Coder::new(CodingOptions { codings: Vec::new(), ..CodingOptions::default() });
    Files::with_coder(tree.tree.clone(), Persona::Process, options, coder)
}

/// The files that scripts have open.
pub(crate) struct OpenFiles {
    handle: Handle,
    desk: Rc<Desk>,
    all: RefCell<HashMap<i64, Rc<Opened>>>,
    last: Cell<i64>,
}

struct Opened {
    owner: u64,
    file: OpenFile,
    /// Where the next piece begins.
    at: Cell<u64>,
}

/// What came of looking something up: nothing, if there is none.
type Looked<T> = Result<Option<T>, String>;

impl OpenFiles {
    pub(crate) fn new(handle: &Handle, desk: &Rc<Desk>) -> Rc<Self> {
        let (handle, desk) = (handle.clone(), desk.clone());
        Rc::new(Self { handle, desk, all: RefCell::default(), last: Cell::new(0) })
    }

    /// Has a helper thread look at a path of a tree; `give` makes results of what it found.
    fn look<T: Send + 'static>(
        &self,
        arguments: &[Value],
        later: Later,
        look: impl FnOnce(&dyn FileSystem, &VirtualPath) -> medusa_fs::Result<T> + Send + 'static,
        give: impl FnOnce(T, &Later) -> Result<Vec<Value>, String> + 'static,
    ) {
        let asked = self.desk.asking().and_then(|version| {
            let tree = find(version.trees(), arguments.get(1).unwrap_or(&Value::Nil))?.tree.clone();
            Ok((tree, path_of(text(arguments, 0)?)?))
        });
        let (tree, path) = match asked {
            Ok(asked) => asked,
            Err(why) => return later.answer(Err(why)),
        };
        let work = move || -> Looked<T> {
            match look(&*tree, &path) {
                Ok(found) => Ok(Some(found)),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e.to_string()),
            }
        };
        self.handle.run(work, move |found| {
            let results = match found.unwrap_or_else(|lost| Err(lost.to_string())) {
                Ok(Some(found)) => give(found, &later),
                Ok(None) => Ok(vec![Value::Nil]),
                Err(why) => Err(why),
            };
            later.answer(results);
        });
    }

    /// Keeps a file until the call that opened it has ended.
    fn keep(self: &Rc<Self>, owner: u64, file: OpenFile, later: &Later) -> Result<i64, String> {
        let mut all = self.all.borrow_mut();
        if all.values().filter(|opened| opened.owner == owner).count() >= OPEN_FILES {
            return Err(format!("a script can have at most {OPEN_FILES} files open; close some"));
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        if later.is_wanted() {
            all.insert(number, Rc::new(Opened { owner, file, at: Cell::new(0) }));
            let files = Rc::downgrade(self);
            later.at_end(move || {
                if let Some(files) = files.upgrade() {
                    files.all.borrow_mut().remove(&number);
                }
            });
        }
        Ok(number)
    }

    /// Gives the next bytes of an open file; nothing at its end.
    fn piece(&self, arguments: &[Value], later: Later) {
        let asked = || {
            let number = arguments.first().and_then(Value::as_integer).unwrap_or(0);
            let opened = self.all.borrow().get(&number).cloned();
            let opened = opened
                .ok_or("the file is closed: it is open until the call that opened it has ended")?;
            let most = match arguments.get(1) {
                None | Some(Value::Nil) => PIECE_BYTES,
                Some(n) => n
                    .as_integer()
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|n| (1..=TEXT_BYTES).contains(n))
                    .ok_or_else(|| format!("a piece has 1 to {TEXT_BYTES} bytes"))?,
            };
            Ok::<_, String>((opened, most))
        };
        let (opened, most) = match asked() {
            Ok(asked) => asked,
            Err(why) => return later.answer(Err(why)),
        };
        let (file, at) = (opened.file.clone(), opened.at.get());
        let n = file.metadata.size.saturating_sub(at).min(most as u64);
        if n == 0 {
            return later.answer(Ok(vec![Value::Nil]));
        }
        opened.at.set(at + n);
        self.handle.run(
            move || read(&file, at, n as usize),
            move |read| {
                later.answer(match read {
                    Ok(Ok(bytes)) if bytes.is_empty() => Ok(vec![Value::Nil]),
                    Ok(Ok(bytes)) => Ok(vec![Value::from(bytes)]),
                    Ok(Err(why)) => Err(format!("cannot read the file: {why}")),
                    Err(lost) => Err(lost.to_string()),
                });
            },
        );
    }
}

/// The library `files`.
pub(crate) fn library(files: &Rc<OpenFiles>) -> Library {
    let (reads, lists, stats) = (files.clone(), files.clone(), files.clone());
    let (opens, pieces, closes) = (files.clone(), files.clone(), files.clone());
    Library::new("files")
        .later("read", move |args, later| {
            reads.look(args, later, read_whole, |bytes, _| Ok(vec![Value::from(bytes?)]));
        })
        .later("list", move |args, later| {
            lists.look(args, later, names, |names, _| {
                Ok(vec![Value::List(names?.into_iter().map(Value::from).collect())])
            });
        })
        .later("stat", move |args, later| {
            let look =
                |tree: &dyn FileSystem, path: &VirtualPath| tree.metadata(&Persona::Process, path);
            stats.look(args, later, look, |metadata, _| Ok(vec![shown(&metadata)]));
        })
        .later("open", move |args, later| {
            let owner = opens.desk.asking().map_or(0, |version| version.owner);
            let files = opens.clone();
            let look =
                |tree: &dyn FileSystem, path: &VirtualPath| tree.open(&Persona::Process, path);
            opens.look(args, later, look, move |file, later| {
                let size = Value::from(i64::try_from(file.metadata.size).unwrap_or(i64::MAX));
                Ok(vec![Value::from(files.keep(owner, file, later)?), size])
            });
        })
        .later("piece", move |args, later| pieces.piece(args, later))
        .function("close", move |args| {
            let number = args.first().and_then(Value::as_integer).unwrap_or(0);
            closes.all.borrow_mut().remove(&number);
            Ok(Vec::new())
        })
        .made_by(SOURCE)
}

/// Reads a file as a whole, if a text can hold it.
fn read_whole(
    tree: &dyn FileSystem,
    path: &VirtualPath,
) -> medusa_fs::Result<Result<Vec<u8>, String>> {
    let file = tree.open(&Persona::Process, path)?;
    if file.metadata.size > TEXT_BYTES as u64 {
        return Ok(Err(format!(
            "the file has more than {TEXT_BYTES} bytes; `files.open` reads it in pieces"
        )));
    }
    let bytes = read(&file, 0, file.metadata.size as usize);
    bytes.map(Ok).map_err(|e| medusa_fs::Error::from_io(e, "read", path))
}

/// Reads so many bytes, fewer if the file has become shorter.
fn read(file: &OpenFile, at: u64, n: usize) -> io::Result<Vec<u8>> {
    match &file.content {
        Content::Memory(bytes) => {
            let from = bytes.len().min(at as usize);
            Ok(bytes[from..bytes.len().min(from + n)].to_vec())
        }
        Content::Disk(file) => {
            let mut bytes = vec![0; n];
            let mut filled = 0;
            while filled < n {
                match file.read_at(&mut bytes[filled..], at + filled as u64) {
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        }
    }
}

/// The names in a directory in order, those of directories with a slash behind.
fn names(
    tree: &dyn FileSystem,
    path: &VirtualPath,
) -> medusa_fs::Result<Result<Vec<Vec<u8>>, String>> {
    let mut names = Vec::new();
    for entry in tree.list(&Persona::Process, path, Detail::Names)? {
        let entry = entry?;
        if names.len() >= LISTED {
            return Ok(Err(format!("the directory has more than {LISTED} entries")));
        }
        let mut name = entry.name.into_vec();
        if entry.kind == Kind::Dir {
            name.push(b'/');
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(Ok(names))
}

/// What a script sees of an entry.
fn shown(metadata: &Metadata) -> Value {
    let kind = match metadata.kind {
        Kind::File => "file",
        Kind::Dir => "directory",
        Kind::Symlink | Kind::Other => "other",
    };
    let modified = metadata.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let size = i64::try_from(metadata.size).unwrap_or(i64::MAX);
    let entry = |name: &str, value: Value| (Value::from(name), value);
    Value::Map(vec![
        entry("kind", Value::from(kind)),
        entry("size", Value::from(size)),
        entry("modified", Value::from(modified.as_secs_f64())),
    ])
}

impl Version {
    /// The senders of the trees that the script was given, made when they are first wanted.
    pub(crate) fn sender(&self, name: &Value) -> Result<Rc<Files>, String> {
        let tree = find(self.trees(), name)?;
        let mut senders = self.senders.borrow_mut();
        let made = senders.entry(tree.name.clone()).or_insert_with(|| Rc::new(sender(tree)));
        Ok(made.clone())
    }
}
