//! A body on its way to a helper thread, and the answer on its way back.
//!
//! The one design choice: the core's file collector does all of it, buffers and back-pressure. What
//! it does not know, the status that goes with a failure, waits in a slot beside it until the
//! session asks, so that the client hears it as soon as it is known and not behind the whole body.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use medusa_core::Handle;
use medusa_core::collector::{Collector, FileCollector, Flow, Refused, Sink};

use crate::extension::{Exchange, Handled};
use crate::late::Responder;
use crate::upload::Permit;
use crate::upload::answer::Answer;

/// What becomes of a body. Its methods block. Dropped without a finish, nothing remains that was not
/// whole.
pub(super) trait Work: Send {
    /// Takes what follows what was taken before.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Answer>;
    /// Makes it count.
    fn finish(self: Box<Self>) -> Result<Answer, Answer>;
}

/// Has the body of a request taken by what `start` makes on a helper thread.
pub(super) fn take<W: Work + 'static>(
    handle: &Handle,
    exchange: &mut Exchange<'_>,
    permit: Permit,
    start: impl FnOnce() -> Result<W, Answer> + Send + 'static,
) -> Handled {
    let slot = Slot::default();
    let responder = Rc::new(RefCell::new(Some(exchange.later())));
    let told = Told { slot: slot.clone(), responder };
    let open = move || {
        let work = start().map_err(|answer| slot.put(answer))?;
        Ok(Box::new(WorkSink { work: Box::new(work), slot, _permit: permit }) as Box<dyn Sink>)
    };
    let tell = told.clone();
    let then: Then = Box::new(move |result| tell.tell(result.err().as_ref()));
    let inside = FileCollector::opening(open, handle, exchange.waker(), then);
    exchange.collect(Taking { inside: Box::new(inside), told });
    Handled::Later
}

type Then = Box<dyn FnOnce(Result<u64, Refused>)>;

/// Where a helper thread leaves the answer.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Answer>>>);

impl Slot {
    /// Leaves the answer; the error that stands for it says that it is there.
    fn put(&self, answer: Answer) -> io::Error {
        // An answer is whole or not there, whatever panicked elsewhere.
        let error = io::Error::other(format!("answered {}", answer.status()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        error
    }

    fn take(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct WorkSink {
    work: Box<dyn Work>,
    slot: Slot,
    _permit: Permit,
}

impl Sink for WorkSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.work.write(bytes).map_err(|answer| self.slot.put(answer))
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { work, slot, _permit } = *self;
        match work.finish() {
            Ok(answer) => {
                slot.put(answer);
                Ok(())
            }
            Err(answer) => Err(slot.put(answer)),
        }
    }
}

/// Tells the client, once.
#[derive(Clone)]
struct Told {
    slot: Slot,
    responder: Rc<RefCell<Option<Responder>>>,
}

impl Told {
    fn tell(&self, refused: Option<&Refused>) {
        let Some(responder) = self.responder.borrow_mut().take() else { return };
        let answer = self.slot.take().unwrap_or_else(|| {
            if let Some(refused) = refused {
                tracing::error!("an upload was lost: {refused}");
            }
            Answer::lost()
        });
        responder.reply(answer.into());
    }

    fn tell_refusal(&self, result: Result<Flow, Refused>) -> Result<Flow, Refused> {
        result.map_err(|refused| {
            self.tell(Some(&refused));
            Refused::Told
        })
    }
}

struct Taking {
    inside: Box<FileCollector<Then>>,
    told: Told,
}

impl Collector for Taking {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        let result = self.inside.collect(part);
        self.told.tell_refusal(result)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        self.told.tell_refusal(self.inside.flow())
    }

    fn end(self: Box<Self>) {
        self.inside.end();
    }
}
