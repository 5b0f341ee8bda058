//! LIST, NLST, MLSD, MLST, STAT (RFC 959, section 4.1.3; RFC 3659, section 7).

use std::time::{SystemTime, UNIX_EPOCH};

use medusa_core::Context;
use medusa_core::producer::Stepped;

use super::{files, quota, transfer, tree_failed};
use crate::authorizer::Permissions;
use crate::data::Work;
use crate::limits::STAT_ENTRIES;
use crate::listing::{Asked, Form, Listing, perm};
use crate::session::{Handled, Session, What};
use crate::wire::command::Command;
use crate::wire::{glob, reply};

const DENIED: &str = "You may not do that here.";

fn now(cx: &Context<'_>) -> SystemTime {
    UNIX_EPOCH + cx.handle().unix_time()
}

pub(crate) fn list(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let form = Form::Long(now(cx));
    send(session, without_flags(&command.argument), form, false, cx)
}

pub(crate) fn names(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    send(session, without_flags(&command.argument), Form::Names, false, cx)
}

pub(crate) fn machine_list(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    let form = Form::Facts(session.facts);
    send(session, &command.argument, form, true, cx)
}

/// Takes off the flags that clients send as if `ls` stood behind it. They change nothing: a
/// listing always has all that the tree shows.
fn without_flags(mut argument: &[u8]) -> &[u8] {
    // A name may begin with a space.
    if !argument.trim_ascii_start().starts_with(b"-") {
        return argument;
    }
    loop {
        argument = argument.trim_ascii_start();
        if !argument.starts_with(b"-") {
            return argument;
        }
        let end = argument.iter().position(|&byte| byte == b' ').unwrap_or(argument.len());
        argument = &argument[end..];
    }
}

/// What an argument asks for: a path, or the names in a directory that fit a pattern.
fn asked(
    session: &Session,
    argument: &[u8],
    form: Form,
    directories_only: bool,
    cx: &mut Context<'_>,
) -> Result<Asked, Handled> {
    let slash = argument.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, last) = argument.split_at(slash);
    let has_pattern = !directories_only && glob::is_pattern(last);
    let path = session.resolve(if has_pattern { directory } else { argument }, cx)?;
    if !session.may(&path, Permissions::LIST) {
        return Err(session.reply(cx, 550, DENIED));
    }
    let pattern = has_pattern.then(|| last.to_vec());
    let named = if has_pattern { directory } else { argument };
    Ok(Asked { path, named: named.to_vec(), pattern, form, directories_only })
}

fn send(
    session: &mut Session,
    argument: &[u8],
    form: Form,
    directories_only: bool,
    cx: &mut Context<'_>,
) -> Handled {
    session.restart = 0;
    let asked = match asked(session, argument, form, directories_only, cx) {
        Ok(asked) => asked,
        Err(answered) => return answered,
    };
    if !transfer::has_port(session) {
        return transfer::no_port(session, cx);
    }
    open(session, asked, cx, |session, listing, cx| {
        let work = Work::Send(Box::new(Stepped::new(listing)));
        transfer::begin(session, What::Listing, work, false, "Here it comes.", cx)
    })
}

/// Opens a listing on a helper thread.
fn open(
    session: &mut Session,
    asked: Asked,
    cx: &mut Context<'_>,
    then: impl FnOnce(&mut Session, Listing, &mut Context<'_>) -> Handled + 'static,
) -> Handled {
    let rights = session.user.as_ref().map(|user| user.rights.clone());
    let Some(rights) = rights else { return session.reply(cx, 530, "Log in first.") };
    session.job(
        cx,
        move |grip| Listing::open(grip.tree.clone(), grip.who.clone(), rights, asked),
        move |session, opened, cx| match opened {
            Ok(listing) => then(session, listing, cx),
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

pub(crate) fn machine_facts(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    let path = match files::allowed(session, &command.argument, Permissions::LIST, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    let own = path.clone();
    session.job(
        cx,
        move |grip| grip.tree.metadata(&grip.who, &path),
        move |session, metadata, cx| match metadata {
            Ok(metadata) => {
                let rights = session.user.as_ref().map(|user| user.rights.at(&own));
                let perm = perm(rights.unwrap_or_default());
                let line = session.facts.line(own.as_bytes(), &metadata, perm);
                Session::answer(cx, |out| {
                    reply::lines(out, 250, "Facts:", "End", |middle| middle.prepared(&line));
                })
            }
            Err(e) => tree_failed(session, &e, cx),
        },
    )
}

pub(crate) fn status(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let argument = without_flags(&command.argument);
    if argument.is_empty() {
        return own_status(session, cx);
    }
    let rights = session.user.as_ref().map(|user| user.rights.clone());
    let Some(rights) = rights else {
        return session.reply(cx, 530, "Log in with USER and PASS first.");
    };
    let asked = match asked(session, argument, Form::Long(now(cx)), false, cx) {
        Ok(asked) => asked,
        Err(answered) => return answered,
    };
    session.job(
        cx,
        move |grip| {
            let listing = Listing::open(grip.tree.clone(), grip.who.clone(), rights, asked)?;
            Ok::<_, medusa_fs::Error>(listing.beginning(STAT_ENTRIES))
        },
        |session, found, cx| match found {
            Err(e) => tree_failed(session, &e, cx),
            Ok(Err(why)) => {
                tracing::warn!("FTP: {why}");
                session.reply(cx, 451, "The server has failed to do that.")
            }
            Ok(Ok((lines, more))) => {
                let last = if more { "There is more: use LIST." } else { "That is all." };
                Session::answer(cx, |out| {
                    reply::lines(out, 213, "Status:", last, |middle| {
                        let lines = lines.strip_suffix(b"\r\n").unwrap_or(&lines);
                        for line in lines.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()) {
                            middle.line(line.strip_suffix(b"\r").unwrap_or(line));
                        }
                    });
                })
            }
        },
    )
}

/// What goes on in this session.
fn own_status(session: &mut Session, cx: &mut Context<'_>) -> Handled {
    let user = session.user.as_ref().map(|user| user.name.clone());
    let transfer = session.running.as_ref().map(|running| match &running.what {
        What::Listing => "A listing is on its way.".to_owned(),
        What::File(_, path) => format!("{path} is on its way."),
    });
    let kind = if session.ascii { "TYPE A" } else { "TYPE I" };
    let peer = session.peer;
    let quota = quota::told(session);
    Session::answer(cx, |out| {
        reply::lines(out, 211, "Status:", "That is all.", |middle| {
            middle.line(format!("Connected from {peer}."));
            match user {
                Some(name) => middle.line(format!("Logged in as {name}.")),
                None => middle.line("Not logged in."),
            }
            middle.line(format!("{kind}, MODE S, STRU F."));
            if let Some(quota) = quota {
                middle.line(quota);
            }
            middle.line(transfer.unwrap_or_else(|| "No transfer is under way.".to_owned()));
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_off() {
        for (argument, rest) in [
            ("", ""),
            ("-la", ""),
            ("-l -a x y", "x y"),
            ("  -a  d", "d"),
            (" d", " d"),
            ("d -l", "d -l"),
            ("-", ""),
        ] {
            assert_eq!(without_flags(argument.as_bytes()), rest.as_bytes(), "{argument}");
        }
    }
}
