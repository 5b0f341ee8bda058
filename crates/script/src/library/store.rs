//! `store`: keys with values that outlast the process, in one file.
//!
//! The one design choice: what scripts ask while a helper thread is busy with the file is carried
//! out together, in the order in which it was asked, in one transaction. So one thread at most is
//! taken, and a hundred scripts that write at once wait for one write to the disk.
//!
//! The file is open only while it is used: a process that takes over finds it free soon.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use medusa_core::Handle;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition,
};
use serde_json::ser::CompactFormatter;

use super::{Library, json, text};
use crate::call::Later;
use crate::limits::{
    STORE_CACHE_BYTES, STORE_IDLE, STORE_KEY_BYTES, STORE_LISTED, STORE_PATIENCE, STORE_QUEUE,
    STORE_VALUE_BYTES,
};
use crate::value::Value;

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// Bytes of all keys and values, under the empty key.
const BYTES: TableDefinition<'_, &[u8], u64> = TableDefinition::new("bytes");

/// What is between two looks at a file that another process has open.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A store; cheap to clone.
#[derive(Clone)]
pub struct Store(Rc<Inner>);

struct Inner {
    handle: Handle,
    file: Arc<Mutex<StoreFile>>,
    waiting: RefCell<Vec<(Operation, Later)>>,
    /// A helper thread has the file.
    busy: Cell<bool>,
    /// Counts what was asked, to know whether nothing was for a while.
    asked: Cell<u64>,
}

/// What is asked of the store.
enum Operation {
    Get(Vec<u8>),
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// The keys with this beginning, behind this one, at most so many.
    List(Vec<u8>, Vec<u8>, usize),
}

impl Operation {
    fn writes(&self) -> bool {
        matches!(self, Self::Put(..) | Self::Delete(_))
    }
}

/// What the store answers.
#[derive(Debug, PartialEq)]
enum Found {
    Value(Option<Vec<u8>>),
    Flag(bool),
    Keys(Vec<Vec<u8>>),
}

impl Store {
    /// Makes a store in this file, which is made when something is first put there. Keys and
    /// values may take `most` bytes together.
    pub fn new(handle: &Handle, path: PathBuf, most: u64) -> Self {
        let file = Arc::new(Mutex::new(StoreFile { path, most, open: None }));
        let (waiting, busy, asked) = (RefCell::default(), Cell::new(false), Cell::new(0));
        Self(Rc::new(Inner { handle: handle.clone(), file, waiting, busy, asked }))
    }

    /// The library for scripts; without a store, one that says that there is none.
    pub fn library(store: Option<&Self>) -> Library {
        let ask = |read: fn(&[Value]) -> Result<Operation, String>| {
            let store = store.cloned();
            move |args: &[Value], later: Later| match (&store, read(args)) {
                (_, Err(why)) => later.answer(Err(why)),
                (Some(store), Ok(operation)) => store.ask(operation, later),
                (None, Ok(_)) => {
                    let why = "there is no store: `store` in [script] of the configuration names \
                               its file";
                    later.answer(Err(why.to_owned()));
                }
            }
        };
        Library::new("store")
            .later("get", ask(|args| Ok(Operation::Get(key(args, 0)?))))
            .later("put", ask(|args| Ok(Operation::Put(key(args, 0)?, written(args.get(1))?))))
            .later("delete", ask(|args| Ok(Operation::Delete(key(args, 0)?))))
            .later("list", ask(listing))
    }

    fn ask(&self, operation: Operation, later: Later) {
        let mut waiting = self.0.waiting.borrow_mut();
        if waiting.len() >= STORE_QUEUE {
            drop(waiting);
            return later.answer(Err("the store is too busy; try again later".to_owned()));
        }
        waiting.push((operation, later));
        drop(waiting);
        self.0.asked.set(self.0.asked.get() + 1);
        self.go_on();
    }

    /// Has a helper thread carry out what waits, unless one is at work.
    fn go_on(&self) {
        let inner = &self.0;
        if inner.busy.get() || inner.waiting.borrow().is_empty() {
            return;
        }
        inner.busy.set(true);
        let (operations, laters): (Vec<_>, Vec<_>) = inner.waiting.take().into_iter().unzip();
        let file = inner.file.clone();
        let work =
            move || file.lock().unwrap_or_else(PoisonError::into_inner).carry_out(&operations);
        let store = self.clone();
        inner.handle.run(work, move |done| {
            store.0.busy.set(false);
            let answers = done.unwrap_or_else(|lost| Err(lost.to_string()));
            match answers {
                Ok(answers) => {
                    for (later, answer) in laters.into_iter().zip(answers) {
                        later.answer(answer.and_then(shown));
                    }
                }
                Err(why) => {
                    for later in laters {
                        later.answer(Err(format!("the store has failed: {why}")));
                    }
                }
            }
            store.go_on();
            store.close_later();
        });
    }

    /// Closes the file when nothing was asked for a while.
    fn close_later(&self) {
        let (store, asked) = (Rc::downgrade(&self.0), self.0.asked.get());
        self.0.handle.timer(STORE_IDLE, move |handle| {
            if let Some(inner) = store.upgrade()
                && inner.asked.get() == asked
                && !inner.busy.get()
            {
                let file = inner.file.clone();
                handle.run(
                    move || file.lock().unwrap_or_else(PoisonError::into_inner).open = None,
                    |_| {},
                );
            }
        });
    }
}

fn key(args: &[Value], number: usize) -> Result<Vec<u8>, String> {
    let key = text(args, number)?;
    if key.is_empty() || key.len() > STORE_KEY_BYTES {
        return Err(format!("a key has 1 to {STORE_KEY_BYTES} bytes"));
    }
    Ok(key.to_vec())
}

fn listing(args: &[Value]) -> Result<Operation, String> {
    let or_empty = |number| match args.get(number) {
        None | Some(Value::Nil) => Ok(Vec::new()),
        Some(_) => text(args, number).map(|text| text.to_vec()),
    };
    let most = match args.get(2) {
        None | Some(Value::Nil) => STORE_LISTED,
        Some(most) => most
            .as_integer()
            .and_then(|most| usize::try_from(most).ok())
            .filter(|most| (1..=STORE_LISTED).contains(most))
            .ok_or_else(|| format!("argument 3 must be a number from 1 to {STORE_LISTED}"))?,
    };
    Ok(Operation::List(or_empty(0)?, or_empty(1)?, most))
}

/// A value as it stands in the file: a text as it is, all else as JSON.
fn written(value: Option<&Value>) -> Result<Vec<u8>, String> {
    let written = match value {
        None | Some(Value::Nil) => return Err("nil cannot be put; use delete".to_owned()),
        Some(Value::Text(text)) => [b"t", &text[..]].concat(),
        Some(value) => [b"j", &json::encode(value, CompactFormatter)?[..]].concat(),
    };
    if written.len() > STORE_VALUE_BYTES {
        return Err(format!("a value has at most {STORE_VALUE_BYTES} bytes"));
    }
    Ok(written)
}

fn shown(found: Found) -> Result<Vec<Value>, String> {
    Ok(vec![match found {
        Found::Value(None) => Value::Nil,
        Found::Value(Some(written)) => match written.split_first() {
            Some((b't', text)) => Value::from(text.to_vec()),
            Some((b'j', json)) => json::decode(json)?,
            _ => return Err("the store has something here that it did not write".to_owned()),
        },
        Found::Flag(flag) => Value::from(flag),
        Found::Keys(keys) => Value::List(keys.into_iter().map(Value::from).collect()),
    }])
}

/// The file, as helper threads see it.
struct StoreFile {
    path: PathBuf,
    most: u64,
    open: Option<Database>,
}

type Answers = Vec<Result<Found, String>>;

impl StoreFile {
    /// Carries out all of them, or says why none.
    fn carry_out(&mut self, operations: &[Operation]) -> Result<Answers, String> {
        let most = self.most;
        let result = self.open().and_then(|database| run(database, operations, most));
        if result.is_err() {
            // It may be well again when it is opened anew.
            self.open = None;
        }
        result.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    fn open(&mut self) -> Result<&Database, redb::Error> {
        if self.open.is_none() {
            let began = Instant::now();
            let database = loop {
                match Builder::new().set_cache_size(STORE_CACHE_BYTES).create(&self.path) {
                    // The process that this one replaces may not have closed it yet.
                    Err(DatabaseError::DatabaseAlreadyOpen) if began.elapsed() < STORE_PATIENCE => {
                        std::thread::sleep(LOOK_AGAIN);
                    }
                    other => break other?,
                }
            };
            let transaction = database.begin_write()?;
            transaction.open_table(ENTRIES)?;
            transaction.open_table(BYTES)?;
            transaction.commit()?;
            self.open = Some(database);
        }
        Ok(self.open.as_ref().expect("it was opened"))
    }
}

fn run(database: &Database, operations: &[Operation], most: u64) -> Result<Answers, redb::Error> {
    if !operations.iter().any(Operation::writes) {
        let transaction = database.begin_read()?;
        let entries = transaction.open_table(ENTRIES)?;
        return operations.iter().map(|operation| Ok(Ok(look(&entries, operation)?))).collect();
    }
    let transaction = database.begin_write()?;
    let answers = {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut counted = transaction.open_table(BYTES)?;
        let mut bytes = counted.get(&b""[..])?.map_or(0, |bytes| bytes.value());
        let one = |operation| change(&mut entries, operation, &mut bytes, most);
        let answers = operations.iter().map(one).collect::<Result<Answers, redb::Error>>()?;
        counted.insert(&b""[..], bytes)?;
        answers
    };
    transaction.commit()?;
    Ok(answers)
}

/// What changes nothing.
fn look(
    entries: &impl ReadableTable<&'static [u8], &'static [u8]>,
    operation: &Operation,
) -> Result<Found, redb::Error> {
    Ok(match operation {
        Operation::Get(key) => {
            Found::Value(entries.get(&key[..])?.map(|value| value.value().to_vec()))
        }
        Operation::List(prefix, after, most) => {
            let mut keys = Vec::new();
            let from = prefix.max(after);
            for entry in entries.range(&from[..]..)? {
                let (key, _) = entry?;
                let key = key.value();
                if !key.starts_with(prefix) || keys.len() == *most {
                    break;
                }
                if key > &after[..] {
                    keys.push(key.to_vec());
                }
            }
            Found::Keys(keys)
        }
        Operation::Put(..) | Operation::Delete(_) => Found::Flag(false),
    })
}

fn change(
    entries: &mut Table<'_, &'static [u8], &'static [u8]>,
    operation: &Operation,
    bytes: &mut u64,
    most: u64,
) -> Result<Result<Found, String>, redb::Error> {
    let size = |key: &[u8], value: &[u8]| (key.len() + value.len()) as u64;
    Ok(Ok(match operation {
        Operation::Put(key, value) => {
            let old = entries.get(&key[..])?.map_or(0, |old| size(key, old.value()));
            let sum = *bytes - old + size(key, value);
            if sum > most && size(key, value) > old {
                return Ok(Err(format!("the store is full: it holds {most} bytes")));
            }
            entries.insert(&key[..], &value[..])?;
            *bytes = sum;
            Found::Flag(true)
        }
        Operation::Delete(key) => {
            let old = entries.remove(&key[..])?.map(|old| size(key, old.value()));
            *bytes -= old.unwrap_or(0);
            Found::Flag(old.is_some())
        }
        other => look(entries, other)?,
    }))
}
