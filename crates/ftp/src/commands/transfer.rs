//! RETR, STOR, STOU, APPE, ALLO, REST, ABOR (RFC 959, sections 4.1.2 and 4.1.3; RFC 3659, section 5),
//! and how a transfer begins and ends.

use std::rc::Rc;
use std::time::Instant;

use medusa_core::collector::Sink;
use medusa_core::producer::{FileSource, Once, Stepped};
use medusa_core::{Address, Context, FileRange, Peer, Producer};
use medusa_fs::{
    Commit, Content, Error, ErrorKind, FileSystem, OpenFile, Persona, Placement, VirtualPath,
};

use super::tree_failed;
use crate::authorizer::{Permissions, User};
use crate::data::{DataConnection, Done, Fault, Link, Times, Work};
use crate::events::{Direction, Event, Transfer};
use crate::reading::Converted;
use crate::service::{Shared, count};
use crate::session::{DataPort, Handled, Running, Session, What};
use crate::sink::{ToFile, ToStaged};
use crate::wire::command::Command;

const NO_PORT: &str = "Say first where data goes: EPSV, PASV, EPRT or PORT.";
const DENIED: &str = "You may not do that here.";

/// Whether a data connection can be made; answers if not.
pub(crate) fn has_port(session: &Session) -> bool {
    !matches!(session.port, DataPort::None)
}

pub(crate) fn no_port(session: &Session, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 425, NO_PORT)
}

/// Begins a transfer: puts the work where the data connection finds it. That it begins is said when
/// everything else that has happened was seen to, for by then a short one has ended, and both leave
/// together.
pub(crate) fn begin(
    session: &mut Session,
    what: What,
    work: Work,
    in_place: bool,
    text: &str,
    cx: &mut Context<'_>,
) -> Handled {
    let settings = session.shared.settings();
    let data = session.shared.setup().data.clone();
    let (link, listening, connect) = match std::mem::replace(&mut session.port, DataPort::None) {
        DataPort::None => return no_port(session, cx),
        DataPort::Passive { link, listening } => (link, listening, None),
        DataPort::Active(address) => {
            (Link::new(cx.handle(), cx.waker(), session.shares()), None, Some(address))
        }
    };
    let code = if link.is_connected() { 125 } else { 150 };
    link.begin(work);
    // Behind the data connection, if that stands already.
    let waker = cx.waker();
    cx.handle().later(move |_| waker.wake());
    if let Some(address) = connect {
        let protocol = Box::new(DataConnection::new(link.clone()));
        cx.handle().connect(Address::Inet(address), settings.data_timeout, data, protocol);
    }
    cx.set_timeout(settings.data_timeout);
    let (began, ascii) = (cx.now(), session.ascii);
    let begun = Some((code, text.into()));
    let running = Running { link, listening, what, begun, began, ascii, in_place };
    session.running = Some(Box::new(running));
    Ok(())
}

/// Says that the transfer has begun, if that was not said yet.
pub(crate) fn announce(session: &mut Session, cx: &mut Context<'_>) -> Handled {
    let Some(running) = &mut session.running else { return Ok(()) };
    let Some((code, text)) = running.begun.take() else { return Ok(()) };
    session.reply(cx, code, &text)
}

/// Looks whether the transfer has ended, and says so.
pub(crate) fn advance(session: &mut Session, cx: &mut Context<'_>) -> Handled {
    announce(session, cx)?;
    let Some(running) = &mut session.running else { return Ok(()) };
    if running.link.is_connected() {
        running.listening = None;
    }
    let Some(done) = running.link.take_done() else { return Ok(()) };
    let (code, text) = match &done.fault {
        None => (226, "All was transferred."),
        Some(Fault::NoConnection) => (425, "There was no data connection."),
        Some(Fault::Broken(_)) => (426, "The data connection broke."),
        Some(Fault::NoSpace) if running.in_place => (452, "There is no space left."),
        Some(Fault::NoSpace) => (452, "There is no space left; nothing was kept."),
        Some(Fault::OverQuota) if running.in_place => (552, "Your quota is used up."),
        Some(Fault::OverQuota) => (552, "Your quota is used up; nothing was kept."),
        Some(Fault::Local(why)) => {
            tracing::warn!("an FTP transfer has failed: {why}");
            (451, "The server could not go on.")
        }
    };
    let times = (cx.now(), cx.handle().unix_time());
    if let Some(told) = session.running.take().and_then(|running| Told::of(session, *running)) {
        told.tell(&done, times);
    }
    session.reply(cx, code, text)
}

/// The data connection did not come within its time.
pub(crate) fn fail_to_connect(session: &mut Session, cx: &mut Context<'_>) -> Handled {
    give_up(session);
    session.reply(cx, 425, "There was no data connection.")
}

/// Breaks the transfer off, if there is one. What was sent or received until then is told when it is
/// known; an upload that has come wholly is not broken off any more.
pub(crate) fn give_up(session: &mut Session) {
    let Some(running) = session.running.take() else { return };
    let link = running.link.clone();
    let told = Told::of(session, *running);
    link.give_up(move |done, times| {
        if let Some(told) = told {
            told.tell(done, times);
        }
    });
}

/// What is told of a transfer of a file, when it has ended.
struct Told {
    shared: Rc<Shared>,
    user: Rc<User>,
    peer: Peer,
    direction: Direction,
    path: VirtualPath,
    began: Instant,
    ascii: bool,
}

impl Told {
    /// Of a listing nothing is told.
    fn of(session: &Session, running: Running) -> Option<Self> {
        let Running { what, began, ascii, .. } = running;
        let What::File(direction, path) = what else { return None };
        let (shared, user) = (session.shared.clone(), session.user.clone()?);
        Some(Self { shared, user, peer: session.peer, direction, path, began, ascii })
    }

    fn tell(self, done: &Done, (now, unix): Times) {
        let figures = &self.shared.figures;
        count(match (&done.fault, self.direction) {
            (Some(_), _) => &figures.failed,
            (None, Direction::Sent) => &figures.sent,
            (None, Direction::Received) => &figures.received,
        });
        self.shared.tell(&Event::Transfer(&Transfer {
            user: &self.user.name,
            is_anonymous: self.user.is_anonymous,
            peer: self.peer,
            direction: self.direction,
            path: &self.path,
            bytes: done.bytes,
            took: now.saturating_duration_since(self.began),
            ended: unix,
            ascii: self.ascii,
            complete: done.fault.is_none(),
        }));
    }
}

pub(crate) fn abort(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    // It may have ended this very moment.
    advance(session, cx)?;
    if session.running.is_none() {
        session.drop_port();
        return session.reply(cx, 226, "There was nothing to break off.");
    }
    give_up(session);
    session.reply(cx, 426, "The transfer was broken off.")?;
    session.reply(cx, 226, "That is done.")
}

pub(crate) fn allocate(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 202, "There is no need to reserve space.")
}

pub(crate) fn restart(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let digits = command.word();
    // Digits only: `parse` alone takes a sign. What is too large is refused, not cut.
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok());
    match number.flatten().filter(|offset| i64::try_from(*offset).is_ok()) {
        Some(offset) => {
            session.restart = offset;
            session.reply(cx, 350, &format!("The next transfer begins at {offset}."))
        }
        None => session.reply(cx, 501, "That is no position in a file."),
    }
}

pub(crate) fn retrieve(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let offset = std::mem::take(&mut session.restart);
    let path = match session.resolve(&command.argument, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    if !session.may(&path, Permissions::RETRIEVE) {
        return session.reply(cx, 550, DENIED);
    }
    if !has_port(session) {
        return no_port(session, cx);
    }
    // What is in the system's caches needs no helper thread. The loop's own thread takes on nobody's
    // identity.
    if let Some(user) = &session.user
        && user.persona == Persona::Process
    {
        match user.tree.open_now(&user.persona, &path) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            opened => return send(session, &path, opened, offset, cx),
        }
    }
    let own = path.clone();
    session.job(
        cx,
        move |grip| grip.tree.open(&grip.who, &path),
        move |session, opened, cx| send(session, &own, opened, offset, cx),
    )
}

fn send(
    session: &mut Session,
    path: &VirtualPath,
    opened: Result<OpenFile, Error>,
    offset: u64,
    cx: &mut Context<'_>,
) -> Handled {
    let file = match opened {
        Ok(file) => file,
        Err(e) => return tree_failed(session, &e, cx),
    };
    let size = file.metadata.size;
    if offset > size && !session.ascii {
        return session.reply(cx, 554, "The file ends before that position.");
    }
    let (producer, text): (Box<dyn Producer>, _) = if session.ascii {
        (Box::new(Stepped::new(Converted::new(file, offset))), "Here it comes, in lines.".into())
    } else {
        let producer: Box<dyn Producer> = match file.content {
            Content::Memory(bytes) => Box::new(Once::new(bytes.slice(offset as usize..))),
            Content::Disk(file) => {
                Box::new(FileSource::new(FileRange { file, offset, len: size - offset }))
            }
        };
        (producer, format!("Here it comes ({} bytes).", size - offset))
    };
    let what = What::File(Direction::Sent, path.clone());
    begin(session, what, Work::Send(producer), false, &text, cx)
}

/// How an upload is written.
#[derive(Clone, Copy)]
enum How {
    /// It becomes a new file; one of that name is replaced or not.
    Whole { replace: bool },
    /// It is written into the file that is there.
    Into(Placement),
}

pub(crate) fn store(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let offset = std::mem::take(&mut session.restart);
    if offset > 0 && session.ascii {
        return session.reply(cx, 504, "An upload is resumed in TYPE I only.");
    }
    let how = match offset {
        0 => How::Whole { replace: true },
        _ => How::Into(Placement::At(offset)),
    };
    let path = match session.resolve(&command.argument, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    receive(session, path, how, Permissions::STORE, "Send it.".to_owned(), cx)
}

pub(crate) fn append(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    session.restart = 0;
    let path = match session.resolve(&command.argument, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    let how = How::Into(Placement::Append);
    receive(session, path, how, Permissions::APPEND, "Send it.".to_owned(), cx)
}

pub(crate) fn store_unique(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    session.restart = 0;
    // Some clients name a file, which the new name then begins with.
    let mut name = command.argument.clone();
    if name.is_empty() {
        name.extend_from_slice(b"upload");
    }
    let Ok(random) = getrandom::u64() else {
        return session.reply(cx, 451, "The server has no name for it.");
    };
    name.extend_from_slice(format!(".{random:016x}").as_bytes());
    let path = match session.resolve(&name, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    // RFC 1123, section 4.1.2.9.
    let told = String::from_utf8_lossy(path.name().unwrap_or_default()).into_owned();
    let how = How::Whole { replace: false };
    receive(session, path, how, Permissions::STORE, format!("FILE: {told}"), cx)
}

fn receive(
    session: &mut Session,
    path: VirtualPath,
    how: How,
    permission: Permissions,
    text: String,
    cx: &mut Context<'_>,
) -> Handled {
    if !session.may(&path, permission) {
        return session.reply(cx, 550, DENIED);
    }
    if !has_port(session) {
        return no_port(session, cx);
    }
    let (own, atomic) = (path.clone(), session.shared.settings().atomic_uploads);
    session.job(
        cx,
        move |grip| open_sink(&*grip.tree, &grip.who, &path, how, atomic),
        move |session, opened, cx| {
            let sink = match opened {
                Ok(sink) => sink,
                Err(e) => return tree_failed(session, &e, cx),
            };
            let stall = session.shared.settings().stall_timeout;
            let in_place = !atomic || matches!(how, How::Into(_));
            let work = Work::Receive { sink, ascii: session.ascii, stall };
            let what = What::File(Direction::Received, own);
            begin(session, what, work, in_place, &text, cx)
        },
    )
}

/// Opens where an upload goes; blocks.
fn open_sink(
    tree: &dyn FileSystem,
    who: &Persona,
    path: &VirtualPath,
    how: How,
    atomic: bool,
) -> Result<Box<dyn Sink>, Error> {
    Ok(match how {
        How::Whole { replace } => {
            // Or the client would hear only when all has been sent.
            if tree.metadata(who, path).is_ok_and(|m| m.kind == medusa_fs::Kind::Dir) {
                return Err(Error::new(ErrorKind::IsDirectory, "store", path));
            }
            let file = tree.stage(who, path)?;
            if atomic {
                Box::new(ToStaged { file, replace })
            } else {
                file.commit(Commit { replace, durable: false })?;
                Box::new(ToFile(tree.write_open(who, path, Placement::Append)?))
            }
        }
        How::Into(placement) => Box::new(ToFile(tree.write_open(who, path, placement)?)),
    })
}
