//! Replies on their way into the output queue, and the lines that say that they have left.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use medusa_core::Context;
use medusa_core::limits::COALESCE_BYTES;

use super::{LAST, MORE, Session};
use crate::access_log::{Line, Outcome, Seen};
use crate::chunked::Chunked;
use crate::exact::Exactly;
use crate::figures::{SlowRequest, count};
use crate::late::{Late, LateReply};
use crate::reply::{Body, Reply};
use crate::service::Setup;
use crate::wire::Reject;
use crate::wire::head::{Head, Method, Version};
use crate::write::{Asked, Framing, write_head};

/// The requests whose replies have not left, oldest first; boxed, as it is lent and given back.
pub(crate) type Records = Box<VecDeque<BoxedRecord>>;

/// A record on its way through the session, from hand to hand: a copy of it would cost more than
/// all that is counted in it.
pub(crate) type BoxedRecord = Box<Record>;

/// One request whose reply has not left.
#[derive(Default)]
pub(crate) struct Record {
    pub(super) line: Line,
    /// What the request began with.
    pub(super) setup: Option<Rc<Setup>>,
    /// The name that the client has introduced itself by.
    pub(super) user: Option<Box<str>>,
    pub(super) status: u16,
    pub(super) head_bytes: usize,
    pub(super) late: Option<Rc<Late>>,
    /// When the request was there, by the loop's clock; `None` when it counts as no slow one.
    pub(super) since: Option<Instant>,
}

impl Record {
    pub(crate) fn clear(&mut self) {
        self.line.clear();
        self.setup = None;
        self.user = None;
        self.late = None;
        self.status = 0;
        self.head_bytes = 0;
        self.since = None;
    }

    pub(super) fn is_last(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.last.get())
    }
}

impl Session {
    /// Answers input that is no request, and closes.
    pub(super) fn refuse(&mut self, reject: Reject, cx: &mut Context<'_>) {
        count(&self.shared.figures.refused);
        let mut record = self.shared.record();
        record.setup = Some(self.shared.setup());
        let asked = Asked::new(Method::Get, Version::Http11, false);
        self.answer(Reply::text(reject.status, reject.reason), None, asked, record, cx);
        self.close_behind(cx);
    }

    /// Writes the line for the log down, unless it is. Without a log it is only remembered what was
    /// asked.
    pub(super) fn write_line(
        &self,
        record: &mut Record,
        head: Option<&Head<'_>>,
        expected: Option<(u16, u64)>,
        cx: &Context<'_>,
    ) {
        if !record.line.is_empty() {
            return;
        }
        match record.setup.as_ref().and_then(|setup| setup.log.as_ref()) {
            Some(log) => {
                let seen = Seen::new(cx, head);
                record.line.write(log.form(), &self.shared.log_lead, &seen, expected);
            }
            None => record.line.remember(head),
        }
    }

    /// Queues a reply that is there. Input that was no request has no head.
    pub(super) fn answer(
        &mut self,
        reply: Reply,
        head: Option<&Head<'_>>,
        asked: Asked,
        mut record: BoxedRecord,
        cx: &mut Context<'_>,
    ) {
        let shared = &self.shared;
        let now = cx.handle().unix_time();
        let (framing, head_bytes) = cx.send_with(|out| {
            let before = out.len();
            let framing = write_head(out, &reply, asked, shared, now);
            let head_bytes = out.len() - before;
            if let Body::Bytes(bytes) = &reply.body
                && is_copied(bytes, framing)
            {
                out.extend_from_slice(bytes);
            }
            (framing, head_bytes)
        });
        record.status = reply.status;
        record.head_bytes += head_bytes;
        let bytes = if framing == Framing::None { Some(0) } else { reply.body.len() };
        let expected = bytes.map(|bytes| (reply.status, bytes));
        self.write_line(&mut record, head, expected, cx);
        if framing != Framing::None {
            match reply.body {
                Body::Empty => {}
                Body::Bytes(bytes) if is_copied(&bytes, framing) => {}
                Body::Bytes(bytes) => cx.send_bytes(bytes),
                Body::File(range) => cx.send_file(range),
                Body::Producer(inside, Some(len)) => {
                    cx.produce(Box::new(Exactly::new(inside, len)));
                }
                Body::Producer(inside, None) if framing == Framing::Chunked => {
                    cx.produce(Box::new(Chunked::new(inside)));
                }
                Body::Producer(inside, None) => cx.produce(inside),
            }
        }
        let last = !asked.keep_alive || framing == Framing::UntilClose;
        cx.mark(if last { LAST } else { MORE });
        self.push_record(record);
        if last {
            // Even if a body is still to be read, no request follows.
            self.stopping = true;
        }
    }

    /// Queues the place of a reply that comes later.
    pub(super) fn answer_later(
        &mut self,
        late: Rc<Late>,
        head: Option<&Head<'_>>,
        asked: Asked,
        mut record: BoxedRecord,
        cx: &mut Context<'_>,
    ) {
        self.write_line(&mut record, head, None, cx);
        cx.produce(Box::new(LateReply::new(late.clone())));
        cx.mark(if asked.keep_alive { MORE } else { LAST });
        record.late = Some(late);
        self.push_record(record);
        if !asked.keep_alive {
            self.stopping = true;
        }
    }

    /// Counts a request whose reply has left, or never will, and writes its line.
    pub(super) fn log(&mut self, record: BoxedRecord, sent: u64, whole: bool, now: Instant) {
        let (status, head) = match &record.late {
            Some(late) => late.written.get(),
            None => (record.status, 0),
        };
        let sent = sent.saturating_sub(self.logged);
        let figures = &self.shared.figures;
        figures.answered(status, sent);
        if let Some(since) = record.since {
            let took = now.saturating_duration_since(since);
            figures.took(took, now, || SlowRequest { asked: record.line.asked(), status, sent });
        }
        if let Some(log) = record.setup.as_ref().and_then(|setup| setup.log.as_ref())
            && !record.line.is_empty()
        {
            // 499: the client went before there was an answer (the code that nginx uses).
            let status = if status == 0 { 499 } else { status };
            let head = (head + record.head_bytes) as u64;
            let bytes = sent.saturating_sub(head);
            let outcome = Outcome { status, bytes, whole, now };
            record.line.finish(&**log, outcome, record.user.as_deref());
        }
        self.shared.recycle(record);
    }
}

/// Whether a body is so short that it is copied behind its head.
fn is_copied(bytes: &Bytes, framing: Framing) -> bool {
    framing != Framing::None && bytes.len() <= COALESCE_BYTES
}

/// Bytes of replies that have come and stand behind one that has not.
pub(super) fn ready_bytes(records: &Records) -> usize {
    records.iter().filter_map(|record| record.late.as_ref()).map(|late| late.ready_bytes()).sum()
}
