//! What a request wants of the tree: where, on what conditions, and all but writing files.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use medusa_fs::{ErrorKind, FileSystem, Kind, Metadata, Persona, VirtualPath};

use crate::extension::Request;
use crate::files::etag_of;
use crate::upload::UploadOptions;
use crate::upload::answer::Answer;
use crate::wire::conditional::{ETag, Outcome, Validators, evaluate};
use crate::wire::fields::{FieldTable, Known};
use crate::wire::head::Head;
use crate::wire::target::escape_path;

/// The tree, and what may be done to it by whom.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) tree: Arc<dyn FileSystem>,
    pub(super) who: Persona,
    pub(super) options: Arc<UploadOptions>,
}

/// What one request wants. Its methods block.
pub(super) struct Wish {
    pub(super) place: Place,
    pub(super) path: VirtualPath,
    trailing_slash: bool,
    /// The request's head, if it has conditions.
    head: Option<Box<[u8]>>,
    /// Nothing may be there yet: a condition that the tree itself keeps.
    pub(super) only_new: bool,
    now: Duration,
}

impl Wish {
    pub(super) fn new(
        place: &Place,
        path: VirtualPath,
        trailing_slash: bool,
        request: &Request<'_>,
    ) -> Self {
        let head = request.head;
        let conditional = [Known::IfMatch, Known::IfNoneMatch, Known::IfUnmodifiedSince]
            .iter()
            .any(|&known| head.known(known).is_some());
        Self {
            place: place.clone(),
            path,
            trailing_slash,
            head: conditional.then(|| request.raw.into()),
            only_new: head.fields.single(Known::IfNoneMatch) == Some(b"*"),
            now: request.unix_time,
        }
    }

    /// Tells what a reader finds at the path, through links; a link that leads out of the tree
    /// leads to nothing.
    pub(super) fn found(&self) -> medusa_fs::Result<Option<Metadata>> {
        match self.place.tree.metadata(&self.place.who, &self.path) {
            Ok(found) => Ok(Some(found)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Escapes) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Checks the request's conditions against what a reader finds (RFC 9110, section 13).
    pub(super) fn check(&self, found: Option<&Metadata>) -> Result<(), Answer> {
        let Some(raw) = &self.head else { return Ok(()) };
        let mut table = FieldTable::new();
        let head = Head::parse(raw, &mut table)?;
        let etag = found.map(|found| etag_of(&found.stamp));
        let since = |found: &Metadata| found.modified.duration_since(UNIX_EPOCH);
        let validators = Validators {
            exists: found.is_some(),
            etag: etag.as_ref().and_then(|etag| ETag::parse(etag.as_bytes())),
            modified: found.map(|found| since(found).unwrap_or_default().as_secs()),
        };
        match evaluate(&head, &validators, self.now.as_secs()) {
            Outcome::Proceed { .. } => Ok(()),
            Outcome::NotModified | Outcome::PreconditionFailed => Err(precondition_failed()),
        }
    }

    /// Where it is, for `Location`.
    pub(super) fn location(&self) -> String {
        escape_path(self.path.as_bytes())
    }

    /// Where the directory at the path is.
    pub(super) fn directory_location(&self) -> String {
        let mut location = self.location();
        if !location.ends_with('/') {
            location.push('/');
        }
        location
    }

    /// Makes a directory (RFC 4918, section 9.3).
    pub(super) fn make_directory(&self, allow: String) -> Result<Answer, Answer> {
        self.check(self.found_entry()?.as_ref())?;
        match self.place.tree.make_dir(&self.place.who, &self.path) {
            Ok(()) => Ok(Answer::new(201).field("Location", self.directory_location())),
            Err(e) => Err(match e.kind() {
                ErrorKind::Exists => Answer::text(405, "there is something of this name already")
                    .field("Allow", allow),
                _ => unparented(&e),
            }),
        }
    }

    /// Removes a file, a link, or an empty directory.
    pub(super) fn delete(&self) -> Result<Answer, Answer> {
        let Place { tree, who, .. } = &self.place;
        let entry = self.found_entry()?;
        let absent = || Answer::text(404, "there is nothing at this path");
        let Some(entry) = entry else { return Err(absent()) };
        if entry.kind != Kind::Dir && self.trailing_slash {
            return Err(absent());
        }
        // Of a link, what it leads to is what a reader knows.
        let found = self.found().map_err(|e| Answer::of(&e))?;
        self.check(Some(found.as_ref().unwrap_or(&entry)))?;
        let removed = match entry.kind {
            Kind::Dir => tree.remove_dir(who, &self.path),
            _ => tree.remove_file(who, &self.path),
        };
        match removed {
            Ok(()) => Ok(Answer::new(204)),
            Err(e) => Err(Answer::of(&e)),
        }
    }

    /// Tells what stands at the path itself.
    fn found_entry(&self) -> Result<Option<Metadata>, Answer> {
        match self.place.tree.entry_metadata(&self.place.who, &self.path) {
            Ok(found) => Ok(Some(found)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotDirectory) => Ok(None),
            Err(e) => Err(Answer::of(&e)),
        }
    }
}

/// A condition does not hold.
pub(super) fn precondition_failed() -> Answer {
    Answer::text(412, "what is stored is not as you expect it")
}

/// What an error means where something new is made: what is absent is the directory for it.
pub(super) fn unparented(error: &medusa_fs::Error) -> Answer {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotDirectory => {
            Answer::text(409, "there is no directory for it: make that first")
        }
        _ => Answer::of(error),
    }
}
