//! The default extension: serves a file tree, and matches everything.
//!
//! The one design choice: small files are kept in memory with the head lines that go with them,
//! and looked at again at most once a turn of the loop, by one system call, or less often where the
//! system gives notice of changes; so the common request costs a look into a table, and a changed
//! file is noticed by the next request. What might block goes to a helper thread, and the reply
//! comes later.

mod cache;
mod listing;
mod pages;
mod parts;
mod shared;
mod stored;
mod watch;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_core::Handle;
use medusa_fs::{ErrorKind, FileSystem, Freshness, Persona, VirtualPath};

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::files::cache::{Cache, Kept};
use crate::files::pages::Pages;
use crate::files::shared::SharedFiles;
use crate::files::stored::Stored;
pub(crate) use crate::files::stored::etag_of;
use crate::files::watch::Watches;
use crate::limits::{CACHE_BYTES, LISTING_BYTES};
use crate::reply::Reply;
use crate::wire::fields::FieldTable;
use crate::wire::head::{Head, Method};
use crate::wire::target::{Form, escape_path};

/// What the extension allows, for `Allow` in 405 and in answers to OPTIONS.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// How a tree is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// The file that stands for a directory.
    pub index: Vec<u8>,
    /// Whether a directory without such a file is listed.
    pub listings: bool,
    /// Bytes of small files that are kept in memory.
    pub cache_bytes: usize,
    /// Bytes of listings that are on their way to clients; past them the answer is 503.
    pub listing_bytes: usize,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            index: b"index.html".to_vec(),
            listings: true,
            cache_bytes: CACHE_BYTES,
            listing_bytes: LISTING_BYTES,
        }
    }
}

/// Serves a file tree.
pub struct Files(Rc<Inner>);

struct Inner {
    place: Place,
    cache: RefCell<Cache>,
    pages: Pages,
    files: RefCell<SharedFiles>,
    watches: Watches,
}

/// What a helper thread needs of the extension.
#[derive(Clone)]
struct Place {
    tree: Arc<dyn FileSystem>,
    who: Persona,
    options: Arc<FilesOptions>,
}

/// What stands at a path.
enum Found {
    File(Stored),
    /// A directory, asked for without its slash.
    Directory,
    /// The page that lists a directory.
    Listing(Vec<u8>),
}

/// Whether looking may block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Block,
    NotBlock,
}

impl Files {
    /// Serves `tree` under this identity.
    pub fn new(tree: Arc<dyn FileSystem>, who: Persona, options: FilesOptions) -> Self {
        let cache = RefCell::new(Cache::new(options.cache_bytes));
        let pages = Pages::new(options.listing_bytes);
        let place = Place { tree, who, options: Arc::new(options) };
        Self(Rc::new(Inner {
            place,
            cache,
            pages,
            files: RefCell::default(),
            watches: Watches::default(),
        }))
    }
}

impl Extension for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        match request.head.method {
            Method::Get | Method::Head => {}
            Method::Options => return Handled::Now(Reply::new(204).field("Allow", ALLOW)),
            _ => {
                let sentence = "this resource can be read only";
                return Handled::Now(Reply::text(405, sentence).field("Allow", ALLOW));
            }
        }
        if matches!(request.head.target.form(), Form::Asterisk) {
            return Handled::Now(Reply::text(400, "`*` is for OPTIONS only"));
        }
        self.get(request, exchange)
    }
}

impl Files {
    fn get(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let inner = &self.0;
        let raw = request.head.target.path().raw();
        let turn = request.handle.now();
        let is_same = |kept: &mut Kept| kept.is_same(turn, |stored| inner.place.is_same(stored));
        if let Some(stored) = inner.cache.borrow_mut().look_up(raw, is_same) {
            return Handled::Now(stored.reply(request.head, request.unix_time));
        }
        let path = request.head.target.path().decoded();
        let (path, slash) = match VirtualPath::parse(&path) {
            Ok(parsed) => (parsed.path, parsed.trailing_slash),
            Err(e) => return Handled::Now(Reply::text(400, &format!("the path is invalid: {e}"))),
        };
        match inner.place.look(&path, slash, May::NotBlock, request.unix_time) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            result => {
                return Handled::Now(inner.reply(
                    result,
                    request.head,
                    request.unix_time,
                    request.handle,
                ));
            }
        }
        let responder = exchange.later();
        let place = inner.place.clone();
        let inner = inner.clone();
        let head: Box<[u8]> = request.raw.into();
        let now = request.unix_time;
        let handle = request.handle.clone();
        request.handle.run(
            move || place.look(&path, slash, May::Block, now),
            move |result| {
                let mut table = FieldTable::new();
                let reply = match (result, Head::parse(&head, &mut table)) {
                    (Ok(found), Ok(head)) => inner.reply(found, &head, now, &handle),
                    (Err(lost), _) => {
                        tracing::error!("a file could not be looked up: {lost}");
                        Reply::text(503, "the server is too busy to look it up")
                    }
                    (_, Err(reject)) => Reply::text(reject.status, reject.reason),
                };
                responder.reply(reply);
            },
        );
        Handled::Later
    }
}

impl Inner {
    /// Makes a reply of what was found, and keeps a small file for the next request.
    fn reply(
        &self,
        found: medusa_fs::Result<Found>,
        head: &Head<'_>,
        now: Duration,
        handle: &Handle,
    ) -> Reply {
        match found {
            Ok(Found::File(mut stored)) => {
                stored.share(&mut self.files.borrow_mut());
                let stored = Rc::new(stored);
                let reply = stored.reply(head, now);
                if stored.is_cacheable(now) {
                    let raw = head.target.path().raw();
                    let watch = self.watches.watch(handle, || self.place.open_to_watch(&stored));
                    self.cache.borrow_mut().keep(raw, stored, handle.now(), watch);
                }
                reply
            }
            Ok(Found::Directory) => redirect_to_slash(head),
            Ok(Found::Listing(page)) => match self.pages.admit(page) {
                Some(page) => Reply::new(200)
                    .field("Content-Type", "text/html; charset=utf-8")
                    .field("Cache-Control", "no-cache")
                    .producer(page),
                None => Reply::text(503, "too many listings are being read"),
            },
            Err(e) => refuse(&e),
        }
    }
}

impl Place {
    /// Whether a kept file is still what stands at its path.
    fn is_same(&self, stored: &Stored) -> bool {
        self.tree.check_now(&self.who, &stored.path, &stored.stamp) == Freshness::Same
    }

    /// Opens a kept file if it tells of all that could happen to it.
    fn open_to_watch(&self, stored: &Stored) -> Option<File> {
        self.tree.open_to_watch(&self.who, &stored.path, &stored.stamp)
    }

    fn open(&self, path: &VirtualPath, may: May) -> medusa_fs::Result<medusa_fs::OpenFile> {
        match may {
            May::Block => self.tree.open(&self.who, path),
            May::NotBlock => self.tree.open_now(&self.who, path),
        }
    }

    fn look(
        &self,
        path: &VirtualPath,
        slash: bool,
        may: May,
        now: Duration,
    ) -> medusa_fs::Result<Found> {
        match self.open(path, may) {
            Ok(_) if slash && !path.is_root() => {
                // `/file/` names something inside a file.
                Err(medusa_fs::Error::new(ErrorKind::NotFound, "open", path))
            }
            Ok(file) => Stored::new(path.clone(), file, may == May::Block, now).map(Found::File),
            Err(e) if e.kind() == ErrorKind::IsDirectory => {
                if !slash && !path.is_root() {
                    return Ok(Found::Directory);
                }
                self.directory(path, may, now)
            }
            Err(e) => Err(e),
        }
    }

    fn directory(&self, path: &VirtualPath, may: May, now: Duration) -> medusa_fs::Result<Found> {
        let denied = || medusa_fs::Error::new(ErrorKind::Denied, "list", path);
        let index = path.child(&self.options.index).map_err(|_| denied())?;
        match self.open(&index, may) {
            Ok(file) => return Stored::new(index, file, may == May::Block, now).map(Found::File),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory) => {}
            Err(e) => return Err(e),
        }
        if !self.options.listings {
            return Err(denied());
        }
        if may == May::NotBlock {
            return Err(medusa_fs::Error::new(ErrorKind::WouldBlock, "list", path));
        }
        listing::page(&*self.tree, &self.who, path, now).map(Found::Listing)
    }
}

/// Sends the client to the directory's own name, which ends in a slash, so that relative links
/// in it work. The Location is a path, so host and scheme stay as the client knows them.
fn redirect_to_slash(head: &Head<'_>) -> Reply {
    let path = head.target.path().decoded();
    let mut location = escape_path(&path);
    location.push('/');
    if let Some(query) = head.target.query() {
        location.push('?');
        location.push_str(&String::from_utf8_lossy(query));
    }
    Reply::text(301, &format!("the directory is at {location}")).field("Location", location)
}

fn refuse(error: &medusa_fs::Error) -> Reply {
    let (status, sentence): (u16, Cow<'_, str>) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotDirectory | ErrorKind::Escapes => {
            (404, "there is nothing at this path".into())
        }
        ErrorKind::TooLong => (404, "no name here is that long".into()),
        ErrorKind::Denied | ErrorKind::Unsupported => (403, "this may not be read".into()),
        ErrorKind::Busy => (503, "the file is busy".into()),
        ErrorKind::Exhausted => {
            tracing::warn!("{error}");
            (503, "the server has too much open at once".into())
        }
        _ => {
            tracing::error!("{error}");
            (500, "the file could not be read".into())
        }
    };
    Reply::text(status, &sentence)
}
