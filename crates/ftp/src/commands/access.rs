//! USER, PASS, ACCT, REIN, QUIT (RFC 959, section 4.1.1).

use std::rc::Rc;

use medusa_core::{Close, Context};

use crate::authorizer::{Permissions, User, Verdict};
use crate::commands::{quota, transfer};
use crate::events::Event;
use crate::guard::Turned;
use crate::limits::MAX_USER_BYTES;
use crate::message;
use crate::service::count;
use crate::session::{Grip, Handled, Session, handle_of};
use crate::wire::command::Command;
use crate::wire::facts::Facts;
use crate::wire::reply;

/// What is said to a wrong name and to a wrong password alike.
const REFUSED: &str = "Name and password do not belong together.";

/// What is said to whoever has the right password and no home.
const HOMELESS: &str = "Your home directory cannot be entered; ask whoever runs this server.";

pub(crate) fn user(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    if session.user.is_some() {
        return session.reply(cx, 503, "You are logged in already; REIN begins anew.");
    }
    let name = std::str::from_utf8(&command.argument).unwrap_or_default();
    if name.is_empty() || name.len() > MAX_USER_BYTES {
        return session.reply(cx, 501, "That can be no name.");
    }
    session.name = Some(name.into());
    // The same for all names, whether they exist or not.
    session.reply(cx, 331, "Send the password.")
}

pub(crate) fn password(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    if session.user.is_some() {
        return session.reply(cx, 503, "You are logged in already; REIN begins anew.");
    }
    let Some(name) = session.name.take() else {
        return session.reply(cx, 503, "Send the name first: USER <name>");
    };
    // Sessions that were there before the ban guess no further.
    if session.admission.is_banned(&session.shared.settings(), cx.now()) {
        session.reply(cx, 421, Turned::Banned.text())?;
        return Err(Close::Flush);
    }
    let setup = session.shared.setup();
    let (handle, peer) = (handle_of(cx), session.peer);
    let slot = session.wait(cx);
    let authorizer = setup.authorizers.iter().find(|authorizer| authorizer.decides(&name));
    let Some(authorizer) = authorizer else {
        slot.put(move |session, cx| {
            refused(session, &name, cx);
            Ok(())
        });
        return Ok(());
    };
    let known = name.clone();
    let then = move |verdict| {
        slot.put(move |session, cx| match verdict {
            Verdict::Welcome(user) => welcome(session, &user, cx),
            Verdict::Refused => {
                refused(session, &known, cx);
                Ok(())
            }
            Verdict::Homeless => session.reply(cx, 530, HOMELESS),
            Verdict::Unavailable => session.reply(cx, 430, "Nobody can log in now; try again."),
        });
    };
    authorizer.authorize(&name, &command.argument, &peer, &handle, Box::new(then));
    Ok(())
}

fn welcome(session: &mut Session, user: &Rc<User>, cx: &mut Context<'_>) -> Handled {
    if !session.admission.count_for(user) {
        return session.reply(cx, 530, "You are logged in too often; close other connections.");
    }
    count(&session.shared.figures.logins);
    session.shared.tell(&Event::Login { user: &user.name, peer: session.peer });
    session.failures = 0;
    session.directory = user.home.clone();
    session.user = Some(user.clone());
    quota::count(session, user, cx)
}

/// Greets a user, with the message of the directory that they begin in.
pub(super) fn greet(session: &mut Session, user: &Rc<User>, cx: &mut Context<'_>) -> Handled {
    let (message, home) = (session.shared.settings().message.clone(), user.home.clone());
    let own = user.clone();
    let greeting = move |told: Option<String>, cx: &mut Context<'_>| {
        let text = told.map_or_else(String::new, |told| told + "\n") + &own.welcome;
        Session::answer(cx, |out| reply::text(out, 230, &text))
    };
    let grip = Grip { tree: user.tree.clone(), who: user.persona.clone() };
    // What they may not enter has nothing to tell them either.
    if !session.may(&home, Permissions::ENTER) || message::is_absent(&grip, &home, &message) {
        return greeting(None, cx);
    }
    session.job(
        cx,
        move |grip| message::read(grip, &home, &message),
        move |_, told, cx| greeting(told, cx),
    )
}

/// Answers after a while, so that guessing takes time.
fn refused(session: &mut Session, name: &str, cx: &mut Context<'_>) {
    let settings = session.shared.settings();
    count(&session.shared.figures.failed_logins);
    session.shared.tell(&Event::LoginFailed { name, peer: session.peer });
    session.admission.failed(&settings, cx.now());
    session.failures += 1;
    let is_last = session.failures >= settings.login_tries;
    let slot = session.wait(cx);
    cx.handle().timer(settings.login_delay, move |_| {
        slot.put(move |session, cx| {
            session.reply(cx, 530, REFUSED)?;
            if is_last { Err(Close::Flush) } else { Ok(()) }
        });
    });
}

pub(crate) fn account(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 202, "There are no accounts here.")
}

/// As if the connection had just been made; what is under way goes on (it has ended: commands
/// wait for transfers).
pub(crate) fn reinitialize(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    transfer::give_up(session);
    session.drop_port();
    // Whoever has not logged in yet gets no more time for it.
    if session.user.is_some() {
        cx.set_timeout(session.shared.settings().login_timeout);
    }
    session.log_out();
    session.name = None;
    session.directory = medusa_fs::VirtualPath::root();
    session.ascii = true;
    session.extended_only = false;
    session.restart = 0;
    session.range = None;
    session.umask = None;
    session.facts = Facts::default();
    session.hash = super::hash::Algorithm::default();
    session.reply(cx, 220, "Ready for somebody else.")
}

pub(crate) fn quit(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    session.reply(cx, 221, "Goodbye.")?;
    Err(Close::Flush)
}
