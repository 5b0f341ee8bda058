//! A question over TCP (RFC 7766), for answers that are too long for a datagram.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::{Address, Close, Context, Ending, Frame, Handle, Protocol, Terminator};

use crate::wire::{Answer, Fault, Question};

/// Hears the answer, or that there is none.
pub(super) type Heard = Box<dyn FnOnce(Result<Answer, Fault>)>;

/// Asks a server; `then` is called when there is an answer or when `within` has passed.
pub(super) fn ask(
    handle: &Handle,
    server: SocketAddr,
    within: Duration,
    id: u16,
    question: Question,
    then: Heard,
) {
    let (received, length) = Default::default();
    let protocol = Stream { id, question, within, received, length, then: Some(then) };
    handle.connect(Address::Inet(server), within, Rc::default(), Box::new(protocol));
}

struct Stream {
    id: u16,
    question: Question,
    within: Duration,
    /// What has come of the frame in hand.
    received: Vec<u8>,
    /// The answer's length, once it is known.
    length: Option<u16>,
    then: Option<Heard>,
}

impl Stream {
    fn tell(&mut self, result: Result<Answer, Fault>) {
        if let Some(then) = self.then.take() {
            then(result);
        }
    }
}

impl Protocol for Stream {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let message = self.question.message(self.id, u16::MAX);
        let length = u16::try_from(message.len()).map_err(|_| Close::Abort)?;
        cx.send(&length.to_be_bytes());
        cx.send(&message);
        cx.set_terminator(Terminator::Exact(2));
        cx.set_timeout(self.within);
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            // Never more than 64 KiB: the length has 16 bits.
            Frame::Part(part) => self.received.extend_from_slice(part),
            Frame::End(part) => {
                self.received.extend_from_slice(part);
                let Some(_) = self.length else {
                    let Ok(length) = <[u8; 2]>::try_from(self.received.as_slice()) else {
                        return Err(Close::Abort);
                    };
                    let length = u16::from_be_bytes(length);
                    self.received.clear();
                    self.length = Some(length);
                    cx.set_terminator(Terminator::Exact(length.into()));
                    return Ok(());
                };
                let answer = Answer::read(&self.received, self.id, &self.question);
                self.tell(answer);
                return Err(Close::Flush);
            }
            _ => return Err(Close::Abort),
        }
        Ok(())
    }

    fn timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        Err(Close::Abort)
    }

    fn closed(&mut self, _: &Ending) {
        self.tell(Err(Fault::Refused));
    }
}
