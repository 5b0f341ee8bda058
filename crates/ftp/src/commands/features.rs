//! What is said about the server, and settings of the session: FEAT, OPTS, HELP, SYST, NOOP, CLNT, TYPE,
//! MODE, STRU, SITE (RFC 959; RFC 2389; RFC 2640).

use medusa_core::Context;

use super::{TABLE, files, find, hash, quota};
use crate::authorizer::Permissions;
use crate::session::{Handled, Session};
use crate::wire::command::Command;
use crate::wire::facts::Facts;
use crate::wire::reply;
use crate::wire::time::parse_time_val;

/// Verbs on a line of HELP.
const VERBS_A_LINE: usize = 8;

pub(crate) fn features(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    let (facts, hash) = (session.facts.feature(), session.hash.feature());
    Session::answer(cx, |out| {
        reply::lines(out, 211, "Features:", "End", |middle| {
            for feature in ["CLNT", "EPRT", "EPSV"] {
                middle.line(feature);
            }
            middle.line(hash);
            middle.line("MDTM");
            middle.line("MFMT");
            middle.line(facts);
            for feature in ["RANG STREAM", "REST STREAM", "SIZE", "TVFS", "UTF8"] {
                middle.line(feature);
            }
        });
    })
}

pub(crate) fn options(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let text = command.word();
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    match name.to_ascii_uppercase().as_str() {
        "UTF8" | "UTF-8" if rest.is_empty() || rest.eq_ignore_ascii_case("ON") => {
            session.reply(cx, 200, "Names are UTF-8.")
        }
        "UTF8" | "UTF-8" => session.reply(cx, 504, "Names are UTF-8, always."),
        "MLST" => {
            session.facts = Facts::select(rest);
            let text = format!("MLST OPTS {}", session.facts.names());
            session.reply(cx, 200, text.trim_end())
        }
        "HASH" if rest.is_empty() => session.reply(cx, 200, session.hash.name()),
        "HASH" => match hash::Algorithm::find(rest) {
            Some(algorithm) => {
                session.hash = algorithm;
                session.reply(cx, 200, algorithm.name())
            }
            None => session.reply(cx, 501, "There is no such algorithm; FEAT lists them."),
        },
        _ => session.reply(cx, 501, "There are options of UTF8, MLST and HASH only."),
    }
}

pub(crate) fn help(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let verb = command.word().to_ascii_uppercase();
    if verb.is_empty() {
        return Session::answer(cx, |out| {
            reply::lines(out, 214, "The commands:", "HELP <command> says more.", |middle| {
                for row in TABLE.chunks(VERBS_A_LINE) {
                    let verbs: Vec<_> =
                        row.iter().map(|spec| format!("{:<4}", spec.verb)).collect();
                    middle.line(verbs.join(" ").trim_end());
                }
            });
        });
    }
    match find(&verb) {
        Some(spec) => session.reply(cx, 214, &format!("Syntax: {}", spec.usage)),
        None => session.reply(cx, 502, "There is no such command; HELP lists them."),
    }
}

pub(crate) fn system(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 215, "UNIX Type: L8")
}

pub(crate) fn nothing(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 200, "Nothing was done.")
}

pub(crate) fn superfluous(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 202, "There is nothing to mount.")
}

pub(crate) fn client(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 200, "Thank you.")
}

pub(crate) fn representation(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    match command.word().to_ascii_uppercase().as_str() {
        "A" | "A N" => session.ascii = true,
        "I" | "L 8" | "L8" => session.ascii = false,
        _ => return session.reply(cx, 504, "There are TYPE A, TYPE I and TYPE L 8 only."),
    }
    let text = if session.ascii { "The type is A." } else { "The type is I." };
    session.reply(cx, 200, text)
}

pub(crate) fn mode(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    match command.word() {
        "S" | "s" => session.reply(cx, 200, "The mode is S."),
        _ => session.reply(cx, 504, "There is MODE S only."),
    }
}

pub(crate) fn structure(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    match command.word() {
        "F" | "f" => session.reply(cx, 200, "The structure is F."),
        _ => session.reply(cx, 504, "There is STRU F only."),
    }
}

pub(crate) fn site(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let argument = command.argument.trim_ascii_start();
    let (word, rest) = split(argument);
    match word.to_ascii_uppercase().as_slice() {
        b"CHMOD" => change_mode(session, rest, cx),
        b"QUOTA" => quota::quota(session, cx),
        b"UMASK" => umask(session, rest, cx),
        b"UTIME" => times(session, rest, cx),
        b"HELP" => Session::answer(cx, |out| {
            reply::lines(out, 214, "The commands behind SITE:", "End", |middle| {
                middle.line("CHMOD <mode> <path>");
                middle.line("QUOTA");
                middle.line("UMASK [<mask>]");
                middle.line("UTIME <time> <path>");
            });
        }),
        _ => session.reply(cx, 504, "There are SITE CHMOD, HELP, QUOTA, UMASK and UTIME only."),
    }
}

/// A word, and what stands behind the space.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

/// A number in octal digits.
fn octal(digits: &[u8], most: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(text, 8).ok().filter(|number| *number <= most)
}

fn change_mode(session: &mut Session, argument: &[u8], cx: &mut Context<'_>) -> Handled {
    let (mode, path) = split(argument);
    let Some(mode) = octal(mode, 0o7777).filter(|_| !path.is_empty()) else {
        return session.reply(cx, 501, "Say a mode and a path: SITE CHMOD 644 <path>");
    };
    files::change(
        session,
        path,
        Permissions::MODE,
        move |grip, path| grip.tree.set_mode(&grip.who, path, mode),
        |session, _, cx| session.reply(cx, 200, "The mode is changed."),
        cx,
    )
}

fn umask(session: &mut Session, argument: &[u8], cx: &mut Context<'_>) -> Handled {
    use medusa_fs::Persona;
    let persona = session.user.as_ref().map(|user| user.persona.clone());
    let Some(Persona::User(identity)) = persona else {
        return session.reply(cx, 504, "Your files get the mode that the server gives them.");
    };
    if argument.is_empty() {
        let mask = session.umask.unwrap_or(identity.umask);
        return session.reply(cx, 200, &format!("The mask is {mask:03o}."));
    }
    match octal(argument, 0o777) {
        Some(mask) => {
            session.umask = Some(mask);
            session.reply(cx, 200, &format!("The mask is {mask:03o}."))
        }
        None => session.reply(cx, 501, "Say a mask in octal digits: SITE UMASK 022"),
    }
}

/// `SITE UTIME time path`, or, as older clients have it, `path atime mtime ctime UTC`.
fn times(session: &mut Session, argument: &[u8], cx: &mut Context<'_>) -> Handled {
    if let Some((time, path)) = files::time_and_path(argument) {
        return files::set_time(session, path, time, cx);
    }
    let mut parts = argument.rsplitn(5, |&byte| byte == b' ');
    let mut next = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (zone, _, modified, _) = (next(), next(), next(), next());
    let (time, path) = (modified.and_then(parse_time_val), parts.next());
    match (zone, time, path) {
        (Some("UTC"), Some(time), Some(path)) if !path.is_empty() => {
            files::set_time(session, path, time, cx)
        }
        _ => session.reply(cx, 501, "Say a time and a path: SITE UTIME YYYYMMDDHHMMSS <path>"),
    }
}
