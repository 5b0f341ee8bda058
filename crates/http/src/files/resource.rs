//! What stands at a path in all its forms: the plain file, its neighbours in other codings
//! (`x.css.br`), and what may be coded on the fly; and which of them a client gets.
//!
//! The one design choice: all forms are looked up together, once, so that a resource in memory
//! answers every client without a further look. A missing neighbour is taken to be missing for a
//! second: when one comes, the content is what it was, and only its coding changes.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medusa_fs::{ErrorKind, Freshness, OpenFile, Result, Stamp, VirtualPath};

use crate::coding::{Coder, Coding};
use crate::files::coded::CodedFiles;
use crate::files::rules::cache_control;
use crate::files::shared::SharedFiles;
use crate::files::stored::{Label, Stored};
use crate::files::{May, Place};
use crate::reply::{Body, Reply};
use crate::wire::coding::Accepted;
use crate::wire::head::Head;

/// What stands at a path, ready to be served.
pub(crate) struct Resource {
    path: VirtualPath,
    plain: Option<Stored>,
    /// In our order; none is older than the plain file.
    neighbours: Vec<Stored>,
    /// What else was looked at: neighbours that are not there, or are older than the plain file.
    others: Vec<(VirtualPath, Option<Stamp>)>,
    /// The answer depends on what the client accepts.
    varies: bool,
    /// The plain file may be coded on the fly.
    codable: bool,
    /// The lines of replies that are coded on the fly, made when first needed.
    lines: [OnceCell<Bytes>; 3],
}

impl Resource {
    /// Makes ready what was opened at `path`, and its neighbours. `now` is the time since 1970.
    ///
    /// # Errors
    ///
    /// That of opening the plain file, if there is no neighbour either, and `WouldBlock` unless
    /// looking may block.
    pub(super) fn new(
        place: &Place,
        path: &VirtualPath,
        opened: Result<OpenFile>,
        may: May,
        now: Duration,
    ) -> Result<Self> {
        let content_type = place.options.media.content_type(path.name().unwrap_or_default());
        let cache_control = cache_control(&place.options.cache_control, path.as_bytes());
        let suits = place.coding.suits(content_type.as_bytes());
        let codable = suits
            && !place.coding.codings.is_empty()
            && !cache_control.is_some_and(|value| crate::coding::forbids(value.as_bytes()));
        let wanted: &[Coding] = if suits { &place.options.neighbours } else { &[] };
        let varies = codable || !wanted.is_empty();
        let label =
            |coding| Label { content_type: content_type.clone(), cache_control, varies, coding };
        let make = |path: VirtualPath, file, coding| {
            Stored::new(path, file, may == May::Block, now, &label(coding))
        };

        let plain = match opened {
            Ok(file) => Ok(make(path.clone(), file, None)?),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(e),
            Err(e) => return Err(e),
        };
        let (mut neighbours, mut others) = (Vec::new(), Vec::new());
        for &coding in wanted {
            let name = [path.as_bytes(), coding.ending().as_bytes()].concat();
            let Ok(beside) = VirtualPath::parse(&name).map(|parsed| parsed.path) else { continue };
            match place.open(&beside, may) {
                Ok(file) => {
                    let stamp = file.metadata.stamp;
                    let is_old = |plain: &Stored| stamp.modified_ns < plain.stamp.modified_ns;
                    if plain.as_ref().is_ok_and(is_old) {
                        others.push((beside, Some(stamp)));
                    } else {
                        neighbours.push(make(beside, file, Some(coding))?);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Err(e),
                Err(_) => others.push((beside, None)),
            }
        }
        let plain = match plain {
            Err(e) if neighbours.is_empty() => return Err(e),
            plain => plain.ok(),
        };
        let lines = Default::default();
        Ok(Self { path: path.clone(), plain, neighbours, others, varies, codable, lines })
    }

    /// All forms that are files.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.plain.iter().chain(&self.neighbours)
    }

    /// Whether the plain file is there.
    pub(crate) fn has_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// Uses the descriptors of large files that are being sent in the same state already.
    pub(crate) fn share(&mut self, files: &mut SharedFiles) {
        self.plain.iter_mut().chain(&mut self.neighbours).for_each(|stored| stored.share(files));
    }

    /// Bytes that it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let others: usize = self.others.iter().map(|(path, _)| path.as_bytes().len() + 64).sum();
        self.stored().map(Stored::weight).sum::<usize>() + others + 256
    }

    /// Whether it may be kept for later requests.
    pub(crate) fn is_cacheable(&self, now: Duration) -> bool {
        self.stored().all(|stored| stored.is_cacheable(now))
    }

    /// Whether all forms are still what stands at their paths; `thorough` includes those that were
    /// not there.
    pub(super) fn is_same(&self, place: &Place, thorough: bool) -> bool {
        let is_absent = |path| place.check(path, &NO_STAMP) == Freshness::Absent;
        let plain = match &self.plain {
            Some(_) => true,
            None => is_absent(&self.path),
        };
        plain
            && self.stored().all(|s| place.check(&s.path, &s.stamp) == Freshness::Same)
            && (!thorough
                || self.others.iter().all(|(path, stamp)| match stamp {
                    Some(stamp) => place.check(path, stamp) == Freshness::Same,
                    None => is_absent(path),
                }))
    }

    /// Answers a GET or HEAD in the form that the client likes best.
    pub(crate) fn reply(&self, head: &Head<'_>, now: Duration, means: &Means<'_>) -> Reply {
        let accepted = Accepted::by(&head.fields);
        if !self.varies || accepted.is_plain() {
            return self.plain(head, now);
        }
        let size = self.plain.as_ref().map(Stored::size);
        let on_the_fly = match size {
            Some(_) if self.codable && means.coder.is_worth_it(accepted, size) => {
                means.coder.codings()
            }
            _ => &[],
        };
        let beside = self.neighbours.iter().filter_map(Stored::coding);
        let Some(choice) = accepted.choose(beside.chain(on_the_fly.iter().copied())) else {
            return self.plain(head, now);
        };
        match (self.neighbours.get(choice), &self.plain) {
            (Some(neighbour), _) => neighbour.reply(head, now),
            (None, Some(plain)) => {
                let coding = on_the_fly[choice - self.neighbours.len()];
                self.coded(plain, coding, head, now, means)
            }
            (None, None) => self.plain(head, now),
        }
    }

    fn plain(&self, head: &Head<'_>, now: Duration) -> Reply {
        if let Some(plain) = &self.plain {
            return plain.reply(head, now);
        }
        let sentence = "there is only a coded form of this, which you do not accept";
        Reply::text(404, sentence).field("Vary", "Accept-Encoding")
    }

    /// Answers with the plain file, coded on the fly or as it was kept from the last time.
    fn coded(
        &self,
        plain: &Stored,
        coding: Coding,
        head: &Head<'_>,
        now: Duration,
        means: &Means<'_>,
    ) -> Reply {
        if let Err(reply) = plain.evaluate(head, now, true) {
            return reply;
        }
        let kept = means.coded.borrow_mut().look_up(plain.stamp, coding);
        let body = if let Some(bytes) = kept {
            Body::Bytes(bytes)
        } else {
            let (files, stamp) = (means.coded.clone(), plain.stamp);
            let keep = move |bytes| files.borrow_mut().keep(stamp, coding, bytes);
            let keep = plain.is_settled(now).then(|| Box::new(keep) as _);
            match means.coder.code(coding, plain.body(), means.turn, keep) {
                Ok(body) => body,
                Err(_) => return plain.reply(head, now),
            }
        };
        let lines = self.lines[coding as usize].get_or_init(|| plain.coded_lines(coding));
        Reply::new(200).block(lines.clone()).body(body)
    }
}

/// What coding on the fly needs.
pub(crate) struct Means<'a> {
    pub(crate) coder: &'a Coder,
    pub(crate) coded: &'a Rc<RefCell<CodedFiles>>,
    pub(crate) turn: Instant,
}

/// The state of no file.
const NO_STAMP: Stamp = Stamp { dev: 0, ino: 0, size: 0, modified_ns: 0, changed_ns: 0 };
