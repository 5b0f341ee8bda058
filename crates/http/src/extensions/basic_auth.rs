//! Basic authentication (RFC 7617): lets those pass who know a password.
//!
//! The one design choice: it only passes requests on or refuses them, so it guards whatever stands
//! behind it in the list. Passwords are checked on a helper thread; what was right a moment ago
//! passes without a wait.

use std::collections::HashSet;
use std::rc::Rc;

use medusa_auth::{Checker, Verdict};

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::reply::Reply;
use crate::wire::basic::credentials;
use crate::wire::fields::Known;

/// The longest realm in bytes.
pub const MAX_REALM: usize = 255;

/// After how many seconds a client may ask again when too many checks are waiting.
const RETRY_AFTER: &str = "2";

/// How [`BasicAuth`] guards.
#[derive(Clone)]
pub struct BasicAuthOptions {
    /// What the browser shows to whoever is asked for a password: text without quotes, backslashes
    /// and control characters, at most [`MAX_REALM`] bytes.
    pub realm: String,
    /// Against what is checked.
    pub checker: Checker,
    /// Who may pass; nobody named here is everybody who is in the file.
    pub users: Vec<String>,
}

/// Lets those pass who know a password.
pub struct BasicAuth(Rc<Inner>);

struct Inner {
    challenge: String,
    checker: Checker,
    users: HashSet<String>,
}

impl BasicAuth {
    /// Makes the guard.
    ///
    /// # Errors
    ///
    /// The realm cannot be sent.
    pub fn new(options: BasicAuthOptions) -> Result<Self, String> {
        let BasicAuthOptions { realm, checker, users } = options;
        let bad = |c: char| c.is_control() || matches!(c, '"' | '\\');
        if realm.len() > MAX_REALM || realm.contains(bad) {
            return Err(format!(
                "a realm has at most {MAX_REALM} bytes, and no quotes, backslashes or control \
                 characters"
            ));
        }
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        Ok(Self(Rc::new(Inner { challenge, checker, users: users.into_iter().collect() })))
    }
}

impl Inner {
    /// `None` lets the request pass.
    fn judge(&self, verdict: Verdict) -> Option<Reply> {
        match verdict {
            Verdict::Right => None,
            Verdict::Wrong => Some(self.ask()),
            Verdict::Busy => Some(
                Reply::text(503, "too many passwords are being checked; try again in a moment")
                    .field("Retry-After", RETRY_AFTER),
            ),
            Verdict::Failed(why) => {
                tracing::error!("a password cannot be checked: {why}");
                Some(Reply::failed())
            }
        }
    }

    fn ask(&self) -> Reply {
        Reply::text(401, "a name and a password are needed here")
            .field("WWW-Authenticate", &self.challenge)
    }

    fn may_pass(&self, name: &str) -> bool {
        self.users.is_empty() || self.users.contains(name)
    }
}

impl Extension for BasicAuth {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let inner = &self.0;
        let given = request.head.fields.single(Known::Authorization).and_then(credentials);
        let Some((name, password)) = given else { return Handled::Now(inner.ask()) };
        exchange.set_user(&name);
        let may_pass = inner.may_pass(&name);
        if let Some(verdict) = inner.checker.known(&name, &password, request.handle.now()) {
            // Who may not pass is told no sooner than who has the wrong password.
            let verdict = if may_pass { verdict } else { Verdict::Wrong };
            return inner.judge(verdict).map_or(Handled::Pass, Handled::Now);
        }
        let decision = exchange.decide_later();
        let guard = inner.clone();
        inner.checker.check(request.handle, &name, &password, move |verdict| {
            let verdict = if may_pass { verdict } else { Verdict::Wrong };
            match guard.judge(verdict) {
                None => decision.pass(),
                Some(reply) => decision.reply(reply),
            }
        });
        Handled::Later
    }
}
