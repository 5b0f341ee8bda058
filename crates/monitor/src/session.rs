//! A session: an interpreter of its own for one operator, and the statement that runs in it.
//!
//! The one design choice: a session is not its connection. When that breaks, the session waits for a
//! while with its variables and its trial, and whoever has its token goes on with it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::Handle;
use medusa_core::handle::TimerId;
use medusa_core::inspect::Level;
use medusa_script::{Budget, Callable, Engine, Exceeded, Outcome, Running, ScriptError, Value};

use crate::audit::{Audit, Entry, shown};
use crate::desk::{Desk, library};
use crate::follow::Followed;
use crate::limits::{COMPLETION, KEPT_BYTES, MonitorSettings};
use crate::outbox::Outbox;
use crate::result::done;
use crate::wire::{self, Completions, Done, Failed, FromServer, MAX_ROWS, ROWS, Role, Run};

/// What runs once in the interpreter of each session.
const CONSOLE: &str = concat!(include_str!("help.lua"), include_str!("console.lua"));

/// What a session's code is called in messages.
const OWN: &str = "console";

/// What a statement is called in messages.
const STATEMENT: &str = "statement";

/// A session.
pub(crate) struct Session {
    pub(crate) number: u64,
    /// What it can be resumed by.
    pub(crate) token: RefCell<String>,
    pub(crate) operator: String,
    pub(crate) role: Role,
    /// Since when it is there, as the time since 1970.
    pub(crate) since: Duration,
    pub(crate) desk: Rc<Desk>,
    pub(crate) from: RefCell<String>,
    /// Statements that were begun.
    pub(crate) statements: Cell<u64>,
    /// Ends it, unless somebody resumes it before.
    pub(crate) waiting: Cell<Option<TimerId>>,
    statement: RefCell<Option<Statement>>,
    audit: Rc<dyn Audit>,
    budget: Budget,
    engine: Engine,
    functions: Functions,
}

/// What the console's own code offers.
struct Functions {
    run: Callable,
    more: Callable,
    complete: Callable,
    keep: Callable,
    restore: Callable,
}

/// The statement that runs.
struct Statement {
    id: u64,
    code: String,
    began: Instant,
    running: Option<Running>,
}

/// Who a session is for.
pub(crate) struct Who {
    pub(crate) number: u64,
    pub(crate) token: String,
    pub(crate) operator: String,
    pub(crate) role: Role,
    pub(crate) from: String,
}

impl Session {
    pub(crate) fn new(
        handle: &Handle,
        who: Who,
        settings: &MonitorSettings,
        audit: Rc<dyn Audit>,
        followed: Rc<dyn Followed>,
    ) -> Result<Rc<Self>, ScriptError> {
        let level = match who.role {
            Role::Look => Level::Look,
            Role::Operate => Level::Operate,
            Role::All => Level::All,
        };
        let desk = Desk::new(handle, level, followed);
        let engine = Engine::new(handle, settings.memory)?;
        engine.add(library(&desk))?;
        let to = Rc::downgrade(&desk);
        engine.stream_output(move |text| {
            if let Some(desk) = to.upgrade() {
                desk.print(text);
            }
        });
        let functions = Functions::of(&engine)?;
        Ok(Rc::new(Self {
            number: who.number,
            token: RefCell::new(who.token),
            operator: who.operator,
            role: who.role,
            since: handle.unix_time(),
            desk,
            from: RefCell::new(who.from),
            statements: Cell::new(0),
            waiting: Cell::new(None),
            statement: RefCell::default(),
            audit,
            budget: settings.statement,
            engine,
            functions,
        }))
    }

    /// Whether a statement runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.statement.borrow().is_some()
    }

    /// The statement that runs, and since when.
    pub(crate) fn doing(&self) -> Option<(String, Duration)> {
        let statement = self.statement.borrow();
        let statement = statement.as_ref()?;
        let since = self.desk.handle.now().saturating_duration_since(statement.began);
        Some((shown(&statement.code), since))
    }

    /// Bytes of memory that its interpreter uses.
    pub(crate) fn memory(&self) -> usize {
        self.engine.memory()
    }

    /// Connects it to a client.
    pub(crate) fn attach(&self, outbox: Rc<Outbox>, from: String) {
        *self.desk.outbox.borrow_mut() = Some(outbox);
        *self.from.borrow_mut() = from;
    }

    /// Whether it is this client's.
    pub(crate) fn is_of(&self, outbox: &Rc<Outbox>) -> bool {
        self.desk.outbox.borrow().as_ref().is_some_and(|own| Rc::ptr_eq(own, outbox))
    }

    fn fail(&self, id: u64, message: impl Into<String>) {
        self.desk.say(&FromServer::Failed(Failed {
            id,
            message: message.into(),
            ..Failed::default()
        }));
    }

    /// Runs a statement; what comes of it goes to the client.
    pub(crate) fn run(self: &Rc<Self>, request: Run) {
        let Run { id, code, rows } = request;
        if id == 0 {
            return self.fail(0, "a statement needs an id other than 0");
        }
        if let Some(running) = &*self.statement.borrow() {
            let message = format!(
                "statement {} is running; cancel it, or wait until it has ended",
                running.id
            );
            return self.fail(id, message);
        }
        let began = self.desk.handle.now();
        *self.statement.borrow_mut() =
            Some(Statement { id, code: code.clone(), began, running: None });
        self.statements.set(self.statements.get() + 1);
        self.desk.request.set(id);
        self.desk.printed.set(0);
        self.desk.actions.borrow_mut().clear();
        let session = self.clone();
        let arguments = [Value::from(code), Value::from(wanted(rows))];
        let begun = self.engine.call(&self.functions.run, &arguments, self.budget);
        let running = begun.then(move |outcome| session.ended(&outcome));
        if let (Some(statement), Some(running)) = (&mut *self.statement.borrow_mut(), running) {
            statement.running = Some(running);
        }
    }

    /// The statement has ended.
    fn ended(&self, outcome: &Outcome) {
        let Some(statement) = self.statement.borrow_mut().take() else { return };
        *self.desk.following.borrow_mut() = None;
        self.desk.flush();
        let undone = self.desk.abandon();
        let id = statement.id;
        let message = match &outcome.result {
            Ok(values) => done(id, values, outcome.ran),
            Err(error) => FromServer::Failed(failed(id, error, outcome.ran, undone)),
        };
        let why = match &message {
            FromServer::Failed(failed) => {
                if failed.incomplete {
                    // Nothing of it has run.
                    self.statements.set(self.statements.get() - 1);
                    self.desk.say(&message);
                    return;
                }
                failed.message.clone()
            }
            _ => "done".to_owned(),
        };
        self.desk.say(&message);
        self.audit.statement(&Entry {
            operator: &self.operator,
            role: self.role,
            from: &self.from.borrow(),
            session: self.number,
            statement: &shown(&statement.code),
            actions: &self.desk.actions.borrow(),
            ran: outcome.ran,
            took: self.desk.handle.now().saturating_duration_since(statement.began),
            output: self.desk.printed.get(),
            outcome: &why,
        });
    }

    /// Ends the statement that runs; with an id, only if it is that one. Says whether there was
    /// one.
    pub(crate) fn cancel(&self, id: Option<u64>) -> bool {
        let running = {
            let statement = self.statement.borrow();
            statement
                .as_ref()
                .filter(|statement| id.is_none_or(|id| statement.id == id))
                .map(|statement| statement.running.clone())
        };
        // It may be the one that asks: then it ends when it gives up its slice.
        if let Some(Some(running)) = &running {
            running.cancel();
        }
        running.is_some()
    }

    /// Shows more of the last result.
    pub(crate) fn more(self: &Rc<Self>, id: u64, rows: Option<u32>) {
        if self.is_busy() {
            return self.fail(id, "a statement is running; more can be shown when it has ended");
        }
        let session = self.clone();
        let arguments = [Value::from(wanted(rows))];
        let begun = self.engine.call(&self.functions.more, &arguments, self.budget);
        begun.then(move |outcome| {
            session.desk.say(&match &outcome.result {
                Ok(values) => done(id, values, outcome.ran),
                Err(error) => FromServer::Failed(failed(id, error, outcome.ran, None)),
            });
        });
    }

    /// Says how a word could go on.
    pub(crate) fn complete(self: &Rc<Self>, id: u64, code: String, at: usize) {
        let session = self.clone();
        let at = at.min(code.len());
        let cursor = i64::try_from(at).unwrap_or(i64::MAX);
        let arguments = [Value::from(code), Value::from(cursor)];
        let begun = self.engine.call(&self.functions.complete, &arguments, COMPLETION);
        begun.then(move |outcome| {
            // Whatever went wrong: then there is nothing to be offered.
            let found = outcome.result.ok().and_then(|values| values.into_iter().next());
            let found = found.unwrap_or_default();
            let from = field(&found, "from").as_integer().and_then(|n| usize::try_from(n).ok());
            let Value::List(names) = field(&found, "names") else {
                let none = Completions { id, from: at, names: Vec::new() };
                return session.desk.say(&FromServer::Completions(none));
            };
            let names = names.iter().filter_map(|name| name.as_text()).map(lossy).collect();
            let from = from.unwrap_or(at);
            session.desk.say(&FromServer::Completions(Completions { id, from, names }));
        });
    }

    /// The variables that another process can take over, and the names of those that it cannot.
    pub(crate) fn keep(&self) -> (Option<String>, Vec<String>) {
        let kept = Rc::new(RefCell::new((None, Vec::new())));
        let to = kept.clone();
        let begun = self.engine.call(&self.functions.keep, &[], COMPLETION);
        let running = begun.then(move |outcome| {
            if let Ok([Value::Text(text), lost]) = outcome.result.as_deref()
                && text.len() <= KEPT_BYTES
            {
                let lost = if let Value::List(lost) = lost { &lost[..] } else { &[] };
                let lost = lost.iter().filter_map(|name| name.as_text()).map(lossy).collect();
                *to.borrow_mut() = (Some(lossy(text)), lost);
            }
        });
        if let Some(running) = running {
            running.run_on();
        }
        kept.take()
    }

    /// Takes over the variables that another process has kept.
    pub(crate) fn restore(self: &Rc<Self>, id: u64, kept: String) {
        let session = self.clone();
        if kept.len() > KEPT_BYTES {
            return self.fail(id, "what was kept of the session is too long to have been kept");
        }
        let begun = self.engine.call(&self.functions.restore, &[kept.into()], COMPLETION);
        begun.then(move |outcome| {
            session.desk.say(&match outcome.result {
                Ok(_) => FromServer::Done(Done { id, ..Done::default() }),
                Err(error) => FromServer::Failed(failed(id, &error, outcome.ran, None)),
            });
        });
    }

    /// Ends what runs, and undoes what is tried and waits to be confirmed.
    pub(crate) fn end(&self) {
        self.cancel(None);
        if let Ok(undone) = self.desk.undo() {
            tracing::warn!(
                "session {} of {} has ended before its changes were confirmed: {undone}",
                self.number,
                self.operator
            );
        }
    }
}

impl Functions {
    fn of(engine: &Engine) -> Result<Self, ScriptError> {
        let script = engine.load(OWN, CONSOLE.as_bytes())?;
        let made = Rc::new(RefCell::new(None));
        let to = made.clone();
        let begun = engine.call(&script, &[], Budget::STATEMENT);
        let running = begun.then(move |outcome| *to.borrow_mut() = Some(outcome.result));
        // It is short and waits for nothing; a busy machine may stop it on its way all the same.
        if let Some(running) = running {
            running.run_on();
        }
        let made = made.take().unwrap_or_else(|| {
            Err(ScriptError::Refused("the console's own code has not come to its end".to_owned()))
        })?;
        let made = made.into_iter().next().unwrap_or_default();
        let function = |name: &str| match field(&made, name) {
            Value::Function(function) => Ok(function.clone()),
            _ => Err(ScriptError::Refused(format!("the console's own code has no `{name}`"))),
        };
        Ok(Self {
            run: function("run")?,
            more: function("more")?,
            complete: function("complete")?,
            keep: function("keep")?,
            restore: function("restore")?,
        })
    }
}

/// Rows to be shown.
fn wanted(rows: Option<u32>) -> i64 {
    i64::from(rows.unwrap_or(ROWS).clamp(1, MAX_ROWS))
}

/// The value under a name.
pub(crate) fn field<'a>(of: &'a Value, name: &str) -> &'a Value {
    let Value::Map(map) = of else { return &Value::Nil };
    let is_it = |key: &Value| key.as_text().is_some_and(|key| &key[..] == name.as_bytes());
    map.iter().find(|(key, _)| is_it(key)).map_or(&Value::Nil, |(_, value)| value)
}

pub(crate) fn lossy(text: &bytes::Bytes) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Whether a line of a traceback tells of a call in what was typed.
fn is_theirs(call: &str) -> bool {
    !["console:", "medusa:", "[C]:", "(..."].iter().any(|own| call.starts_with(own))
}

/// Tells why a statement has failed.
fn failed(id: u64, error: &ScriptError, ran: Duration, undone: Option<String>) -> Failed {
    let mut failed = Failed { id, ms: ran.as_millis() as u64, ..Failed::default() };
    match error {
        ScriptError::Syntax(place) | ScriptError::Failed(place) => {
            failed.message.clone_from(&place.message);
            match &*place.file {
                STATEMENT => failed.line = place.line,
                OWN => {}
                _ => failed.message = place.to_string(),
            }
            // Calls of the console's own and the engine's code say nothing to whoever typed.
            let calls: Vec<&str> = place.traceback.lines().filter(|call| is_theirs(call)).collect();
            failed.traceback = calls.join("\n");
        }
        ScriptError::Exceeded(what) => {
            failed.message = what.to_string();
            failed.budget = Some(match what {
                Exceeded::Instructions => wire::Budget::Instructions,
                Exceeded::Time => wire::Budget::Time,
                Exceeded::Deadline => wire::Budget::Deadline,
                Exceeded::Memory => wire::Budget::Memory,
                Exceeded::Output => wire::Budget::Output,
                Exceeded::Uninterrupted => wire::Budget::Uninterrupted,
            });
        }
        ScriptError::Cancelled => {
            "the statement was cancelled".clone_into(&mut failed.message);
            failed.cancelled = true;
        }
        ScriptError::Refused(why) => failed.message.clone_from(why),
    }
    if let Some(undone) = undone {
        failed.message.extend(["; what it had tried: ", &undone]);
    }
    failed
}
