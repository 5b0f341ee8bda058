//! Who looks at the server, and what happened of late.
//!
//! The one design choice: the server is looked at while somebody looks, and not else. A client
//! that looks on starts a timer, and the last one that goes stops it; what was seen before stays,
//! within bounds, and is shown to the next one. Whoever asks while a look is under way shares it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::Handle;
use medusa_core::producer::{Feed, FeedProducer, Full, feed};

use crate::json;
use crate::limits::{MAX_WATCHERS, TICK, WATCHER_BYTES};
use crate::sample::{History, Sample};
use crate::view::{self, View};

/// What program it is whose figures are shown.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// Where everybody looks on who looks at one server; it outlasts the extensions that answer for
/// it, and with them a reload.
#[derive(Clone)]
pub struct Station(Rc<Shared>);

struct Shared {
    program: Program,
    history: RefCell<History>,
    watchers: RefCell<Vec<Feed>>,
    /// A timer runs, or the look that it began.
    ticks: Cell<bool>,
    /// Who waits for the look that is under way; without one, nobody.
    waiting: RefCell<Option<Vec<Seen>>>,
}

/// Hears what was seen.
type Seen = Box<dyn FnOnce(&Handle, &View, &Sample)>;

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station").field("program", &self.0.program).finish_non_exhaustive()
    }
}

impl Station {
    /// Makes one for the program of this name and version.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self(Rc::new(Shared {
            program: Program { name, version },
            history: RefCell::default(),
            watchers: RefCell::default(),
            ticks: Cell::new(false),
            waiting: RefCell::default(),
        }))
    }

    pub(crate) fn program(&self) -> &Program {
        &self.0.program
    }

    /// Looks at the server; `seen` hears what there is.
    pub(crate) fn look(
        &self,
        handle: &Handle,
        seen: impl FnOnce(&Handle, &View, &Sample) + 'static,
    ) {
        let mut waiting = self.0.waiting.borrow_mut();
        if let Some(waiting) = &mut *waiting {
            return waiting.push(Box::new(seen));
        }
        *waiting = Some(vec![Box::new(seen)]);
        let station = self.clone();
        view::look(handle, move |handle, view| {
            let sample = station.0.history.borrow_mut().add(&view).clone();
            let waiting = station.0.waiting.take().unwrap_or_default();
            for seen in waiting {
                seen(handle, &view, &sample);
            }
        });
    }

    /// Begins to tell a client what happens, for as long as it stays; `None` if as many as may
    /// look on already.
    pub(crate) fn watch(&self, handle: &Handle) -> Option<FeedProducer> {
        let mut watchers = self.0.watchers.borrow_mut();
        watchers.retain(|watcher| !watcher.is_gone());
        if watchers.len() >= MAX_WATCHERS {
            return None;
        }
        let (push, pull) = feed(WATCHER_BYTES, 0);
        // The browser is to come back soon when the server is replaced.
        let begin = Bytes::from_static(b"retry: 1000\n\n");
        let past = {
            let mut history = self.0.history.borrow_mut();
            json::history(&self.0.program, history.samples(handle.now()))
        };
        for first in [begin, past] {
            // An empty feed takes whatever it is; what comes next is told of its mark.
            let _ = push.push(first);
        }
        watchers.push(push);
        drop(watchers);
        if !self.0.ticks.replace(true) {
            self.tick(handle);
        }
        Some(pull)
    }

    /// Tells everybody who looks on, and again when it is time.
    fn tick(&self, handle: &Handle) {
        let mut watchers = self.0.watchers.borrow_mut();
        watchers.retain(|watcher| !watcher.is_gone());
        if handle.is_ending() {
            watchers.drain(..).for_each(Feed::end);
        }
        if watchers.is_empty() {
            return self.0.ticks.set(false);
        }
        drop(watchers);
        let station = self.clone();
        self.look(handle, move |handle, view, sample| {
            let event = json::now(view, sample);
            station.0.watchers.borrow_mut().retain(|watcher| {
                // One that takes too little misses some.
                watcher.push(event.clone()) != Err(Full::Gone)
            });
            handle.timer(TICK, move |handle| station.tick(handle));
        });
    }
}
