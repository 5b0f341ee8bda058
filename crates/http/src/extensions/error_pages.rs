//! Error pages: puts a page of the operator's in place of the server's few words.
//!
//! The one design choice: the pages are held in memory. They are read when the first request
//! comes, which waits for it, and again when an error is answered and the file is not the same any
//! more: that answer still has the old page, the next one the new.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medusa_core::Handle;
use medusa_fs::{Content, FileSystem, Freshness, Persona, Stamp, VirtualPath};

use crate::decision::Decision;
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::reply::{Body, Reply};

/// Bytes of one page.
pub const MAX_ERROR_PAGE: usize = 256 * 1024;

/// Pages of one extension.
pub const MAX_ERROR_PAGES: usize = 64;

/// How long a page that could not be read is not looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// A page and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses that it is shown for, within 400 to 599.
    pub statuses: RangeInclusive<u16>,
    /// Where it is in the tree.
    pub path: VirtualPath,
}

/// Why there cannot be such pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorPagesError {
    /// These are not statuses of errors.
    Statuses(RangeInclusive<u16>),
    /// There are more than [`MAX_ERROR_PAGES`].
    TooMany,
}

impl fmt::Display for ErrorPagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statuses(statuses) => write!(
                f,
                "error pages are for statuses from 400 to 599, not for {} to {}",
                statuses.start(),
                statuses.end()
            ),
            Self::TooMany => write!(f, "there can be at most {MAX_ERROR_PAGES} error pages"),
        }
    }
}

impl std::error::Error for ErrorPagesError {}

/// Shows pages of a file tree in place of the server's own words.
pub struct ErrorPages(Rc<Inner>);

struct Inner {
    place: Place,
    /// As the pages of the place; nothing where one could not be read.
    read: RefCell<Vec<Option<Loaded>>>,
    phase: Cell<Phase>,
    waiting: RefCell<Vec<Decision>>,
}

/// What a helper thread needs.
#[derive(Clone)]
struct Place {
    tree: Arc<dyn FileSystem>,
    who: Persona,
    pages: Arc<[ErrorPage]>,
}

struct Loaded {
    stamp: Stamp,
    text: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unread,
    Reading,
    Read(Instant),
}

impl ErrorPages {
    /// Shows these pages of `tree`, read under the identity `who`. The first that fits is taken;
    /// where it cannot be read, or is larger than [`MAX_ERROR_PAGE`], the client gets the
    /// server's words.
    pub fn new(
        tree: Arc<dyn FileSystem>,
        who: Persona,
        pages: Vec<ErrorPage>,
    ) -> Result<Self, ErrorPagesError> {
        if pages.len() > MAX_ERROR_PAGES {
            return Err(ErrorPagesError::TooMany);
        }
        for page in &pages {
            let (first, last) = (page.statuses.start(), page.statuses.end());
            if *first < 400 || *last > 599 || first > last {
                return Err(ErrorPagesError::Statuses(page.statuses.clone()));
            }
        }
        Ok(Self(Rc::new(Inner {
            read: RefCell::new(pages.iter().map(|_| None).collect()),
            place: Place { tree, who, pages: pages.into() },
            phase: Cell::new(Phase::Unread),
            waiting: RefCell::default(),
        })))
    }
}

impl Inner {
    /// Reads all pages, and lets go on who waits for them.
    fn read(self: &Rc<Self>, handle: &Handle) {
        self.phase.set(Phase::Reading);
        let (inner, place, loop_) = (self.clone(), self.place.clone(), handle.clone());
        handle.run(
            move || place.read(),
            move |result| {
                match result {
                    Ok(read) => drop(inner.read.replace(read)),
                    Err(lost) => tracing::error!("error pages could not be read: {lost}"),
                }
                inner.phase.set(Phase::Read(loop_.now()));
                for decision in inner.waiting.take() {
                    decision.ask_again();
                }
            },
        );
    }

    fn show(self: &Rc<Self>, reply: &mut Reply, handle: &Handle) {
        let status = reply.status();
        let pages = &self.place.pages;
        let Some(place) = pages.iter().position(|page| page.statuses.contains(&status)) else {
            return;
        };
        let page = &pages[place];
        let read = self.read.borrow();
        let is_same = match &read[place] {
            Some(loaded) => {
                let kind = content_type(&page.path);
                reply.set_field("Content-Type", kind);
                reply.set_body(Body::Bytes(loaded.text.clone()));
                let Place { tree, who, .. } = &self.place;
                tree.check_now(who, &page.path, &loaded.stamp) == Freshness::Same
            }
            None => false,
        };
        // One that is written all the time, or missing, is not looked for all the time.
        if let Phase::Read(when) = self.phase.get()
            && !is_same
            && (read[place].is_some() || handle.now().duration_since(when) >= RETRY)
        {
            drop(read);
            self.read(handle);
        }
    }
}

impl Place {
    fn read(&self) -> Vec<Option<Loaded>> {
        let read = |page: &ErrorPage| match self.load(page) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::warn!("the error page {} cannot be shown: {error}", page.path);
                None
            }
        };
        self.pages.iter().map(read).collect()
    }

    fn load(&self, page: &ErrorPage) -> io::Result<Loaded> {
        let file = self.tree.open(&self.who, &page.path).map_err(io::Error::other)?;
        let text = match file.content {
            Content::Memory(bytes) => bytes,
            Content::Disk(file) => {
                let mut text = Vec::new();
                (&*file).take(MAX_ERROR_PAGE as u64 + 1).read_to_end(&mut text)?;
                text.into()
            }
        };
        if text.len() > MAX_ERROR_PAGE {
            return Err(io::Error::other(format!("it is larger than {MAX_ERROR_PAGE} bytes")));
        }
        Ok(Loaded { stamp: file.metadata.stamp, text })
    }
}

fn content_type(path: &VirtualPath) -> String {
    let name = String::from_utf8_lossy(path.name().unwrap_or_default());
    let guess = mime_guess::from_path(&*name).first_raw().unwrap_or("text/html");
    if guess.starts_with("text/") { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}

impl Extension for ErrorPages {
    fn name(&self) -> &'static str {
        "error-pages"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let inner = &self.0;
        if let Phase::Read(_) = inner.phase.get() {
            let (inner, handle) = (inner.clone(), request.handle.clone());
            exchange.on_reply(move |reply| {
                // What somebody chose to say with this status is left alone.
                if reply.is_plain && reply.status() >= 400 {
                    inner.show(reply, &handle);
                }
            });
            return Handled::Pass;
        }
        inner.waiting.borrow_mut().push(exchange.decide_later());
        if inner.phase.get() == Phase::Unread {
            inner.read(request.handle);
        }
        Handled::Later
    }
}

#[cfg(test)]
mod tests {
    use medusa_fs::{MemoryTree, TreeOptions};

    use super::*;

    #[test]
    fn pages_are_for_errors_only() {
        let made = |statuses: RangeInclusive<u16>, count: usize| {
            let options = TreeOptions::default();
            let tree = Arc::new(MemoryTree::new(options, std::time::SystemTime::now));
            let page = ErrorPage { statuses, path: VirtualPath::root() };
            ErrorPages::new(tree, Persona::Process, vec![page; count]).map(|_| ())
        };
        assert_eq!(made(400..=599, MAX_ERROR_PAGES), Ok(()));
        assert_eq!(made(400..=599, MAX_ERROR_PAGES + 1), Err(ErrorPagesError::TooMany));
        for statuses in [200..=599, 400..=600, 304..=304, RangeInclusive::new(500, 404)] {
            let error = made(statuses.clone(), 1).unwrap_err();
            assert_eq!(error, ErrorPagesError::Statuses(statuses));
        }
    }
}
