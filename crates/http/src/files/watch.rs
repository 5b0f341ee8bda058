//! The system's notices of changes, for the files that are kept in memory.
//!
//! The one design choice: notices come before the requests of the same turn, so a file about which
//! the system was silent is what it was, for every request that was sent after the last change.
//! Whatever makes a notice unsure (none can be had, some were lost, the file has ended) falls back
//! to looking at the file each turn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::rc::{Rc, Weak};

use medusa_core::Handle;
use medusa_core::sys::notice::{Notice, Notices, WatchId};

use crate::limits::WATCHED_FILES;

/// The files that the system watches for one extension.
#[derive(Default)]
pub(crate) struct Watches(RefCell<Option<Rc<Source>>>);

struct Source {
    notices: Rc<Notices>,
    /// The loop listens to the notices.
    heard: Cell<bool>,
    /// The loop cannot listen, or the system has no notices: nobody need ask again.
    failed: Cell<bool>,
    watched: RefCell<HashMap<WatchId, Weak<Watch>>>,
}

/// One file that the system watches, for as long as this is held.
pub(crate) struct Watch {
    id: WatchId,
    source: Rc<Source>,
    /// It has changed, or there will be no further notice of it for another reason.
    ended: Cell<bool>,
}

impl Watches {
    /// Watches a file. `open` opens it if watching it is worth anything.
    pub(crate) fn watch(
        &self,
        handle: &Handle,
        open: impl FnOnce() -> Option<File>,
    ) -> Option<Rc<Watch>> {
        let source = self.source(handle)?;
        if source.failed.get() || source.watched.borrow().len() >= WATCHED_FILES {
            return None;
        }
        let id = source.notices.watch(&open()?).ok()?;
        let mut watched = source.watched.borrow_mut();
        if let Some(watch) = watched.get(&id).and_then(Weak::upgrade)
            && !watch.ended.get()
        {
            // The same file under another name.
            return Some(watch);
        }
        let watch = Rc::new(Watch { id, source: source.clone(), ended: Cell::new(false) });
        watched.insert(id, Rc::downgrade(&watch));
        Some(watch)
    }

    /// The source of notices, made when it is first needed.
    fn source(&self, handle: &Handle) -> Option<Rc<Source>> {
        let mut made = self.0.borrow_mut();
        if let Some(source) = &*made {
            return Some(source.clone());
        }
        let source = Rc::new(Source {
            notices: Rc::new(Notices::new().ok()?),
            heard: Cell::new(false),
            failed: Cell::new(false),
            watched: RefCell::default(),
        });
        let (reading, hearing) = (Rc::downgrade(&source), Rc::downgrade(&source));
        handle.poll_descriptor(
            source.notices.clone(),
            move || {
                if let Some(source) = reading.upgrade() {
                    source.read();
                }
            },
            move |polled| {
                if let Some(source) = hearing.upgrade() {
                    source.heard.set(polled.is_ok());
                    source.failed.set(polled.is_err());
                }
            },
        );
        *made = Some(source.clone());
        Some(source)
    }
}

impl Source {
    fn read(&self) {
        let watched = self.watched.borrow();
        self.notices.read(|notice| match notice {
            Notice::Changed(id) | Notice::Ended(id) => {
                if let Some(watch) = watched.get(&id).and_then(Weak::upgrade) {
                    watch.end();
                }
            }
            Notice::Lost => watched.values().filter_map(Weak::upgrade).for_each(|w| w.end()),
        });
    }
}

impl Watch {
    /// Whether the system would have said if the file had changed, and has not.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.ended.get() && self.source.heard.get()
    }

    /// One notice is enough: a file that changes all the time must not wake the loop each time.
    fn end(&self) {
        if !self.ended.replace(true) {
            self.source.notices.unwatch(self.id);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.source.watched.borrow_mut();
        if watched.get(&self.id).is_some_and(|w| w.strong_count() == 0) {
            watched.remove(&self.id);
        }
        self.end();
    }
}
