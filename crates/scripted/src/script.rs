//! A script that is part of the server: its file, its versions, and how it fares.
//!
//! The one design choice: a version is whole or not there. What a script does while it is loaded
//! (timers, handlers of events) only counts when it has come to its end and returned what it must.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use medusa_core::anchor::Anchor;
use medusa_http::Files;
use medusa_script::{Begun, Budget, Callable, Outcome, Running, ScriptError, Value};

use crate::desk::{Desk, Duties};
use crate::files::GivenTree;
use crate::host::Host;

/// Bytes of what a script prints that are shown in one line of the log.
const PRINTED_BYTES: usize = 4096;

/// What a script must return when it has run from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A function that handles requests.
    Handler,
    /// A function that serves one connection.
    Session,
    /// A table with the functions of a file tree.
    Tree,
    /// Whatever it likes: it acts on events and timers.
    Anything,
}

impl Returns {
    /// What it is for, in a word.
    fn word(self) -> &'static str {
        match self {
            Self::Handler => "extension",
            Self::Session => "server",
            Self::Tree => "file tree",
            Self::Anything => "events",
        }
    }

    fn check(self, file: &str, values: Vec<Value>) -> Result<Value, ScriptError> {
        let value = values.into_iter().next().unwrap_or_default();
        let wanted = match (self, &value) {
            (Self::Handler | Self::Session, Value::Function(_)) | (Self::Anything, _) => {
                return Ok(value);
            }
            (Self::Tree, Value::Map(_)) if field(&value, "read").is_some() => return Ok(value),
            (Self::Handler, _) => "the function that handles requests",
            (Self::Session, _) => "the function that serves a connection",
            (Self::Tree, _) => "a table with the function `read`",
        };
        let kind = value.kind();
        Err(ScriptError::Refused(format!("{file}: the script must return {wanted}, not {kind}")))
    }
}

/// The function of this name in a table.
fn field<'a>(table: &'a Value, name: &str) -> Option<&'a Callable> {
    let Value::Map(entries) = table else { return None };
    entries.iter().find_map(|(key, value)| match value {
        Value::Function(function) if key.as_text().is_some_and(|k| *k == name) => Some(function),
        _ => None,
    })
}

/// What a script is, and what it may use.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptPlan {
    /// What it is called in the log and in the inspection tree.
    pub name: String,
    /// Its file, as errors name it.
    pub file: String,
    /// What stands in the file.
    pub source: Bytes,
    /// What it is given: `...` in the script.
    pub arguments: Value,
    /// What each call of its functions may use.
    pub budget: Budget,
    /// What it must return.
    pub returns: Returns,
    /// The file trees that it may read; the first is meant where it names none.
    pub trees: Vec<GivenTree>,
}

/// How a script fares, over all its versions.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) calls: Cell<u64>,
    pub(crate) errors: Cell<u64>,
    pub(crate) last_error: RefCell<String>,
}

/// A script.
pub struct Script {
    host: Host,
    plan: RefCell<ScriptPlan>,
    name: String,
    version: RefCell<Option<Rc<Version>>>,
    figures: Rc<Figures>,
    /// Its timers and events count.
    active: Cell<bool>,
    loads: Cell<u64>,
}

/// One version of a script that was loaded.
pub struct Version {
    pub(crate) owner: u64,
    name: String,
    pub(crate) budget: Budget,
    value: RefCell<Value>,
    function: RefCell<Option<Callable>>,
    figures: Rc<Figures>,
    trees: Vec<GivenTree>,
    pub(crate) senders: RefCell<BTreeMap<String, Rc<Files>>>,
    pub(crate) duties: Duties,
    desk: Weak<Desk>,
}

impl Script {
    /// Makes a script that is not loaded yet.
    pub fn new(host: &Host, plan: ScriptPlan) -> Rc<Self> {
        Rc::new(Self {
            host: host.clone(),
            name: plan.name.clone(),
            plan: RefCell::new(plan),
            version: RefCell::default(),
            figures: Rc::default(),
            active: Cell::new(false),
            loads: Cell::new(0),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name for other threads.
    pub(crate) fn anchor(self: &Rc<Self>) -> Anchor<Self> {
        self.host.0.handle.anchor(self)
    }

    /// What it is.
    pub fn plan(&self) -> ScriptPlan {
        self.plan.borrow().clone()
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The version that is in force.
    pub fn version(&self) -> Option<Rc<Version>> {
        self.version.borrow().clone()
    }

    /// Loads what the plan has; `then` hears whether that worked, perhaps at once. All or nothing:
    /// until the script has returned what it must, and if it never does, the version that was
    /// loaded before stays, as it does for calls that it has begun.
    ///
    /// What comes back is still running, if it takes longer than a slice.
    pub fn load(
        self: &Rc<Self>,
        source: Bytes,
        then: impl FnOnce(Result<(), ScriptError>) + 'static,
    ) -> Option<Running> {
        let (plan, inner) = (self.plan(), &self.host.0);
        let script = match inner.engine.load(&plan.file, &source) {
            Ok(script) => script,
            Err(error) => {
                self.note(&error);
                then(Err(error));
                return None;
            }
        };
        let version = Rc::new(Version {
            owner: inner.desk.next_owner(),
            name: self.name.clone(),
            budget: plan.budget,
            value: RefCell::default(),
            function: RefCell::default(),
            figures: self.figures.clone(),
            trees: plan.trees,
            senders: RefCell::default(),
            duties: Duties::default(),
            desk: Rc::downgrade(&inner.desk),
        });
        inner.desk.enter(&version);
        let owner = version.owner;
        let begun = inner.engine.call_hurried(owner, &script, &[plan.arguments], Budget::HANDLER);
        let this = self.clone();
        begun.then(move |outcome| {
            version.printed(&outcome.output);
            let checked = outcome.result.and_then(|values| plan.returns.check(&plan.file, values));
            then(match checked {
                Ok(value) => {
                    this.install(version, value, source);
                    Ok(())
                }
                Err(error) => {
                    this.note(&error);
                    Err(error)
                }
            });
        })
    }

    fn install(&self, version: Rc<Version>, value: Value, source: Bytes) {
        if let Value::Function(function) = &value {
            version.function.replace(Some(function.clone()));
        }
        version.value.replace(value);
        if self.active.get() {
            version.duties.activate(&version, &self.host.0.handle);
        }
        self.plan.borrow_mut().source = source;
        self.loads.set(self.loads.get() + 1);
        if let Some(old) = self.version.replace(Some(version)) {
            old.duties.end(&self.host.0.handle);
        }
    }

    /// Has its timers and handlers of events count from now on.
    pub fn activate(&self) {
        self.active.set(true);
        if let Some(version) = self.version() {
            version.duties.activate(&version, &self.host.0.handle);
        }
    }

    /// Ends its timers and events. Calls that have begun go on.
    pub fn end(&self) {
        self.active.set(false);
        if let Some(version) = self.version() {
            version.duties.end(&self.host.0.handle);
        }
    }

    /// Ends it with all that it is doing, and lets nothing of it be called any more.
    pub fn drop_all(&self) {
        self.end();
        if let Some(version) = self.version.take() {
            self.host.engine().cancel_all(version.owner);
        }
    }

    /// Calls of its functions that run or wait.
    pub fn running(&self) -> usize {
        self.version().map_or(0, |version| self.host.engine().tasks_of(version.owner))
    }

    /// Ends the calls of its functions that run or wait; gives how many.
    pub fn cancel_calls(&self) -> usize {
        let count = self.running();
        if let Some(version) = self.version() {
            self.host.engine().cancel_all(version.owner);
        }
        count
    }

    /// What it is for, in a word.
    pub fn purpose(&self) -> &'static str {
        self.plan.borrow().returns.word()
    }

    /// Calls of its functions, those that failed, and why the last one did.
    pub fn figures(&self) -> (u64, u64, String) {
        let Figures { calls, errors, last_error } = &*self.figures;
        (calls.get(), errors.get(), last_error.borrow().clone())
    }

    /// How often it was loaded.
    pub fn loads(&self) -> u64 {
        self.loads.get()
    }

    fn note(&self, error: &ScriptError) {
        self.figures.last_error.replace(error.to_string());
    }
}

/// An error with the calls that led to it.
pub(crate) fn explained(error: &ScriptError) -> String {
    match error.traceback() {
        "" => error.to_string(),
        traceback => format!("{error}\n{traceback}"),
    }
}

impl Version {
    /// What the script is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The function that it returned.
    pub(crate) fn function(&self) -> Option<Callable> {
        self.function.borrow().clone()
    }

    /// The file trees that it may read.
    pub(crate) fn trees(&self) -> &[GivenTree] {
        &self.trees
    }

    /// Calls a function of the script, which is counted.
    pub(crate) fn begin(&self, function: &Callable, arguments: &[Value]) -> Begun {
        self.begin_within(function, arguments, self.budget)
    }

    /// The same with another budget.
    pub(crate) fn begin_within(
        &self,
        function: &Callable,
        arguments: &[Value],
        budget: Budget,
    ) -> Begun {
        self.figures.calls.set(self.figures.calls.get() + 1);
        function.engine().call_for(self.owner, function, arguments, budget)
    }

    /// The function of this name in the table that it returned.
    pub(crate) fn named(&self, name: &str) -> Option<Callable> {
        field(&self.value.borrow(), name).cloned()
    }

    /// Calls a function from whose results nobody hears; what goes wrong is logged. `then` is
    /// called when it has ended.
    pub(crate) fn run(
        self: &Rc<Self>,
        function: &Callable,
        arguments: &[Value],
        then: impl FnOnce() + 'static,
    ) {
        let this = self.clone();
        self.begin(function, arguments).then(move |Outcome { result, output, .. }| {
            this.printed(&output);
            match result {
                Err(ScriptError::Cancelled) | Ok(_) => {}
                Err(error) => this.failed(&explained(&error)),
            }
            then();
        });
    }

    /// Logs that a call has failed.
    pub(crate) fn failed(&self, why: &str) {
        self.figures.errors.set(self.figures.errors.get() + 1);
        self.figures.last_error.replace(why.lines().next().unwrap_or_default().to_owned());
        tracing::error!("script `{}` failed: {why}", self.name);
    }

    /// Logs what a call has printed.
    pub(crate) fn printed(&self, output: &[u8]) {
        if !output.is_empty() {
            let shown = String::from_utf8_lossy(&output[..output.len().min(PRINTED_BYTES)]);
            tracing::info!("script `{}` prints: {}", self.name, shown.trim_end().escape_debug());
        }
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.upgrade() {
            desk.leave(self.owner);
        }
    }
}
