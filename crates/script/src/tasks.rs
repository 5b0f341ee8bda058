//! The scripts that run or wait in one interpreter, and when each has its turn.
//!
//! The one design choice: a script is a coroutine that the loop resumes. It runs for a slice; then
//! others have their turn, and a timer resumes it. While it waits nothing of it is in the loop but
//! whoever will answer it ([`Later`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::Handle;
use medusa_core::handle::TimerId;
use mlua::{Function, MultiValue, Thread};

use crate::call::{Begun, Later, Outcome, Running};
use crate::error::{Budget, Exceeded, Place, ScriptError, failure};
use crate::interpreter::Interpreter;
use crate::limits::{CHILDREN, LONGEST_SLEEP, PAUSE, TASKS};
use crate::value::{Value, take};

pub(crate) type Then = Box<dyn FnOnce(Outcome)>;
/// What a function of the host answers.
pub(crate) type Answer = Result<Vec<Value>, String>;

/// What a script is told that waits where it must not.
const HURRIES: &str = "a script cannot wait while it is loaded; do this in a function that is \
                       called later (`timers.after(0, f)` calls one soon)";

/// What a script and all that it started may still use.
struct Account {
    /// Whose script it is: the number that its caller gave, or 0.
    owner: u64,
    /// It must not wait for anything.
    hurries: bool,
    budget: Budget,
    deadline: Instant,
    instructions: Cell<u64>,
    time: Cell<Duration>,
    /// Bytes that it printed, and those of them that nobody has heard yet.
    printed: Cell<usize>,
    output: RefCell<Vec<u8>>,
    /// What those that it started have returned, until somebody asks.
    ended: RefCell<HashMap<u64, Answer>>,
    children: Cell<usize>,
}

struct Task {
    /// Not there while it runs.
    thread: Option<Thread>,
    account: Rc<Account>,
    is_child: bool,
    cancelled: bool,
    /// What it is resumed with for the first time.
    arguments: MultiValue,
    /// The number of the answer that it waits for; 0 is none.
    waiting: u64,
    /// An answer that came.
    answer: Option<(u64, Answer)>,
    deadline: Option<TimerId>,
    sleep: Option<TimerId>,
    then: Vec<Then>,
    /// Called when it has ended, however it did.
    at_end: Vec<Box<dyn FnOnce()>>,
}

/// The hash of a number that was counted up, so that nobody can choose it.
#[derive(Default)]
struct Counted(u64);

impl Hasher for Counted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // The table looks at the upper bits too: 2^64 by the golden ratio spreads the lower ones.
        self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// All scripts of an interpreter.
pub(crate) struct Tasks {
    handle: Handle,
    all: RefCell<HashMap<u64, Task, BuildHasherDefault<Counted>>>,
    last: Cell<u64>,
    last_token: Cell<u64>,
    /// The one that runs; 0 is none.
    current: Cell<u64>,
}

impl Tasks {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            all: RefCell::default(),
            last: Cell::new(0),
            last_token: Cell::new(0),
            current: Cell::new(0),
        }
    }

    /// Scripts that run or wait.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Whether a script has not ended.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.all.borrow().contains_key(&id)
    }

    /// Has `then` hear how a script ends.
    pub(crate) fn add_then(&self, id: u64, then: Then) {
        if let Some(task) = self.all.borrow_mut().get_mut(&id) {
            task.then.push(then);
        }
    }

    /// Scripts of this owner that run or wait.
    pub(crate) fn count_of(&self, owner: u64) -> usize {
        self.all.borrow().values().filter(|task| task.account.owner == owner).count()
    }

    /// The owner of the script that runs; 0 if none runs, or it has none.
    pub(crate) fn owner(&self) -> u64 {
        self.all.borrow().get(&self.current.get()).map_or(0, |task| task.account.owner)
    }

    /// Has `run` called when a script has ended.
    pub(crate) fn at_end(&self, id: u64, run: Box<dyn FnOnce()>) {
        if let Some(task) = self.all.borrow_mut().get_mut(&id) {
            task.at_end.push(run);
        }
    }

    /// Gives a script its whole budget again, and what it has printed.
    pub(crate) fn renew(&self, id: u64) -> Vec<u8> {
        let all = self.all.borrow();
        let Some(Task { account, .. }) = all.get(&id) else { return Vec::new() };
        account.instructions.set(account.budget.instructions);
        account.time.set(account.budget.time);
        account.printed.set(0);
        account.output.take()
    }

    /// Cancels all scripts of this owner.
    pub(crate) fn cancel_all(of: &Rc<Interpreter>, owner: u64) {
        let ids: Vec<u64> = {
            let all = of.tasks.all.borrow();
            all.iter().filter(|(_, task)| task.account.owner == owner).map(|(id, _)| *id).collect()
        };
        for id in ids {
            Self::end_early(of, id, ScriptError::Cancelled);
        }
    }

    /// Runs a script on without letting others have their turn, until it has ended or waits.
    pub(crate) fn run_on(of: &Rc<Interpreter>, id: u64) {
        while of.tasks.all.borrow().get(&id).is_some_and(|task| task.waiting == 0) {
            if let Some((outcome, then)) = Self::run(of, id) {
                tell(&outcome, then);
            }
        }
    }

    /// Begins a script. It runs at once, unless another one is running that asked for it.
    pub(crate) fn begin(
        of: &Rc<Interpreter>,
        owner: u64,
        function: &Function,
        arguments: MultiValue,
        budget: Budget,
        hurries: bool,
    ) -> Begun {
        let account = Rc::new(Account {
            owner,
            hurries,
            budget,
            deadline: of.tasks.handle.now() + budget.within,
            instructions: Cell::new(budget.instructions),
            time: Cell::new(budget.time),
            printed: Cell::new(0),
            output: RefCell::default(),
            ended: RefCell::default(),
            children: Cell::new(0),
        });
        let id = match Self::insert(of, function, arguments, account, false) {
            Ok(id) => id,
            Err(error) => return Begun::Ended(Outcome::refused(error)),
        };
        if of.tasks.current.get() != 0 {
            Self::schedule(of, id, None);
        } else if let Some((outcome, _)) = Self::run(of, id) {
            return Begun::Ended(outcome);
        }
        Begun::Running(Running::new(of, id))
    }

    fn insert(
        of: &Rc<Interpreter>,
        function: &Function,
        arguments: MultiValue,
        account: Rc<Account>,
        is_child: bool,
    ) -> Result<u64, ScriptError> {
        let tasks = &of.tasks;
        if tasks.len() >= TASKS {
            return Err(ScriptError::Refused(format!(
                "{TASKS} scripts run already; try again when some have ended"
            )));
        }
        let thread = of.thread(function).map_err(|e| failure(&e))?;
        let id = tasks.last.get() + 1;
        tasks.last.set(id);
        let task = Task {
            thread: Some(thread),
            account,
            is_child,
            cancelled: false,
            arguments,
            waiting: 0,
            answer: None,
            deadline: None,
            sleep: None,
            then: Vec::new(),
            at_end: Vec::new(),
        };
        tasks.all.borrow_mut().insert(id, task);
        Ok(id)
    }

    /// Has a script resumed by the loop.
    fn schedule(of: &Rc<Interpreter>, id: u64, after: Option<Duration>) {
        let weak = Rc::downgrade(of);
        let resume = move |_: &Handle| {
            if let Some(of) = weak.upgrade()
                && let Some((outcome, then)) = Self::run(&of, id)
            {
                tell(&outcome, then);
            }
        };
        match after {
            None => of.tasks.handle.later(resume),
            Some(after) => _ = of.tasks.handle.timer(after, resume),
        }
    }

    /// Runs a script for a slice; gives how it ended, if it did.
    fn run(of: &Rc<Interpreter>, id: u64) -> Option<(Outcome, Vec<Then>)> {
        let tasks = &of.tasks;
        let (thread, arguments, account) = {
            let mut all = tasks.all.borrow_mut();
            let task = all.get_mut(&id)?;
            let arguments = match task.answer.take() {
                Some((token, answer)) if token == task.waiting && token != 0 => {
                    task.sleep = None;
                    given(of, answer)
                }
                // It may be one that the script has asked for and does not wait for yet.
                other => {
                    task.answer = other;
                    Ok(std::mem::take(&mut task.arguments))
                }
            };
            task.waiting = 0;
            (task.thread.take()?, arguments, task.account.clone())
        };
        let began = Instant::now();
        of.guard.begin(account.instructions.get(), account.time.get());
        tasks.current.set(id);
        let result = arguments.and_then(|arguments| {
            // A function of the host that panics costs the script, and nobody else.
            catch_unwind(AssertUnwindSafe(|| thread.resume::<MultiValue>(arguments)))
                .unwrap_or_else(|_| Err(mlua::Error::runtime("a function of the server panicked")))
        });
        tasks.current.set(0);
        let (instructions, over) = of.guard.end();
        account.instructions.set(instructions);
        account.time.set(account.time.get().saturating_sub(began.elapsed()));
        Self::after_slice(of, id, thread, &account, result, over)
    }

    /// Decides what becomes of a script after a slice.
    fn after_slice(
        of: &Rc<Interpreter>,
        id: u64,
        thread: Thread,
        account: &Account,
        result: mlua::Result<MultiValue>,
        over: Option<Exceeded>,
    ) -> Option<(Outcome, Vec<Then>)> {
        let cancelled = of.tasks.all.borrow().get(&id).is_some_and(|task| task.cancelled);
        let ended = match result {
            _ if cancelled => Err(ScriptError::Cancelled),
            _ if over.is_some() => Err(ScriptError::Exceeded(over?)),
            Err(_) if of.guard.is_exhausted() => Err(ScriptError::Exceeded(Exceeded::Memory)),
            Err(error) => Err(failure(&error)),
            Ok(values) if thread.is_resumable() => match values.front() {
                Some(mlua::Value::Boolean(true)) => {
                    let token = values.get(1).and_then(mlua::Value::as_integer).unwrap_or(0);
                    Self::suspend(of, id, thread, Some(token as u64));
                    return None;
                }
                Some(mlua::Value::Boolean(false)) => {
                    let message = "attempt to yield from outside a coroutine".to_owned();
                    Err(ScriptError::Failed(Place::read(&message)))
                }
                _ if account.time.get().is_zero() => Err(ScriptError::Exceeded(Exceeded::Time)),
                _ => {
                    Self::suspend(of, id, thread, None);
                    return None;
                }
            },
            Ok(values) => {
                of.keep(thread);
                let values: Result<Vec<_>, _> = values.iter().map(|v| take(of, v)).collect();
                values.map_err(|why| {
                    ScriptError::Failed(Place::read(&format!("cannot return this: {why}")))
                })
            }
        };
        Self::finish(of, id, ended)
    }

    /// Puts a script aside, until its answer comes or for a moment.
    fn suspend(of: &Rc<Interpreter>, id: u64, thread: Thread, token: Option<u64>) {
        let mut all = of.tasks.all.borrow_mut();
        let Some(task) = all.get_mut(&id) else { return };
        task.thread = Some(thread);
        if task.deadline.is_none() {
            let left = task.account.deadline.saturating_duration_since(of.tasks.handle.now());
            let weak = Rc::downgrade(of);
            task.deadline = Some(of.tasks.handle.timer(left, move |_| {
                if let Some(of) = weak.upgrade() {
                    Self::end_early(&of, id, ScriptError::Exceeded(Exceeded::Deadline));
                }
            }));
        }
        let after = match token {
            None => Some(PAUSE),
            Some(token) => {
                task.waiting = token;
                if task.answer.as_ref().is_none_or(|(came, _)| *came != token) {
                    return;
                }
                None
            }
        };
        drop(all);
        Self::schedule(of, id, after);
    }

    fn finish(
        of: &Rc<Interpreter>,
        id: u64,
        result: Result<Vec<Value>, ScriptError>,
    ) -> Option<(Outcome, Vec<Then>)> {
        let task = of.tasks.all.borrow_mut().remove(&id)?;
        for timer in [task.deadline, task.sleep].into_iter().flatten() {
            of.tasks.handle.cancel_timer(timer);
        }
        for run in task.at_end {
            run();
        }
        let account = &task.account;
        if task.is_child && task.then.is_empty() {
            let answer = result.clone().map_err(|e| e.to_string());
            account.ended.borrow_mut().insert(id, answer);
        } else if task.is_child {
            account.children.set(account.children.get() - 1);
        }
        let output = if task.is_child { Vec::new() } else { account.output.take() };
        let ran = account.budget.time.saturating_sub(account.time.get());
        Some((Outcome { result, output: output.into(), ran }, task.then))
    }

    /// Ends a script from outside.
    pub(crate) fn end_early(of: &Rc<Interpreter>, id: u64, why: ScriptError) -> bool {
        if let Some(task) = of.tasks.all.borrow_mut().get_mut(&id)
            && task.thread.is_none()
        {
            // It runs this moment, and asked for this itself.
            task.cancelled = true;
            return true;
        }
        let ended = Self::finish(of, id, Err(why));
        let was_there = ended.is_some();
        if let Some((outcome, then)) = ended {
            tell(&outcome, then);
        }
        was_there
    }

    /// Takes an answer to the script that waits for it.
    pub(crate) fn arrived(of: &Rc<Interpreter>, id: u64, token: u64, answer: Answer) {
        let mut all = of.tasks.all.borrow_mut();
        let Some(task) = all.get_mut(&id) else { return };
        if token < task.waiting {
            return;
        }
        task.answer = Some((token, answer));
        if task.waiting == token {
            drop(all);
            Self::schedule(of, id, None);
        }
    }

    /// Calls a function of the host that answers later: gives the number of the answer, or the
    /// answer, if it is there at once.
    pub(crate) fn await_in(of: &Rc<Interpreter>, ask: impl FnOnce(Later)) -> Result<u64, Answer> {
        let tasks = &of.tasks;
        let task = tasks.current.get();
        if task == 0 {
            return Err(Err("this can only be asked by a script that runs".to_owned()));
        }
        if Self::account(of).is_some_and(|account| account.hurries) {
            return Err(Err(HURRIES.to_owned()));
        }
        let token = tasks.last_token.get() + 1;
        tasks.last_token.set(token);
        ask(Later::new(of, task, token));
        let mut all = tasks.all.borrow_mut();
        let Some(task) = all.get_mut(&task) else { return Ok(token) };
        match task.answer.take() {
            Some((came, answer)) if came == token => Err(answer),
            other => {
                task.answer = other;
                Ok(token)
            }
        }
    }

    /// Has the script that runs wait for so many seconds.
    pub(crate) fn sleep(of: &Rc<Interpreter>, seconds: f64) -> Result<u64, Answer> {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_SLEEP);
        Self::await_in(of, |later| {
            let timer = of.tasks.handle.timer(time.min(LONGEST_SLEEP), move |_| {
                later.answer(Ok(Vec::new()));
            });
            if let Some(task) = of.tasks.all.borrow_mut().get_mut(&of.tasks.current.get()) {
                task.sleep = Some(timer);
            }
        })
    }

    /// Begins another script for the one that runs, which shares its budget.
    pub(crate) fn start_child(
        of: &Rc<Interpreter>,
        function: &Function,
        arguments: MultiValue,
    ) -> Result<u64, ScriptError> {
        let account = Self::account(of)
            .ok_or_else(|| ScriptError::Refused("no script is running".to_owned()))?;
        if account.children.get() >= CHILDREN {
            return Err(ScriptError::Refused(format!(
                "this script has started {CHILDREN} others; wait for some of them"
            )));
        }
        let id = Self::insert(of, function, arguments, account.clone(), true)?;
        account.children.set(account.children.get() + 1);
        Self::schedule(of, id, None);
        Ok(id)
    }

    fn account(of: &Rc<Interpreter>) -> Option<Rc<Account>> {
        let all = of.tasks.all.borrow();
        all.get(&of.tasks.current.get()).map(|task| task.account.clone())
    }

    /// Has the script that runs wait for one that it started; gives the number of the answer, or
    /// the answer.
    pub(crate) fn wait_for(of: &Rc<Interpreter>, id: u64) -> Result<u64, Answer> {
        let Some(account) = Self::account(of) else { return Err(Ok(Vec::new())) };
        if let Some(answer) = account.ended.borrow_mut().remove(&id) {
            account.children.set(account.children.get() - 1);
            return Err(answer);
        }
        {
            let all = of.tasks.all.borrow();
            let is_known = all.get(&id).is_some_and(|task| Rc::ptr_eq(&task.account, &account));
            if !is_known || id == of.tasks.current.get() {
                return Err(Err("there is no such script to wait for".to_owned()));
            }
        }
        Self::await_in(of, |later| {
            let answered = |outcome: Outcome| {
                later.answer(outcome.result.map_err(|e| e.to_string()));
            };
            of.tasks.add_then(id, Box::new(answered));
        })
    }

    /// Cancels a script for the one that runs and started it.
    pub(crate) fn cancel(of: &Rc<Interpreter>, id: u64) -> bool {
        let Some(account) = Self::account(of) else { return false };
        let is_known = {
            let all = of.tasks.all.borrow();
            all.get(&id).is_some_and(|task| Rc::ptr_eq(&task.account, &account))
        };
        is_known && Self::end_early(of, id, ScriptError::Cancelled)
    }

    /// Prints a line for the script that runs; says whether its budget of output allows it.
    pub(crate) fn emit(of: &Rc<Interpreter>, line: &[u8]) -> bool {
        let Some(account) = Self::account(of) else { return true };
        let room = account.budget.output.saturating_sub(account.printed.get());
        let is_over = line.len() >= room;
        let line = &line[..line.len().min(room)];
        account.printed.set(account.printed.get() + line.len() + usize::from(!is_over));
        let stream = of.output.borrow().clone();
        let end: &[u8] = if is_over { b"" } else { b"\n" };
        match stream {
            Some(stream) => stream(&[line, end].concat()),
            None => account.output.borrow_mut().extend_from_slice(&[line, end].concat()),
        }
        if is_over {
            of.guard.set_over(Exceeded::Output);
        }
        !is_over
    }
}

fn tell(outcome: &Outcome, then: Vec<Then>) {
    for then in then {
        then(outcome.clone());
    }
}

/// What a script is resumed with.
fn given(of: &Interpreter, answer: Answer) -> mlua::Result<MultiValue> {
    let (ok, values) = match answer {
        Ok(values) => (true, values),
        Err(why) => (false, vec![Value::from(why)]),
    };
    let mut all = of.give_all(&values)?;
    all.push_front(mlua::Value::Boolean(ok));
    Ok(all)
}
