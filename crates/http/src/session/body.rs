//! The body of a request, part by part, until it is whole or refused.

use medusa_core::{Close, Context, Terminator};

use super::{HeadFramer, Session, State};
use crate::body::Taken;
use crate::reply::Reply;
use crate::wire::Reject;

impl Session {
    /// Takes some of a body; `ended` says that its length is reached.
    pub(super) fn body(
        &mut self,
        part: &[u8],
        ended: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Close> {
        let State::Body(body) = &mut self.state else { return Ok(()) };
        let left = cx.timeout_left().unwrap_or_default();
        match body.take(part, ended) {
            Ok(Taken::More) => cx.set_timeout(body.earn(part.len(), left)),
            Ok(Taken::Wait) => {
                cx.clear_timeout();
                cx.pause_input();
            }
            Ok(Taken::All { left }) => {
                cx.put_back(left);
                return self.body_ended(cx);
            }
            Err(reject) => return self.body_refused(reject, cx),
        }
        Ok(())
    }

    pub(super) fn body_ended(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if let State::Body(body) = std::mem::replace(&mut self.state, State::Head) {
            body.end(&mut self.shared.table.borrow_mut());
        }
        cx.clear_timeout();
        if self.stopping {
            if self.in_flight() == 0 {
                return Err(Close::Linger);
            }
            self.close_behind(cx);
            return Ok(());
        }
        cx.set_terminator(Terminator::Custom(Box::new(HeadFramer)));
        if self.in_flight() == 0 {
            cx.set_timeout(self.idle_time());
        }
        self.hold_when_full(cx);
        Ok(())
    }

    /// The body cannot be taken: answers so if no answer was given, and closes.
    pub(super) fn body_refused(
        &mut self,
        reject: Reject,
        cx: &mut Context<'_>,
    ) -> Result<(), Close> {
        let State::Body(body) = std::mem::replace(&mut self.state, State::Closing) else {
            return Ok(());
        };
        self.stopping = true;
        cx.pause_input();
        cx.clear_timeout();
        if let Some(late) = body.late() {
            late.end_connection();
            // A fault in a body that nobody reads costs the connection, not the answer.
            if body.is_collected() {
                late.answer(Reply::text(reject.status, reject.reason));
            }
        }
        // Dropping the collector tells it that the body never became whole.
        drop(body);
        if self.in_flight() == 0 {
            return Err(Close::Linger);
        }
        Ok(())
    }
}
