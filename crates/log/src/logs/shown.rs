//! The logs as a part of the inspection tree.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use medusa_core::inspect::{Inspect, Node, Value};

use super::Inner;
use crate::queue::Queue;

/// The logs in the inspection tree.
pub(super) struct Shown(pub(super) Weak<Inner>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let mut node = Node::new("logs");
        node.actions = vec!["reopen", "levels"];
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

    fn act(&self, action: &str, arguments: &[String]) -> Result<String, String> {
        let inner = self.0.upgrade().ok_or("the logs are closed already")?;
        match (action, arguments) {
            ("reopen", []) => {
                inner.reopen();
                Ok("the logs are opened anew".to_owned())
            }
            ("levels", [levels]) => {
                inner.set_levels(levels)?;
                Ok(format!("diagnostics are told from these levels on: {levels}"))
            }
            _ => Err(format!(
                "there is no action `{action}` with {} arguments here: there are `reopen` and \
                 `levels LEVELS`",
                arguments.len()
            )),
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
            .field("lines", count(&figures.lines))
            .field("bytes", Value::Bytes(self.0.written()))
            .field("waiting", Value::Bytes(self.0.waiting() as u64))
            .field("dropped", count(&figures.dropped))
            .field("errors", count(&figures.errors))
            .field("size", Value::Bytes(figures.size.load(Ordering::Relaxed)))
            .field("rotations", count(&figures.rotations))
    }
}
