//! The extension that writes: PUT, DELETE, MKCOL, and files from forms (multipart/form-data).
//!
//! The one design choice: all that a request does to the tree happens on helper threads, in the
//! sink of a collector: looking, staging, taking a form apart, writing, committing. The loop only
//! hands buffers over, two at most for each upload, and an answer comes back. What is sent is
//! written beside its place and takes it in one step when it is whole, so that nobody ever sees a
//! part of a file, and an upload that breaks off leaves nothing.
//!
//! It stands before [`Files`](crate::Files) over the same tree: it matches everything but GET and
//! HEAD, so that its answers to OPTIONS and its 405 can name all that the two of them allow.
//!
//! Directories are removed only when they are empty; there is no way to remove a tree at once.

mod answer;
mod form;
mod place;
mod put;
mod taking;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use medusa_fs::{FileSystem, Parsed, Persona, VirtualPath};

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::limits::{UPLOAD_BYTES, UPLOAD_RETRY, UPLOADS_AT_ONCE};
use crate::reply::Reply;
use crate::upload::answer::Answer;
use crate::upload::place::{Place, Wish};
use crate::wire::framing::BodyFraming;
use crate::wire::head::Method;

/// What may be written to a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadOptions {
    /// Bytes that the body of a request may have, a form's as a whole; past them the answer is 413.
    pub max_bytes: u64,
    /// Uploads that are received at once; past them the answer is 503.
    pub at_once: usize,
    /// Whether PUT makes and replaces files.
    pub put: bool,
    /// Whether DELETE removes files and empty directories.
    pub delete: bool,
    /// Whether MKCOL makes directories.
    pub make_directories: bool,
    /// Whether forms may be posted to directories.
    pub forms: bool,
    /// Whether a file from a form replaces one of the same name. If not the answer is 409.
    pub replace_by_form: bool,
    /// Whether pages of other sites may post forms here, in the name of whoever looks at them.
    pub cross_site_forms: bool,
    /// Whether a file is on the disk, not just in its cache, when the client hears that it is
    /// stored.
    pub durable: bool,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            max_bytes: UPLOAD_BYTES,
            at_once: UPLOADS_AT_ONCE,
            put: true,
            delete: true,
            make_directories: true,
            forms: true,
            replace_by_form: false,
            cross_site_forms: false,
            durable: false,
        }
    }
}

/// The tree takes no writes, so that there is nothing to upload to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWritable;

impl fmt::Display for NotWritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("uploads need a tree that takes writes, and this one is read-only: make it writable, or leave uploads out")
    }
}

impl Error for NotWritable {}

/// Writes what clients send to a file tree.
pub struct Upload {
    place: Place,
    /// What `Allow` says, with the methods of the extension that reads the tree.
    allow: String,
    under_way: Arc<AtomicUsize>,
}

/// Counts an upload for as long as it is under way, wherever it is.
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upload {
    /// Writes to `tree` under this identity.
    ///
    /// # Errors
    ///
    /// Where the tree takes no writes.
    pub fn new(
        tree: Arc<dyn FileSystem>,
        who: Persona,
        options: UploadOptions,
    ) -> Result<Self, NotWritable> {
        if !tree.is_writable() {
            return Err(NotWritable);
        }
        let mut allow = "GET, HEAD, OPTIONS".to_owned();
        for (allowed, method) in [
            (options.put, ", PUT"),
            (options.delete, ", DELETE"),
            (options.make_directories, ", MKCOL"),
            (options.forms, ", POST"),
        ] {
            allow.push_str(if allowed { method } else { "" });
        }
        let place = Place { tree, who, options: Arc::new(options) };
        Ok(Self { place, allow, under_way: Arc::default() })
    }

    fn allows(&self, method: Method) -> bool {
        let options = &self.place.options;
        match method {
            Method::Put => options.put,
            Method::Delete => options.delete,
            Method::Mkcol => options.make_directories,
            Method::Post => options.forms,
            _ => false,
        }
    }

    fn not_allowed(&self, sentence: &'static str) -> Answer {
        Answer::text(405, sentence).field("Allow", self.allow.clone())
    }

    /// Begins to carry out a request, or says why not.
    fn begin(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Result<Handled, Answer> {
        let method = request.head.method;
        if !self.allows(method) {
            return Err(self.not_allowed("this method cannot be used here"));
        }
        let path = request.head.target.path().decoded();
        let Parsed { path, trailing_slash } = VirtualPath::parse(&path)
            .map_err(|e| Answer::text(400, format!("the path is invalid: {e}")))?;
        if path.is_root() && method != Method::Post {
            return Err(self.not_allowed("the root of the tree stays as it is"));
        }
        if has_coding(request) {
            return Err(Answer::text(415, "what is encoded is not decoded here: send it plain"));
        }
        let wish = Wish::new(&self.place, path, trailing_slash, request);
        match method {
            Method::Put => {
                put::check(request, trailing_slash)?;
                let permit = self.admit(request)?;
                exchange.limit_body(self.place.options.max_bytes);
                Ok(taking::take(request.handle, exchange, permit, move || put::Put::start(wish)))
            }
            Method::Post => {
                let (form, wants) = form::check(request, &self.place.options)?;
                let permit = self.admit(request)?;
                exchange.limit_body(self.place.options.max_bytes);
                let start = move || form::Form::start(&wish, form, wants);
                Ok(taking::take(request.handle, exchange, permit, start))
            }
            Method::Mkcol if request.has_body() => {
                Err(Answer::text(415, "a directory is made without a body"))
            }
            Method::Mkcol => {
                let allow = self.allow.clone();
                Ok(run(request, exchange, move || wish.make_directory(allow)))
            }
            _ => Ok(run(request, exchange, move || wish.delete())),
        }
    }

    /// Counts one more upload, if it is not too large by its own words, nor one too many.
    fn admit(&self, request: &Request<'_>) -> Result<Permit, Answer> {
        let options = &self.place.options;
        if matches!(request.head.framing, BodyFraming::Length(length) if length > options.max_bytes)
        {
            let sentence = format!("{} bytes are the most that is taken", options.max_bytes);
            return Err(Answer::text(413, sentence));
        }
        // Dropped at once where it is one too many.
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(self.under_way.clone());
        if before >= options.at_once {
            return Err(Answer::text(503, "too many uploads are under way")
                .field("Retry-After", UPLOAD_RETRY.as_secs().to_string()));
        }
        Ok(permit)
    }
}

impl Extension for Upload {
    fn name(&self) -> &'static str {
        "upload"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        !matches!(request.head.method, Method::Get | Method::Head)
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        if request.head.method == Method::Options {
            return Handled::Now(Reply::new(204).field("Allow", &self.allow));
        }
        self.begin(request, exchange).unwrap_or_else(|answer| Handled::Now(answer.into()))
    }
}

/// Whether the body is encoded (RFC 9110, section 8.4): stored as it comes, it would be served as
/// something else.
fn has_coding(request: &Request<'_>) -> bool {
    let coding = request.head.field("Content-Encoding").unwrap_or(b"identity");
    !coding.eq_ignore_ascii_case(b"identity")
}

/// Carries out on a helper thread what needs no body.
fn run(
    request: &Request<'_>,
    exchange: &mut Exchange<'_>,
    work: impl FnOnce() -> Result<Answer, Answer> + Send + 'static,
) -> Handled {
    let responder = exchange.later();
    request.handle.run(work, move |result| {
        let (Ok(answer) | Err(answer)) = result.unwrap_or_else(|lost| {
            tracing::error!("a change was not carried out: {lost}");
            Err(Answer::lost())
        });
        responder.reply(answer.into());
    });
    Handled::Later
}
