//! Lines of logs as they come, for a session that follows them.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use medusa_script::Later;
use memchr::memmem;

use crate::desk::Desk;
use crate::limits::{FOLLOW_BACKLOG, FOLLOWED_LINE_BYTES};
use crate::wire::{FromServer, Print};

/// Hears lines, without their ends.
pub type Hear = Rc<dyn Fn(&[u8])>;

/// The logs that can be followed.
pub trait Followed {
    /// Has `hear` hear each line of a log (with an empty name, of that of requests) from now on, for as long as what is returned lives;
    /// called on the loop's thread.
    ///
    /// # Errors
    ///
    /// There is no such log; the text says which there are.
    fn follow(&self, what: &str, hear: Hear) -> Result<Box<dyn Any>, String>;
}

/// There is nothing to be followed.
pub struct Nothing;

impl Followed for Nothing {
    fn follow(&self, what: &str, _: Hear) -> Result<Box<dyn Any>, String> {
        Err(format!("there is no log `{}` that could be followed", what.escape_debug()))
    }
}

/// A log that is followed until the statement ends.
pub(crate) struct Following {
    /// The script waits until it is cancelled: this is never answered.
    _later: Later,
    _log: Box<dyn Any>,
}

impl Following {
    /// Begins; gives the script back if it cannot.
    pub(crate) fn begin(
        desk: &Rc<Desk>,
        logs: &dyn Followed,
        what: &str,
        wanted: Option<Bytes>,
        later: Later,
    ) -> Result<Self, (String, Later)> {
        let lost = Cell::new(0u64);
        let (desk, request) = (Rc::downgrade(desk), desk.request.get());
        let hear = move |line: &[u8]| {
            if wanted.as_ref().is_none_or(|wanted| memmem::find(line, wanted).is_some()) {
                tell(&desk, request, line, &lost);
            }
        };
        match logs.follow(what, Rc::new(hear)) {
            Ok(log) => Ok(Self { _later: later, _log: log }),
            Err(why) => Err((why, later)),
        }
    }
}

/// Sends a line, unless the client is behind.
fn tell(desk: &Weak<Desk>, id: u64, line: &[u8], lost: &Cell<u64>) {
    let Some(desk) = desk.upgrade() else { return };
    let waiting = desk.outbox.borrow().as_ref().map_or(usize::MAX, |outbox| outbox.waiting());
    if waiting > FOLLOW_BACKLOG {
        lost.set(lost.get() + 1);
        return;
    }
    let mut text = match lost.take() {
        0 => String::new(),
        lost => format!("({lost} lines left out, for they came faster than you read)\n"),
    };
    text += &String::from_utf8_lossy(&line[..line.len().min(FOLLOWED_LINE_BYTES)]);
    text.push('\n');
    desk.printed.set(desk.printed.get() + text.len());
    desk.say(&FromServer::Print(Print { id, text }));
}
