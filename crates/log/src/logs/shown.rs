//! The logs as a part of the inspection tree.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};

use super::Inner;
use crate::queue::Queue;

/// What can be done with the logs.
const ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "reopen", "", "Opens all files anew, as SIGUSR1 does."),
    Action::new(
        Level::Operate,
        "levels",
        "LEVELS",
        "Says what is told of what happens: `info`, or by target `info,medusa_http=debug`.",
    )
    .undoable(),
];

/// What the fields of the logs mean.
const LOGS_NOTES: &[(&str, &str)] =
    &[("levels", "From which levels on diagnostics are told, by target.")];

/// What the fields of a log mean.
const LOG_NOTES: &[(&str, &str)] = &[
    ("lines", "Lines that were logged."),
    ("bytes", "Bytes that were written."),
    ("waiting", "Bytes that wait to be written."),
    ("dropped", "Lines that were lost because too many waited."),
    ("errors", "Times that it could not be written."),
    ("size", "Bytes that its file has."),
    ("rotations", "Times that a new file began."),
];

/// The logs in the inspection tree.
pub(super) struct Shown(pub(super) Weak<Inner>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let mut node = Node::new("logs").about("Where lines are logged.", LOGS_NOTES);
        if let Some(inner) = self.0.upgrade() {
            if let Some(diagnostics) = &*inner.diagnostics.borrow() {
                node = node.field("levels", Value::Text(diagnostics.levels()));
            }
            node.children =
                inner.open.borrow().iter().map(|open| open.queue.name.clone()).collect();
        }
        node
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let inner = self.0.upgrade()?;
        let all = inner.open.borrow();
        let open = all.iter().find(|open| open.queue.name == name)?;
        Some(Rc::new(ShownLog(open.queue.clone())))
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        let Some(inner) = self.0.upgrade() else {
            return answer.refused("the logs are closed already");
        };
        let ("levels", [levels]) = (action, arguments) else {
            inner.reopen();
            return answer.done("the logs are opened anew");
        };
        let told = |levels: &str| format!("diagnostics are told from these levels on: {levels}");
        let (before, logs) = (inner.levels(), self.0.clone());
        match inner.set_levels(levels) {
            Ok(()) => answer.undoable(told(levels), move || {
                let inner = logs.upgrade().ok_or("the logs are closed already")?;
                inner.set_levels(&before)?;
                Ok(told(&before))
            }),
            Err(why) => answer.refused(why),
        }
    }
}

/// One log in the inspection tree.
struct ShownLog(Arc<Queue>);

impl Inspect for ShownLog {
    fn node(&self) -> Node {
        let figures = &self.0.figures;
        let count = |figure: &AtomicU64| Value::Count(figure.load(Ordering::Relaxed));
        Node::new("log")
            .about("A destination of lines.", LOG_NOTES)
            .field("lines", count(&figures.lines))
            .field("bytes", Value::Bytes(self.0.written()))
            .field("waiting", Value::Bytes(self.0.waiting() as u64))
            .field("dropped", count(&figures.dropped))
            .field("errors", count(&figures.errors))
            .field("size", Value::Bytes(figures.size.load(Ordering::Relaxed)))
            .field("rotations", count(&figures.rotations))
    }
}
