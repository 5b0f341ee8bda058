//! Commands about files and directories: CWD, CDUP, PWD, DELE, RMD, MKD, RNFR, RNTO, SIZE, MDTM, MFMT
//! (RFC 959, section 4.1.3; RFC 3659, sections 3 and 4; MFMT is of a draft).

use std::time::SystemTime;

use medusa_core::Context;
use medusa_fs::{Error, ErrorKind, Kind, VirtualPath};

use super::tree_failed;
use crate::authorizer::Permissions;
use crate::limits::{READ_BYTES, SIZE_ASCII_BYTES};
use crate::message;
use crate::reading::Reading;
use crate::session::{Grip, Handled, Session};
use crate::wire::ascii::ToWire;
use crate::wire::command::Command;
use crate::wire::reply;
use crate::wire::time::{parse_time_val, push_time_val};

const DENIED: &str = "You may not do that here.";

/// The path that an argument means, if the user may do this with it.
pub(crate) fn allowed(
    session: &Session,
    argument: &[u8],
    permission: Permissions,
    cx: &mut Context<'_>,
) -> Result<VirtualPath, Handled> {
    let path = session.resolve(argument, cx)?;
    if session.may(&path, permission) { Ok(path) } else { Err(session.reply(cx, 550, DENIED)) }
}

/// Does something with a path on a helper thread, and answers that it is done.
pub(crate) fn change(
    session: &mut Session,
    argument: &[u8],
    permission: Permissions,
    work: impl FnOnce(&Grip, &VirtualPath) -> Result<(), Error> + Send + 'static,
    done: impl FnOnce(&mut Session, &VirtualPath, &mut Context<'_>) -> Handled + 'static,
    cx: &mut Context<'_>,
) -> Handled {
    let path = match allowed(session, argument, permission, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    let own = path.clone();
    session.job(
        cx,
        move |grip| work(grip, &path),
        move |session, result, cx| match result {
            Ok(()) => done(session, &own, cx),
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

pub(crate) fn directory(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    let path = session.directory.clone();
    Session::answer(cx, |out| reply::quoted(out, 257, path.as_bytes(), "is the directory."))
}

pub(crate) fn change_directory(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    // Nothing at all, and a tilde, mean home, as in a shell.
    if matches!(&*command.argument, b"" | b"~") {
        let home = session.user.as_ref().map(|user| user.home.clone());
        return enter(session, home.unwrap_or_else(VirtualPath::root), cx);
    }
    match session.resolve(&command.argument, cx) {
        Ok(path) => enter(session, path, cx),
        Err(answered) => answered,
    }
}

pub(crate) fn change_up(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    let up = session.directory.parent().unwrap_or_else(VirtualPath::root);
    enter(session, up, cx)
}

/// Has the session go on in another directory.
fn enter(session: &mut Session, path: VirtualPath, cx: &mut Context<'_>) -> Handled {
    if !session.may(&path, Permissions::ENTER) {
        return session.reply(cx, 550, DENIED);
    }
    let message = session.shared.settings().message.clone();
    session.job(
        cx,
        move |grip| match grip.tree.metadata(&grip.who, &path)?.kind {
            Kind::Dir => {
                let told = message::read(grip, &path, &message);
                Ok((path, told))
            }
            _ => Err(Error::new(ErrorKind::NotDirectory, "enter", &path)),
        },
        |session, entered, cx| match entered {
            Ok((path, told)) => {
                session.directory = path;
                let told = told.map_or_else(String::new, |told| told + "\n");
                Session::answer(cx, |out| reply::text(out, 250, &(told + "You are there.")))
            }
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

pub(crate) fn delete(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let remove = |grip: &Grip, path: &VirtualPath| grip.tree.remove_file(&grip.who, path);
    removed(session, command, remove, "It is deleted.", cx)
}

pub(crate) fn remove_directory(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    let remove = |grip: &Grip, path: &VirtualPath| grip.tree.remove_dir(&grip.who, path);
    removed(session, command, remove, "It is removed.", cx)
}

/// Has something removed, and says so.
fn removed(
    session: &mut Session,
    command: &Command,
    remove: fn(&Grip, &VirtualPath) -> Result<(), Error>,
    said: &'static str,
    cx: &mut Context<'_>,
) -> Handled {
    change(
        session,
        &command.argument,
        Permissions::DELETE,
        remove,
        |session, _, cx| session.reply(cx, 250, said),
        cx,
    )
}

pub(crate) fn make_directory(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    change(
        session,
        &command.argument,
        Permissions::MAKE,
        |grip, path| grip.tree.make_dir(&grip.who, path),
        |_, path, cx| {
            Session::answer(cx, |out| reply::quoted(out, 257, path.as_bytes(), "is made."))
        },
        cx,
    )
}

pub(crate) fn rename_from(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    // What is said of a directory holds for its path, and would not go along.
    if let Ok(parsed) = session.directory.join(&command.argument)
        && session.user.as_ref().is_some_and(|user| user.rights.differ_within(&parsed.path))
    {
        return session.reply(cx, 550, DENIED);
    }
    change(
        session,
        &command.argument,
        Permissions::RENAME,
        |grip, path| grip.tree.entry_metadata(&grip.who, path).map(drop),
        |session, path, cx| {
            session.rename_from = Some(path.clone());
            session.reply(cx, 350, "Say the new name: RNTO <path>")
        },
        cx,
    )
}

pub(crate) fn rename_to(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let Some(from) = session.rename_from.take() else {
        return session.reply(cx, 503, "Say first what is renamed: RNFR <path>");
    };
    change(
        session,
        &command.argument,
        Permissions::RENAME,
        move |grip, to| grip.tree.rename(&grip.who, &from, to),
        |session, _, cx| session.reply(cx, 250, "It is renamed."),
        cx,
    )
}

pub(crate) fn size(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let path = match allowed(session, &command.argument, Permissions::LIST, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    let ascii = session.ascii;
    session.job(
        cx,
        move |grip| {
            if ascii {
                return ascii_size(grip, &path);
            }
            let metadata = grip.tree.metadata(&grip.who, &path)?;
            match metadata.kind {
                Kind::File => Ok(Some(metadata.size)),
                Kind::Dir => Err(Error::new(ErrorKind::IsDirectory, "size", &path)),
                _ => Err(Error::new(ErrorKind::Unsupported, "size", &path)),
            }
        },
        |session, size, cx| match size {
            Ok(Some(size)) => session.reply(cx, 213, &size.to_string()),
            Ok(None) => session.reply(cx, 550, "It is too large to count its lines: use TYPE I."),
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

/// The size of a file as it is sent in type A (RFC 3659, section 4.2), if it is not too large.
fn ascii_size(grip: &Grip, path: &VirtualPath) -> Result<Option<u64>, Error> {
    let file = grip.tree.open(&grip.who, path)?;
    let size = file.metadata.size;
    if size > SIZE_ASCII_BYTES {
        return Ok(None);
    }
    let mut reading = Reading::new(file, 0, size);
    let (mut converter, mut total) = (ToWire::default(), 0);
    let mut buffer = vec![0; READ_BYTES];
    while reading.left() > 0 {
        let n = reading.read(&mut buffer).map_err(|_| Error::new(ErrorKind::Io, "size", path))?;
        total += converter.count(&buffer[..n]);
    }
    Ok(Some(total))
}

pub(crate) fn modified(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    // Some clients set the time so. A file may be named like that too, and then is what is meant.
    if let Some((time, path)) = time_and_path(&command.argument) {
        let (whole, path) = (command.argument.clone(), path.to_vec());
        if !session.may_path(&path, Permissions::TIME) {
            return ask_modified(session, &whole, cx);
        }
        return set_time(session, &path, time, cx);
    }
    ask_modified(session, &command.argument, cx)
}

fn ask_modified(session: &mut Session, argument: &[u8], cx: &mut Context<'_>) -> Handled {
    let path = match allowed(session, argument, Permissions::LIST, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    session.job(
        cx,
        move |grip| grip.tree.metadata(&grip.who, &path),
        |session, metadata, cx| match metadata {
            Ok(metadata) => session.reply(cx, 213, &time_val(metadata.modified)),
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

pub(crate) fn set_modified(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    match time_and_path(&command.argument) {
        Some((time, path)) => set_time(session, path, time, cx),
        None => session.reply(cx, 501, "Say a time and a path: MFMT YYYYMMDDHHMMSS <path>"),
    }
}

/// Sets when a file has changed.
pub(crate) fn set_time(
    session: &mut Session,
    path: &[u8],
    time: SystemTime,
    cx: &mut Context<'_>,
) -> Handled {
    change(
        session,
        path,
        Permissions::TIME,
        move |grip, path| grip.tree.set_modified(&grip.who, path, time),
        move |_, path, cx| {
            let text = format!("Modify={}; ", time_val(time));
            Session::answer(cx, |out| {
                let path = String::from_utf8_lossy(path.as_bytes());
                reply::line(out, 213, &(text + &path));
            })
        },
        cx,
    )
}

/// A time and the path behind it.
pub(crate) fn time_and_path(argument: &[u8]) -> Option<(SystemTime, &[u8])> {
    let space = argument.iter().position(|&byte| byte == b' ')?;
    let time = parse_time_val(std::str::from_utf8(&argument[..space]).ok()?)?;
    let path = &argument[space + 1..];
    (!path.is_empty()).then_some((time, path))
}

fn time_val(time: SystemTime) -> String {
    let mut text = Vec::new();
    push_time_val(&mut text, time);
    String::from_utf8(text).expect("a time is digits")
}
