//! PUT: one file, whole.

use medusa_fs::{Commit, ErrorKind, Kind, Metadata, Staged};

use crate::extension::Request;
use crate::files::etag_of;
use crate::upload::answer::Answer;
use crate::upload::place::{Wish, precondition_failed, unparented};
use crate::upload::taking::Work;

/// Refuses what no PUT can mean here.
pub(super) fn check(request: &Request<'_>, trailing_slash: bool) -> Result<(), Answer> {
    // Part of a file taken for all of it would destroy the rest (RFC 9110, section 14.5).
    if request.head.field("Content-Range").is_some() {
        return Err(Answer::text(
            400,
            "only whole files are stored: send it without Content-Range",
        ));
    }
    if trailing_slash {
        return Err(Answer::text(409, "a directory is not made by PUT: use MKCOL"));
    }
    Ok(())
}

/// A file that is being received.
pub(super) struct Put {
    wish: Wish,
    staged: Box<dyn Staged>,
}

impl Put {
    /// Opens a file for the content, if the request's conditions hold.
    pub(super) fn start(wish: Wish) -> Result<Self, Answer> {
        replaceable(&wish)?;
        let staged = wish.place.tree.stage(&wish.place.who, &wish.path);
        Ok(Self { staged: staged.map_err(|e| unparented(&e))?, wish })
    }
}

impl Work for Put {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Answer> {
        self.staged.write(bytes).map_err(|e| Answer::of(&e))
    }

    fn finish(self: Box<Self>) -> Result<Answer, Answer> {
        let Self { wish, staged } = *self;
        // Again, for the upload may have taken long. That nothing is there the tree itself makes
        // sure of; between the other conditions and the commit is a moment.
        let replaced = replaceable(&wish)?;
        let how = Commit { replace: !wish.only_new, durable: wish.place.options.durable };
        let stored = staged.commit(how).map_err(|e| match e.kind() {
            ErrorKind::Exists => precondition_failed(),
            _ => unparented(&e),
        })?;
        let answer = match replaced {
            Some(_) => Answer::new(204),
            None => Answer::new(201).field("Location", wish.location()),
        };
        // Stored byte by byte, it has the tag that a GET will give (RFC 9110, section 9.3.4).
        Ok(answer.field("ETag", etag_of(&stored.stamp)))
    }
}

/// What would be replaced, if it can be and the request's conditions hold.
fn replaceable(wish: &Wish) -> Result<Option<Metadata>, Answer> {
    let found = wish.found().map_err(|e| unparented(&e))?;
    match found.as_ref().map(|found| found.kind) {
        None | Some(Kind::File) => {}
        Some(Kind::Dir) => return Err(Answer::text(409, "there is a directory at this path")),
        Some(_) => return Err(Answer::text(409, "what is at this path is no file")),
    }
    wish.check(found.as_ref())?;
    Ok(found)
}
