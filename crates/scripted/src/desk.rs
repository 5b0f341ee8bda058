//! What scripts have asked to be called for: timers and events.
//!
//! The one design choice: what was asked belongs to a version of a script, known by the owner of
//! the call that asked, and ends with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use medusa_core::Handle;
use medusa_core::handle::TimerId;
use medusa_script::library::text;
use medusa_script::{Callable, Library, Value, WeakEngine};

use crate::script::Version;

/// Timers and handlers of events of one script.
pub(crate) const DUTIES: usize = 100;
/// The shortest period of a timer.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest time of a timer.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Calls of one script that run or wait; events beyond that are lost to it.
const MOST_CALLS: usize = 1000;
/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// All versions of scripts that are there.
pub(crate) struct Desk {
    handle: Handle,
    engine: WeakEngine,
    versions: RefCell<BTreeMap<u64, Weak<Version>>>,
    last: Cell<u64>,
}

/// What one version has asked for.
#[derive(Default)]
pub(crate) struct Duties {
    timers: RefCell<BTreeMap<i64, Timer>>,
    events: RefCell<Vec<(String, Callable)>>,
    last: Cell<i64>,
    active: Cell<bool>,
}

/// When a timer calls.
#[derive(Clone, Copy)]
enum When {
    Every(Duration),
    Once(Duration),
    /// Each day, at this second of it, in UTC.
    Daily(u64),
}

struct Timer {
    when: When,
    function: Callable,
    id: Option<TimerId>,
    /// Its last call has not ended.
    busy: bool,
}

impl Desk {
    pub(crate) fn new(handle: &Handle, engine: WeakEngine) -> Self {
        let handle = handle.clone();
        Self { handle, engine, versions: RefCell::default(), last: Cell::new(0) }
    }

    /// A number for the owner of calls.
    pub(crate) fn next_owner(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    pub(crate) fn enter(&self, version: &Rc<Version>) {
        self.versions.borrow_mut().insert(version.owner, Rc::downgrade(version));
    }

    pub(crate) fn leave(&self, owner: u64) {
        self.versions.borrow_mut().remove(&owner);
    }

    /// The version whose script runs this moment.
    pub(crate) fn asking(&self) -> Result<Rc<Version>, String> {
        let owner = self.engine.upgrade().map_or(0, |engine| engine.owner());
        let version = self.versions.borrow().get(&owner).and_then(Weak::upgrade);
        version.ok_or_else(|| "only a script that is part of the server can ask this".to_owned())
    }

    /// Calls whoever has asked to hear of this event.
    pub(crate) fn emit(&self, event: &str, about: &Value) {
        let versions: Vec<_> = self.versions.borrow().values().filter_map(Weak::upgrade).collect();
        for version in versions.into_iter().filter(|version| version.duties.active.get()) {
            let named = |(name, f): &(String, Callable)| (name == event).then(|| f.clone());
            let wanted: Vec<_> = version.duties.events.borrow().iter().filter_map(named).collect();
            for function in wanted {
                if function.engine().tasks_of(version.owner) >= MOST_CALLS {
                    version.failed(&format!("it is too busy to hear of {event}"));
                } else {
                    version.run(&function, std::slice::from_ref(about), || {});
                }
            }
        }
    }
}

impl Duties {
    fn room(&self) -> Result<(), String> {
        if self.timers.borrow().len() + self.events.borrow().len() >= DUTIES {
            return Err(format!("a script can have at most {DUTIES} timers and events"));
        }
        Ok(())
    }

    /// Begins to call.
    pub(crate) fn activate(&self, version: &Rc<Version>, handle: &Handle) {
        if self.active.replace(true) {
            return;
        }
        let all: Vec<i64> = self.timers.borrow().keys().copied().collect();
        for number in all {
            arm(version, handle, number);
        }
    }

    /// Calls nobody any more.
    pub(crate) fn end(&self, handle: &Handle) {
        self.active.set(false);
        for id in self.timers.take().into_values().filter_map(|timer| timer.id) {
            handle.cancel_timer(id);
        }
        self.events.borrow_mut().clear();
    }
}

/// Sets the clock for a timer of an active version.
fn arm(version: &Rc<Version>, handle: &Handle, number: i64) {
    let mut timers = version.duties.timers.borrow_mut();
    let Some(timer) = timers.get_mut(&number) else { return };
    let after = match timer.when {
        When::Every(time) | When::Once(time) => time,
        When::Daily(second) => until(handle.unix_time(), second),
    };
    let weak = Rc::downgrade(version);
    timer.id = Some(handle.timer(after, move |handle| {
        if let Some(version) = weak.upgrade() {
            fire(&version, handle, number);
        }
    }));
}

/// The time from now to this second of the day.
fn until(now: Duration, second: u64) -> Duration {
    let today = Duration::from_secs(now.as_secs() / DAY * DAY + second);
    today
        .checked_sub(now)
        .filter(|left| !left.is_zero())
        .unwrap_or_else(|| (today + Duration::from_secs(DAY)).saturating_sub(now))
}

/// Calls for a timer that is due. One whose last call has not ended is passed over.
fn fire(version: &Rc<Version>, handle: &Handle, number: i64) {
    let function = {
        let mut timers = version.duties.timers.borrow_mut();
        let Some(timer) = timers.get_mut(&number) else { return };
        let function = (!timer.busy).then(|| timer.function.clone());
        timer.busy = true;
        if matches!(timer.when, When::Once(_)) {
            timers.remove(&number);
        }
        function
    };
    arm(version, handle, number);
    let Some(function) = function else { return };
    let weak = Rc::downgrade(version);
    version.run(&function, &[], move || {
        if let Some(version) = weak.upgrade()
            && let Some(timer) = version.duties.timers.borrow_mut().get_mut(&number)
        {
            timer.busy = false;
        }
    });
}

/// The libraries `timers` and `events`.
pub(crate) fn libraries(desk: &Rc<Desk>) -> [Library; 2] {
    let (every, after, at) = (desk.clone(), desk.clone(), desk.clone());
    let (cancel, on) = (desk.clone(), desk.clone());
    let timers = Library::new("timers")
        .function("every", move |args| every.add(When::Every(time(args, SHORTEST)?), args))
        .function("after", move |args| after.add(When::Once(time(args, Duration::ZERO)?), args))
        .function("at", move |args| at.add(When::Daily(time_of_day(text(args, 0)?)?), args))
        .function("cancel", move |args| {
            let number = args.first().and_then(Value::as_integer).unwrap_or(0);
            let version = cancel.asking()?;
            let timer = version.duties.timers.borrow_mut().remove(&number);
            if let Some(id) = timer.as_ref().and_then(|timer| timer.id) {
                cancel.handle.cancel_timer(id);
            }
            Ok(vec![Value::from(timer.is_some())])
        });
    let events = Library::new("events").function("on", move |args| {
        let name = String::from_utf8_lossy(text(args, 0)?).into_owned();
        let function = function(args)?;
        let version = on.asking()?;
        version.duties.room()?;
        version.duties.events.borrow_mut().push((name, function));
        Ok(Vec::new())
    });
    [timers, events]
}

impl Desk {
    fn add(&self, when: When, args: &[Value]) -> Result<Vec<Value>, String> {
        let function = function(args)?;
        let version = self.asking()?;
        let duties = &version.duties;
        duties.room()?;
        let number = duties.last.get() + 1;
        duties.last.set(number);
        let timer = Timer { when, function, id: None, busy: false };
        duties.timers.borrow_mut().insert(number, timer);
        if duties.active.get() {
            arm(&version, &self.handle, number);
        }
        Ok(vec![Value::from(number)])
    }
}

fn function(args: &[Value]) -> Result<Callable, String> {
    match args.get(1) {
        Some(Value::Function(function)) => Ok(function.clone()),
        other => Err(format!(
            "argument 2 must be a function, not {}",
            other.map_or("nothing", Value::kind)
        )),
    }
}

/// The first argument as seconds, within the limits of timers.
fn time(args: &[Value], least: Duration) -> Result<Duration, String> {
    let seconds = args.first().and_then(Value::as_number);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time >= least && *time <= LONGEST)
        .ok_or_else(|| {
            format!("argument 1 must be a number of seconds, at least {}", least.as_secs_f64())
        })
}

/// `HH:MM` or `HH:MM:SS` as a second of the day.
fn time_of_day(text: &[u8]) -> Result<u64, String> {
    let parse = || -> Option<u64> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let mut next = |most: u64| -> Option<u64> {
            let part = parts.next()?;
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|n| digits && *n <= most)
        };
        let (hour, minute) = (next(23)?, next(59)?);
        let second = if text.len() > 5 { next(59)? } else { 0 };
        parts.next().is_none().then_some(hour * 3600 + minute * 60 + second)
    };
    parse().ok_or_else(|| "argument 1 must be a time of the day in UTC, as \"03:30\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_day_is_read_and_comes_once_a_day() {
        for (text, second) in [("00:00", 0), ("23:59", 86_340), ("01:02:03", 3723)] {
            assert_eq!(time_of_day(text.as_bytes()), Ok(second));
        }
        for wrong in ["", "1:00", "24:00", "12:60", "12:00:", "12:00:60", "12:00:00:00", "+1:00"] {
            time_of_day(wrong.as_bytes()).expect_err(wrong);
        }
        let day = Duration::from_secs(DAY);
        let now = 100 * day + Duration::from_millis(500);
        assert_eq!(until(now, 1), Duration::from_millis(500));
        assert_eq!(until(now, 0), Duration::from_millis(DAY * 1000 - 500));
        assert_eq!(until(100 * day, 0), day);
    }
}
