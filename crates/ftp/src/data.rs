//! Data connections: what a file, or a listing, goes over.
//!
//! The one design choice: session and data connection share a [`Link`] and nothing else. The
//! session puts work there; whoever makes the connection, and in whatever order both come, the work
//! begins when there is a connection too, and what came of it is left in the link for the session.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::collector::{Collector, FileCollector, Flow, Refused, Sink};
use medusa_core::{
    Bandwidth, Close, Closed, Context, Ending, Frame, Handle, Producer, Protocol, Waker,
};

use crate::wire::ascii::FromWire;

/// What is to be done over a data connection.
pub(crate) enum Work {
    /// Send this.
    Send(Box<dyn Producer>),
    /// Write what comes to this; convert it if it is of type A.
    Receive {
        /// Where it goes.
        sink: Box<dyn Sink>,
        /// Whether line ends are converted.
        ascii: bool,
        /// How long nothing may come.
        stall: Duration,
    },
}

/// Why a transfer is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There was no data connection.
    NoConnection,
    /// It broke, or stood still.
    Broken(String),
    /// The disk is full.
    NoSpace,
    /// The user may store no more.
    OverQuota,
    /// It cannot be read or written, for this reason.
    Local(String),
}

/// What came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Bytes that went over the connection.
    pub(crate) bytes: u64,
    pub(crate) fault: Option<Fault>,
}

/// What a session and its data connection share.
#[derive(Clone)]
pub(crate) struct Link(Rc<RefCell<State>>);

struct State {
    handle: Handle,
    session: Waker,
    /// What the connection is held to, with others.
    shares: Vec<Rc<Bandwidth>>,
    /// A client's connection was let in.
    claimed: bool,
    /// It stands.
    connection: Option<Waker>,
    /// It stood, and has gone before there was work.
    lost: bool,
    /// The session does not care any more.
    given_up: bool,
    /// Who hears then what came of it.
    heir: Option<Heir>,
    work: Option<Work>,
    /// All has been received, and what becomes of it is out of anybody's hands.
    finishing: bool,
    /// Bytes that have come.
    received: u64,
    done: Option<Done>,
}

impl Link {
    /// Makes the link of a session; the connection shares these bandwidths.
    pub(crate) fn new(handle: &Handle, session: Waker, shares: Vec<Rc<Bandwidth>>) -> Self {
        Self(Rc::new(RefCell::new(State {
            handle: handle.clone(),
            session,
            shares,
            claimed: false,
            connection: None,
            lost: false,
            given_up: false,
            heir: None,
            work: None,
            finishing: false,
            received: 0,
            done: None,
        })))
    }

    /// Asks to be the one connection.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.0.borrow_mut();
        !state.given_up && !std::mem::replace(&mut state.claimed, true)
    }

    /// Whether the connection stands, or has stood.
    pub(crate) fn is_connected(&self) -> bool {
        let state = self.0.borrow();
        state.connection.is_some() || state.lost
    }

    /// Puts work there; it begins when there is a connection.
    pub(crate) fn begin(&self, work: Work) {
        let mut state = self.0.borrow_mut();
        state.work = Some(work);
        if state.lost {
            state.finish(Done { bytes: 0, fault: Some(Fault::NoConnection) });
        } else if let Some(connection) = &state.connection {
            connection.wake();
        }
    }

    /// Takes what came of the work.
    pub(crate) fn take_done(&self) -> Option<Done> {
        self.0.borrow_mut().done.take()
    }

    /// Whether all has been received: whoever breaks it off now is too late.
    pub(crate) fn is_finishing(&self) -> bool {
        self.0.borrow().finishing
    }

    /// Breaks the connection, unless all has been received. `then` hears what came of the work and
    /// the times that the loop has then: within this call, or when the connection has gone and the
    /// bytes are counted.
    pub(crate) fn give_up(&self, then: impl FnOnce(&Done, Times) + 'static) {
        let mut state = self.0.borrow_mut();
        state.given_up = true;
        let mut heir = Heir { handle: state.handle.clone(), then: Some(Box::new(then)) };
        // Work that has not begun is told of by nobody else.
        let is_idle = state.work.is_some() || state.connection.is_none();
        state.drop_work();
        if state.finishing && state.done.is_none() {
            state.heir = Some(heir);
            return;
        }
        if let Some(connection) = state.connection.take() {
            state.handle.close(connection.channel());
        }
        match state.done.take() {
            None if !is_idle => state.heir = Some(heir),
            done => {
                drop(state);
                heir.tell(&done.unwrap_or_else(Done::given_up));
            }
        }
    }
}

/// The loop's time, and the time of day since 1970.
pub(crate) type Times = (Instant, Duration);

type Hears = Box<dyn FnOnce(&Done, Times)>;

/// Hears what came of work that the session has given up: at the latest when this is dropped.
struct Heir {
    handle: Handle,
    then: Option<Hears>,
}

impl Heir {
    fn tell(&mut self, done: &Done) {
        if let Some(then) = self.then.take() {
            then(done, (self.handle.now(), self.handle.unix_time()));
        }
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        self.tell(&Done::given_up());
    }
}

impl Done {
    /// What came of work that nobody has heard of.
    fn given_up() -> Self {
        Self { bytes: 0, fault: Some(Fault::Broken("given up".to_owned())) }
    }
}

impl State {
    fn finish(&mut self, done: Done) {
        self.drop_work();
        if let Some(mut heir) = self.heir.take() {
            // Not from here: this is borrowed.
            self.handle.later(move |_| heir.tell(&done));
        } else if !self.given_up && self.done.is_none() {
            self.done = Some(done);
            self.session.wake();
        }
    }

    /// What was staged is removed, which may block.
    fn drop_work(&mut self) {
        if let Some(Work::Receive { sink, .. }) = self.work.take() {
            self.handle.run(move || drop(sink), |_| {});
        }
    }
}

/// The protocol of a data connection.
pub(crate) struct DataConnection {
    link: Link,
    role: Role,
}

enum Role {
    /// It waits for work.
    Waiting,
    Sending,
    Receiving {
        collector: Box<dyn Collector>,
        converter: Option<FromWire>,
        stall: Duration,
    },
    /// All was received, and the collector tells the rest; or it has failed, which was told.
    Over,
}

impl DataConnection {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, role: Role::Waiting }
    }

    fn begin(&mut self, work: Work, cx: &mut Context<'_>) -> Result<(), Close> {
        match work {
            Work::Send(producer) => {
                self.role = Role::Sending;
                cx.produce(producer);
                Err(Close::Flush)
            }
            Work::Receive { sink, ascii, stall } => {
                let link = self.link.clone();
                let collector = FileCollector::new(sink, cx.handle(), cx.waker(), move |result| {
                    let mut state = link.0.borrow_mut();
                    let fault = result.err().map(|refused| fault_of(&refused));
                    let bytes = state.received;
                    state.finish(Done { bytes, fault });
                });
                let converter = ascii.then(FromWire::default);
                let collector = Box::new(collector);
                self.role = Role::Receiving { collector, converter, stall };
                cx.set_timeout(stall);
                cx.resume_input();
                Ok(())
            }
        }
    }

    fn fail(&mut self, fault: Fault) -> Close {
        self.role = Role::Over;
        let mut state = self.link.0.borrow_mut();
        let bytes = state.received;
        state.finish(Done { bytes, fault: Some(fault) });
        Close::Abort
    }
}

fn fault_of(refused: &Refused) -> Fault {
    match refused {
        Refused::NoSpace => Fault::NoSpace,
        Refused::OverQuota => Fault::OverQuota,
        other => Fault::Local(other.to_string()),
    }
}

impl Protocol for DataConnection {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let mut state = self.link.0.borrow_mut();
        if state.given_up {
            return Err(Close::Abort);
        }
        for bandwidth in std::mem::take(&mut state.shares) {
            cx.share_bandwidth(bandwidth);
        }
        state.connection = Some(cx.waker());
        // The session may have to do something about it: the listener has done its duty.
        state.session.wake();
        // What a client sends before it was asked to waits in the socket.
        cx.pause_input();
        let work = state.work.take();
        drop(state);
        work.map_or(Ok(()), |work| self.begin(work, cx))
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        match &self.role {
            Role::Waiting => {
                let work = self.link.0.borrow_mut().work.take();
                work.map_or(Ok(()), |work| self.begin(work, cx))
            }
            Role::Receiving { collector, stall, .. } => match collector.flow() {
                Ok(Flow::Go) => {
                    cx.set_timeout(*stall);
                    cx.resume_input();
                    Ok(())
                }
                Ok(Flow::Stop) => Ok(()),
                Err(refused) => Err(self.fail(fault_of(&refused))),
            },
            Role::Sending | Role::Over => Ok(()),
        }
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        let Role::Receiving { collector, converter, stall } = &mut self.role else {
            return Ok(());
        };
        let (part, ends) = match frame {
            Frame::Eof(part) => (part, true),
            Frame::Part(part)
            | Frame::End(part)
            | Frame::Overlong(part)
            | Frame::Malformed(part) => (part, false),
        };
        self.link.0.borrow_mut().received += part.len() as u64;
        let mut converted = Vec::new();
        let part = match converter {
            None => part,
            Some(converter) => {
                converter.convert(part, &mut converted);
                if ends {
                    converter.end(&mut converted);
                }
                &converted
            }
        };
        let flow = if part.is_empty() { Ok(Flow::Go) } else { collector.collect(part) };
        match flow {
            Err(refused) => return Err(self.fail(fault_of(&refused))),
            Ok(Flow::Go) => cx.set_timeout(*stall),
            Ok(Flow::Stop) => {
                // It is we who are slow.
                cx.clear_timeout();
                cx.pause_input();
            }
        }
        if ends {
            if let Role::Receiving { collector, .. } = std::mem::replace(&mut self.role, Role::Over)
            {
                self.link.0.borrow_mut().finishing = true;
                collector.end();
            }
            return Err(Close::Flush);
        }
        Ok(())
    }

    fn timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        Err(self.fail(Fault::Broken("nothing more came".to_owned())))
    }

    fn shutdown(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        // The session ends it, when the transfer has ended.
        Ok(())
    }

    fn closed(&mut self, ending: &Ending) {
        let mut state = self.link.0.borrow_mut();
        state.connection = None;
        let (bytes, fault) = match (&self.role, &ending.why) {
            (Role::Over, _) => return,
            (_, Closed::ConnectFailed(_)) => (0, Some(Fault::NoConnection)),
            (Role::Waiting, _) => {
                state.lost = true;
                if state.work.is_none() {
                    return;
                }
                (0, Some(Fault::NoConnection))
            }
            (Role::Sending, Closed::Done) => (ending.sent, None),
            (Role::Sending, Closed::Aborted(why)) => {
                (ending.sent, Some(Fault::Local(why.to_string())))
            }
            (Role::Sending, why) => (ending.sent, Some(Fault::Broken(why.to_string()))),
            (Role::Receiving { .. }, why) => (state.received, Some(Fault::Broken(why.to_string()))),
        };
        state.finish(Done { bytes, fault });
    }

    fn doing(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        out.write_str(match &self.role {
            Role::Waiting => "waiting for a transfer",
            Role::Sending => "sending",
            Role::Receiving { .. } | Role::Over => "receiving",
        })
    }
}
