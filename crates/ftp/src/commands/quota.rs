//! SITE QUOTA, and the counting of what a user has at the login.

use std::rc::Rc;

use medusa_core::Context;

use super::access::greet;
use crate::authorizer::User;
use crate::session::{Handled, Session, handle_of};

/// Counts what stands in the tree of a user with a quota, then greets them.
pub(crate) fn count(session: &mut Session, user: &Rc<User>, cx: &mut Context<'_>) -> Handled {
    let Some(quota) = user.quota.clone() else { return greet(session, user, cx) };
    let (slot, handle) = (session.wait(cx), handle_of(cx));
    let (who, user) = (user.persona.clone(), user.clone());
    handle.run(
        move || quota.measure(&who),
        move |measured| {
            slot.put(move |session, cx| {
                // Whoever cannot be counted may come in, but not store anything.
                match measured {
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => tracing::warn!("what {} has cannot be counted: {e}", user.name),
                    Err(lost) => {
                        tracing::warn!("what {} has was not counted: {lost}", user.name);
                    }
                }
                greet(session, &user, cx)
            });
        },
    );
    Ok(())
}

pub(crate) fn quota(session: &mut Session, cx: &mut Context<'_>) -> Handled {
    match told(session) {
        Some(text) => session.reply(cx, 200, &text),
        None => session.reply(cx, 200, "There is no quota."),
    }
}

/// What is used of the quota, if there is one.
pub(crate) fn told(session: &Session) -> Option<String> {
    let tree = session.user.as_ref()?.quota.as_ref()?;
    let Some(used) = tree.usage() else { return Some("What you have is not counted yet.".into()) };
    let part = |used: u64, most: Option<u64>, what| match most {
        Some(most) => format!("{used} of {most} {what}"),
        None => format!("{used} {what}"),
    };
    let bytes = part(used.bytes, tree.quota().bytes, "bytes");
    Some(format!("You use {bytes} and {}.", part(used.files, tree.quota().files, "files")))
}
