//! Files from forms: multipart/form-data, posted to a directory (RFC 7578).
//!
//! The one design choice: each file is committed when its part is complete, not all of them at the
//! end. So one file is open at a time, however many a form has, and of a long form that breaks off
//! the client keeps what was whole; the answer says how many files that were. Other fields than
//! files are skipped.

use std::fmt::Write as _;

use medusa_fs::{Commit, ErrorKind, Kind, Staged, VirtualPath};

use crate::extension::Request;
use crate::upload::UploadOptions;
use crate::upload::answer::Answer;
use crate::upload::place::{Place, Wish};
use crate::upload::taking::Work;
use crate::wire::escape::Escaped;
use crate::wire::fields::Known;
use crate::wire::head::Head;
use crate::wire::multipart::{Decoder, Step};
use crate::wire::qvalue::best_media_type;
use crate::wire::target::{Authority, escape_path};

/// How the client wants to hear that all went well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// As a list in JSON.
    Json,
    /// By being sent back to the directory, as a browser does.
    Page,
}

/// Refuses what is no form, and the forms of other sites' pages.
pub(super) fn check(
    request: &Request<'_>,
    options: &UploadOptions,
) -> Result<(Decoder, Wants), Answer> {
    let head = request.head;
    let content_type = head.fields.single(Known::ContentType).unwrap_or_default();
    let Some(decoder) = Decoder::of(content_type) else {
        return Err(Answer::text(415, "files are taken from multipart/form-data"));
    };
    if !options.cross_site_forms && !is_same_origin(head) {
        return Err(Answer::text(403, "forms are taken from pages of this site only"));
    }
    let offered = ["application/json", "text/html"];
    let wants = match best_media_type(head.fields.values(Known::Accept), &offered) {
        Some(1) => Wants::Page,
        _ => Wants::Json,
    };
    Ok((decoder?, wants))
}

/// Whether a browser sends the request for a page of this site, or for no page at all. A browser
/// says so itself, in `Sec-Fetch-Site` or, where it is older, in `Origin`; it lets no page change
/// either. Clients that say nothing are no browsers, and nobody can send requests through them.
fn is_same_origin(head: &Head<'_>) -> bool {
    if let Some(site) = head.field("Sec-Fetch-Site") {
        return matches!(site, b"same-origin" | b"none");
    }
    let Some(origin) = head.field("Origin") else { return true };
    let split = origin.iter().position(|&b| b == b':').map(|at| origin.split_at(at));
    let (Some((scheme, rest)), Some(host)) = (split, head.host) else { return false };
    let port = match scheme {
        b"http" => 80,
        b"https" => 443,
        _ => return false,
    };
    let Some(Ok(origin)) = rest.strip_prefix(b"://").map(Authority::parse) else { return false };
    origin.host().eq_ignore_ascii_case(host.host())
        && origin.port().unwrap_or(port) == host.port().unwrap_or(port)
}

/// A form that is being received.
pub(super) struct Form {
    place: Place,
    directory: VirtualPath,
    location: String,
    wants: Wants,
    decoder: Decoder,
    /// What the decoder wants to see again.
    rest: Vec<u8>,
    current: Option<Current>,
    stored: Vec<Stored>,
}

/// The file whose part is being received.
struct Current {
    staged: Box<dyn Staged>,
    stored: Stored,
}

struct Stored {
    name: Box<[u8]>,
    size: u64,
}

impl Form {
    /// Begins, if there is a directory.
    pub(super) fn start(wish: &Wish, decoder: Decoder, wants: Wants) -> Result<Self, Answer> {
        match wish.found().map_err(|e| Answer::of(&e))?.map(|found| found.kind) {
            Some(Kind::Dir) => {}
            Some(_) => {
                return Err(Answer::text(409, "forms are sent to a directory, not to a file"));
            }
            None => return Err(Answer::text(404, "there is no such directory")),
        }
        Ok(Self {
            place: wish.place.clone(),
            directory: wish.path.clone(),
            location: wish.directory_location(),
            wants,
            decoder,
            rest: Vec::new(),
            current: None,
            stored: Vec::new(),
        })
    }

    /// Takes from the front of `input`; says how much.
    fn decode(&mut self, input: &[u8]) -> Result<usize, Answer> {
        let mut at = 0;
        loop {
            let (taken, step) = self.decoder.decode(&input[at..])?;
            match step {
                Step::Need => return Ok(at + taken),
                Step::Part(head) => {
                    let name = head.file_name.filter(|name| !name.is_empty());
                    self.current = name.map(|name| self.begin(name)).transpose()?;
                }
                Step::Data { len, last } => {
                    if let Some(current) = &mut self.current {
                        let written = current.staged.write(&input[at..at + len]);
                        written.map_err(|e| refuse(&current.stored.name, &e))?;
                        current.stored.size += len as u64;
                    }
                    if last {
                        self.commit()?;
                    }
                }
                Step::Done => {}
            }
            at += taken;
        }
    }

    fn begin(&self, name: Box<[u8]>) -> Result<Current, Answer> {
        let Place { tree, who, options } = &self.place;
        if name.iter().any(u8::is_ascii_control) {
            return Err(Answer::text(400, "the name has a control byte in it").named(&name));
        }
        let path = self.directory.child(&name).map_err(|e| {
            Answer::text(400, format!("it cannot be stored under this name: {e}")).named(&name)
        })?;
        if !options.replace_by_form && tree.entry_metadata(who, &path).is_ok() {
            // Told now, not behind its content; that it stays so is left to the commit.
            let error = medusa_fs::Error::new(ErrorKind::Exists, "stage", &path);
            return Err(refuse(&name, &error));
        }
        let staged = tree.stage(who, &path).map_err(|e| refuse(&name, &e))?;
        Ok(Current { staged, stored: Stored { name, size: 0 } })
    }

    fn commit(&mut self) -> Result<(), Answer> {
        let Some(Current { staged, stored }) = self.current.take() else { return Ok(()) };
        let options = &self.place.options;
        let how = Commit { replace: options.replace_by_form, durable: options.durable };
        staged.commit(how).map_err(|e| refuse(&stored.name, &e))?;
        self.stored.push(stored);
        Ok(())
    }

    /// Says in a refusal what is stored all the same.
    fn with_stored(&self, refusal: Answer) -> Answer {
        match self.stored.len() {
            0 => refusal,
            1 => refusal.about("", " (the file before it is stored)"),
            n => refusal.about("", &format!(" (the {n} files before it are stored)")),
        }
    }

    fn list(&self) -> String {
        let mut text = "{\"stored\":[".to_owned();
        for (i, Stored { name, size }) in self.stored.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let location = format!("{}{}", self.location, escape_path(name));
            let name = json(&String::from_utf8_lossy(name));
            // Writing to a string never fails; a location is ASCII without quotes.
            let _ = write!(
                text,
                "{comma}{{\"name\":\"{name}\",\"size\":{size},\"location\":\"{location}\"}}"
            );
        }
        text.push_str("]}\n");
        text
    }
}

impl Work for Form {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Answer> {
        let mut rest = std::mem::take(&mut self.rest);
        let result = if rest.is_empty() {
            self.decode(bytes).map(|taken| bytes[taken..].to_vec())
        } else {
            rest.extend_from_slice(bytes);
            self.decode(&rest).map(|taken| rest[taken..].to_vec())
        };
        self.rest = result.map_err(|refusal| self.with_stored(refusal))?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Answer, Answer> {
        if !self.decoder.is_complete() {
            return Err(self.with_stored(Answer::text(400, "the form was cut short")));
        }
        if self.stored.is_empty() {
            return Err(Answer::text(400, "there is no file in the form"));
        }
        Ok(match self.wants {
            Wants::Json => Answer::json(201, self.list()),
            Wants::Page => Answer::text(303, "stored").field("Location", self.location),
        })
    }
}

impl Answer {
    /// Says which file a refusal is about.
    fn named(self, name: &[u8]) -> Self {
        self.about(&format!("`{}`: ", Escaped(name)), "")
    }
}

fn refuse(name: &[u8], error: &medusa_fs::Error) -> Answer {
    Answer::of(error).named(name)
}

/// Text as it stands in a JSON string (RFC 8259, section 7); names have no control bytes.
fn json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
