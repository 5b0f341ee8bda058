//! What the interpreter of a session can reach of the server: the tree, trials, output.
//!
//! The one design choice: all that operators do to the server goes through the inspection tree, which
//! knows who may do what. So the monitor needs to know nothing of any protocol.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use medusa_core::Handle;
use medusa_core::inspect::{Level, Node, Outcome, Page, Query, Value as Field};
use medusa_script::{Later, Library, Value};

use crate::follow::{Followed, Following};
use crate::limits::{
    AUDITED_ACTIONS, AUDITED_BYTES, LONGEST_TRIAL, RESULT_DEPTH, RESULT_ENTRIES, RESULT_PARTS,
    RESULT_TEXT_BYTES,
};
use crate::outbox::Outbox;
use crate::trial::{Trial, undo_all};
use crate::wire::{FromServer, Notice, NoticeKind, PIECE_BYTES, Print};

/// What a session's scripts work at.
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    level: Level,
    /// Where output goes; none while the session waits to be resumed.
    pub(crate) outbox: RefCell<Option<Rc<Outbox>>>,
    /// The request whose output this is.
    pub(crate) request: Cell<u64>,
    /// Bytes that the statement printed.
    pub(crate) printed: Cell<usize>,
    /// What was printed and is not sent yet.
    pending: RefCell<Vec<u8>>,
    is_flushing: Cell<bool>,
    /// What the statement did, the first of it.
    pub(crate) actions: RefCell<Vec<String>>,
    pub(crate) trial: RefCell<Trial>,
    pub(crate) following: RefCell<Option<Following>>,
    followed: Rc<dyn Followed>,
    itself: Weak<Desk>,
}

impl Desk {
    pub(crate) fn new(handle: &Handle, level: Level, followed: Rc<dyn Followed>) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            handle: handle.clone(),
            level,
            outbox: RefCell::default(),
            request: Cell::new(0),
            printed: Cell::new(0),
            pending: RefCell::default(),
            is_flushing: Cell::new(false),
            actions: RefCell::default(),
            trial: RefCell::default(),
            following: RefCell::default(),
            followed,
            itself: itself.clone(),
        })
    }

    /// Says something to the client, if there is one.
    pub(crate) fn say(&self, message: &FromServer) {
        if let Some(outbox) = &*self.outbox.borrow() {
            outbox.push(message);
        }
    }

    /// Takes what a script prints; what is printed in one turn leaves together.
    pub(crate) fn print(&self, text: &[u8]) {
        self.printed.set(self.printed.get() + text.len());
        self.pending.borrow_mut().extend_from_slice(text);
        if !self.is_flushing.replace(true) {
            let desk = self.itself.clone();
            self.handle.later(move |_| {
                if let Some(desk) = desk.upgrade() {
                    desk.flush();
                }
            });
        }
    }

    /// Sends what was printed.
    pub(crate) fn flush(&self) {
        self.is_flushing.set(false);
        let printed = self.pending.take();
        let mut text = &*String::from_utf8_lossy(&printed);
        while !text.is_empty() {
            let most = text.len().min(PIECE_BYTES);
            let end = (1..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(most);
            let (piece, rest) = text.split_at(end);
            self.say(&FromServer::Print(Print { id: self.request.get(), text: piece.to_owned() }));
            text = rest;
        }
    }

    fn look(&self, args: &[Value], later: Later) {
        let path = text(args, 0);
        self.handle.inspect(Query::look(&path).by(self.level), move |outcome| {
            later.answer(match outcome {
                Outcome::Node(node) => Ok(vec![told(&node)]),
                other => Err(why(other)),
            });
        });
    }

    fn list(&self, args: &[Value], later: Later) {
        let mut query = Query::list(&text(args, 0)).by(self.level);
        if let Some(Value::Text(from)) = args.get(1) {
            query = query.from(&String::from_utf8_lossy(from));
        }
        self.handle.inspect(query, move |outcome| {
            later.answer(match outcome {
                Outcome::List(page) => Ok(vec![told_page(page)]),
                other => Err(why(other)),
            });
        });
    }

    fn act(&self, args: &[Value], later: Later) {
        let Some(desk) = self.itself.upgrade() else { return };
        let words: Vec<String> = (0..args.len()).map(|at| text(args, at)).collect();
        let [path, action, arguments @ ..] = &words[..] else { return };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let query = Query::act(path, action, &arguments).by(self.level);
        let done = words.join(" ");
        let Some(trial) = self.trial.borrow().open() else {
            return self.carry_out(query, done, None, later);
        };
        if !self.trial.borrow().has_room() {
            return later
                .answer(Err("this try has too many changes; confirm some first".to_owned()));
        }
        // What cannot be undone must not be begun.
        let (path, action) = (path.clone(), action.clone());
        self.handle.inspect(Query::look(&path).by(self.level), move |outcome| {
            let known = match &outcome {
                Outcome::Node(node) => node.actions.iter().find(|known| known.name == action),
                _ => None,
            };
            match known {
                Some(known) if !known.undoable => later.answer(Err(format!(
                    "`{action}` cannot be undone, so it cannot be tried; do it outside of the try"
                ))),
                _ => desk.carry_out(query, done, Some(trial), later),
            }
        });
    }

    fn carry_out(&self, query: Query, done: String, trial: Option<u64>, later: Later) {
        let Some(desk) = self.itself.upgrade() else { return };
        self.handle.inspect(query, move |outcome| {
            later.answer(match outcome {
                Outcome::Done(what) => {
                    desk.note(done);
                    if let (Some(trial), Some(undo)) = (trial, what.undo)
                        && let Some(undo) = desk.trial.borrow_mut().add(trial, undo)
                    {
                        // The statement was ended while this went on.
                        desk.warn(&undo_all(vec![undo]));
                    }
                    Ok(vec![what.said.into()])
                }
                other => Err(why(other)),
            });
        });
    }

    /// Remembers an action for the audit trail.
    fn note(&self, mut done: String) {
        let mut actions = self.actions.borrow_mut();
        if actions.len() < AUDITED_ACTIONS {
            if done.len() > AUDITED_BYTES / AUDITED_ACTIONS {
                let end = AUDITED_BYTES / AUDITED_ACTIONS;
                let end = (0..=end).rev().find(|at| done.is_char_boundary(*at)).unwrap_or(0);
                done.truncate(end);
                done.push('…');
            }
            actions.push(done);
        } else if actions.len() == AUDITED_ACTIONS {
            actions.push("…".to_owned());
        }
    }

    fn warn(&self, text: &str) {
        tracing::warn!("{text}");
        let notice = Notice { kind: NoticeKind::Undone, text: text.to_owned(), kept: None };
        self.say(&FromServer::Notice(notice));
    }

    fn arm(&self, args: &[Value]) -> Result<Vec<Value>, String> {
        let seconds = args.first().and_then(Value::as_number).unwrap_or(0.0);
        let within = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_TRIAL);
        let within = within.min(LONGEST_TRIAL);
        let timer = || {
            let desk = self.itself.clone();
            self.handle.timer(within, move |_| {
                let Some(desk) = desk.upgrade() else { return };
                let armed = desk.trial.borrow_mut().take_armed();
                if let Some((changes, _)) = armed {
                    desk.warn(&format!("nobody confirmed in time: {}", undo_all(changes)));
                }
            })
        };
        let count = self.trial.borrow_mut().arm(self.handle.now(), within, timer)?;
        Ok(vec![Value::from(match count {
            0 => "nothing was changed".to_owned(),
            count => format!(
                "{count} change{} made; undone in {} s unless you confirm()",
                if count == 1 { "" } else { "s" },
                within.as_secs_f64()
            ),
        })])
    }

    /// Keeps the changes that wait.
    pub(crate) fn confirm(&self) -> Result<String, String> {
        let (count, timer) =
            self.trial.borrow_mut().confirm().ok_or("there is nothing to be confirmed")?;
        self.handle.cancel_timer(timer);
        Ok(format!("{count} change{} kept", if count == 1 { "" } else { "s" }))
    }

    /// Undoes the changes that wait.
    pub(crate) fn undo(&self) -> Result<String, String> {
        let armed = self.trial.borrow_mut().take_armed();
        let (changes, timer) = armed.ok_or("there is nothing to be undone")?;
        self.handle.cancel_timer(timer);
        Ok(undo_all(changes))
    }

    /// A statement has ended: what it has begun to try and not finished is undone; says what.
    pub(crate) fn abandon(&self) -> Option<String> {
        let changes = self.trial.borrow_mut().take_open()?;
        (!changes.is_empty()).then(|| undo_all(changes))
    }

    fn follow(&self, args: &[Value], later: Later) {
        let Some(desk) = self.itself.upgrade() else { return };
        let wanted = args.get(1).and_then(Value::as_text).cloned();
        match Following::begin(&desk, &*self.followed, &text(args, 0), wanted, later) {
            Ok(following) => *self.following.borrow_mut() = Some(following),
            Err((why, later)) => later.answer(Err(why)),
        }
    }
}

/// What scripts of this desk find as `monitor`.
pub(crate) fn library(desk: &Rc<Desk>) -> Library {
    let with = |f: fn(&Desk, &[Value], Later)| {
        let desk = Rc::downgrade(desk);
        move |args: &[Value], later: Later| {
            if let Some(desk) = desk.upgrade() {
                f(&desk, args, later);
            }
        }
    };
    let now = |f: fn(&Desk, &[Value]) -> Result<Vec<Value>, String>| {
        let desk = Rc::downgrade(desk);
        move |args: &[Value]| desk.upgrade().map_or(Ok(Vec::new()), |desk| f(&desk, args))
    };
    let said = |result: Result<String, String>| result.map(|text| vec![Value::from(text)]);
    Library::new("monitor")
        .later("look", with(Desk::look))
        .later("list", with(Desk::list))
        .later("act", with(Desk::act))
        .later("follow", with(Desk::follow))
        .function(
            "trial_begin",
            now(|desk, _| desk.trial.borrow_mut().begin().map(|()| Vec::new())),
        )
        .function("trial_arm", now(Desk::arm))
        .function("trial_confirm", {
            let confirm = now(|desk, _| desk.confirm().map(|text| vec![text.into()]));
            move |args| confirm(args)
        })
        .function("trial_undo", {
            let desk = Rc::downgrade(desk);
            move |_| said(desk.upgrade().map_or(Ok(String::new()), |desk| desk.undo()))
        })
        .value("depth", RESULT_DEPTH.into())
        .value("parts", RESULT_PARTS.into())
        .value("text", RESULT_TEXT_BYTES.into())
        .value("entries", RESULT_ENTRIES.into())
}

fn text(args: &[Value], at: usize) -> String {
    args.get(at)
        .and_then(Value::as_text)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default()
}

/// Why the tree has not done what was asked.
fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Missing(why) | Outcome::Refused(why) => why,
        Outcome::Node(_) | Outcome::List(_) | Outcome::Done(_) => {
            "the server gave another answer".to_owned()
        }
    }
}

/// A field's value, and what it is.
fn told_field(field: &Field) -> (Value, Value) {
    let unit = |unit: &str| Value::from(unit);
    let seconds = |time: &Duration| Value::from(time.as_secs_f64());
    let count = |n: &u64| Value::from(i64::try_from(*n).unwrap_or(i64::MAX));
    match field {
        Field::Text(text) => (Value::from(&**text), false.into()),
        Field::Count(n) => (count(n), false.into()),
        Field::Bytes(n) => (count(n), unit("bytes")),
        Field::Time(time) => (seconds(time), unit("seconds")),
        Field::Date(time) => (seconds(time), unit("date")),
        Field::Flag(yes) => ((*yes).into(), false.into()),
    }
}

/// The fields one after the other: name, value, unit.
fn told_fields(node: &Node) -> Value {
    let fields = node.fields.iter().flat_map(|(name, value)| {
        let (value, unit) = told_field(value);
        [Value::from(&**name), value, unit]
    });
    Value::List(fields.collect())
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn told(node: &Node) -> Value {
    let actions = node.actions.iter().map(|action| {
        map([
            ("name", action.name.into()),
            ("arguments", action.arguments.into()),
            ("usage", action.usage().into()),
            ("about", action.about.into()),
            ("level", action.level.as_str().into()),
            ("undoable", action.undoable.into()),
        ])
    });
    let notes = node.notes.iter().map(|(name, note)| ((*name).into(), (*note).into()));
    map([
        ("kind", node.kind.into()),
        ("about", node.about.into()),
        ("fields", told_fields(node)),
        ("notes", Value::Map(notes.collect())),
        ("actions", Value::List(actions.collect())),
        ("children", Value::List(node.children.iter().map(|name| (&**name).into()).collect())),
        ("more", node.more.into()),
    ])
}

fn told_page(page: Page) -> Value {
    let rows = page
        .list
        .iter()
        .map(|(name, node)| map([("name", (&**name).into()), ("fields", told_fields(node))]));
    map([
        ("list", Value::List(rows.collect())),
        ("next", page.next.map_or(Value::Nil, Value::from)),
    ])
}
