//! All logs of the process.
//!
//! The one design choice: a destination is opened once, whoever names it, and all who name it
//! share its queue and its thread; so order is kept, and only one thread ever rotates a file.

mod shown;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use medusa_core::Handle;

use crate::destination::{Destination, OpenError};
use crate::diagnostics::{Diagnostics, DiagnosticsForm, DiagnosticsOptions};
use crate::file::{LogFile, Rule};
use crate::limits::{DESTINATIONS, LAST_WAIT};
use crate::lines::{Following, Lines};
use crate::panics;
use crate::queue::Queue;
use crate::stream::Stream;
use crate::syslog::{Syslog, SyslogOptions, is_tag};
use crate::writer::{self, Sink};

use shown::Shown;

/// All logs of the process; cheap to clone, bound to the loop's thread. When the last clone is
/// dropped, [`Logs::finish`] is called.
#[derive(Clone)]
pub struct Logs(Rc<Inner>);

struct Inner {
    stderr: Arc<Queue>,
    /// What has no thread yet; `None` when all have theirs.
    unstarted: RefCell<Option<Vec<Unstarted>>>,
    open: RefCell<Vec<Open>>,
    diagnostics: RefCell<Option<Diagnostics>>,
}

type Unstarted = (Arc<Queue>, Box<dyn Sink>);

/// One destination.
struct Open {
    key: Key,
    queue: Arc<Queue>,
    lines: Weak<Lines>,
    /// The rule of rotation of a file.
    rule: Option<Rule>,
}

/// By what a destination is known to be open already.
#[derive(Clone, PartialEq, Eq)]
enum Key {
    Stderr,
    Stdout,
    File(PathBuf),
    Syslog(SyslogOptions),
}

impl Logs {
    /// Opens standard error, which is always there. Nothing is written before [`Logs::start`]; up
    /// to [`crate::limits::QUEUE_BYTES`] of each log wait for it.
    pub fn new() -> io::Result<Self> {
        let stderr = Arc::new(Queue::new("stderr".to_owned(), None));
        stderr.is_shared.store(true, Ordering::Relaxed);
        let stream: Box<dyn Sink> = Box::new(Stream::of(io::stderr())?);
        let open = Open { key: Key::Stderr, queue: stderr.clone(), lines: Weak::new(), rule: None };
        Ok(Self(Rc::new(Inner {
            unstarted: RefCell::new(Some(vec![(stderr.clone(), stream)])),
            stderr,
            open: RefCell::new(vec![open]),
            diagnostics: RefCell::default(),
        })))
    }

    /// Starts the threads that write: one for each destination that is open, and from now on with
    /// each that is opened. Call it when the process has given up what it does not need, for
    /// threads keep the privileges that they began with.
    pub fn start(&self) -> io::Result<()> {
        self.0.start()
    }

    /// Opens a destination for lines of the loop; one that is open already is shared, and its
    /// rule of rotation becomes this one. `json` says that its lines are objects of JSON.
    ///
    /// Files are opened on this thread.
    pub fn lines(
        &self,
        handle: &Handle,
        destination: &Destination,
        json: bool,
    ) -> Result<Rc<Lines>, OpenError> {
        let key = self.open(destination)?;
        let mut all = self.0.open.borrow_mut();
        let open = all.iter_mut().find(|open| open.key == key && !open.queue.is_closed());
        let open = open.ok_or_else(|| OpenError("the logs are closed already".to_owned()))?;
        open.queue.json.store(json, Ordering::Relaxed);
        Ok(open.lines.upgrade().unwrap_or_else(|| {
            let lines = Lines::new(handle, open.queue.clone());
            open.lines = Rc::downgrade(&lines);
            lines
        }))
    }

    /// Has `hear` hear each line that the loop writes to a log from now on, without its line feed,
    /// for as long as what comes back lives; not its diagnostics. `name` is that of the log in the
    /// inspection tree. An error says which logs there are.
    ///
    /// `hear` is called on the loop's thread, before the loop sleeps, and must not block. When more
    /// than [`crate::limits::FOLLOWED_BYTES`] come at once it hears how many lines are missing.
    pub fn follow(&self, name: &str, hear: impl Fn(&[u8]) + 'static) -> Result<Following, String> {
        let all = self.0.open.borrow();
        let lines = |open: &Open| Some((open.queue.name.clone(), open.lines.upgrade()?));
        let all: Vec<_> = all.iter().filter_map(lines).collect();
        if let Some((_, lines)) = all.iter().find(|(other, _)| other == name) {
            return Ok(lines.follow(hear));
        }
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        let there = match names.as_slice() {
            [] => "no requests are logged".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        Err(format!("there is no log `{}` that can be followed; {there}", name.escape_debug()))
    }

    /// Says what becomes of diagnostics, for the whole process. May be called again to change it;
    /// after an error nothing has changed.
    pub fn diagnostics(&self, options: &DiagnosticsOptions) -> Result<(), OpenError> {
        let levels = crate::diagnostics::levels(&options.levels).map_err(OpenError)?;
        let key = self.open(&options.destination)?;
        let queue = {
            let all = self.0.open.borrow();
            let found = all.iter().find(|open| open.key == key && !open.queue.is_closed());
            found.map(|open| open.queue.clone())
        };
        let queue = queue.ok_or_else(|| OpenError("the logs are closed already".to_owned()))?;
        queue.is_shared.store(true, Ordering::Relaxed);
        if self.0.lines_of(&queue).is_none() {
            queue.json.store(options.form == DiagnosticsForm::Json, Ordering::Relaxed);
        }
        let mut diagnostics = self.0.diagnostics.borrow_mut();
        match &mut *diagnostics {
            Some(diagnostics) => {
                let before = diagnostics.change(queue.clone(), options, levels);
                if !Arc::ptr_eq(&before, &queue) && !Arc::ptr_eq(&before, &self.0.stderr) {
                    before.is_shared.store(false, Ordering::Relaxed);
                    if self.0.lines_of(&before).is_none() {
                        before.close();
                    }
                }
            }
            None => {
                *diagnostics = Some(Diagnostics::install(queue, options, levels)?);
            }
        }
        Ok(())
    }

    /// Changes what is told by diagnostics: a level (`info`), or levels by target
    /// (`info,medusa_http=debug`).
    pub fn set_levels(&self, levels: &str) -> Result<(), String> {
        self.0.set_levels(levels)
    }

    /// Has the messages of panics written to standard error by its thread, so that one in an
    /// extension does not wait for a reader that stands still. For the whole process.
    pub fn take_panics(&self) {
        panics::take(self.0.stderr.clone());
    }

    /// Opens all files anew, and connects to syslog anew, each between two lines. One that cannot
    /// be opened stays as it is, and says so.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Writes out all that was logged, and ends the threads; what is logged later is lost. A
    /// destination that takes nothing is given up after [`LAST_WAIT`].
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Shows the logs in the inspection tree under `logs`.
    pub fn mount(&self, handle: &Handle) {
        handle.mount("logs", Rc::new(Shown(Rc::downgrade(&self.0))));
    }

    /// Opens a destination unless it is open.
    fn open(&self, destination: &Destination) -> Result<Key, OpenError> {
        let mut all = self.0.open.borrow_mut();
        all.retain(|open| !open.queue.has_ended());
        let key = match destination {
            Destination::Stderr => Key::Stderr,
            Destination::Stdout => Key::Stdout,
            Destination::File { path, .. } => Key::File(absolute(path)?),
            Destination::Syslog(options) => Key::Syslog(options.clone()),
        };
        if let Some(open) = all.iter().find(|open| open.key == key && !open.queue.is_closed()) {
            if let (Destination::File { rotate, .. }, Some(rule)) = (destination, &open.rule) {
                let mut rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
                if *rule != *rotate {
                    rule.clone_from(rotate);
                    open.queue.reopen();
                }
            }
            return Ok(key);
        }
        if all.len() >= DESTINATIONS {
            return Err(OpenError(format!("more than {DESTINATIONS} logs cannot be open at once")));
        }
        let mut rule = None;
        let (name, sink): (_, Box<dyn Sink>) = match &key {
            Key::Stderr => return Err(OpenError("the logs are closed already".to_owned())),
            Key::Stdout => {
                let stream = Stream::of(io::stdout())
                    .map_err(|e| OpenError(format!("cannot log to standard output: {e}")))?;
                ("stdout".to_owned(), Box::new(stream))
            }
            Key::File(path) => {
                let rotate = match destination {
                    Destination::File { rotate, .. } => rotate.clone(),
                    _ => None,
                };
                let shared = Rule::new(Mutex::new(rotate));
                let file = LogFile::open(path, shared.clone());
                let file = file.map_err(|e| OpenError::of_file(path, &e))?;
                rule = Some(shared);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (name.into_owned(), Box::new(file))
            }
            Key::Syslog(options) => {
                if !is_tag(&options.tag) {
                    return Err(OpenError(format!(
                        "`{}` cannot be a syslog tag: use 1 to 48 printable ASCII characters",
                        options.tag.escape_debug()
                    )));
                }
                let syslog = Syslog::open(options);
                let syslog = syslog.map_err(|e| OpenError::of_syslog(&options.address, &e))?;
                ("syslog".to_owned(), Box::new(syslog))
            }
        };
        let is_free = |name: &String| all.iter().all(|open| open.queue.name != *name);
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let unique = std::iter::once(name.clone()).chain(numbered).find(is_free);
        let queue = Arc::new(Queue::new(unique.unwrap_or_default(), Some(self.0.stderr.clone())));
        match &mut *self.0.unstarted.borrow_mut() {
            Some(unstarted) => unstarted.push((queue.clone(), sink)),
            None => writer::start(&queue, sink).map_err(|e| {
                OpenError(format!("cannot start the thread of the log {name}: {e}"))
            })?,
        }
        all.push(Open { key: key.clone(), queue, lines: Weak::new(), rule });
        Ok(key)
    }
}

/// The same path for each way to write it, which is also good after a change of directory.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new(".")).canonicalize();
    let directory = directory.map_err(|e| OpenError::of_file(path, &e))?;
    let Some(name) = path.file_name() else {
        return Err(OpenError::of_file(path, &io::ErrorKind::IsADirectory.into()));
    };
    Ok(directory.join(name))
}

impl Inner {
    fn start(&self) -> io::Result<()> {
        let mut result = Ok(());
        for (queue, sink) in self.unstarted.take().unwrap_or_default() {
            result = result.and(writer::start(&queue, sink));
        }
        result
    }

    fn lines_of(&self, queue: &Arc<Queue>) -> Option<Rc<Lines>> {
        let all = self.open.borrow();
        all.iter().find(|open| Arc::ptr_eq(&open.queue, queue))?.lines.upgrade()
    }

    /// What diagnostics are told, as [`Self::set_levels`] reads it.
    fn levels(&self) -> String {
        self.diagnostics.borrow().as_ref().map(Diagnostics::levels).unwrap_or_default()
    }

    fn set_levels(&self, levels: &str) -> Result<(), String> {
        let levels = crate::diagnostics::levels(levels)?;
        let diagnostics = self.diagnostics.borrow();
        let Some(diagnostics) = &*diagnostics else {
            return Err("there are no diagnostics".to_owned());
        };
        diagnostics.set_levels(levels);
        Ok(())
    }

    fn reopen(&self) {
        for open in &*self.open.borrow() {
            if let Some(lines) = open.lines.upgrade() {
                lines.hand_over();
            }
            open.queue.reopen();
        }
    }

    fn finish(&self) {
        // What a start that failed has to say. If even this fails, nobody can hear of it.
        let _ = self.start();
        let mut all = self.open.take();
        for open in &all {
            if let Some(lines) = open.lines.upgrade() {
                lines.hand_over();
            }
        }
        // Those that others complain to are closed behind them.
        all.sort_by_key(|open| {
            (open.key == Key::Stderr, open.queue.is_shared.load(Ordering::Relaxed))
        });
        let is_later = |open: &Open| open.queue.is_shared.load(Ordering::Relaxed);
        let first_later = all.iter().position(is_later).unwrap_or(all.len());
        let (first, later) = all.split_at(first_later);
        self.close(first);
        for open in later {
            self.close(std::slice::from_ref(open));
        }
    }

    /// Closes these and waits until all is written, as long as there is progress.
    fn close(&self, all: &[Open]) {
        for open in all {
            open.queue.close();
        }
        let written = || -> u64 { all.iter().map(|open| open.queue.written()).sum() };
        loop {
            let (before, until) = (written(), Instant::now() + LAST_WAIT);
            if all.iter().all(|open| open.queue.wait_for_end(until)) {
                return;
            }
            if written() == before {
                break;
            }
        }
        for open in all.iter().filter(|open| !open.queue.has_ended()) {
            let name = &open.queue.name;
            let text = format!("medusa: the log {name} stands still: its last lines are lost\n");
            self.stderr.append(text.as_bytes());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
#[path = "tests/logs.rs"]
mod tests;
