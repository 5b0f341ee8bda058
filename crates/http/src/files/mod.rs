//! The default extension: serves a file tree, and matches everything.
//!
//! The one design choice: small files are kept in memory with the head lines that go with them,
//! and looked at again at most once a turn of the loop, by one system call, or less often where the
//! system gives notice of changes; so the common request costs a look into a table, and a changed
//! file is noticed by the next request. What might block goes to a helper thread, and the reply
//! comes later.

mod archive;
mod budget;
mod cache;
mod civil;
mod coded;
mod listing;
mod media;
mod parts;
mod query;
mod resource;
mod rules;
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
use medusa_core::handle::JobLost;
use medusa_core::producer::{Step, Stepped};
use medusa_fs::{ErrorKind, FileSystem, Freshness, OpenFile, Persona, Stamp, VirtualPath};

use crate::coding::{Coder, Coding, CodingOptions};
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::files::archive::Archive;
use crate::files::budget::{Budget, Paid, Share};
use crate::files::cache::{Cache, Kept};
use crate::files::coded::CodedFiles;
use crate::files::listing::Offers;
pub use crate::files::media::MediaTypes;
use crate::files::query::{ArchiveKind, Format, Query};
use crate::files::resource::{Means, Resource};
pub use crate::files::rules::CacheRule;
use crate::files::shared::SharedFiles;
use crate::files::stored::Stored;
pub(crate) use crate::files::stored::etag_of;
use crate::files::watch::{Watch, Watches};
use crate::limits::{
    ARCHIVES_AT_ONCE, BUSY_RETRY_SECONDS, CACHE_BYTES, CODED_BYTES, LISTING_BYTES,
};
use crate::reply::Reply;
use crate::wire::Reject;
use crate::wire::coding::Accepted;
use crate::wire::fields::{FieldTable, Known};
use crate::wire::head::{Head, Method};
use crate::wire::qvalue::best_media_type;
use crate::wire::target::{Form, escape_path};

/// What the extension allows, for `Allow` in 405 and in answers to OPTIONS.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// How a tree is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// The names of files that stand for a directory; the first that is there does.
    pub index: Vec<Vec<u8>>,
    /// Whether a directory without such a file is listed.
    pub listings: bool,
    /// Whether a directory that may be listed may also be had as a tar or zip archive, with all
    /// that is beneath it, also what is beneath directories that have such a file.
    pub archives: bool,
    /// Whether the page that lists a directory has a form to upload into it, by a POST of
    /// `multipart/form-data` to the directory's own URL. Another extension takes it.
    pub upload: bool,
    /// Bytes of small files that are kept in memory.
    pub cache_bytes: usize,
    /// Bytes of files coded on the fly that are kept in memory; with 0 each request codes anew.
    pub coded_bytes: usize,
    /// The codings in which neighbours of a file (`x.css.br`) stand for it, most wanted first where
    /// the client likes them alike; none for no such look. Only files of a type that is worth
    /// coding ([`CodingOptions::types`]) have neighbours; one that is older than its file does
    /// not count.
    pub neighbours: Vec<Coding>,
    /// The media types.
    pub media: MediaTypes,
    /// Gives files a Cache-Control; the first rule that fits counts.
    pub cache_control: Vec<CacheRule>,
    /// Bytes of listings that are on their way to clients; past them the answer is 503.
    pub listing_bytes: usize,
    /// Archives that are on their way to clients, at least one; past them the answer is 503.
    pub archives_at_once: usize,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            index: vec![b"index.html".to_vec()],
            listings: true,
            archives: true,
            upload: false,
            cache_bytes: CACHE_BYTES,
            coded_bytes: CODED_BYTES,
            neighbours: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
            media: MediaTypes::default(),
            cache_control: Vec::new(),
            listing_bytes: LISTING_BYTES,
            archives_at_once: ARCHIVES_AT_ONCE,
        }
    }
}

/// Serves a file tree.
pub struct Files(Rc<Inner>);

struct Inner {
    place: Place,
    cache: RefCell<Cache>,
    coder: Coder,
    coded: Rc<RefCell<CodedFiles>>,
    files: RefCell<SharedFiles>,
    watches: Watches,
}

/// What a helper thread needs of the extension.
#[derive(Clone)]
struct Place {
    tree: Arc<dyn FileSystem>,
    who: Persona,
    options: Arc<FilesOptions>,
    coding: Arc<CodingOptions>,
    listings: Budget,
    archives: Budget,
}

/// A directory, and who reads it.
struct Source {
    tree: Arc<dyn FileSystem>,
    who: Persona,
    path: VirtualPath,
}

/// What stands at a path.
enum Found {
    File(Box<Resource>),
    /// A directory, asked for without its slash.
    Directory,
    /// A directory that may be listed.
    Listable,
    /// The listing of a directory, its first step, and what is held for it.
    Listing(Format, Box<(listing::Listing, Step, Share)>),
    Archive(ArchiveKind, Box<(Archive, Share)>),
    /// Too much of its kind is on its way.
    Busy,
    /// What is asked of the directory makes no sense.
    Refused(Reject),
}

/// What a request wants of a directory.
struct Wish {
    query: Result<Query, Reject>,
    /// What `Accept` says it would rather have.
    accepts: Format,
}

impl Wish {
    fn of(head: &Head<'_>) -> Self {
        let offered = ["text/html", "application/json"];
        let accepts = match best_media_type(head.fields.values(Known::Accept), &offered) {
            Some(1) => Format::Json,
            // Also for those that accept neither: a page tells them more than a refusal.
            _ => Format::Html,
        };
        Self { query: Query::parse(head.target.query().unwrap_or_default()), accepts }
    }
}

/// Whether looking may block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Block,
    NotBlock,
}

impl Files {
    /// Serves `tree` under this identity, with a coder of its own.
    pub fn new(tree: Arc<dyn FileSystem>, who: Persona, options: FilesOptions) -> Self {
        Self::with_coder(tree, who, options, Coder::default())
    }

    /// Serves `tree` under this identity. What is coded on the fly, and how, is up to `coder`,
    /// whose bounds all who share it keep together.
    pub fn with_coder(
        tree: Arc<dyn FileSystem>,
        who: Persona,
        options: FilesOptions,
        coder: Coder,
    ) -> Self {
        let cache = RefCell::new(Cache::new(options.cache_bytes));
        let coded = Rc::new(RefCell::new(CodedFiles::new(options.coded_bytes)));
        let listings = Budget::new(options.listing_bytes);
        let archives = Budget::new(options.archives_at_once);
        let coding = coder.options().clone();
        let place = Place { tree, who, options: Arc::new(options), coding, listings, archives };
        Self(Rc::new(Inner {
            place,
            cache,
            coder,
            coded,
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
        if let Some(resource) = inner.kept(raw, request.handle) {
            let means = inner.means(request.handle);
            return Handled::Now(resource.reply(request.head, request.unix_time, &means));
        }
        let path = request.head.target.path().decoded();
        let (path, slash) = match VirtualPath::parse(&path) {
            Ok(parsed) => (parsed.path, parsed.trailing_slash),
            Err(e) => return Handled::Now(Reply::text(400, &format!("the path is invalid: {e}"))),
        };
        match inner.place.look(&path, slash, May::NotBlock, request.unix_time) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(Found::Listable) => {}
            result => {
                let (now, handle) = (request.unix_time, request.handle);
                return Handled::Now(inner.reply(result, raw, request.head, now, handle));
            }
        }
        let responder = exchange.later();
        let place = inner.place.clone();
        let inner = inner.clone();
        let head: Box<[u8]> = request.raw.into();
        let now = request.unix_time;
        let handle = request.handle.clone();
        let wish = Wish::of(request.head);
        request.handle.run(
            move || place.find(&path, slash, now, &wish),
            move |result| {
                let mut table = FieldTable::new();
                let reply = match (result, Head::parse(&head, &mut table)) {
                    (Ok(found), Ok(head)) => {
                        inner.reply(found, head.target.path().raw(), &head, now, &handle)
                    }
                    (Err(lost), _) => lost_reply(lost),
                    (_, Err(reject)) => Reply::text(reject.status, reject.reason),
                };
                responder.reply(reply);
            },
        );
        Handled::Later
    }

    /// Answers with the file at `path`, whatever path the request names, by its conditions and
    /// ranges: 404 for anything but a file. `head` is the request's own, and `now` the time since
    /// 1970; `then` has the reply, perhaps at once.
    pub fn reply_with(
        &self,
        path: &VirtualPath,
        head: &[u8],
        now: Duration,
        handle: &Handle,
        then: impl FnOnce(Reply) + 'static,
    ) {
        let inner = self.0.clone();
        let raw = escape_path(path.as_bytes()).into_bytes();
        let answer = move |inner: &Inner, found: Option<_>, head: &[u8], handle: &Handle| {
            let mut table = FieldTable::new();
            let head = match Head::parse(head, &mut table) {
                Ok(head) => head,
                Err(reject) => return Some(Reply::text(reject.status, reject.reason)),
            };
            match found {
                Some(Ok(Found::File(_)) | Err(_)) => {
                    found.map(|found| inner.reply(found, &raw, &head, now, handle))
                }
                Some(Ok(_)) => Some(Reply::text(404, "there is no file at this path")),
                None => {
                    let kept = inner.kept(&raw, handle)?;
                    Some(kept.reply(&head, now, &inner.means(handle)))
                }
            }
        };
        if let Some(reply) = answer(&inner, None, head, handle) {
            return then(reply);
        }
        match inner.place.look(path, false, May::NotBlock, now) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            found => {
                let reply = answer(&inner, Some(found), head, handle);
                return then(reply.unwrap_or_else(Reply::failed));
            }
        }
        let (place, path, head) = (inner.place.clone(), path.clone(), Box::<[u8]>::from(head));
        let on = handle.clone();
        handle.run(
            move || place.look(&path, false, May::Block, now),
            move |found| {
                then(match found {
                    Ok(found) => {
                        answer(&inner, Some(found), &head, &on).unwrap_or_else(Reply::failed)
                    }
                    Err(lost) => lost_reply(lost),
                });
            },
        );
    }
}

impl Inner {
    /// What is kept of the file at a path, as clients write it, if it is still the same.
    fn kept(&self, raw: &[u8], handle: &Handle) -> Option<Rc<Resource>> {
        let is_same = |kept: &mut Kept| {
            kept.is_same(handle.now(), |resource, all| resource.is_same(&self.place, all))
        };
        self.cache.borrow_mut().look_up(raw, is_same)
    }

    /// Makes a reply of what was found at `raw`, a path as clients write it, and keeps a small file
    /// for the next request.
    fn reply(
        &self,
        found: medusa_fs::Result<Found>,
        raw: &[u8],
        head: &Head<'_>,
        now: Duration,
        handle: &Handle,
    ) -> Reply {
        match found {
            Ok(Found::File(mut resource)) => {
                resource.share(&mut self.files.borrow_mut());
                let reply = resource.reply(head, now, &self.means(handle));
                if resource.is_cacheable(now) {
                    let watches = self.watch(&resource, handle);
                    let resource = Rc::new(*resource);
                    self.cache.borrow_mut().keep(raw, resource, handle.now(), watches);
                }
                reply
            }
            Ok(Found::Directory) => redirect_to_slash(head),
            Ok(Found::Listing(format, begun)) => {
                let (listing, first, share) = *begun;
                let mut reply = listing::reply(format)
                    .producer(Paid::new(Stepped::after(first, listing), share));
                self.coder.encode(&mut reply, Accepted::by(&head.fields), handle.now());
                reply
            }
            Ok(Found::Archive(kind, begun)) => {
                let (archive, share) = *begun;
                let reply = archive::reply(kind, &archive.name());
                reply.producer(Paid::new(Stepped::new(archive), share))
            }
            // `Listable` never comes here: `find` goes on to begin the listing.
            Ok(Found::Busy | Found::Listable) => {
                Reply::text(503, "too many directories are being read; try again in a moment")
                    .field("Retry-After", BUSY_RETRY_SECONDS.to_string())
            }
            Ok(Found::Refused(reject)) => Reply::text(reject.status, reject.reason),
            Err(e) => refuse(&e),
        }
    }

    fn means(&self, handle: &Handle) -> Means<'_> {
        Means { coder: &self.coder, coded: &self.coded, turn: handle.now() }
    }

    /// Has the system watch all files of a resource; one that is missing cannot be watched.
    fn watch(&self, resource: &Resource, handle: &Handle) -> Option<Box<[Rc<Watch>]>> {
        if !resource.has_plain() {
            return None;
        }
        let watch = |stored| self.watches.watch(handle, || self.place.open_to_watch(stored));
        resource.stored().map(watch).collect()
    }
}

impl Place {
    /// Whether a file is still in the state in which it was opened.
    fn check(&self, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        self.tree.check_now(&self.who, path, stamp)
    }

    /// Opens a kept file if it tells of all that could happen to it.
    fn open_to_watch(&self, stored: &Stored) -> Option<File> {
        self.tree.open_to_watch(&self.who, &stored.path, &stored.stamp)
    }

    fn open(&self, path: &VirtualPath, may: May) -> medusa_fs::Result<OpenFile> {
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
            Err(e) if e.kind() == ErrorKind::IsDirectory => {
                if !slash && !path.is_root() {
                    return Ok(Found::Directory);
                }
                self.directory(path, may, now)
            }
            Err(e) if slash => Err(e),
            opened => self.file(path, opened, may, now),
        }
    }

    /// What stands at the path of a file, if only in another coding.
    fn file(
        &self,
        path: &VirtualPath,
        opened: medusa_fs::Result<OpenFile>,
        may: May,
        now: Duration,
    ) -> medusa_fs::Result<Found> {
        let resource = Resource::new(self, path, opened, may, now)?;
        Ok(Found::File(Box::new(resource)))
    }

    fn directory(&self, path: &VirtualPath, may: May, now: Duration) -> medusa_fs::Result<Found> {
        let denied = || medusa_fs::Error::new(ErrorKind::Denied, "list", path);
        for name in &self.options.index {
            let index = path.child(name).map_err(|_| denied())?;
            match self.file(&index, self.open(&index, may), may, now) {
                Ok(found) => return Ok(found),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory) => {}
                Err(e) => return Err(e),
            }
        }
        if self.options.listings { Ok(Found::Listable) } else { Err(denied()) }
    }

    /// Looks up what stands at a path, and begins to read it if it is a directory; blocks.
    fn find(
        &self,
        path: &VirtualPath,
        slash: bool,
        now: Duration,
        wish: &Wish,
    ) -> medusa_fs::Result<Found> {
        match self.look(path, slash, May::Block, now)? {
            Found::Listable => {}
            found => return Ok(found),
        }
        let query = match wish.query {
            Ok(query) => query,
            Err(reject) => return Ok(Found::Refused(reject)),
        };
        let source = Source { tree: self.tree.clone(), who: self.who.clone(), path: path.clone() };
        let FilesOptions { archives, upload, .. } = *self.options;
        if let Some(kind) = query.archive {
            if !archives {
                return Ok(Found::Refused(Reject::with(403, "archives are switched off here")));
            }
            let Some(share) = self.archives.take(1) else { return Ok(Found::Busy) };
            let archive = archive::begin(source, kind)?;
            return Ok(Found::Archive(kind, Box::new((archive, share))));
        }
        let format = query.format.unwrap_or(wish.accepts);
        let offers = Offers { archives, upload };
        let begun = listing::begin(source, query, format, offers, &self.listings)?;
        Ok(begun.map_or(Found::Busy, |begun| Found::Listing(format, Box::new(begun))))
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

fn lost_reply(lost: JobLost) -> Reply {
    tracing::error!("a file could not be looked up: {lost}");
    Reply::text(503, "the server is too busy to look it up")
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
